"""Exponential smoothing of people: the plainest low-pass, on true time steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.tracks import Array, MemoryFilter, Slots, Space, TrackMemory, filter_spaces, require_positive, space_fields
from shared_utils.data_models import Poses


class EmaPoseFilter(MemoryFilter):
    """Exponential moving average per keypoint: value += (1 - exp(-dt / time constant)) * (reading - value).

    It lags behind a moving point by one time constant whatever its speed; the One Euro and steady filters do not. A missing
    point stays missing; unseen for longer than `max_gap_s` it starts afresh. Rows of track -1 pass unfiltered.

    Args:
        time_constant_s: Seconds in which 63 % of a step has come through, > 0. Default 0.05: at 30 frames/s half of the
            jitter, and a lag of one frame and a half.
        max_gap_s: Longest gap that a point's history survives, seconds. Default 0.5.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> len(EmaPoseFilter().update(Poses.empty(COCO_17), timestamp_s=0.0))
        0
    """

    def __init__(self, *, time_constant_s: float = 0.05, max_gap_s: float = 0.5) -> None:
        require_positive(time_constant_s=time_constant_s)
        self._time_constant_s = time_constant_s
        self._memory = TrackMemory(max_gap_s, space_fields(lambda d: {"value": ((d,), np.nan), "seen_s": ((), np.nan)}))

    def _moved(self, poses: Poses, rows: NDArray[np.intp], slots: Slots) -> dict[str, NDArray[np.float32]]:
        return filter_spaces(poses, rows, lambda x, space, _: self._step(x, slots, space))

    def _step(self, x: Array, slots: Slots, space: Space) -> Array:
        values, seen_s = self._memory[f"{space}_value"], self._memory[f"{space}_seen_s"]
        dt = self._memory.last_s - seen_s[slots]
        missing = np.isnan(x).any(-1)
        # NaN (never seen) compares false and so counts as a new start.
        known = dt <= self._memory.max_gap_s
        alpha = np.where(known, 1 - np.exp(-dt / self._time_constant_s), 1.0)[..., None]
        last = np.where(known[..., None], values[slots], x)
        new = last + alpha * (x - last)
        values[slots] = np.where(missing[..., None], values[slots], new)
        seen_s[slots] = np.where(missing, seen_s[slots], self._memory.last_s)
        return np.where(missing[..., None], np.nan, new)
