"""Repair, filter and gap filler in a row, and what the pipeline makes of people who are merely predicted."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.pipeline.stream import Pipeline, make_filter
from pose_analyzer.settings import SmoothingSettings
from pose_analyzer.smoothing import FilterChain, GapFiller, OneEuroPoseFilter, PoseFilter, SwapRepair
from shared_utils.data_models import EventType, Frame, Origin, Poses
from shared_utils.skeletons import COCO_17

RATE_HZ = 20
SHAPE = np.random.default_rng(0).uniform([0.1, 0.05], [0.9, 0.95], (17, 2))


def _person(x: float) -> Poses:
    box = np.array([x, 40, x + 60, 200])
    return Poses(
        boxes_xyxy=box[None],
        scores=[0.9],
        keypoints_xy=(box[:2] + SHAPE * (box[2:] - box[:2]))[None],
        keypoint_confidence=np.full((1, 17), 0.9),
        skeleton=COCO_17,
    )


class Scripted:
    """A detector that finds one person, who walks, in the frames of a list."""

    name, skeleton, models = "scripted", COCO_17, {}

    def __init__(self, seen: list[bool]) -> None:
        self.seen, self.at = seen, 0

    def detect(self, images, *, stream_ids=None):
        self.at += 1
        return [_person(100 + 2 * self.at) if self.seen[self.at - 1] else Poses.empty(COCO_17)]

    def forget(self, stream_id):
        pass

    def close(self):
        pass


def _run(seen: list[bool], **overrides):
    image = np.zeros((240, 400, 3), np.uint8)
    frames = (Frame(image, index=i, timestamp_s=i / RATE_HZ) for i in range(len(seen)))
    settings = {f"smoothing.{k}": v for k, v in overrides.items()} | {"tracking.leave_s": 0.3}
    return list(Pipeline(detector=Scripted(seen), overrides=settings).run(frames))


def test_each_filter_is_given_what_the_one_before_made():
    chain = FilterChain([SwapRepair(), OneEuroPoseFilter(), GapFiller(max_gap_s=0.5)])
    alone = [SwapRepair(), OneEuroPoseFilter(), GapFiller(max_gap_s=0.5)]
    assert isinstance(chain, PoseFilter)
    for i in range(10):
        poses = _person(100 + 5 * i).replace(track_ids=[3])
        expected = poses = poses if i != 6 else Poses.empty(COCO_17)
        for one in alone:
            expected = one.update(expected, timestamp_s=i / RATE_HZ)
        out = chain.update(poses, timestamp_s=i / RATE_HZ)
        np.testing.assert_array_equal(out.keypoints_xy, expected.keypoints_xy)
        assert out.origin.tolist() == ([Origin.PREDICTED] if i == 6 else [Origin.DETECTED])


@pytest.mark.parametrize("end", ["forget", "reset"])
def test_what_is_forgotten_is_forgotten_by_all(end):
    chain = FilterChain([OneEuroPoseFilter(), GapFiller(max_gap_s=0.5)])
    chain.update(_person(100).replace(track_ids=[3]), timestamp_s=0.0)
    chain.forget(3) if end == "forget" else chain.reset()
    assert len(chain.update(Poses.empty(COCO_17), timestamp_s=0.05)) == 0
    fresh = _person(300).replace(track_ids=[3])
    np.testing.assert_array_equal(chain.update(fresh, timestamp_s=0.1).keypoints_xy, fresh.keypoints_xy)


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({}, [OneEuroPoseFilter]),
        ({"fill_gaps_s": 0.3}, [OneEuroPoseFilter, GapFiller]),
        ({"repair_swaps": True}, [SwapRepair, OneEuroPoseFilter]),
        ({"repair_swaps": True, "fill_gaps_s": 0.3}, [SwapRepair, OneEuroPoseFilter, GapFiller]),
    ],
)
def test_the_settings_say_what_works_and_in_which_order(settings, kinds):
    made = make_filter(SmoothingSettings(name="one_euro", **settings))
    assert [type(one) for one in (made.filters if isinstance(made, FilterChain) else [made])] == kinds


def test_a_gap_is_filled_up_to_the_bound_and_marked():
    seen = [True] * 20 + [False] * 10 + [True] * 5
    plain, filled = _run(seen), _run(seen, fill_gaps_s=0.2)
    assert [len(u.poses) for u in plain[20:30]] == [0] * 10
    assert [u.poses.origin.tolist() for u in filled[20:24]] == [[Origin.PREDICTED]] * 4
    assert [len(u.poses) for u in filled[25:30]] == [0] * 5
    assert all(u.poses.origin.tolist() == [Origin.DETECTED] for u in filled[:20] + filled[30:])
    assert {u.tracked.track_ids[0] for u in filled if len(u.tracked)} == {1}


def test_who_is_merely_predicted_is_not_present():
    seen = [True] * 20 + [False] * 30
    plain, filled = _run(seen), _run(seen, fill_gaps_s=1.0)
    left = [[e for u in updates for e in u.events if e.type == EventType.PERSON_LEFT] for updates in (plain, filled)]
    assert [len(events) for events in left] == [1, 1]
    assert left[0][0].end_s == left[1][0].end_s == 19 / RATE_HZ
