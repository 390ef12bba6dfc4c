"""The default filter: still at rest, without lag in motion, whatever the noise of the detector.

One Euro raises its cutoff in proportion to speed, so that the noise, which looks like speed, opens it at rest too. Here the
cutoff rises only with speed that stands out from the noise, and the noise of every keypoint is measured as it goes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.tracks import (
    NOMINAL_HEIGHT_M,
    Array,
    MemoryFilter,
    Slots,
    TrackMemory,
    body_height_px,
    require_finite_at_least,
    require_positive,
)
from shared_utils.data_models import Poses

# Quantile of the third differences that is followed; below one half, because movement only ever makes them larger.
_QUANTILE = 0.35
# That quantile of the length of d independent standard normal numbers (chi distribution), d = 2 (pixels) and 3 (metres).
_CHI_QUANTILE = np.array([0.9282, 1.2817])
# Mean length of d independent standard normal numbers.
_CHI_MEAN = np.array([1.2533, 1.5958])
_LEARNING_S = 1.0
_LONGEST_SPAN_S = 0.5  # of four readings that anything is learnt from
_LEARNING_PACE = 0.4  # body heights per second over the last four readings
_STEEPNESS = 5  # of the passage from rest to motion


_Places = tuple[Slots | slice, slice, slice]
"""Where the points of a frame are remembered: slots, keypoints, spaces."""


@dataclass(frozen=True, slots=True)
class _Settings:
    min_cutoff_hz: float
    beta: float
    derivative_cutoff_hz: float
    noise_factor: float
    min_noise_sizes: float
    max_noise_sizes: float
    noise_time_s: float


class SteadyPoseFilter(MemoryFilter):
    """One Euro with a threshold: speed opens the filter where it exceeds what noise alone would show.

    cutoff = min_cutoff_hz + beta * speed * s / (1 + s), s = (speed / threshold)^5, with the speed of a keypoint in body heights
    per second (low-passed derivative), and threshold = noise_factor * the mean speed that noise of the keypoint's size gives
    after the same low-pass. The noise is a running 35 % quantile of the third differences of the last four readings, taken on
    their true times while the point moves by less than 0.4 body heights per second: a path that is smooth (quadratic) within
    four frames leaves nothing in them but noise. Its first estimate is `first_noise_sizes`.

    The same settings suit every resolution, distance, frame rate and detector. A missing point stays missing; unseen for longer
    than `max_gap_s` it starts afresh. Rows of track -1 pass unfiltered.

    Args:
        min_cutoff_hz: Cutoff at rest, Hz.
        beta: Rise of the cutoff in motion, Hz per (body height per second).
        derivative_cutoff_hz: Cutoff of the speed estimate, Hz. High, so that the start of a movement is not missed; noise is
            kept out by the threshold instead.
        noise_factor: Threshold in units of the mean speed of pure noise; lower lets more noise through, higher holds a slow
            movement for longer.
        min_noise_sizes: Least noise of a keypoint that is assumed, in body heights (1 px on a person of 450 px: 0.0022).
        max_noise_sizes: Most noise of a keypoint that is believed, in body heights; what is larger is movement.
        first_noise_sizes: Noise of a keypoint that is assumed before any was measured, in body heights; rather too much, so that who is
            first seen at rest is still at once.
        noise_time_s: Seconds in which the noise estimate can change by a factor of e.
        max_gap_s: Longest gap that a point's history survives, seconds.

    Defaults: admitted by `pose-analyzer smooth-sweep`, on the calm side of its best, because a detector at work trembles more than
    the sweep's table of its errors (it leaps now and then); judged on other scenes than those.

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> len(SteadyPoseFilter().update(Poses.empty(COCO_17), timestamp_s=0.0))
        0
    """

    _between_readings = True

    def __init__(
        self,
        *,
        min_cutoff_hz: float = 0.1,
        beta: float = 180.0,
        derivative_cutoff_hz: float = 8.0,
        noise_factor: float = 7.5,
        min_noise_sizes: float = 0.0008,
        max_noise_sizes: float = 0.006,
        first_noise_sizes: float = 0.0015,
        noise_time_s: float = 1.0,
        max_gap_s: float = 0.5,
    ) -> None:
        require_positive(
            min_cutoff_hz=min_cutoff_hz,
            derivative_cutoff_hz=derivative_cutoff_hz,
            noise_factor=noise_factor,
            min_noise_sizes=min_noise_sizes,
            first_noise_sizes=first_noise_sizes,
            noise_time_s=noise_time_s,
        )
        require_finite_at_least(0, beta=beta)
        require_finite_at_least(min_noise_sizes, max_noise_sizes=max_noise_sizes)
        self._settings = _Settings(min_cutoff_hz, beta, derivative_cutoff_hz, noise_factor, min_noise_sizes, max_noise_sizes, noise_time_s)
        # A keypoint is two points, in px (with a third coordinate of 0) and in metres, which take the same steps.
        self._memory = TrackMemory(
            max_gap_s,
            {
                "value": ((2, 3), 0.0),
                "rate": ((2, 3), 0.0),
                "noise": ((2,), first_noise_sizes),
                "past": ((2, 3, 3), np.nan),
                "past_s": ((2, 3), np.nan),
                "age_s": ((2,), 0.0),
            },
        )

    def _moved(self, poses: Poses, rows: NDArray[np.intp], slots: Slots) -> dict[str, NDArray[np.float32]]:
        everybody = len(rows) == len(poses)
        spaces = 1 if poses.world_xyz_m is None else 2
        x = np.zeros((len(rows), len(poses.skeleton), spaces, 3))
        height = np.full((len(rows), 1, spaces), NOMINAL_HEIGHT_M)
        height[:, 0, 0] = body_height_px(poses, rows)
        x[:, :, 0, :2] = poses.keypoints_xy if everybody else poses.keypoints_xy[rows]
        if poses.world_xyz_m is not None:
            x[:, :, 1] = poses.world_xyz_m if everybody else poses.world_xyz_m[rows]
        # A slice copies nothing.
        places = slice(int(slots[0]), int(slots[0]) + 1) if len(slots) == 1 else slots
        found = self._step(x, (places, slice(None), slice(spaces)), height)
        moved = {"keypoints_xy": poses.keypoints_xy.copy()}
        moved["keypoints_xy"][rows] = found[:, :, 0, :2]
        if poses.world_xyz_m is not None:
            moved["world_xyz_m"] = poses.world_xyz_m.copy()
            moved["world_xyz_m"][rows] = found[:, :, 1]
        return moved

    def noise_sizes(self, track_id: int) -> Array | None:
        """(k,) present estimate of a track's noise per keypoint, in body heights; None for an unknown track."""
        slot = self._memory.slot_of.get(track_id)
        return None if slot is None else self._memory["noise"][slot, :, 0].copy()

    def _step(self, x: Array, at: _Places, height: Array) -> Array:
        past_s = self._memory["past_s"][at]
        together = past_s[0, 0, 0]
        # The ordinary case: all points were seen in the last three frames and are seen now; their times are four numbers.
        if together[0] >= self._memory.last_s - _LONGEST_SPAN_S and (past_s == together).all() and not math.isnan(np.vdot(x, x)):
            return self._step_together(x, at, height, [*together.tolist(), self._memory.last_s])
        return self._step_apart(x, at, height)

    def _step_together(self, x: Array, at: _Places, height: Array, times_s: list[float]) -> Array:
        """As `_step_apart`, for points that share the last four times."""
        s, memory = self._settings, self._memory
        te, span_s = times_s[3] - times_s[2], times_s[3] - times_s[0]
        past, age_s, noise = memory["past"][at], memory["age_s"][at], memory["noise"][at]
        weights = _third_weights(times_s)
        size = _length(np.einsum("i,mksid->mksd", weights[:3], past) + weights[3] * x) / height
        useful = _length(x - past[..., 0, :]) < _LEARNING_PACE * span_s * height
        age_s = age_s + te * useful
        gain = np.where(size < _CHI_QUANTILE[: x.shape[2]] * noise, _QUANTILE - 1, _QUANTILE) * (1 + 4 * np.exp(age_s / -_LEARNING_S))
        noise = noise * np.exp((te / s.noise_time_s) * gain * useful)
        noise = np.minimum(np.maximum(noise, s.min_noise_sizes), s.max_noise_sizes)
        memory["age_s"][at], memory["noise"][at] = age_s, noise
        memory["past"][at] = np.concatenate([past[..., 1:, :], x[..., None, :]], axis=-2)
        memory["past_s"][at] = times_s[1:]
        value, rate = memory["value"][at], memory["rate"][at]
        residual = x - value
        r = te * (2 * math.pi * s.derivative_cutoff_hz)
        alpha = r / (1 + r)
        rate = (alpha / te) * residual + (1 - alpha) * rate
        speed = _length(rate) / height
        excess = (speed / (noise * (s.noise_factor * _CHI_MEAN[: x.shape[2]] / te * math.sqrt(alpha / (2 - alpha))))) ** _STEEPNESS
        r = te * (2 * math.pi) * (s.min_cutoff_hz + s.beta * speed * (1 - 1 / (1 + excess)))
        value = value + residual * (r / (1 + r))[..., None]
        memory["value"][at], memory["rate"][at] = value, rate
        return value

    def _step_apart(self, x: Array, at: _Places, height: Array) -> Array:
        s, memory, now = self._settings, self._memory, self._memory.last_s
        value, rate = memory["value"][at], memory["rate"][at]
        past_s = memory["past_s"][at]
        te = now - past_s[..., -1]
        missing = np.isnan(x).any(-1)
        known = te <= memory.max_gap_s  # false before the first reading, where te is NaN
        te = np.where(known, te, 1.0)
        noise = self._noise(x, at, height, te, known & ~missing)
        residual = x - value
        r = te * (2 * math.pi * s.derivative_cutoff_hz)
        alpha = (r / (1 + r))[..., None]
        new_rate = (alpha / te[..., None]) * residual + (1 - alpha) * rate
        speed = np.sqrt(np.einsum("...d,...d->...", new_rate, new_rate)) / height
        noise_speed = noise * _CHI_MEAN[: x.shape[2]] / te * np.sqrt(alpha / (2 - alpha))[..., 0]
        excess = (speed / (s.noise_factor * noise_speed)) ** _STEEPNESS
        # 1 / (1 + 1 / excess) stays finite for a point that jumps across the picture.
        with np.errstate(divide="ignore", over="ignore"):
            opened = 1 / (1 + 1 / excess)
        r = te * (2 * math.pi) * (s.min_cutoff_hz + s.beta * speed * opened)
        new = value + residual * (r / (1 + r))[..., None]
        start = ~known[..., None]
        new, new_rate = np.where(start, x, new), np.where(start, 0.0, new_rate)
        hole = missing[..., None]
        memory["value"][at] = np.where(hole, value, new)
        memory["rate"][at] = np.where(hole, rate, new_rate)
        return np.where(hole, np.nan, new)

    def _noise(self, x: Array, at: _Places, height: Array, te: Array, going_on: NDArray[np.bool_]) -> Array:
        """(m, k, s) noise of each point in body heights, brought up to date with the readings x (m, k, s, 3)."""
        s, memory = self._settings, self._memory
        noise = memory["noise"][at]
        past, past_s = memory["past"][at], memory["past_s"][at]
        missing = np.isnan(x).any(-1)
        points = np.concatenate([past, x[..., None, :]], axis=-2)
        times = np.concatenate([past_s, np.full((*past_s.shape[:-1], 1), memory.last_s)], axis=-1)
        size = third_difference(points, times) / height
        # Of readings far apart the third difference shows the movement, not the noise.
        span_s = times[..., 3] - times[..., 0]
        pace = np.sqrt(((x - past[..., 0, :]) ** 2).sum(-1)) / (height * span_s)
        # Nothing is learnt from fast movement either: its turns look like noise.
        useful = going_on & np.isfinite(size) & (span_s < _LONGEST_SPAN_S) & (pace < _LEARNING_PACE)
        below = size < noise * _CHI_QUANTILE[: x.shape[2]]
        # A new track learns faster, up to five times.
        age_s = memory["age_s"][at] + np.where(useful, te, 0.0)
        memory["age_s"][at] = age_s
        gain = te / s.noise_time_s * (1 + 4 * np.exp(-age_s / _LEARNING_S))
        step = np.where(below, -gain * (1 - _QUANTILE), gain * _QUANTILE)
        updated = np.clip(noise * np.exp(np.where(useful, step, 0.0)), s.min_noise_sizes, s.max_noise_sizes)
        memory["noise"][at] = updated
        fresh = ~going_on & ~missing
        points = np.where(fresh[..., None, None], np.nan, points)
        points[..., -1, :] = x
        times[..., :3] = np.where(fresh[..., None], np.nan, times[..., :3])
        memory["past"][at] = np.where(missing[..., None, None], past, points[..., 1:, :])
        memory["past_s"][at] = np.where(missing[..., None], past_s, times[..., 1:])
        return updated


def _length(vectors: Array) -> Array:
    """(...) of (..., d)."""
    return np.sqrt(np.einsum("...d,...d->...", vectors, vectors))


def _third_weights(times_s: list[float]) -> Array:
    """(4,) weights of `third_difference` for readings that share their times."""
    raw = [1 / math.prod([a - b for b in times_s if b != a]) for a in times_s]
    return np.array(raw) / math.sqrt(sum([w * w for w in raw]))


def third_difference(points: Array, times_s: Array) -> Array:
    """Length of the third divided difference of four points, normed so that unit white noise keeps unit variance.

    Args:
        points: (..., 4, d).
        times_s: (..., 4) increasing; unequal steps are fine.

    Returns:
        (...,) 0 for points on any parabola in time; NaN where a point is missing.

    Example:
        >>> t = np.array([0.0, 0.1, 0.25, 0.3])
        >>> float(third_difference((3 * t**2 - t + 5)[:, None], t).round(9))
        0.0
    """
    gaps = times_s[..., :, None] - times_s[..., None, :]
    gaps[..., range(4), range(4)] = 1.0
    weights = 1.0 / gaps.prod(-1)
    weights /= np.sqrt((weights**2).sum(-1, keepdims=True))
    difference = np.einsum("...i,...id->...d", weights, points)
    return np.sqrt((difference**2).sum(-1))
