"""Kalman filters of people: constant velocity or constant acceleration, on true time steps.

All noise is the same in every direction of the picture, so the coordinates of a keypoint share one covariance: the filter of
n people with k keypoints is n * k small matrices of 2 x 2 or 3 x 3, stepped together.

Sources: Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation" (2001), sections 6.3.2 and
6.3.3 (discrete white noise acceleration, discrete Wiener process acceleration); Bucy and Joseph (1968) for the covariance
update that stays symmetric and positive.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.tracks import (
    Array,
    MemoryFilter,
    Slots,
    Space,
    TrackMemory,
    filter_spaces,
    keypoint_sigma,
    require_finite_at_least,
    require_positive,
    space_fields,
)
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError

Model = Literal["velocity", "acceleration"]

# Squared Mahalanobis distance that a true reading exceeds once in 10 000 (chi squared, 2 and 3 degrees of freedom).
GATE = {"px": 18.42, "m": 21.11}
_FIRST_SPEED, _FIRST_ACCELERATION = 1.0, 5.0  # standard deviations of a new point, body heights per s and per s²


def transition(dt_s: Array, order: int) -> Array:
    """(..., order, order) F of a point with constant velocity (order 2) or acceleration (order 3).

    Example:
        >>> transition(np.array(0.5), 3).tolist()
        [[1.0, 0.5, 0.125], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]
    """
    f = np.zeros((*np.shape(dt_s), order, order))
    for i in range(order):
        f[..., i, i] = 1.0
    f[..., 0, 1] = dt_s
    if order == 3:
        f[..., 1, 2] = dt_s
        f[..., 0, 2] = np.square(dt_s) / 2
    return f


def process_noise(dt_s: Array, order: int) -> Array:
    """(..., order, order) Q for unit noise: G G' with G = (dt²/2, dt) or (dt²/2, dt, 1).

    Order 2: the acceleration is a new random number in each step. Order 3: the acceleration changes by one.

    Example:
        >>> process_noise(np.array(2.0), 2).tolist()
        [[4.0, 4.0], [4.0, 4.0]]
    """
    dt_s = np.asarray(dt_s, np.float64)
    g: Array = np.stack([dt_s**2 / 2, dt_s, np.ones_like(dt_s)][:order], axis=-1)
    return g[..., :, None] * g[..., None, :]


class KalmanPoseFilter(MemoryFilter):
    """A Kalman filter per keypoint, with gating of outliers.

    Every frame predicts by the true time since the point was last predicted; a finite reading within the gate corrects. A
    reading outside of the gate is left out and the prediction takes its place, for at most `max_rejected_s`; after that the
    reading is believed and the point starts afresh from it. A missing point stays missing (a `GapFiller` fills gaps); unseen for longer
    than `max_gap_s` it starts afresh. Rows of track -1 pass unfiltered.

    Args:
        model: "velocity" (state: position, velocity) or "acceleration" (position, velocity, acceleration).
        acceleration_sizes_per_s2: Standard deviation of the acceleration ("velocity") or of its change within 1/30 s
            ("acceleration"; it grows with the square root of the step), body heights per s². Higher follows faster and
            smooths less. Default 40 and 20, with which the fastest limbs are followed without lag; little is smoothed then
            (a still person: 3 or 10 and 1.5). `pose-analyzer smooth-sweep` shows the exchange.
        noise_sizes: Standard deviation of a well seen keypoint in body heights, where the detector gives no
            `keypoint_sigma_px`; grows for low confidence. Default 0.002 (1 px on a person of 450 px).
        gate: Whether outliers are left out: readings whose squared Mahalanobis distance a true one exceeds once in 10 000.
        min_jump_sizes: Distance to the prediction below which nothing is an outlier, body heights: limbs turn faster than any
            random acceleration.
        max_rejected_s: Longest time that readings outside of the gate are disbelieved, seconds.
        max_gap_s: Longest gap that a point's history survives, seconds.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> len(KalmanPoseFilter(model="acceleration").update(Poses.empty(COCO_17), timestamp_s=0.0))
        0
    """

    def __init__(
        self,
        *,
        model: Model = "velocity",
        acceleration_sizes_per_s2: float | None = None,
        noise_sizes: float = 0.002,
        gate: bool = True,
        min_jump_sizes: float = 0.25,
        max_rejected_s: float = 0.05,
        max_gap_s: float = 0.5,
    ) -> None:
        if model not in ("velocity", "acceleration"):
            raise ValidationError(f"model must be 'velocity' or 'acceleration', got {model!r}")
        acceleration = acceleration_sizes_per_s2 if acceleration_sizes_per_s2 is not None else (40.0 if model == "velocity" else 20.0)
        require_positive(acceleration_sizes_per_s2=acceleration, noise_sizes=noise_sizes, max_rejected_s=max_rejected_s)
        require_finite_at_least(0, min_jump_sizes=min_jump_sizes)
        self._order = 2 if model == "velocity" else 3
        self._acceleration, self._noise_sizes = acceleration, noise_sizes
        self._gate, self._max_rejected_s, self._min_jump_sizes = gate, max_rejected_s, min_jump_sizes
        n = self._order
        self._memory = TrackMemory(
            max_gap_s,
            # at_s: when the state was predicted to; seen_s: when a reading last corrected it.
            space_fields(lambda d: {"mean": ((n, d), 0.0), "cov": ((n, n), 0.0), "at_s": ((), np.nan), "seen_s": ((), np.nan)}),
        )

    def _moved(self, poses: Poses, rows: NDArray[np.intp], slots: Slots) -> dict[str, NDArray[np.float32]]:
        def step(x: Array, space: Space, height: Array) -> Array:
            return self._step(x, slots, space, height, keypoint_sigma(poses, rows, height, self._noise_sizes))

        return filter_spaces(poses, rows, step)

    def state(self, track_id: int) -> tuple[Array, Array] | None:
        """Mean (k, order, 2) and covariance (k, order, order) of a track in px and s; None for an unknown track."""
        slot = self._memory.slot_of.get(track_id)
        return None if slot is None else (self._memory["px_mean"][slot].copy(), self._memory["px_cov"][slot].copy())

    def _step(self, x: Array, slots: Slots, space: Space, height: Array, sigma: Array) -> Array:
        memory, now = self._memory, self._memory.last_s
        mean, cov = memory[f"{space}_mean"], memory[f"{space}_cov"]
        at_s, seen_s = memory[f"{space}_at_s"], memory[f"{space}_seen_s"]
        since_s = now - seen_s[slots]
        known = since_s <= memory.max_gap_s  # false before the first reading, where it is NaN
        dt = np.where(known, now - at_s[slots], 0.0)
        predicted, p = self._predicted(mean[slots], cov[slots], dt, height)
        missing = np.isnan(x).any(-1)
        r = sigma**2
        innovation = np.where(missing[..., None], 0.0, x - predicted[..., 0, :])
        s = p[..., 0, 0] + r
        distance2 = (innovation**2).sum(-1)
        far = known & (distance2 > (self._min_jump_sizes * height) ** 2) & self._gate
        outlier = far & (distance2 > GATE[space] * s)
        # A detector that insists is right. Neither then, nor right after a rejection, is the way to a far reading a velocity.
        insists = outlier & (since_s > self._max_rejected_s)
        again = far & (since_s > dt * 1.5) & ~outlier
        start = ~missing & (~known | insists | again)
        use = ~missing & known & ~outlier & ~start
        corrected, joseph = _corrected(predicted, p, innovation, r)
        first_mean = np.zeros_like(predicted)
        first_mean[..., 0, :] = x
        new = _choose(start, first_mean, _choose(use, corrected, predicted))
        new_cov = _choose(start, self._first_cov(r, height), _choose(use, joseph, p))
        mean[slots], cov[slots] = new, new_cov
        at_s[slots] = np.where(start | known, now, np.nan)
        seen_s[slots] = np.where(start | use, now, seen_s[slots])
        return np.where(missing[..., None], np.nan, new[..., 0, :])

    def _predicted(self, mean: Array, cov: Array, dt: Array, height: Array) -> tuple[Array, Array]:
        f = transition(dt, self._order)
        q = process_noise(dt, self._order)
        if self._order == 3:
            # The change of acceleration is a random walk in time, whatever the rate of frames.
            q = q * (dt * 30.0)[..., None, None]
        q = q * ((self._acceleration * height) ** 2)[..., None, None]
        return f @ mean, f @ cov @ f.swapaxes(-1, -2) + q

    def _first_cov(self, r: Array, height: Array) -> Array:
        cov = np.zeros((*r.shape, self._order, self._order))
        cov[..., 0, 0] = r
        cov[..., 1, 1] = (_FIRST_SPEED * height) ** 2
        if self._order == 3:
            cov[..., 2, 2] = (_FIRST_ACCELERATION * height) ** 2
        return cov


def _corrected(mean: Array, p: Array, innovation: Array, r: Array) -> tuple[Array, Array]:
    """State after a reading of the position with variance r: the Joseph form (I - K H) P (I - K H)' + K r K'."""
    gain = p[..., :, 0] / (p[..., 0, 0] + r)[..., None]
    left = np.broadcast_to(np.eye(p.shape[-1]), p.shape).copy()
    left[..., :, 0] -= gain
    joseph = left @ p @ left.swapaxes(-1, -2) + gain[..., :, None] * gain[..., None, :] * r[..., None, None]
    return mean + gain[..., :, None] * innovation[..., None, :], joseph


def _choose(where: NDArray[np.bool_], a: Array, b: Array) -> Array:
    return np.where(where[..., None, None], a, b)
