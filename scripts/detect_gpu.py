"""Say what this machine can compute with, and keep it as its machine profile.

    python scripts/detect_gpu.py [--output FILE] [--json]

Writes YAML to config/machine.yml (not tracked), or to FILE. Works with NVIDIA GPUs, Apple's, and
without any. Exit code: 0 written, 1 the file cannot be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from shared_utils.devices import detect_devices, select_device, write_machine_profile
from shared_utils.errors import DeviceError

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT / "config" / "machine.yml"


def reasons_against(kinds: Sequence[str]) -> dict[str, str]:
    """Why an accelerator is not there, by kind."""
    found = {}
    for kind in kinds:
        try:
            select_device(kind)
        except DeviceError as error:
            found[kind] = str(error).split(" There is:")[0].rstrip(".")
    return found


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DEFAULT, metavar="FILE", help="where the profile goes (default: config/machine.yml)")
    parser.add_argument("--json", action="store_true", help="print the profile as JSON instead of sentences")
    arguments = parser.parse_args(words)
    try:
        profile = write_machine_profile(arguments.output)
    except DeviceError as error:
        print(f"detect_gpu: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(profile, indent=2))
        return 0
    devices = detect_devices()
    for device in devices:
        print(f"  {device.description}: {' '.join(sorted(map(str, device.precisions)))}")
    for reason in reasons_against(("cuda", "mps")).values():
        print(f"  {reason}")
    print(f"environment for this machine: {devices[0].kind} (scripts/switch_env.sh {devices[0].kind})")
    print(f"written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
