"""A running service and clips to feed it, for the tests that look at the product from outside."""

from __future__ import annotations

import sys
from pathlib import Path

# Helpers of this folder are plain modules beside the tests; the import mode finds them through the path.
sys.path.insert(0, str(Path(__file__).parent))

import pytest
from _pose_server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One service for the tests of a module."""
    with Server(tmp_path_factory.mktemp("service") / "data", max_upload_bytes=20_000_000) as running:
        yield running


@pytest.fixture(scope="session")
def squat_clip(tmp_path_factory) -> Path:
    """Three squats seen obliquely, 480x360 at 20 frames/s, as a phone would send them."""
    from pose_analyzer.synthetic import scene_for, write_clip

    path = tmp_path_factory.mktemp("clips") / "squat.mp4"
    write_clip(scene_for("squat", reps=3, azimuth_deg=40, width=480, height=360, fps=20), path)
    return path
