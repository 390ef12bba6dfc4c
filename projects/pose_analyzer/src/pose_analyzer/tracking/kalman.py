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
        position: (t, 4) px: centre x, centre y, width, height.
        velocity: (t, 4) px/s.
        covariance: (3, t, 4): variance of the position, its covariance with the velocity, variance of the
            velocity.
        seen: (t, 4) px: the position when each was seen last.
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    covariance: NDArray[np.float64]
    seen: NDArray[np.float64]

    @property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """(t, 4) px; never narrower than 1 px."""
        centre, half = self.position[:, :2], np.maximum(self.position[:, 2:], MIN_SIZE_PX) / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    def centre_distance(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(t, m) squared Mahalanobis distance to the centres of (m, 4) px boxes; 2 degrees of freedom."""
        return self.shift_distance(_to_state(boxes_xyxy)[None, :, :2] - self.position[:, None, :2], boxes_xyxy)

    def shift_distance(self, shift_px: NDArray[np.floating], boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(t, m) squared Mahalanobis distance of (t, m, 2) px moves of the centre; (m, 4) px boxes say how exact they are."""
        noise = _measurement_variance(_to_state(boxes_xyxy))
        return (shift_px**2 / (self.covariance[0, :, None, :2] + noise)).sum(-1)

    def pair_distance(
        self, rows: NDArray[np.intp], shift_px: NDArray[np.floating], boxes_xyxy: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """(p,) as `shift_distance`, for pairs of (p,) rows and (p, 4) px boxes with their (p, 2) px moves."""
        return (shift_px**2 / (self.covariance[0, rows, :2] + _measurement_variance(_to_state(boxes_xyxy)))).sum(-1)

    def box_distance(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(t, m) squared Mahalanobis distance to (m, 4) px boxes; 4 degrees of freedom."""
        measured = _to_state(boxes_xyxy)
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
        >>> motion.predict(0.8).boxes_xyxy.round(-1)  # 100 px/s to the right
        array([[ 80.,   0., 120., 100.]])
    """

    def __init__(self) -> None:
        self._position = np.zeros((0, 4))
        self._velocity = np.zeros((0, 4))
        self._covariance = np.zeros((3, 0, 4))
        self.seen_s = np.zeros(0)
        """(t,) time at which each box was seen last, seconds."""

    def __len__(self) -> int:
        return len(self.seen_s)

    def append(self, boxes_xyxy: NDArray[np.floating], now_s: float) -> None:
        """Add (m, 4) px boxes, at rest as far as is known."""
        position = _to_state(boxes_xyxy)
        zero = np.zeros_like(position)
        covariance = np.stack([zero + _measurement_variance(position), zero, zero + (INITIAL_SPEED_SIZES_PER_S * _size(position)) ** 2])
        self._position = np.concatenate([self._position, position])
        self._velocity = np.concatenate([self._velocity, zero])
        self._covariance = np.concatenate([self._covariance, covariance], axis=1)
        self.seen_s = np.concatenate([self.seen_s, np.full(len(position), now_s)])

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Drop all boxes but those of the (t,) mask."""
        self._position, self._velocity, self._covariance = self._position[rows], self._velocity[rows], self._covariance[:, rows]
        self.seen_s = self.seen_s[rows]

    def only(self) -> tuple[list[float], list[float], list[list[float]], float]:
        """Position, velocity, the three covariances and the time seen of the only box, as plain numbers."""
        return self._position[0].tolist(), self._velocity[0].tolist(), self._covariance[:, 0].tolist(), float(self.seen_s[0])

    def set_only(self, coordinates: list[tuple[float, ...]], now_s: float) -> None:
        """Write the only box: position, velocity and the three covariances of each of the four coordinates."""
        self._position[0], self._velocity[0], *covariance = zip(*coordinates, strict=True)
        self._covariance[:, 0] = covariance
        self.seen_s[0] = now_s

    def warp(self, affine: NDArray[np.float64]) -> None:
        """Carry all boxes into another view of the same camera.

        Args:
            affine: (2, 3) px, from the picture the boxes are known in to the one that comes; a rotation, a scale
                and a shift (BoT-SORT, arXiv:2206.14651, section 3.2).
        """
        turn = affine[:, :2]
        scale = math.sqrt(abs(float(np.linalg.det(turn))))
        self._position[:, :2] = self._position[:, :2] @ turn.T + affine[:, 2]
        self._velocity[:, :2] = self._velocity[:, :2] @ turn.T
        self._position[:, 2:] *= scale
        self._velocity[:, 2:] *= scale
        self._covariance *= scale**2

    def predict(self, now_s: float) -> BoxPrediction:
        """All boxes at `now_s`, which is not before any was seen."""
        elapsed = (now_s - self.seen_s)[:, None]
        dt = np.repeat(elapsed, 4, axis=1)
        # Position gains travel * velocity, velocity keeps the part `kept`: F = [[1, travel], [0, kept]].
        travel, kept = dt.copy(), np.ones_like(dt)
        kept[:, 2:] = np.exp(elapsed / -RESHAPING_S)
        travel[:, 2:] = RESHAPING_S * (1 - kept[:, 2:])
        q = (ACCELERATION_SIZES_PER_S2 * _size(self._position)) ** 2
        step = dt * dt
        xx, xv, vv = self._covariance
        gained = xv + travel * vv
        covariance = np.empty_like(self._covariance)
        covariance[0] = xx + travel * (xv + gained) + step * step / 4 * q
        covariance[1] = kept * gained + step * dt / 2 * q
        covariance[2] = kept * kept * vv + step * q
        return BoxPrediction(self._position + travel * self._velocity, kept * self._velocity, covariance, self._position.copy())

    def update(self, prediction: BoxPrediction, rows: NDArray[np.intp], boxes_xyxy: NDArray[np.floating], now_s: float) -> None:
        """Correct the boxes `rows` (m,) of a prediction for `now_s` by what was detected then, (m, 4) px."""
        measured = _to_state(boxes_xyxy)
        r = _measurement_variance(measured)
        xx, xv, vv = prediction.covariance[:, rows]
        k_position, k_velocity = xx / (xx + r), xv / (xx + r)
        surprise = measured - prediction.position[rows]
        self._position[rows] = prediction.position[rows] + k_position * surprise
        self._velocity[rows] = prediction.velocity[rows] + k_velocity * surprise
        rest = 1 - k_position
        self._covariance[0, rows] = rest * rest * xx + k_position * k_position * r
        self._covariance[1, rows] = rest * (xv - k_velocity * xx) + k_position * k_velocity * r
        self._covariance[2, rows] = vv - 2 * k_velocity * xv + k_velocity * k_velocity * (xx + r)
        self.seen_s[rows] = now_s


def _to_state(boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    boxes = np.asarray(boxes_xyxy, np.float64)
    state = np.empty_like(boxes)
    np.add(boxes[:, :2], boxes[:, 2:], out=state[:, :2])
    state[:, :2] /= 2
    np.subtract(boxes[:, 2:], boxes[:, :2], out=state[:, 2:])
    return state


def _size(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """(t, 1) px, the longer side."""
    return np.maximum(np.maximum(state[:, 2:3], state[:, 3:4]), MIN_SIZE_PX)


def _measurement_variance(state: NDArray[np.float64]) -> NDArray[np.float64]:
    return (MEASUREMENT_SIZES * _size(state)) ** 2
