"""Some of the counted clips through the product's own path; the benchmark `count_clips.py` counts all."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

_BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "count_clips.py"


@pytest.fixture(scope="module")
def count_clips():
    spec = importlib.util.spec_from_file_location("count_clips", _BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.footage
@pytest.mark.parametrize("stem", ["squat_03", "pushup_02", "bicep_curl_01", "situp_02"])
def test_a_recorded_set_is_counted_exactly(footage, count_clips, stem):
    """Oblique squats; press-ups that begin at the bottom; curls that end at the top; a small, slow video."""
    from pose_analyzer.detection import create_detector

    (clip,) = (c for c in json.loads((footage / "clips.json").read_text(encoding="utf-8"))["clips"] if stem in c["file"])
    detector = create_detector("blazepose", max_people=2, threads=1)
    try:
        found = count_clips.count_clip(footage / clip["file"], clip["label"], detector)
    finally:
        detector.close()
    assert found["counted"] == clip["reps"]
