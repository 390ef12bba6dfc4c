"""An installed wheel finds its profiles, scenes and settings without the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def test_a_wheel_alone_counts_and_films(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=PROJECT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(place)
    code = (
        "import pose_analyzer; from pose_analyzer import list_profiles; from pose_analyzer.resources import find_config;"
        "print(pose_analyzer.__file__); print(len(list_profiles())); print(find_config('scenes/demo.yaml'))"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(place)}, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    module, profiles, scene = child.stdout.split("\n")[:3]
    assert module.startswith(str(place))
    assert int(profiles) >= 16
    assert scene.startswith(str(place))
