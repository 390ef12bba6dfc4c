"""Importing any module of ours loads none of the heavy or copyleft libraries; those come when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "ultralytics", "mediapipe", "tslearn")
WALK = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
count = 1
if sys.argv[2] == "all":
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            count += 1
print(count, *sorted(name for name in sys.argv[3].split(",") if name in sys.modules))
"""


def loaded(package: str, how_much: str, watched: tuple[str, ...]) -> tuple[int, list[str]]:
    """Number of modules imported in a fresh interpreter, and which of the watched ones came along."""
    command = [sys.executable, "-c", WALK, package, how_much, ",".join(watched)]
    result = subprocess.run(command, text=True, capture_output=True, check=False, cwd=Path(__file__).parent)
    assert result.returncode == 0, result.stderr
    count, *names = result.stdout.splitlines()[-1].split()
    return int(count), names


@pytest.mark.parametrize(
    "package", ["shared_utils", "gpu_optimizer.monitoring", "gpu_optimizer.costing", "gpu_optimizer.api", "pose_analyzer"]
)
def test_no_module_loads_a_heavy_library_when_imported(package):
    count, names = loaded(package, "all", HEAVY)
    assert count > 4
    assert names == []


@pytest.mark.parametrize("room", ["planning", "profiling", "models", "cli"])
def test_rooms_about_torch_load_it_only_when_something_of_them_is_used(room):
    assert loaded(f"gpu_optimizer.{room}", "top", HEAVY)[1] == []


@pytest.mark.parametrize("package", ["gpu_optimizer", "pose_analyzer"])
def test_the_package_alone_loads_no_decoder_and_no_runtime_either(package):
    assert loaded(package, "top", (*HEAVY, "cv2", "av", "openvino", "scipy", "pandas", "matplotlib"))[1] == []


def test_the_check_sees_a_library_that_is_loaded():
    assert loaded("yaml", "top", ("yaml", "torch"))[1] == ["yaml"]
