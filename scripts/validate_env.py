"""Compare this environment with the hashed set that its stamp names, then import what matters.

python scripts/validate_env.py [--no-import]
"""

import importlib
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


def main() -> int:
    problems = []
    chosen = (Path(sys.prefix) / ".pose-stamp").read_text().split("\n", 1)[0]
    pins = {}
    for line in (ROOT / f"config/requirements/{chosen}.txt").read_text().splitlines():
        name, _, rest = line.partition(" @ ") if " @ " in line else line.partition("==")
        wheel = re.search(r"/[a-z]+-([0-9.]+)%2B(\w+)-", rest)
        pins[name] = f"{wheel[1]}+{wheel[2]}" if wheel else rest.split(" ", 1)[0]
    editable = {canonicalize_name(tomllib.loads(p.read_text())["project"]["name"]) for p in ROOT.glob("projects/*/pyproject.toml")}
    installed = {
        canonicalize_name(d.metadata["Name"]): d for d in metadata.distributions(path=[p for p in sys.path if "site-packages" in p])
    }

    for name, version in pins.items():
        if name not in installed:
            problems.append(f"{name} {version} is not installed")
        elif installed[name].version != version:
            problems.append(f"{name} is {installed[name].version}, the set says {version}")
    for name in sorted(editable - set(installed)):
        problems.append(f"{name} is not installed")
    for name in sorted(set(installed) - set(pins) - editable - SEEDS):
        problems.append(f"{name} {installed[name].version} is installed but not in the set")
    for name, dist in installed.items():
        if name in SEEDS:
            continue
        for text in dist.requires or []:
            need = Requirement(text)
            other = canonicalize_name(need.name)
            if (need.marker and not need.marker.evaluate({"extra": ""})) or (name, other) in WAIVED:
                continue
            if other not in installed:
                problems.append(f"{name} needs {text}, which is missing")
            elif not need.specifier.contains(installed[other].version, prereleases=True):
                problems.append(f"{name} needs {text}, installed is {installed[other].version}")
    if "--no-import" not in sys.argv:
        for name in [*IMPORTS, *sorted(n.replace("-", "_") for n in editable)]:
            start = time.perf_counter()
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001 - any failure to import is the finding
                problems.append(f"import {name}: {type(error).__name__}: {error}")
            else:
                print(f"  import {name:16} {time.perf_counter() - start:5.1f} s")
    print("\n".join(problems) if problems else f"ok: {chosen}, {len(pins)} pinned and {len(editable)} editable packages")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
