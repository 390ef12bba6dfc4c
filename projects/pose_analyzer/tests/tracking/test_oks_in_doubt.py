"""The pose tracker where poses are not to be trusted, and how often it looks at people."""

from __future__ import annotations

import numpy as np
import pytest

from pose_analyzer.tracking import OksTracker
from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17

SHAPE = np.random.default_rng(0).uniform([0.1, 0.05], [0.9, 0.95], (17, 2))
IMAGE = np.zeros((480, 640, 3), np.uint8)


def people(*corners, leap=0.0, hidden=(), rng=None):
    low = np.array(corners, float).reshape(-1, 2)
    n, size = len(low), np.array([80.0, 200.0])
    moved = 0.0 if rng is None else rng.normal(0, leap * size[1], (n, 1, 2)) + rng.normal(0, leap * 40, (n, 17, 2))
    confidence = np.full((n, 17), 0.9)
    confidence[:, list(hidden)] = 0.1
    return Poses(
        boxes_xyxy=np.concatenate([low, low + size], axis=1),
        scores=np.full(n, 0.95),
        keypoints_xy=low[:, None] + SHAPE * size + moved,
        keypoint_confidence=confidence,
        skeleton=COCO_17,
    )


class Counting:
    """Looks that never differ, and how often they were asked for."""

    size = 2

    def __init__(self) -> None:
        self.asked = 0

    def describe(self, image, poses):
        self.asked += 1
        return np.tile([1.0, 0.0], (len(poses), 1))


@pytest.mark.parametrize("hips_hidden", [False, True])
def test_a_person_whose_box_stays_is_the_same_however_the_joints_leap(hips_hidden):
    tracker, rng = OksTracker(), np.random.default_rng(4)
    ids = set()
    for i in range(60):
        hidden = COCO_17.indices(["left_hip", "right_hip"]) if hips_hidden and i % 3 else ()
        # Half a body to and fro, as where a barbell is taken for arms.
        ids |= set(tracker.update(people((200, 100), leap=0.5, hidden=hidden, rng=rng), timestamp_s=i / 30).track_ids.tolist())
    assert ids == {1}


def test_a_box_that_stays_beats_somebody_new_beside_another_person():
    tracker, rng = OksTracker(), np.random.default_rng(5)
    seen = []
    for i in range(40):
        leap = 0.5 if i > 10 else 0.0
        poses = people((200, 100), leap=leap, rng=rng)
        poses = Poses.concatenate([poses, people((330, 110))])
        seen.append(tracker.update(poses, timestamp_s=i / 30).track_ids.tolist())
    assert all(ids == seen[0] for ids in seen)


@pytest.mark.parametrize(("places", "most"), [([(200, 100)], 10), ([(100, 100), (400, 100)], 10), ([(200, 100), (250, 100)], 60)])
def test_looks_are_refreshed_now_and_then_unless_people_are_close(places, most):
    looks = Counting()
    tracker = OksTracker(appearance=looks)
    for i in range(60):
        tracker.update(people(*places), timestamp_s=i / 30, image=IMAGE)
    assert looks.asked <= most
    assert looks.asked >= (8 if most == 10 else 59)


def test_somebody_new_is_looked_at_at_once():
    looks = Counting()
    tracker = OksTracker(appearance=looks)
    for i in range(20):
        tracker.update(people((200, 100)), timestamp_s=i / 100, image=IMAGE)
    before = looks.asked
    tracker.update(people((200, 100), (400, 100)), timestamp_s=0.205, image=IMAGE)
    assert looks.asked == before + 1
