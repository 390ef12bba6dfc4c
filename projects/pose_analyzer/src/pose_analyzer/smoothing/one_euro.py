"""The One Euro filter: a low-pass whose cutoff rises with speed, so that rest is calm and motion is prompt.

`OneEuroFilter` filters an array of any shape, element by element. `OneEuroPoseFilter` filters the
people of a stream: one state per track, speed measured in body heights per second. Both run on true
timestamps; a missing value (NaN) stays missing and leaves the state as it was.

Source: G. Casiez, N. Roussel, D. Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy
Input in Interactive Systems", CHI 2012. The derivative is taken from the last *filtered* value, as
the authors' current code does (the paper's pseudo code uses the last raw value).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose_analyzer.smoothing.tracks import body_height_px, with_positions
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError

Array = NDArray[np.float64]

# World landmarks are in metres of a person whose height the detector does not know.
_NOMINAL_HEIGHT_M = 1.7


_Slots = NDArray[np.intp] | slice
"""Places of some people in the arrays of states; a slice, which copies nothing, for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    min_cutoff_hz: float
    beta: float
    derivative_cutoff_hz: float
    max_gap_s: float

    def __post_init__(self) -> None:
        for name in ("min_cutoff_hz", "derivative_cutoff_hz", "max_gap_s"):
            value = getattr(self, name)
            if not value > 0:
                raise ValidationError(f"{name} must be greater than 0, got {value}")
        if not (self.beta >= 0 and math.isfinite(self.beta)):
            raise ValidationError(f"beta must be a finite number of at least 0, got {self.beta}")


@dataclass(slots=True)
class _State:
    """Last filtered value and rate (..., d) of points, and when each was last seen.

    `seen_s` is an array (...), NaN before the first reading, or a number when all points were last seen together.
    """

    value: Array
    rate: Array
    seen_s: Array | float

    @classmethod
    def blank(cls, shape: tuple[int, ...], d: int) -> _State:
        return cls(np.zeros((*shape, d)), np.zeros((*shape, d)), np.full(shape, np.nan))


class _Pool:
    """The states of many tracks, k points of d coordinates each, in numbered slots."""

    def __init__(self, size: int, k: int, d: int) -> None:
        self.value, self.rate, self.seen_s = np.zeros((size, k, d)), np.zeros((size, k, d)), np.full((size, k), np.nan)

    def take(self, slots: _Slots) -> _State:
        seen_s = self.seen_s[slots]
        together = bool((seen_s == seen_s[0, 0]).all())
        return _State(self.value[slots], self.rate[slots], float(seen_s[0, 0]) if together else seen_s)

    def put(self, slots: _Slots, state: _State) -> None:
        self.value[slots], self.rate[slots], self.seen_s[slots] = state.value, state.rate, state.seen_s

    def resized(self, size: int, k: int, used: list[int]) -> _Pool:
        pool = _Pool(size, k, self.value.shape[-1])
        if used:
            pool.put(np.array(used), _State(self.value[used], self.rate[used], self.seen_s[used]))
        return pool


class OneEuroFilter:
    """One Euro filter of an array; every element has its own clock.

    cutoff = min_cutoff_hz + beta * |speed|, where speed is the low-passed derivative. Tune
    `min_cutoff_hz` at rest first (lower = calmer), then `beta` in motion (higher = less lag).

    Args:
        min_cutoff_hz: Cutoff at rest in Hz, > 0. Default 1.0, the authors' starting value.
        beta: Rise of the cutoff in Hz per (unit of the signal per second), >= 0. Default 0: a plain
            low-pass.
        derivative_cutoff_hz: Cutoff of the speed estimate in Hz, > 0. Default 1.0, as published.
        max_gap_s: An element without a reading for longer starts afresh. Default: never.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> smooth = OneEuroFilter(min_cutoff_hz=1.0, beta=0.1)
        >>> [round(float(smooth.update(x, timestamp_s=t)), 3) for t, x in ((0.0, 0.0), (0.1, 1.0), (0.2, float("nan")), (0.3, 1.0))]
        [0.0, 0.465, nan, 0.799]
    """

    def __init__(
        self, *, min_cutoff_hz: float = 1.0, beta: float = 0.0, derivative_cutoff_hz: float = 1.0, max_gap_s: float = math.inf
    ) -> None:
        self._settings = _Settings(min_cutoff_hz=min_cutoff_hz, beta=beta, derivative_cutoff_hz=derivative_cutoff_hz, max_gap_s=max_gap_s)
        self._state: _State | None = None
        self._last_s = -math.inf

    def update(self, x: ArrayLike, *, timestamp_s: float) -> Array:
        """Filter one sample.

        Args:
            x: Array of any shape, the same at every call; NaN = missing.
            timestamp_s: Its time in seconds, later than the one before.

        Returns:
            Array of the same shape; NaN where `x` is.

        Raises:
            ValidationError: The shape changed, or time stood still, ran backwards or is not finite.
        """
        x = np.asarray(x, np.float64)
        if not (math.isfinite(timestamp_s) and timestamp_s > self._last_s):
            raise ValidationError(f"timestamp_s must be finite and later than {self._last_s}, got {timestamp_s}")
        if self._state is None:
            self._state = _State.blank(x.shape, 1)
        elif self._state.value.shape[:-1] != x.shape:
            raise ValidationError(f"x must keep its shape {self._state.value.shape[:-1]}, got {x.shape}; use one filter per signal")
        self._last_s = timestamp_s
        out, self._state = _step(x[..., None], float(timestamp_s), self._state, self._settings, 1.0)
        return out[..., 0]

    def reset(self) -> None:
        """Forget everything, as if new."""
        self._state = None
        self._last_s = -math.inf


class OneEuroPoseFilter:
    """One Euro filter of people: positions in pixels and in metres, one state per track.

    Speed is measured in body heights per second (longer side of the person's box in pixels; 1.7 m for
    metric landmarks), so the same settings suit every resolution and distance: an image twice as large
    gives exactly twice the output. The coordinates of a keypoint share one cutoff, taken from the length of
    its velocity; separate cutoffs would let x lag behind y and bend paths.

    Rows of track -1 pass unfiltered. A point that is missing stays missing; unseen for longer than
    `max_gap_s` it starts afresh. A frame that repeats the time of the last one or steps back by less than
    `max_gap_s` passes unfiltered and leaves no trace; a larger step back is a new clock, and everything
    starts afresh.

    Args:
        min_cutoff_hz: Cutoff at rest in Hz. Default 0.1; noise, which looks like speed, raises it to about 1 Hz.
        beta: Rise of the cutoff, Hz per (body height per second). Default 50: a wrist or hip in exercise moves at 0.3 to 2
            heights/s, hence cutoffs of 15 to 100 Hz.
        derivative_cutoff_hz: Cutoff of the speed estimate in Hz. Default 1.0, as published. All three by
            `pose-analyzer smooth-sweep`.
        max_gap_s: Longest gap that a point's history survives, seconds. Default 0.5.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> smooth = OneEuroPoseFilter()
        >>> len(smooth.update(Poses.empty(COCO_17), timestamp_s=0.0))
        0
    """

    def __init__(
        self, *, min_cutoff_hz: float = 0.1, beta: float = 50.0, derivative_cutoff_hz: float = 1.0, max_gap_s: float = 0.5
    ) -> None:
        self._settings = _Settings(min_cutoff_hz=min_cutoff_hz, beta=beta, derivative_cutoff_hz=derivative_cutoff_hz, max_gap_s=max_gap_s)
        self.reset()

    def update(self, poses: Poses, *, timestamp_s: float) -> Poses:
        """Filter the people of one frame.

        Args:
            poses: n people; the skeleton stays the same for the life of the filter (else `reset` it).
            timestamp_s: Media clock of the frame in seconds.

        Returns:
            The same rows with `keypoints_xy` and `world_xyz_m` filtered.

        Raises:
            ValidationError: `timestamp_s` is not finite, or the skeleton changed.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        if timestamp_s < self._last_s - self._settings.max_gap_s:
            self.reset()
        if timestamp_s <= self._last_s:
            return poses
        self._last_s = timestamp_s = float(timestamp_s)
        self._forget_lost(timestamp_s)
        ids = poses.track_ids.tolist()
        rows = slice(None) if min(ids, default=-1) >= 0 else np.flatnonzero(poses.track_ids >= 0)
        ids = [i for i in ids if i >= 0]
        if not ids:
            return poses
        slots = self._slots_of(ids, len(poses.skeleton), timestamp_s)
        height_px = body_height_px(poses, rows)[:, None]
        changes = {"keypoints_xy": self._filtered(poses.keypoints_xy, rows, slots, self._pixels, timestamp_s, height_px)}
        if poses.world_xyz_m is not None:
            changes["world_xyz_m"] = self._filtered(poses.world_xyz_m, rows, slots, self._metres, timestamp_s, _NOMINAL_HEIGHT_M)
        return with_positions(poses, changes)

    def forget(self, track_id: int) -> None:
        """Drop the state of one track; unknown ids are ignored."""
        slot = self._slot.pop(track_id, None)
        if slot is not None:
            self._track_seen_s.pop(track_id)
            self._free.append(slot)
            self._pixels.seen_s[slot] = np.nan
            self._metres.seen_s[slot] = np.nan

    def reset(self) -> None:
        """Drop the state of every track, as at the start of a stream."""
        self._slot: dict[int, int] = {}
        self._track_seen_s: dict[int, float] = {}
        self._free: list[int] = []
        self._pixels, self._metres = _Pool(0, 0, 2), _Pool(0, 0, 3)
        self._last_s = -math.inf

    def _forget_lost(self, timestamp_s: float) -> None:
        # Beyond the gap every point would start afresh anyway, so dropping the track changes nothing but memory.
        for track_id in [i for i, seen_s in self._track_seen_s.items() if timestamp_s - seen_s > self._settings.max_gap_s]:
            self.forget(track_id)

    def _slots_of(self, track_ids: list[int], k: int, timestamp_s: float) -> _Slots:
        if self._slot and self._pixels.seen_s.shape[1] != k:
            raise ValidationError(f"the filter holds tracks of {self._pixels.seen_s.shape[1]} keypoints, got {k}; reset it first")
        if len(set(track_ids)) != len(track_ids):
            raise ValidationError(f"track ids must differ within a frame, got {track_ids}")
        new = [i for i in track_ids if i not in self._slot]
        if len(new) > len(self._free) or self._pixels.seen_s.shape[1] != k:
            self._grow(len(self._slot) + len(new), k)
        for track_id in new:
            self._slot[track_id] = self._free.pop()
        self._track_seen_s.update(dict.fromkeys(track_ids, timestamp_s))
        if len(track_ids) == 1:
            slot = self._slot[track_ids[0]]
            return slice(slot, slot + 1)
        return np.array([self._slot[i] for i in track_ids], np.intp)

    def _grow(self, needed: int, k: int) -> None:
        size = max(8, 1 << (needed - 1).bit_length())
        used = list(self._slot.values())
        self._pixels, self._metres = self._pixels.resized(size, k, used), self._metres.resized(size, k, used)
        self._free = sorted(set(range(size)) - set(used), reverse=True)

    def _filtered(
        self,
        x: NDArray[np.float32],
        rows: NDArray[np.intp] | slice,
        slots: _Slots,
        pool: _Pool,
        timestamp_s: float,
        scale: Array | float,
    ) -> NDArray[np.float32]:
        filtered, state = _step(x[rows].astype(np.float64), timestamp_s, pool.take(slots), self._settings, scale)
        pool.put(slots, state)
        out = x.copy()
        out[rows] = filtered
        return out


def _step(x: Array, t: float, state: _State, settings: _Settings, scale: Array | float) -> tuple[Array, _State]:
    """One filter step of points x (..., d) at time t; `scale` (...) divides the speed that sets the cutoff."""
    seen_s = state.seen_s
    if isinstance(seen_s, float) and 0 < t - seen_s <= settings.max_gap_s:
        # The ordinary case, every point was seen in the last frame and is seen now: one te for all halves the work.
        value, rate = _advance(x, t - seen_s, state, settings, scale)
        if not math.isnan(np.vdot(value, value)):  # the cheapest way to find a NaN
            return value, _State(value, rate, t)
    te = t - (seen_s if isinstance(seen_s, np.ndarray) else np.full(x.shape[:-1], seen_s))
    known = (te > 0) & (te <= settings.max_gap_s)  # false before the first reading, where te is NaN
    value, rate = _advance(x, te[..., None], state, settings, scale)
    missing = np.isnan(x).any(-1)
    fresh = ~known[..., None]
    value, rate = np.where(fresh, x, value), np.where(fresh, 0.0, rate)
    if not missing.any():
        return value, _State(value, rate, t)
    keep = missing[..., None]
    kept = _State(np.where(keep, state.value, value), np.where(keep, state.rate, rate), np.where(missing, seen_s, t))
    return np.where(keep, np.nan, value), kept


def _advance(x: Array, te: Array | float, state: _State, settings: _Settings, scale: Array | float) -> tuple[Array, Array]:
    """Filtered value and rate, (..., d) both.

    The paper's alpha = 1 / (1 + tau / te) with tau = 1 / (2 pi cutoff) is written as r / (1 + r), r = te / tau.
    """
    residual = x - state.value
    r = te * (2 * math.pi * settings.derivative_cutoff_hz)
    alpha = r / (1 + r)
    rate = (alpha / te) * residual + (1 - alpha) * state.rate
    speed = np.abs(rate) if x.shape[-1] == 1 else np.sqrt(np.einsum("...d,...d->...", rate, rate))[..., None]
    if isinstance(scale, np.ndarray):
        scale = scale[..., None]
    r = (te * (2 * math.pi * settings.beta) / scale) * speed + te * (2 * math.pi * settings.min_cutoff_hz)
    return state.value + residual * (r / (1 + r)), rate
