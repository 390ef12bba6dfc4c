"""Helpers of this folder are plain modules beside the tests; the import mode finds them through the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from _video_clips import make_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Sixty numbered pictures at 25 frames/s, a key frame every ten, with B-frames: (path)."""
    return make_clip(tmp_path_factory.mktemp("clip") / "numbers.mp4", frames=60, gop=10)
