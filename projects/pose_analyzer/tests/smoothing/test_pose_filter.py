"""The filter of people: one state per track, any resolution, small lag."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.smoothing import OneEuroPoseFilter, PoseFilter
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17


def people(xy, ids, *, world=None, size=400.0, skeleton=COCO_17):
    """Poses from (n, k, 2) positions, boxes `size` px high."""
    xy = np.asarray(xy, np.float32)
    n = len(xy)
    return Poses(
        boxes_xyxy=np.tile([0, 0, size / 2, size], (n, 1)),
        scores=np.ones(n),
        keypoints_xy=xy,
        keypoint_confidence=np.where(np.isnan(xy).any(-1), 0, 1),
        skeleton=skeleton,
        world_xyz_m=world,
        track_ids=ids,
    )


def wander(frames, n, seed=0, k=17):
    rng = np.random.default_rng(seed)
    return 200 + np.cumsum(rng.normal(scale=4, size=(frames, n, k, 2)), axis=0).astype(np.float32)


def test_it_is_a_pose_filter():
    assert isinstance(OneEuroPoseFilter(), PoseFilter)


def test_every_other_field_and_the_rows_stay():
    poses = people(wander(1, 3)[0], [7, -1, 2])
    out = OneEuroPoseFilter().update(poses, timestamp_s=0.0)
    for name in ("boxes_xyxy", "scores", "keypoint_confidence", "track_ids", "origin"):
        np.testing.assert_array_equal(getattr(out, name), getattr(poses, name))


def test_the_input_is_not_changed():
    smooth, path = OneEuroPoseFilter(), wander(2, 1)
    poses = [people(xy, [1]) for xy in path]
    for i, p in enumerate(poses):
        smooth.update(p, timestamp_s=i / 30)
    np.testing.assert_array_equal(poses[1].keypoints_xy, path[1])


@pytest.mark.parametrize("scale", [0.25, 2.0, 8.0])
def test_a_larger_image_gives_the_same_people_larger(scale):
    path, small, large = wander(20, 2), OneEuroPoseFilter(), OneEuroPoseFilter()
    for i, xy in enumerate(path):
        a = small.update(people(xy, [1, 2]), timestamp_s=i / 30).keypoints_xy
        b = large.update(people(xy * scale, [1, 2], size=400.0 * scale), timestamp_s=i / 30).keypoints_xy
        np.testing.assert_array_equal(a * np.float32(scale), b)


def test_a_rotated_camera_gives_the_same_people_rotated():
    path, upright, lying = wander(20, 1), OneEuroPoseFilter(), OneEuroPoseFilter()
    for i, xy in enumerate(path):
        a = upright.update(people(xy, [1]), timestamp_s=i / 30).keypoints_xy
        b = lying.update(people(xy[..., ::-1], [1]), timestamp_s=i / 30).keypoints_xy
        np.testing.assert_allclose(a[..., ::-1], b, rtol=1e-6)


@given(st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_each_person_is_filtered_as_if_alone_whatever_the_row(n, seed):
    rng = np.random.default_rng(seed)
    path = wander(12, n, seed)
    path[rng.random(path.shape[:3]) < 0.2] = np.nan
    together, alone = OneEuroPoseFilter(), [OneEuroPoseFilter() for _ in range(n)]
    for i, xy in enumerate(path):
        here = rng.permutation(n)[: rng.integers(0, n + 1)]
        out = together.update(people(xy[here], here * 3), timestamp_s=i / 10)
        for row, person in enumerate(here):
            own = alone[person].update(people(xy[[person]], [5]), timestamp_s=i / 10)
            np.testing.assert_array_equal(out.keypoints_xy[row], own.keypoints_xy[0])


def test_a_missing_point_stays_missing_and_its_history_survives_a_short_gap():
    smooth, path = OneEuroPoseFilter(max_gap_s=0.5), wander(3, 1)
    hole = path[1].copy()
    hole[0, 3] = np.nan
    smooth.update(people(path[0], [1]), timestamp_s=0.0)
    missing = smooth.update(people(hole, [1]), timestamp_s=0.1)
    back = smooth.update(people(path[2], [1]), timestamp_s=0.2)
    assert np.isnan(missing.keypoints_xy[0, 3]).all()
    assert missing.keypoint_confidence[0, 3] == 0
    between = np.sort(np.stack([path[0][0, 3], path[2][0, 3]]), axis=0)
    assert ((back.keypoints_xy[0, 3] > between[0]) & (back.keypoints_xy[0, 3] < between[1])).all()


@pytest.mark.parametrize("gone", ["long", "forgotten", "reset"])
def test_history_ends_when_it_should(gone):
    smooth, path = OneEuroPoseFilter(max_gap_s=0.5), wander(2, 1)
    smooth.update(people(path[0], [1]), timestamp_s=0.0)
    if gone == "forgotten":
        smooth.forget(1)
        smooth.forget(99)
    elif gone == "reset":
        smooth.reset()
    out = smooth.update(people(path[1], [1]), timestamp_s=0.6 if gone == "long" else 0.1)
    np.testing.assert_array_equal(out.keypoints_xy, path[1])


def test_a_repeated_or_slightly_earlier_frame_passes_and_leaves_no_trace():
    path, smooth, untouched = wander(4, 1), OneEuroPoseFilter(), OneEuroPoseFilter()
    for f in (smooth, untouched):
        f.update(people(path[0], [1]), timestamp_s=1.0)
    for timestamp_s in (1.0, 0.9):
        np.testing.assert_array_equal(smooth.update(people(path[1], [1]), timestamp_s=timestamp_s).keypoints_xy, path[1])
    a, b = (f.update(people(path[2], [1]), timestamp_s=1.1).keypoints_xy for f in (smooth, untouched))
    np.testing.assert_array_equal(a, b)


def test_a_clock_that_starts_anew_starts_the_filter_anew():
    smooth, path = OneEuroPoseFilter(), wander(3, 1)
    smooth.update(people(path[0], [1]), timestamp_s=100.0)
    np.testing.assert_array_equal(smooth.update(people(path[1], [1]), timestamp_s=0.0).keypoints_xy, path[1])
    assert (smooth.update(people(path[2], [1]), timestamp_s=0.1).keypoints_xy != path[2]).any()


def test_nobody_is_fine():
    smooth = OneEuroPoseFilter()
    assert len(smooth.update(Poses.empty(COCO_17), timestamp_s=0.0)) == 0


def test_metric_landmarks_are_filtered_too():
    rng = np.random.default_rng(1)
    smooth, path = OneEuroPoseFilter(), wander(3, 1)
    world = rng.normal(size=(3, 1, 17, 3)).astype(np.float32)
    outs = [
        smooth.update(people(xy, [1], world=w), timestamp_s=i / 30).world_xyz_m for i, (xy, w) in enumerate(zip(path, world, strict=True))
    ]
    np.testing.assert_array_equal(outs[0], world[0])
    assert (np.abs(outs[1] - world[0]) < np.abs(world[1] - world[0])).all()


def squat(t, fps_noise=0.0, rng=None):
    """A leg whose knee bends 0..110° in two seconds, 400 px tall, in pixels and in metres."""
    bend = 55 - 55 * math.cos(math.pi * t)
    thigh, shank = np.radians(90 - bend * 0.6), np.radians(90 + bend * 0.4)
    ankle = np.array([100.0, 390.0])
    knee = ankle - 100 * np.array([math.cos(shank), math.sin(shank)])
    hip = knee - 100 * np.array([math.cos(thigh), math.sin(thigh)])
    xy = np.full((1, 33, 2), np.nan, np.float32)
    for name, point in (("left_hip", hip), ("left_knee", knee), ("left_ankle", ankle)):
        xy[0, BLAZEPOSE_33.index(name)] = point if rng is None else point + rng.normal(scale=fps_noise, size=2)
    world = np.concatenate([xy * (1.7 / 400), np.where(np.isnan(xy[..., :1]), np.nan, 0)], axis=-1).astype(np.float32)
    return people(xy, [1], world=world, skeleton=BLAZEPOSE_33), bend


@pytest.mark.parametrize("fps", [15, 30, 60])
@pytest.mark.parametrize("name", ["left_knee_flexion_deg", "left_knee_flexion_3d_deg"])
def test_a_squat_keeps_its_depth_to_a_degree(fps, name):
    smooth, angles, truth = OneEuroPoseFilter(), [], []
    for i in range(4 * fps):
        poses, bend = squat(i / fps)
        angles.append(joint_angles(smooth.update(poses, timestamp_s=i / fps), timestamp_s=i / fps)[name][0])
        truth.append(bend)
    assert abs(max(angles) - max(truth)) < 1.0
    assert abs(min(angles[fps:]) - min(truth[fps:])) < 1.0


def test_jitter_at_rest_is_at_least_a_third_smaller():
    rng, smooth = np.random.default_rng(3), OneEuroPoseFilter()
    knee = BLAZEPOSE_33.index("left_knee")
    raw, calm = [], []
    for i in range(300):
        poses, _ = squat(0.0, 2.0, rng)
        raw.append(poses.keypoints_xy[0, knee])
        calm.append(smooth.update(poses, timestamp_s=i / 30).keypoints_xy[0, knee])
    assert np.std(calm[30:], axis=0).mean() < 0.67 * np.std(raw[30:], axis=0).mean()


def test_two_people_may_not_share_an_id():
    with pytest.raises(ValidationError, match="differ"):
        OneEuroPoseFilter().update(people(wander(1, 2)[0], [1, 1]), timestamp_s=0.0)


def test_another_skeleton_needs_another_filter():
    smooth = OneEuroPoseFilter()
    smooth.update(people(wander(1, 1)[0], [1]), timestamp_s=0.0)
    with pytest.raises(ValidationError, match="17 keypoints, got 33"):
        smooth.update(people(wander(1, 1, k=33)[0], [1], skeleton=BLAZEPOSE_33), timestamp_s=0.1)


def test_time_must_be_finite():
    with pytest.raises(ValidationError, match="finite"):
        OneEuroPoseFilter().update(Poses.empty(COCO_17), timestamp_s=math.nan)
