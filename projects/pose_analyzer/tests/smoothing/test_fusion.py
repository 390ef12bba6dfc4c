"""Two measurements made one: the arithmetic by hand, contradictions, sides, people only one saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_analyzer.smoothing import fuse_measurements, fuse_poses
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

positive = st.floats(0.1, 50)


@given(st.floats(-1e3, 1e3), st.floats(-100, 100), positive, positive)
def test_weights_are_inverse_variances_and_the_variance_is_kept(x, d, sa, sb):
    fused = fuse_measurements([[[x, 0.0]], [[x + d, 0.0]]], [[sa], [sb]], max_disagreement=1e9)
    expected = (x / sa**2 + (x + d) / sb**2) / (1 / sa**2 + 1 / sb**2)
    assert fused.value[0, 0] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert fused.sigma[0] ** -2 == pytest.approx(sa**-2 + sb**-2)


def test_the_stated_sigma_is_the_spread_that_one_gets():
    rng = np.random.default_rng(0)
    sigmas = np.array([2.0, 3.0, 5.0])[:, None] * np.ones((3, 20000))
    values = rng.normal(size=(3, 20000, 2)) * sigmas[..., None]
    fused = fuse_measurements(values, sigmas, max_disagreement=1e9)
    assert np.std(fused.value) == pytest.approx(fused.sigma[0], rel=0.02)


def test_a_contradiction_takes_the_surer_one_and_says_it_is_less_sure():
    fused = fuse_measurements([[[0.0, 0.0]], [[100.0, 0.0]]], [[2.0], [1.0]])
    assert fused.value[0].tolist() == [100.0, 0.0]
    assert fused.sigma[0] > 50
    assert fused.disagreement[0] == pytest.approx(100 / 5**0.5)


def test_one_alone_passes_and_nobody_is_nobody():
    fused = fuse_measurements([[[np.nan, 0.0], [np.nan, 0]], [[3.0, 4.0], [np.nan, 1]]], [[1.0, 1.0], [2.0, 1.0]])
    assert fused.value[0].tolist() == [3.0, 4.0]
    assert fused.sigma[0] == 2.0
    assert np.isnan(fused.value[1]).all()
    assert np.isnan(fused.sigma[1])


@pytest.mark.parametrize("sigmas", [[[0.0], [1.0]], [[1.0]], [[-1.0], [1.0]]])
def test_bad_sigmas_are_named(sigmas):
    with pytest.raises(ValidationError, match="sigmas"):
        fuse_measurements(np.zeros((2, 1, 2)), sigmas)


def people(offsets, *, noise=0.0, sigma=1.0, seed=0):
    rng, n = np.random.default_rng(seed), len(offsets)
    body = np.random.default_rng(99).uniform(0, 1, (17, 2)) * [80, 200]
    xy = (
        body[None] + np.array([[[o, 0.0]] for o in offsets]).reshape(n, 1, 2) + rng.normal(scale=noise, size=(n, 17, 2))
        if n
        else np.zeros((0, 17, 2))
    )
    boxes = np.array([[o, 0, o + 80, 200] for o in offsets], float).reshape(n, 4)
    return Poses(
        boxes_xyxy=boxes,
        scores=np.full(n, 0.8),
        keypoints_xy=xy,
        keypoint_confidence=np.ones((n, 17)),
        keypoint_sigma_px=np.full((n, 17), sigma),
        skeleton=COCO_17,
    )


def test_two_noisy_detectors_are_better_than_either():
    truth = people([0, 300, 600])
    a, b = people([0, 300, 600], noise=3, sigma=3, seed=1), people([600, 0, 300], noise=2, sigma=2, seed=2)
    fused = fuse_poses(a, b)
    error = lambda p, order=(0, 1, 2): np.std(p.keypoints_xy[list(order)] - truth.keypoints_xy)  # noqa: E731
    assert len(fused) == 3
    assert error(fused) < min(error(a), error(b, (1, 2, 0)))
    np.testing.assert_allclose(fused.keypoint_sigma_px, 1 / np.sqrt(1 / 9 + 1 / 4), rtol=1e-5)


def test_a_second_reading_with_left_and_right_exchanged_is_turned_round():
    a = people([0], noise=0.5, seed=1)
    b = people([0], noise=0.5, seed=2)
    flipped = b.replace(keypoints_xy=b.keypoints_xy[:, COCO_17.flip_indices])
    np.testing.assert_allclose(fuse_poses(a, flipped).keypoints_xy, fuse_poses(a, b).keypoints_xy, rtol=1e-6)


def test_people_only_one_saw_are_kept_in_order_and_holes_are_filled_from_the_other():
    a, b = people([0]).replace(track_ids=np.array([4])), people([900, 0])
    xy, confidence = a.keypoints_xy.copy(), a.keypoint_confidence.copy()
    xy[0, 5], confidence[0, 5] = np.nan, 0
    fused = fuse_poses(a.replace(keypoints_xy=xy, keypoint_confidence=confidence), b)
    assert fused.track_ids.tolist() == [4, -1]
    np.testing.assert_array_equal(fused.keypoints_xy[0, 5], b.keypoints_xy[1, 5])
    assert fused.boxes_xyxy[1, 0] == 900
    assert len(fuse_poses(a, b, keep_unmatched=False)) == 1


def test_nobody_fuses_with_anybody():
    assert len(fuse_poses(people([]), people([0, 300]))) == 2
    assert len(fuse_poses(people([0]), people([]))) == 1
    with pytest.raises(ValidationError, match="to_skeleton"):
        fuse_poses(people([0]), Poses.empty(BLAZEPOSE_33))
