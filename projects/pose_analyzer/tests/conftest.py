"""What the tests of several rooms share: a filmed athlete and the place of the third-party clips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def athlete_scene():
    """Two squats seen obliquely, 320x240 at 15 frames/s."""
    from pose_analyzer.synthetic import scene_for

    return scene_for("squat", reps=2, azimuth_deg=40, width=320, height=240, fps=15)


@pytest.fixture(scope="session")
def athlete_clip(tmp_path_factory, athlete_scene) -> Path:
    """The scene above as an MP4 file."""
    from pose_analyzer.synthetic import write_clip

    path = tmp_path_factory.mktemp("athlete") / "squat.mp4"
    write_clip(athlete_scene, path)
    return path


@pytest.fixture(scope="session")
def footage() -> Path:
    """Folder of third-party clips; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("POSE_TEST_DATA", _ROOT.parent / "shared" / "data"))
    if not (folder / "clips.json").is_file():
        pytest.skip(f"third-party clips are not at {folder}; set POSE_TEST_DATA to the folder that holds clips.json")
    return folder
