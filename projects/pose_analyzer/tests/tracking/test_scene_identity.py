"""Athletes who cross, hide each other, leave and return keep their ids: exact truth from the synthetic athlete."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pose_analyzer.tracking import create_tracker

_FILE = Path(__file__).parents[2] / "benchmarks" / "tracking_scenes.py"


def _load():
    spec = importlib.util.spec_from_file_location("tracking_scenes", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tracking_scenes"] = module
    spec.loader.exec_module(module)
    return module


scenes = _load()
LONGER_THAN_A_SECOND = {"walkers behind a broad pillar, 25 fps", "two behind a wall, 25 fps"}
LEAVING = {"one leaves and comes back, 15 fps", "two leave, both come back, another too, 12 fps"}
NAMES = [scene.name for scene in scenes.scenes()]


def test_the_scenes_are_what_they_are_meant_to_be():
    assert len(NAMES) >= 12
    gaps = {name: scenes.longest_gap_s(name) for name in NAMES}
    assert {name for name, gap in gaps.items() if gap > 1.0} == LONGER_THAN_A_SECOND
    assert sum(gap >= 0.2 for gap in gaps.values()) >= 5
    assert 2.0 <= max(gaps.values()) < 2.3
    people = [max(len(set(frame.truth_ids.tolist())) for frame in scenes.detections(name)) for name in NAMES]
    assert min(people) == 2
    assert max(people) == 8


@pytest.mark.parametrize("name", [n for n in NAMES if n not in LONGER_THAN_A_SECOND | LEAVING])
def test_the_pose_tracker_changes_nobody_who_is_hidden_for_up_to_a_second(name):
    assert scenes.switches(name, create_tracker("oks")) == 0


def test_with_pictures_it_keeps_people_apart_while_the_camera_pans():
    name = "two cross, camera pans to and past them, 15 fps"
    assert scenes.switches(name, create_tracker("oks"), pictures=scenes.images(name)) == 0


@cache
def _pictures(name):
    return list(scenes.images(name))


@pytest.mark.parametrize("tracker", ["oks", "botsort", "deepsort"])
def test_who_comes_back_gets_the_old_id_by_looks_and_who_merely_passes_does_not(tracker):
    name = "two leave, both come back, another too, 12 fps"
    model = create_tracker(tracker)
    assert scenes.switches(name, model, pictures=_pictures(name)) == 0
    found = model.reentries
    # Two come back; the third, who walks through, is nobody known.
    assert len(found) == 2
    assert all(4 < r.away_s < 9 and r.similarity >= 0.8 and r.margin >= 0.05 for r in found)
    assert len({r.track_id for r in found}) == 2


def test_a_greater_margin_than_there_is_makes_them_new_people():
    name = "two leave, both come back, another too, 12 fps"
    tracker = create_tracker("oks", reentry_margin=0.9)
    assert scenes.switches(name, tracker, pictures=_pictures(name)) == 2
    assert tracker.reentries == ()


def test_without_pictures_who_comes_back_is_somebody_new():
    assert scenes.switches("one leaves and comes back, 15 fps", create_tracker("oks")) == 1


def test_images_and_detections_are_the_same_each_time():
    name = "two cross, 10 fps"
    one, other = (next(scenes.images(name)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
