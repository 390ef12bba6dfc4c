"""Motion of many boxes at once: a Kalman filter on true time steps.

The state of a box is the position and velocity of (centre x, centre y, width, height) in px. Width and
height rather than aspect and height: an athlete's arms and legs change the two independently. The centre
moves with constant velocity; the width and height lose theirs within a fraction of a second, because limbs
swing back. All noise is diagonal, so the filter with eight states falls apart into four with two states
each, and all of them, for all boxes, are a few array operations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ACCELERATION_SIZES_PER_S2 = np.array([2.0, 2.0, 6.0, 6.0])
"""Standard deviation of the acceleration of (centre, centre, width, height), in box sizes per s².

A walking trunk swings with 1 body length per s², one that squats or jumps with 2 to 5; limbs that swing a
quarter of a body length to and fro once a second move the edges of the box with 7. The size is the longer
side of the box, which stays about one body length whether its owner stands or lies."""

RESHAPING_S = 0.3
"""Time in which the velocity of width and height falls to 37 %: limbs turn back after about that long."""

INITIAL_SPEED_SIZES_PER_S = 1.0
"""Standard deviation of a new box's velocity, in sizes per s; a brisk walk is 0.8."""

MEASUREMENT_SIZES = 0.04
"""Standard deviation of a detected centre, width or height, in sizes."""

MIN_SIZE_PX = 1.0  # below it, noise in proportion to the size would vanish and with it the gate


@dataclass(frozen=True, slots=True)
class BoxPrediction:
    """Where t boxes are believed to be at one time.

    Args:
        state: (5, t, 4): position (centre x, centre y, width, height) in px, velocity in px/s, variance of the position, its
            covariance with the velocity, variance of the velocity.
        seen: (t, 4) px: the position when each was seen last.
    """

    state: NDArray[np.float64]
    seen: NDArray[np.float64]

    @property
    def position(self) -> NDArray[np.float64]:
        """(t, 4) px: centre x, centre y, width, height."""
        return self.state[0]

    @property
    def velocity(self) -> NDArray[np.float64]:
        """(t, 4) px/s."""
        return self.state[1]

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(3, t, 4): variance of the position, its covariance with the velocity, variance of the velocity."""
        return self.state[2:]

    @property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """(t, 4) px; never narrower than 1 px."""
        centre, half = self.position[:, :2], np.maximum(self.position[:, 2:], MIN_SIZE_PX) / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    def centre_distance(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(t, m) squared Mahalanobis distance to the centres of (m, 4) px boxes; 2 degrees of freedom."""
        return self.shift_distance(to_state(boxes_xyxy)[None, :, :2] - self.position[:, None, :2], boxes_xyxy)

    def shift_distance(self, shift_px: NDArray[np.floating], boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(t, m) squared Mahalanobis distance of (t, m, 2) px moves of the centre; (m, 4) px boxes say how exact they are."""
        noise = _measurement_variance(to_state(boxes_xyxy))
        distance = shift_px**2 / (self.covariance[0, :, None, :2] + noise)
        return distance[..., 0] + distance[..., 1]

    def pair_distance(
        self, rows: NDArray[np.intp], columns: NDArray[np.intp], shift_px: NDArray[np.floating], boxes_xyxy: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """(p,) as `shift_distance`, for pairs of (p,) rows and (p,) columns, places in (m, 4) px boxes, with their (p, 2) px moves."""
        variance = self.covariance[0, rows, :2]
        variance += _measurement_variance(to_state(boxes_xyxy))[columns]
        distance = shift_px * shift_px
        distance /= variance
        return distance[:, 0] + distance[:, 1]

    def box_distance(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(t, m) squared Mahalanobis distance to (m, 4) px boxes; 4 degrees of freedom."""
        measured = to_state(boxes_xyxy)
        difference = measured[None] - self.position[:, None]
        return (difference**2 / (self.covariance[0, :, None] + _measurement_variance(measured))).sum(-1)


class BoxKalman:
    """Position, velocity and covariance of t boxes, each as of the time it was seen last.

    A prediction is one step from there to the asked time, however many frames without the box lie between:
    what a track may do while nobody sees it does not depend on the frame rate. The process noise of that
    step is discrete white-noise acceleration (Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to
    Tracking and Navigation", 6.3.2); the covariance is corrected in Joseph's form, which stays positive
    whatever the rounding.

    Example:
        >>> motion = BoxKalman()
        >>> motion.append(np.array([[0.0, 0.0, 40.0, 100.0]]), 0.0)
        >>> for step in (1, 2, 3):
        ...     seen = np.array([[10.0 * step, 0.0, 40.0 + 10.0 * step, 100.0]])
        ...     motion.update(motion.predict(0.1 * step), np.array([0]), seen, 0.1 * step)
        >>> motion.predict(0.8).boxes_xyxy.round(-1).tolist()  # 100 px/s to the right
        [[80.0, 0.0, 120.0, 100.0]]
    """

    def __init__(self) -> None:
        self._state = np.zeros((5, 0, 4))  # as in `BoxPrediction`
        self.seen_s = np.zeros(0)
        """(t,) time at which each box was seen last, seconds."""

    def __len__(self) -> int:
        return len(self.seen_s)

    @property
    def position(self) -> NDArray[np.float64]:
        """(t, 4) px: centre x, centre y, width, height, when each was seen last."""
        return self._state[0]

    def append(self, boxes_xyxy: NDArray[np.floating], now_s: float) -> None:
        """Add (m, 4) px boxes, at rest as far as is known."""
        position = to_state(boxes_xyxy)
        state = np.zeros((5, *position.shape))
        state[0], state[2], state[4] = position, _measurement_variance(position), (INITIAL_SPEED_SIZES_PER_S * _size(position)) ** 2
        self._state = np.concatenate([self._state, state], axis=1)
        self.seen_s = np.concatenate([self.seen_s, np.full(len(position), now_s)])

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drop all boxes but those of the (t,) mask."""
        self._state, self.seen_s = self._state[:, rows], self.seen_s[rows]

    def only(self) -> tuple[list[list[float]], float]:
        """The state (five numbers of each of four coordinates, as in `BoxPrediction`) of the only box and when it was seen."""
        return self._state[:, 0].T.tolist(), float(self.seen_s[0])

    def set_only(self, coordinates: list[tuple[float, ...]], now_s: float) -> None:
        """Write what `only` gives."""
        self._state[:, 0] = tuple(zip(*coordinates, strict=True))
        self.seen_s[0] = now_s

    def warp(self, affine: NDArray[np.float64]) -> None:
        """Carry all boxes into another view of the same camera.

        Args:
            affine: (2, 3) px, from the picture the boxes are known in to the one that comes; a rotation, a scale
                and a shift (BoT-SORT, arXiv:2206.14651, section 3.2).
        """
        turn = affine[:, :2]
        scale = math.sqrt(abs(float(np.linalg.det(turn))))
        position, velocity = self._state[:2]
        position[:, :2] = position[:, :2] @ turn.T + affine[:, 2]
        velocity[:, :2] = velocity[:, :2] @ turn.T
        position[:, 2:] *= scale
        velocity[:, 2:] *= scale
        self._state[2:] *= scale**2

    def predict(self, now_s: float) -> BoxPrediction:
        """All boxes at `now_s`, which is not before any was seen."""
        dt = (now_s - self.seen_s)[:, None]
        # Position gains travel * velocity, velocity keeps the part `kept`: F = [[1, travel], [0, kept]].
        position, velocity, xx, xv, vv = self._state
        travel, kept = np.empty_like(position), np.ones_like(position)
        turned = np.exp(dt / -RESHAPING_S)
        kept[:, 2:] = turned
        travel[:, :2], travel[:, 2:] = dt, RESHAPING_S * (1 - turned)
        q = (ACCELERATION_SIZES_PER_S2 * _size(position)) ** 2
        step = dt * dt
        gained = xv + travel * vv
        state = np.empty_like(self._state)
        np.add(position, travel * velocity, out=state[0])
        np.multiply(kept, velocity, out=state[1])
        np.add(xx + travel * (xv + gained), step * step / 4 * q, out=state[2])
        np.add(kept * gained, step * dt / 2 * q, out=state[3])
        np.add(kept * kept * vv, step * q, out=state[4])
        return BoxPrediction(state, position.copy())

    def update(self, prediction: BoxPrediction, rows: NDArray[np.intp], boxes_xyxy: NDArray[np.floating], now_s: float) -> None:
        """Correct the boxes `rows` (m,) of a prediction for `now_s` by what was detected then, (m, 4) px."""
        measured = to_state(boxes_xyxy)
        r = _measurement_variance(measured)
        state = prediction.state[:, rows]
        position, velocity, xx, xv, vv = state
        spread = xx + r
        k_position, k_velocity = xx / spread, xv / spread
        surprise = measured - position
        position += k_position * surprise
        velocity += k_velocity * surprise
        rest = 1 - k_position
        # From the last to the first, for each needs those before it as they were.
        np.add(vv - 2 * k_velocity * xv, k_velocity * k_velocity * spread, out=vv)
        np.add(rest * (xv - k_velocity * xx), k_position * k_velocity * r, out=xv)
        np.add(rest * rest * xx, k_position * k_position * r, out=xx)
        self._state[:, rows] = state
        self.seen_s[rows] = now_s


_STATE_OF_BOX = np.array([[0.5, 0.0, -1.0, 0.0], [0.0, 0.5, 0.0, -1.0], [0.5, 0.0, 1.0, 0.0], [0.0, 0.5, 0.0, 1.0]])


def to_state(boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """(m, 4) centre x, centre y, width, height of (m, 4) px boxes."""
    # Halves and differences are exact, in whatever order a product adds them.
    return np.asarray(boxes_xyxy, np.float64) @ _STATE_OF_BOX


def _size(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """(t, 1) px, the longer side."""
    return np.maximum(np.maximum(state[:, 2:3], state[:, 3:4]), MIN_SIZE_PX)


def _measurement_variance(state: NDArray[np.float64]) -> NDArray[np.float64]:
    return (MEASUREMENT_SIZES * _size(state)) ** 2
