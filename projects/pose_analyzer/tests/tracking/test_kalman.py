"""The vectorised filter against a slow twin: textbook matrices of one box, and arithmetic by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.tracking import kalman
from pose_analyzer.tracking.kalman import BoxKalman


class SlowTwin:
    """One box; state (cx, cy, w, h, and their velocities) with full 8x8 matrices."""

    def __init__(self, box, now_s):
        z = self.measurement(box)
        size = max(z[2], z[3], 1.0)
        self.x = np.concatenate([z, np.zeros(4)])
        self.P = np.diag([(kalman.MEASUREMENT_SIZES * size) ** 2] * 4 + [(kalman.INITIAL_SPEED_SIZES_PER_S * size) ** 2] * 4)
        self.t = now_s

    @staticmethod
    def measurement(box):
        x1, y1, x2, y2 = box
        return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])

    def predict(self, now_s):
        dt = now_s - self.t
        size = max(self.x[2], self.x[3], 1.0)
        F, Q = np.eye(8), np.zeros((8, 8))
        for i in range(4):
            if i < 2:
                F[i, i + 4] = dt
            else:  # the velocity of the shape decays; the integral of that decay is the way it goes
                F[i + 4, i + 4] = np.exp(-dt / kalman.RESHAPING_S)
                F[i, i + 4] = kalman.RESHAPING_S * (1 - np.exp(-dt / kalman.RESHAPING_S))
            G = np.zeros((8, 1))
            G[i], G[i + 4] = dt**2 / 2, dt  # a constant acceleration over the step
            Q += G @ G.T * (kalman.ACCELERATION_SIZES_PER_S2[i] * size) ** 2
        return F @ self.x, F @ self.P @ F.T + Q

    def update(self, box, now_s):
        x, P = self.predict(now_s)
        z = self.measurement(box)
        H = np.hstack([np.eye(4), np.zeros((4, 4))])
        R = np.eye(4) * (kalman.MEASUREMENT_SIZES * max(z[2], z[3], 1.0)) ** 2
        K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R)
        I_KH = np.eye(8) - K @ H
        self.x = x + K @ (z - H @ x)
        self.P = I_KH @ P @ I_KH.T + K @ R @ K.T  # Joseph
        self.t = now_s


_BOX = st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(0, 300), st.floats(0, 300)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


def _assert_equal(motion: BoxKalman, row: int, twin: SlowTwin, now_s: float) -> None:
    prediction = motion.predict(now_s)
    x, P = twin.predict(now_s)
    np.testing.assert_allclose(prediction.position[row], x[:4], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(prediction.velocity[row], x[4:], rtol=1e-9, atol=1e-6)
    for i, (a, b) in enumerate([(0, 0), (0, 4), (4, 4)]):
        expected = [P[a + k, b + k] for k in range(4)]
        np.testing.assert_allclose(prediction.covariance[i, row], expected, rtol=1e-7, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1.5), st.lists(st.one_of(st.none(), _BOX), min_size=2, max_size=2)), min_size=1, max_size=12))
def test_all_boxes_at_once_give_what_full_matrices_give_one_by_one(steps):
    start = [[0.0, 0.0, 40.0, 100.0], [200.0, 50.0, 300.0, 90.0]]
    motion, now = BoxKalman(), 0.0
    motion.append(np.array(start), now)
    twins = [SlowTwin(box, now) for box in start]
    for dt, boxes in steps:
        now += dt
        seen = [i for i, box in enumerate(boxes) if box is not None]
        motion.update(motion.predict(now), np.array(seen, int), np.array([boxes[i] for i in seen]).reshape(-1, 4), now)
        for i in seen:
            twins[i].update(boxes[i], now)
        for i, twin in enumerate(twins):
            _assert_equal(motion, i, twin, now + 0.1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), _BOX), min_size=1, max_size=20))
def test_the_covariance_stays_positive(steps):
    motion, now = BoxKalman(), 0.0
    motion.append(np.array([[0.0, 0.0, 40.0, 100.0]]), now)
    for dt, box in steps:
        now += dt
        motion.update(motion.predict(now), np.array([0]), np.array([box]), now)
        xx, xv, vv = motion.predict(now).covariance[:, 0]
        assert (xx > 0).all()
        assert (vv > 0).all()
        assert (xx * vv - xv**2 >= -1e-9 * xx * vv).all()


def test_a_steady_walk_is_learned():
    motion = BoxKalman()
    for i in range(60):
        box = np.array([[100.0 + 5 * i, 50.0, 160.0 + 5 * i, 230.0]])
        if i == 0:
            motion.append(box, 0.0)
        else:
            motion.update(motion.predict(i / 30), np.array([0]), box, i / 30)
    ahead = motion.predict(59 / 30 + 0.5)
    np.testing.assert_allclose(ahead.position[0, 0], 130 + 5 * 59 + 150 * 0.5, atol=2)
    np.testing.assert_allclose(ahead.position[0, 2:], [60, 180], atol=1)


def test_prediction_does_not_depend_on_the_frames_without_the_box():
    motion = BoxKalman()
    motion.append(np.array([[0.0, 0.0, 40.0, 100.0]]), 0.0)
    motion.update(motion.predict(0.1), np.array([0]), np.array([[8.0, 0.0, 50.0, 100.0]]), 0.1)
    expected = motion.predict(0.9)
    for t in (0.2, 0.3, 0.31, 0.8):
        nobody = motion.predict(t)
        motion.update(nobody, np.zeros(0, int), np.zeros((0, 4)), t)
    np.testing.assert_array_equal(motion.predict(0.9).covariance, expected.covariance)


def test_a_shape_stops_changing_while_nobody_looks():
    motion = BoxKalman()
    for i in range(10):  # arms go up and out: 12 px wider with every frame
        box = np.array([[100.0 - 6 * i, 50.0, 160.0 + 6 * i, 230.0]])
        if i == 0:
            motion.append(box, 0.0)
        else:
            motion.update(motion.predict(i / 30), np.array([0]), box, i / 30)
    width = motion.predict(9 / 30).position[0, 2]
    speed = motion.predict(9 / 30).velocity[0, 2]
    assert motion.predict(9 / 30 + 10).position[0, 2] - width < 0.31 * speed


def test_the_distance_of_a_centre_is_in_standard_deviations():
    motion = BoxKalman()
    motion.append(np.array([[0.0, 0.0, 100.0, 100.0]]), 0.0)
    # Variance of a new position and of a measurement: (0.04 * 100)^2 each.
    distance = motion.predict(0.0).centre_distance(np.array([[8.0, 0.0, 108.0, 100.0], [0.0, 0.0, 100.0, 100.0]]))
    np.testing.assert_allclose(distance, [[64 / 32, 0.0]])


def test_a_box_without_extent_does_no_harm():
    motion = BoxKalman()
    motion.append(np.array([[5.0, 5.0, 5.0, 5.0]]), 0.0)
    motion.update(motion.predict(0.1), np.array([0]), np.array([[5.0, 5.0, 5.0, 5.0]]), 0.1)
    prediction = motion.predict(0.2)
    assert np.isfinite(prediction.covariance).all()
    x1, y1, x2, y2 = prediction.boxes_xyxy[0]
    assert x2 - x1 >= 1
    assert y2 - y1 >= 1
