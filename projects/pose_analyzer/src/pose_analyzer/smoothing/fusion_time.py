"""Fusion over time, weighted by confidence: what was seen well counts for more than what was guessed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.tracks import (
    Array,
    MemoryFilter,
    Slots,
    Space,
    TrackMemory,
    filter_spaces,
    require_finite_at_least,
    require_positive,
    space_fields,
)
from shared_utils.data_models import Poses

_LEAST_WEIGHT = 1e-3  # a reading of confidence 0 still says a little


class ExponentialFusionFilter(MemoryFilter):
    """Average of all readings, each weighted by its confidence and faded by its age.

    The weight of a reading is confidence^power * exp(-age / time constant). A keypoint seen badly for a moment stays near where
    it was seen well; with equal confidences it is the exponential moving average, without its slow start.

    Args:
        time_constant_s: Age at which a reading counts for 37 %, seconds.
        power: Exponent of the confidence, >= 0.
        max_gap_s: Longest gap that a point's history survives, seconds.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> len(ExponentialFusionFilter().update(Poses.empty(COCO_17), timestamp_s=0.0))
        0
    """

    def __init__(self, *, time_constant_s: float = 0.05, power: float = 2.0, max_gap_s: float = 0.5) -> None:
        require_positive(time_constant_s=time_constant_s)
        require_finite_at_least(0, power=power)
        self._time_constant_s, self._power = time_constant_s, power
        self._memory = TrackMemory(max_gap_s, space_fields(lambda d: {"sum": ((d,), 0.0), "weight": ((), 0.0), "seen_s": ((), np.nan)}))

    def _moved(self, poses: Poses, rows: NDArray[np.intp], slots: Slots) -> dict[str, NDArray[np.float32]]:
        weight = _weights(poses.keypoint_confidence[rows], self._power)
        return filter_spaces(poses, rows, lambda x, space, _: self._step(x, slots, space, weight))

    def _step(self, x: Array, slots: Slots, space: Space, weight: Array) -> Array:
        sums, weights, seen_s = (self._memory[f"{space}_{name}"] for name in ("sum", "weight", "seen_s"))
        age_s = self._memory.last_s - seen_s[slots]
        keep = np.where(age_s <= self._memory.max_gap_s, np.exp(-age_s / self._time_constant_s), 0.0)
        missing = np.isnan(x).any(-1)
        total = keep * weights[slots] + weight
        new = keep[..., None] * sums[slots] + weight[..., None] * x
        hole = missing[..., None]
        sums[slots] = np.where(hole, sums[slots], new)
        weights[slots] = np.where(missing, weights[slots], total)
        seen_s[slots] = np.where(missing, seen_s[slots], self._memory.last_s)
        return np.where(hole, np.nan, new / total[..., None])


class TemporalFusionFilter(MemoryFilter):
    """The value now of a line fitted to the readings of the last moments, weighted by confidence.

    A line rather than a mean: a point that moves evenly is not held back. Where fewer than three readings lie in the window,
    or they carry next to no weight but the newest, the newest reading passes.

    Args:
        window_s: Readings that old take part, seconds. Default 0.11: four readings at 30 frames/s.
        power: Exponent of the confidence, >= 0.
        size: Most readings kept per point; enough for the window at the highest frame rate.
        max_gap_s: Longest absence that a track survives, seconds.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> len(TemporalFusionFilter().update(Poses.empty(COCO_17), timestamp_s=0.0))
        0
    """

    def __init__(self, *, window_s: float = 0.11, power: float = 2.0, size: int = 12, max_gap_s: float = 0.5) -> None:
        require_positive(window_s=window_s)
        require_finite_at_least(0, power=power)
        require_finite_at_least(3, size=size)
        self._window_s, self._power, self._size = window_s, power, int(size)
        n = self._size
        self._memory = TrackMemory(
            max_gap_s, space_fields(lambda d: {"past": ((n, d), 0.0), "past_s": ((n,), -np.inf), "past_weight": ((n,), 0.0)})
        )

    def _moved(self, poses: Poses, rows: NDArray[np.intp], slots: Slots) -> dict[str, NDArray[np.float32]]:
        weight = _weights(poses.keypoint_confidence[rows], self._power)
        return filter_spaces(poses, rows, lambda x, space, _: self._step(x, slots, space, weight))

    def _step(self, x: Array, slots: Slots, space: Space, weight: Array) -> Array:
        past, past_s, past_weight = (self._memory[f"{space}_{name}"] for name in ("past", "past_s", "past_weight"))
        missing = np.isnan(x).any(-1)
        shifted = np.concatenate([past[slots][..., 1:, :], x[..., None, :]], axis=-2)
        times = np.concatenate([past_s[slots][..., 1:], np.full((*missing.shape, 1), self._memory.last_s)], axis=-1)
        weights = np.concatenate([past_weight[slots][..., 1:], weight[..., None]], axis=-1)
        hole = missing[..., None]
        past[slots] = np.where(hole[..., None], past[slots], shifted)
        past_s[slots] = np.where(hole, past_s[slots], times)
        past_weight[slots] = np.where(hole, past_weight[slots], weights)
        fitted = _line_at_end(shifted, times - self._memory.last_s, weights, self._window_s)
        return np.where(hole, np.nan, np.where(np.isnan(fitted), x, fitted))


def _weights(confidence: np.ndarray, power: float) -> Array:
    return np.maximum(confidence.astype(np.float64), _LEAST_WEIGHT) ** power


def _line_at_end(values: Array, age_s: Array, weights: Array, window_s: float) -> Array:
    """(..., d) value at age 0 of the weighted least-squares line; NaN where fewer than three readings are in the window."""
    inside = age_s >= -window_s
    w = np.where(inside, weights, 0.0)
    t = np.where(inside, age_s, 0.0)
    s0, s1, s2 = w.sum(-1), (w * t).sum(-1), (w * t * t).sum(-1)
    v0, v1 = np.einsum("...i,...id->...d", w, values), np.einsum("...i,...id->...d", w * t, values)
    determinant = s0 * s2 - s1 * s1
    enough = (inside.sum(-1) >= 3) & (determinant > 1e-9 * s0 * s0 * window_s**2)
    safe = np.where(enough, determinant, 1.0)
    line = (s2[..., None] * v0 - s1[..., None] * v1) / safe[..., None]
    return np.where(enough[..., None], line, np.nan)
