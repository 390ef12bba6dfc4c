"""Compare this environment with the hashed set that its stamp names, then import what matters.

    python scripts/validate_env.py [--no-import] [--json]

Exit 0 when everything fits, 1 when something does not; each finding says what to do about it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import platform
import re
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SEEDS = {"pip", "setuptools", "wheel", "uv"}
# Requirements that are left unmet on purpose; config/requirements/uv.toml and excludes.txt say why.
WAIVED = {("trackers", "numpy"), ("mediapipe", "jax"), ("mediapipe", "jaxlib"), ("mediapipe", "opencv-contrib-python")}
IMPORTS = ["torch", "torchvision", "mediapipe", "cv2", "ultralytics", "openvino", "onnxruntime", "av", "supervision"]
IMPORTS += ["trackers", "pandas", "pyarrow", "scipy", "fastapi"]
SYSTEM_LIBRARIES = {"libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0"}  # what cv2 loads -> Debian package


def read_pins(text: str) -> dict[str, str]:
    """Package -> version of a requirements file; a wheel given by URL counts with its local version (2.13.0+cpu)."""
    pins = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" @ ") if " @ " in line else line.partition("==")
        wheel = re.search(r"/[a-z]+-([0-9.]+)%2B(\w+)-", rest)
        pins[name] = f"{wheel[1]}+{wheel[2]}" if wheel else rest.split(" ", 1)[0]
    return pins


def missing_system_libraries(libraries: dict[str, str]) -> list[str]:
    """Debian packages of the libraries that the dynamic loader cannot find."""
    packages = []
    for library, package in libraries.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            packages.append(package)
    return packages


def compare(pins: dict[str, str], editable: set[str], installed: dict[str, str]) -> list[str]:
    problems = []
    for name, version in pins.items():
        if name not in installed:
            problems.append(f"{name} {version} is not installed")
        elif installed[name] != version:
            problems.append(f"{name} is {installed[name]}, the set says {version}")
    problems += [f"{name} (this repository) is not installed" for name in sorted(editable - set(installed))]
    extra = sorted(set(installed) - set(pins) - editable - SEEDS)
    problems += [f"{name} {installed[name]} is installed but not in the set" for name in extra]
    return problems


def unmet_requirements(distributions: dict[str, metadata.Distribution]) -> list[str]:
    problems = []
    for name, dist in distributions.items():
        for text in [] if name in SEEDS else dist.requires or []:
            need = Requirement(text)
            other = canonicalize_name(need.name)
            if (need.marker and not need.marker.evaluate({"extra": ""})) or (name, other) in WAIVED:
                continue
            if other not in distributions:
                problems.append(f"{name} needs {text}, which is missing")
            elif not need.specifier.contains(distributions[other].version, prereleases=True):
                problems.append(f"{name} needs {text}, installed is {distributions[other].version}")
    return problems


def try_imports(names: list[str], quiet: bool) -> tuple[dict[str, float], list[str]]:
    seconds, problems = {}, []
    os.environ.setdefault("YOLO_CONFIG_DIR", str(ROOT / ".cache" / "ultralytics"))  # else ultralytics writes to the home folder
    for name in names:
        start = time.perf_counter()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # some libraries greet the reader when imported
                importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - any failure to import is the finding
            problems.append(f"import {name}: {type(error).__name__}: {error}")
        else:
            seconds[name] = round(time.perf_counter() - start, 2)
            if not quiet:
                print(f"  import {name:16} {seconds[name]:5.1f} s", flush=True)
    return seconds, problems


def examine(do_import: bool, quiet: bool) -> dict:
    stamp = Path(sys.prefix) / ".pose-stamp"
    if not stamp.is_file():
        return {"ok": False, "problems": [f"{sys.prefix} was not made by scripts/bootstrap; run `make setup` or `pixi run validate-env`"]}
    chosen = stamp.read_text().split("\n", 1)[0]
    pins = read_pins((ROOT / f"config/requirements/{chosen}.txt").read_text())
    editable = {str(canonicalize_name(tomllib.loads(p.read_text())["project"]["name"])) for p in ROOT.glob("projects/*/pyproject.toml")}
    site = [path for path in sys.path if "site-packages" in path]
    distributions = {str(canonicalize_name(d.metadata["Name"])): d for d in metadata.distributions(path=site)}
    if not quiet:
        print(f"{chosen}: {len(pins)} pinned and {len(editable)} own packages in {sys.prefix}")
    problems = compare(pins, editable, {name: dist.version for name, dist in distributions.items()})
    problems += unmet_requirements(distributions)
    absent = missing_system_libraries(SYSTEM_LIBRARIES) if sys.platform == "linux" else []
    if absent:
        problems.append(
            f"OpenCV cannot load: install the system packages {' '.join(absent)} (Debian, Ubuntu: sudo apt-get install {' '.join(absent)})"
        )
    seconds: dict[str, float] = {}
    if do_import:
        seconds, failed = try_imports([*IMPORTS, *sorted(n.replace("-", "_") for n in editable)], quiet)
        problems += failed
    return {
        "ok": not problems,
        "set": chosen,
        "python": platform.python_version(),
        "prefix": sys.prefix,
        "pinned": len(pins),
        "own": sorted(editable),
        "import_seconds": seconds,
        "problems": problems,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-import", action="store_true", help="compare versions only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    result = examine(not arguments.no_import, quiet=arguments.json)
    if arguments.json:
        print(json.dumps(result, indent=2))
    elif result["ok"]:
        print(f"ok: everything is as locked ({result['set']}, Python {result['python']})")
    else:
        print("\n".join(f"- {problem}" for problem in result["problems"]))
        print(f"{len(result['problems'])} findings; `make setup` puts the locked set back (docs/TROUBLESHOOTING.md)")
    return not result["ok"]


if __name__ == "__main__":
    sys.exit(main())
