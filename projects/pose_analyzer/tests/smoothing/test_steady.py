"""The default filter: nine tenths of the jitter gone at rest, no lag in motion, at any rate and noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.smoothing import SteadyPoseFilter
from pose_analyzer.smoothing.judge import error_px, jitter_px, lag_s
from pose_analyzer.smoothing.steady import third_difference
from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17

HEIGHT = 450.0


def run(smooth, path, t):
    out = np.empty_like(path)
    for i, xy in enumerate(path):
        poses = Poses(
            boxes_xyxy=[[0, 0, 200, HEIGHT]],
            scores=[1],
            keypoints_xy=xy[None],
            keypoint_confidence=np.ones((1, 17)),
            track_ids=[1],
            skeleton=COCO_17,
        )
        out[i] = smooth.update(poses, timestamp_s=float(t[i])).keypoints_xy[0]
    return out


@pytest.mark.parametrize("fps", [15, 30, 60, 120])
@pytest.mark.parametrize("noise_px", [0.3, 1.0, 2.5])
def test_at_rest_at_most_a_tenth_of_the_jitter_is_left(fps, noise_px):
    t = np.arange(6 * fps) / fps
    truth = np.full((len(t), 17, 2), 300.0)
    seen = truth + np.random.default_rng(1).normal(scale=noise_px, size=truth.shape)
    calm = run(SteadyPoseFilter(), seen, t)
    settled = t > 3.0
    assert jitter_px(calm[settled], truth[settled]) < 0.1 * jitter_px(seen[settled], truth[settled])


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_a_fast_swing_lags_by_less_than_half_a_frame_and_keeps_its_reach(fps):
    t = np.arange(4 * fps) / fps
    swing = 120 * np.sin(2 * np.pi * 1.2 * t)  # up to 2 body heights per second
    truth = np.tile(np.stack([300 + swing, 300 - 0.5 * swing], axis=-1)[:, None], (1, 17, 1))
    seen = truth + np.random.default_rng(2).normal(scale=0.5, size=truth.shape)
    smooth = run(SteadyPoseFilter(), seen, t)
    assert lag_s(smooth, truth, t) <= 0.5 / fps
    assert smooth[fps:, :, 0].max() == pytest.approx(420, abs=6)


def test_a_slow_squat_is_not_further_from_the_truth_than_the_readings_by_a_tenth_of_a_percent_of_the_body():
    t = np.arange(180) / 30
    drop = 60 * (1 - np.cos(2 * np.pi * t / 3))
    truth = np.tile(np.stack([np.full_like(t, 300), 200 + drop], axis=-1)[:, None], (1, 17, 1))
    seen = truth + np.random.default_rng(3).normal(scale=0.5, size=truth.shape)
    assert error_px(run(SteadyPoseFilter(), seen, t), truth) < error_px(seen, truth) + 0.001 * HEIGHT


@pytest.mark.parametrize("noise_px", [0.6, 1.2, 2.0])
def test_the_noise_of_a_keypoint_is_measured(noise_px):
    t = np.arange(300) / 30
    seen = 300 + 50 * np.sin(t)[:, None, None] + np.random.default_rng(4).normal(scale=noise_px, size=(300, 17, 2))
    smooth = SteadyPoseFilter()
    run(smooth, seen, t)
    assert np.median(smooth.noise_sizes(1)) * HEIGHT == pytest.approx(noise_px, rel=0.3)
    assert smooth.noise_sizes(2) is None


@given(st.lists(st.floats(0.005, 0.3), min_size=4, max_size=4), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_no_parabola_leaves_a_third_difference(gaps, coefficients):
    t = np.cumsum(gaps)
    assert float(third_difference(np.polyval(coefficients, t)[:, None], t)) < 1e-6


def test_white_noise_keeps_its_size_in_the_third_difference_whatever_the_times():
    rng = np.random.default_rng(5)
    t = np.cumsum(rng.uniform(0.01, 0.2, (20000, 4)), axis=1)
    assert np.sqrt((third_difference(rng.normal(size=(20000, 4, 1)), t) ** 2).mean()) == pytest.approx(1.0, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(st.sampled_from([1 / 240, 1 / 60, 1 / 30, 1 / 30, 1 / 30, 0.2, 0.7, 1.0]), min_size=8, max_size=40),
    people=st.integers(1, 3),
    holes=st.sampled_from([0.0, 0.05]),
    metres=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_points_that_share_their_times_are_filtered_as_those_that_do_not(steps, people, holes, metres, seed):
    rng = np.random.default_rng(seed)
    short, general = SteadyPoseFilter(), SteadyPoseFilter()
    xy, world, now = rng.normal(300, 60, (people, 17, 2)), rng.normal(size=(people, 17, 3)), 0.0
    for step in steps:
        now += step
        xy = xy + rng.normal(0, rng.choice([0.3, 8.0]), xy.shape)
        seen = np.where(rng.random((people, 17, 1)) < holes, np.nan, xy)
        poses = Poses(
            boxes_xyxy=np.tile([0, 0, 200, HEIGHT], (people, 1)),
            scores=np.ones(people),
            keypoints_xy=seen,
            keypoint_confidence=~np.isnan(seen[..., 0]),
            world_xyz_m=world + rng.normal(0, 0.01, world.shape) if metres else None,
            track_ids=np.arange(people) + 1,
            skeleton=COCO_17,
        )
        a = short.update(poses, timestamp_s=now)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SteadyPoseFilter, "_step_together", lambda self, x, at, height, times: self._step_apart(x, at, height))
            b = general.update(poses, timestamp_s=now)
        np.testing.assert_allclose(a.keypoints_xy, b.keypoints_xy, rtol=1e-6, atol=1e-4)
        if metres:
            np.testing.assert_allclose(a.world_xyz_m, b.world_xyz_m, rtol=1e-6, atol=1e-6)
