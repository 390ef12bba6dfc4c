"""What every live filter promises, whatever its mathematics."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

from pose_analyzer.smoothing import FilterName, PoseFilter, create_filter
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

NAMES = get_args(FilterName)


def people(xy, ids, *, world=None, size=400.0, skeleton=COCO_17, confidence=None):
    xy = np.asarray(xy, np.float32)
    n = len(xy)
    seen = ~np.isnan(xy).any(-1)
    return Poses(
        boxes_xyxy=np.tile([0, 0, size / 2, size], (n, 1)),
        scores=np.ones(n),
        keypoints_xy=xy,
        keypoint_confidence=seen.astype(float) if confidence is None else np.where(seen, confidence, 0.0),
        skeleton=skeleton,
        world_xyz_m=world,
        track_ids=ids,
    )


def wander(frames, n, seed=0, k=17):
    return 200 + np.cumsum(np.random.default_rng(seed).normal(scale=2, size=(frames, n, k, 2)), axis=0).astype(np.float32)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_it_keeps_the_contract(name):
    assert isinstance(create_filter(name), PoseFilter)


def test_rows_order_and_every_other_field_stay(name):
    smooth = create_filter(name)
    for i, xy in enumerate(wander(5, 3)):
        poses = people(xy, [7, -1, 2], confidence=0.8)
        out = smooth.update(poses, timestamp_s=i / 30)
        for field in ("boxes_xyxy", "scores", "keypoint_confidence", "track_ids", "origin"):
            np.testing.assert_array_equal(getattr(out, field), getattr(poses, field))
        np.testing.assert_array_equal(out.keypoints_xy[1], xy[1])
    assert (out.keypoints_xy[0] != xy[0]).any()


def test_each_person_is_filtered_as_if_alone_whatever_the_row(name):
    rng, path = np.random.default_rng(4), wander(15, 10)
    path[rng.random(path.shape[:3]) < 0.2] = np.nan
    together, alone = create_filter(name), [create_filter(name) for _ in range(10)]
    for i, xy in enumerate(path):
        here = rng.permutation(10)[: rng.integers(0, 11)]
        out = together.update(people(xy[here], here * 3), timestamp_s=i / 10)
        for row, person in enumerate(here):
            own = alone[person].update(people(xy[[person]], [5]), timestamp_s=i / 10)
            np.testing.assert_allclose(out.keypoints_xy[row], own.keypoints_xy[0], rtol=1e-6)


def test_a_missing_point_stays_missing_and_harms_nobody(name):
    smooth, path = create_filter(name), wander(10, 1)
    for i, xy in enumerate(path):
        if i in (4, 5):
            xy[0, 3] = np.nan
        out = smooth.update(people(xy, [1]), timestamp_s=i / 30).keypoints_xy[0]
        assert np.isnan(out[3]).all() == (i in (4, 5))
        assert np.isfinite(np.delete(out, 3, axis=0)).all()


def test_a_person_without_any_keypoint_is_fine(name):
    smooth = create_filter(name)
    for i in range(4):
        out = smooth.update(people(np.full((1, 17, 2), np.nan), [1]), timestamp_s=i / 30)
    assert np.isnan(out.keypoints_xy).all()
    assert len(smooth.update(Poses.empty(COCO_17), timestamp_s=1.0)) == 0


def test_a_larger_picture_gives_the_same_people_larger(name):
    small, large = create_filter(name), create_filter(name)
    for i, xy in enumerate(wander(20, 2)):
        a = small.update(people(xy, [1, 2]), timestamp_s=i / 30).keypoints_xy
        b = large.update(people(xy * 4, [1, 2], size=1600.0), timestamp_s=i / 30).keypoints_xy
        np.testing.assert_allclose(a * 4, b, rtol=1e-5)


def test_a_repeated_or_slightly_earlier_frame_passes_and_leaves_no_trace(name):
    path, smooth, untouched = wander(4, 1), create_filter(name), create_filter(name)
    for f in (smooth, untouched):
        f.update(people(path[0], [1]), timestamp_s=1.0)
    for timestamp_s in (1.0, 0.9):
        np.testing.assert_array_equal(smooth.update(people(path[1], [1]), timestamp_s=timestamp_s).keypoints_xy, path[1])
    a, b = (f.update(people(path[2], [1]), timestamp_s=1.1).keypoints_xy for f in (smooth, untouched))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("end", ["gap", "forget", "reset", "clock"])
def test_history_ends_when_it_should(name, end):
    smooth, path = create_filter(name), wander(6, 1)
    for i, xy in enumerate(path[:5]):
        smooth.update(people(xy, [1]), timestamp_s=10 + i / 30)
    if end == "forget":
        smooth.forget(1)
        smooth.forget(99)
    if end == "reset":
        smooth.reset()
    when = {"gap": 11.0, "clock": 0.0}.get(end, 10.2)
    np.testing.assert_allclose(smooth.update(people(path[5], [1]), timestamp_s=when).keypoints_xy, path[5], rtol=1e-6)


@pytest.mark.parametrize("fps", [1, 5, 15, 60, 240])
def test_any_frame_rate_gives_finite_values_near_the_readings(name, fps):
    smooth, rng = create_filter(name), np.random.default_rng(0)
    for i in range(60):
        xy = 200 + 60 * math.sin(2 * math.pi * 0.2 * i / fps) + rng.normal(size=(1, 17, 2))
        out = smooth.update(people(xy, [1]), timestamp_s=i / fps).keypoints_xy
        assert np.abs(out - xy).max() < 20


def test_a_track_that_becomes_somebody_else_follows_within_a_fifth_of_a_second(name):
    smooth = create_filter(name)
    for i in range(30):
        smooth.update(people(np.full((1, 17, 2), 100.0), [1]), timestamp_s=i / 30)
    for i in range(30, 37):
        out = smooth.update(people(np.full((1, 17, 2), 500.0), [1]), timestamp_s=i / 30)
    assert np.abs(out.keypoints_xy - 500).max() < 12


def test_metric_landmarks_are_filtered_too(name):
    smooth, rng = create_filter(name), np.random.default_rng(1)
    worlds = rng.normal(scale=0.004, size=(30, 1, 33, 3)).astype(np.float32)
    outs = [
        smooth.update(people(np.full((1, 33, 2), 9.0), [1], world=w, skeleton=BLAZEPOSE_33), timestamp_s=i / 30).world_xyz_m
        for i, w in enumerate(worlds)
    ]
    assert np.std(outs[10:]) < np.std(worlds[10:])


def test_the_same_input_gives_the_same_bytes(name):
    a, b = create_filter(name), create_filter(name)
    for i, xy in enumerate(wander(12, 2)):
        x, y = (f.update(people(xy, [1, 2]), timestamp_s=i / 30).keypoints_xy for f in (a, b))
        assert x.tobytes() == y.tobytes()


def test_bad_input_is_named(name):
    smooth = create_filter(name)
    with pytest.raises(ValidationError, match="finite"):
        smooth.update(Poses.empty(COCO_17), timestamp_s=math.nan)
    with pytest.raises(ValidationError, match="differ"):
        smooth.update(people(wander(1, 2)[0], [1, 1]), timestamp_s=0.0)
    smooth.update(people(wander(1, 1)[0], [1]), timestamp_s=0.1)
    with pytest.raises(ValidationError, match="17 keypoints, got 33"):
        smooth.update(people(wander(1, 1, k=33)[0], [1], skeleton=BLAZEPOSE_33), timestamp_s=0.2)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("steady", {"beta": -1}, "beta"),
        ("steady", {"noise_factor": 0}, "noise_factor"),
        ("kalman_velocity", {"noise_sizes": 0}, "noise_sizes"),
        ("kalman_velocity", {"model": "velocity"}, "no option 'model'"),
        ("ema", {"time_constant_s": math.nan}, "time_constant_s"),
        ("temporal_fusion", {"window": 1}, "window_s"),
        ("exponential_fusion", {"power": -2}, "power"),
        ("median", {}, "there are steady"),
    ],
)
def test_impossible_settings_are_named(name, options, word):
    with pytest.raises(ValidationError, match=word):
        create_filter(name, **options)
