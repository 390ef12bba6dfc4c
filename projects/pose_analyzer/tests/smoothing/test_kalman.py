"""The Kalman filter against the textbook's matrices written out for one number, and its gate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.smoothing import KalmanPoseFilter
from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17

HEIGHT = 200.0


def person(xy, sigma=None):
    xy = np.asarray(xy, float).reshape(1, 1, 2) * np.ones((1, 17, 1))
    return Poses(
        boxes_xyxy=[[0, 0, 100, HEIGHT]],
        scores=[1],
        keypoints_xy=xy,
        keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0.0, 1.0),
        keypoint_sigma_px=None if sigma is None else np.full((1, 17), sigma),
        track_ids=[1],
        skeleton=COCO_17,
    )


class Twin:
    """Textbook Kalman filter of one coordinate, plain matrices, covariance update P - K S K'."""

    def __init__(self, order, acceleration, r):
        self.order, self.q, self.r = order, (acceleration * HEIGHT) ** 2, r
        self.x = None

    def __call__(self, z, dt):
        n = self.order
        if self.x is None:
            self.x = np.zeros((n, 1))
            self.x[0] = z
            self.p = np.diag([self.r, HEIGHT**2, (5 * HEIGHT) ** 2][:n]).astype(float)
            return z
        f = np.array([[1, dt, dt * dt / 2], [0, 1, dt], [0, 0, 1]])[:n, :n]
        g = np.array([[dt * dt / 2], [dt], [1.0]])[:n]
        q = g @ g.T * self.q * (1 if n == 2 else dt * 30)
        self.x, self.p = f @ self.x, f @ self.p @ f.T + q
        if z is None:
            return None
        h = np.eye(1, n)
        s = h @ self.p @ h.T + self.r
        k = self.p @ h.T / s
        self.x = self.x + k * (z - h @ self.x)
        self.p = self.p - k @ s @ k.T
        return float(self.x[0, 0])


steps = st.lists(st.tuples(st.floats(0.005, 0.2), st.floats(-300, 300), st.booleans()), min_size=2, max_size=25)


@given(steps, st.sampled_from(["velocity", "acceleration"]), st.floats(0.5, 20), st.floats(0.3, 5))
@settings(deadline=None, max_examples=60)
def test_equal_to_the_textbook_with_uneven_times_and_holes(samples, model, acceleration, sigma):
    ours = KalmanPoseFilter(model=model, acceleration_sizes_per_s2=acceleration, gate=False, max_gap_s=60)
    twin, t = Twin(2 if model == "velocity" else 3, acceleration, np.float64(np.float32(sigma)) ** 2), 0.0
    for i, (dt, value, hole) in enumerate(samples):
        t, z = t + dt, None if hole and i else float(np.float32(value))
        out = ours.update(person([np.nan if z is None else z] * 2, sigma), timestamp_s=t).keypoints_xy[0, 0]
        expected = twin(z, dt)
        if expected is not None:
            np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-2)


def test_the_covariance_stays_symmetric_and_positive_over_a_long_run():
    smooth, rng = KalmanPoseFilter(model="acceleration", noise_sizes=1e-5), np.random.default_rng(0)
    for i in range(2000):
        smooth.update(person(rng.normal(100, 5, 2)), timestamp_s=i / 240)
    _, covariance = smooth.state(1)
    np.testing.assert_allclose(covariance, covariance.swapaxes(-1, -2), rtol=1e-12)
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_an_outlier_is_left_out_and_a_detector_that_insists_is_believed():
    smooth = KalmanPoseFilter(max_rejected_s=0.1)
    for i in range(30):
        smooth.update(person([100.0 + i, 50.0]), timestamp_s=i / 30)
    out = smooth.update(person([300.0, 50.0]), timestamp_s=1.0).keypoints_xy[0, 0]
    assert out[0] == pytest.approx(130, abs=1.0)
    assert smooth.update(person([131.0, 50.0]), timestamp_s=31 / 30).keypoints_xy[0, 0, 0] == pytest.approx(131, abs=1.0)
    for i in range(32, 37):
        out = smooth.update(person([300.0, 50.0]), timestamp_s=i / 30).keypoints_xy[0, 0]
    assert out[0] == pytest.approx(300, abs=1e-3)


def test_a_point_of_low_confidence_moves_the_state_less():
    sure, unsure = KalmanPoseFilter(acceleration_sizes_per_s2=1), KalmanPoseFilter(acceleration_sizes_per_s2=1)
    for i in range(30):
        for f in (sure, unsure):
            f.update(person([100.0, 100.0]), timestamp_s=i / 30)
    step = person([104.0, 100.0])
    low = step.replace(keypoint_confidence=np.full((1, 17), 0.3, np.float32))
    a = sure.update(step, timestamp_s=1.0).keypoints_xy[0, 0, 0]
    b = unsure.update(low, timestamp_s=1.0).keypoints_xy[0, 0, 0]
    assert b - 100 < 0.6 * (a - 100)


def test_an_unknown_track_has_no_state():
    assert KalmanPoseFilter().state(3) is None
