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


@pytest.fixture(scope="module")
def detector():
    from pose_analyzer.detection import create_detector

    detector = create_detector("blazepose", max_people=2, threads=1)
    yield detector
    detector.close()


@pytest.mark.footage
@pytest.mark.parametrize("stem", ["squat_03", "pushup_02", "bicep_curl_01", "situp_02", "deadlift_01"])
def test_a_recorded_set_is_counted_exactly_given_and_recognised(footage, count_clips, detector, stem):
    """Oblique squats; presses from the bottom; curls that end at the top; a small, slow video; slow lifts."""
    (clip,) = (c for c in json.loads((footage / "clips.json").read_text(encoding="utf-8"))["clips"] if f"exercise/{stem}." in c["file"])
    found = count_clips.count_clip(footage / clip["file"], clip["label"], detector)
    assert (found["counted"], found["auto"]) == (clip["reps"], clip["reps"])


@pytest.mark.footage
@pytest.mark.parametrize("clip", ["fight/nonfight_walking_man.mp4", "fight/fight_classroom_2p.mp4"])
def test_where_nobody_exercises_nothing_is_counted(footage, count_clips, detector, clip):
    found = count_clips.count_clip(footage / clip, None, detector)
    assert (found["auto"], found["label"]) == (0, "unknown")
