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
    Array,
    MemoryFilter,
    Slots,
    Space,
    Step,
    TrackMemory,
    require_finite_at_least,
    require_positive,
    space_fields,
)
from shared_utils.data_models import Poses

# Quantile of the third differences that is followed; below one half, because movement only ever makes them larger.
_QUANTILE = 0.35
# That quantile of the length of d independent standard normal numbers (chi distribution), d = 2 and 3.
_CHI_QUANTILE = {"px": 0.9282, "m": 1.2817}
# Mean length of d independent standard normal numbers.
_CHI_MEAN = {"px": 1.2533, "m": 1.5958}
_LEARNING_S = 1.0
_LEARNING_PACE = 0.4  # body heights per second over the last four readings
_STEEPNESS = 5  # of the passage from rest to motion


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
    four frames leaves nothing in them but noise. Its first estimate is `min_noise_sizes`.

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
        noise_time_s: Seconds in which the noise estimate can change by a factor of e.
        max_gap_s: Longest gap that a point's history survives, seconds.

    Defaults: admitted by `pose-analyzer smooth-sweep`, on the calm side of its best, because a detector at work trembles more than
    the sweep's table of its errors (it leaps now and then).

    Raises:
        ValidationError: A parameter is out of range.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> len(SteadyPoseFilter().update(Poses.empty(COCO_17), timestamp_s=0.0))
        0
    """

    def __init__(
        self,
        *,
        min_cutoff_hz: float = 0.1,
        beta: float = 120.0,
        derivative_cutoff_hz: float = 15.0,
        noise_factor: float = 6.5,
        min_noise_sizes: float = 0.0008,
        max_noise_sizes: float = 0.006,
        noise_time_s: float = 1.0,
        max_gap_s: float = 0.5,
    ) -> None:
        require_positive(
            min_cutoff_hz=min_cutoff_hz,
            derivative_cutoff_hz=derivative_cutoff_hz,
            noise_factor=noise_factor,
            min_noise_sizes=min_noise_sizes,
            noise_time_s=noise_time_s,
        )
        require_finite_at_least(0, beta=beta)
        require_finite_at_least(min_noise_sizes, max_noise_sizes=max_noise_sizes)
        self._settings = _Settings(min_cutoff_hz, beta, derivative_cutoff_hz, noise_factor, min_noise_sizes, max_noise_sizes, noise_time_s)
        self._memory = TrackMemory(
            max_gap_s,
            space_fields(
                lambda d: {
                    "value": ((d,), 0.0),
                    "rate": ((d,), 0.0),
                    "noise": ((), min_noise_sizes),
                    "past": ((3, d), np.nan),
                    "past_s": ((3,), np.nan),
                    "age_s": ((), 0.0),
                }
            ),
        )

    def _step_for(self, poses: Poses, rows: NDArray[np.intp], slots: Slots) -> Step:
        return lambda x, space, height: self._step(x, slots, space, height)

    def noise_sizes(self, track_id: int) -> Array | None:
        """(k,) present estimate of a track's noise per keypoint, in body heights; None for an unknown track."""
        slot = self._memory.slot_of.get(track_id)
        return None if slot is None else self._memory["px_noise"][slot].copy()

    def _step(self, x: Array, slots: Slots, space: Space, height: Array) -> Array:
        s, memory, now = self._settings, self._memory, self._memory.last_s
        value, rate = memory[f"{space}_value"][slots], memory[f"{space}_rate"][slots]
        past_s = memory[f"{space}_past_s"][slots]
        te = now - past_s[..., -1]
        missing = np.isnan(x).any(-1)
        known = te <= memory.max_gap_s  # false before the first reading, where te is NaN
        te = np.where(known, te, 1.0)
        noise = self._noise(x, slots, space, height, te, known & ~missing)
        residual = x - value
        r = te * (2 * math.pi * s.derivative_cutoff_hz)
        alpha = (r / (1 + r))[..., None]
        new_rate = (alpha / te[..., None]) * residual + (1 - alpha) * rate
        speed = np.sqrt(np.einsum("...d,...d->...", new_rate, new_rate)) / height
        noise_speed = noise * _CHI_MEAN[space] / te * np.sqrt(alpha / (2 - alpha))[..., 0]
        excess = (speed / (s.noise_factor * noise_speed)) ** _STEEPNESS
        # 1 / (1 + 1 / excess) stays finite for a point that jumps across the picture.
        with np.errstate(divide="ignore", over="ignore"):
            opened = 1 / (1 + 1 / excess)
        r = te * (2 * math.pi) * (s.min_cutoff_hz + s.beta * speed * opened)
        new = value + residual * (r / (1 + r))[..., None]
        start = ~known[..., None]
        new, new_rate = np.where(start, x, new), np.where(start, 0.0, new_rate)
        hole = missing[..., None]
        memory[f"{space}_value"][slots] = np.where(hole, value, new)
        memory[f"{space}_rate"][slots] = np.where(hole, rate, new_rate)
        return np.where(hole, np.nan, new)

    def _noise(self, x: Array, slots: Slots, space: Space, height: Array, te: Array, going_on: NDArray[np.bool_]) -> Array:
        """(m, k) noise of each point in body heights, brought up to date with the readings x (m, k, d)."""
        s, memory = self._settings, self._memory
        noise = memory[f"{space}_noise"][slots]
        past, past_s = memory[f"{space}_past"][slots], memory[f"{space}_past_s"][slots]
        missing = np.isnan(x).any(-1)
        points = np.concatenate([past, x[..., None, :]], axis=-2)
        times = np.concatenate([past_s, np.full((*past_s.shape[:-1], 1), memory.last_s)], axis=-1)
        size = third_difference(points, times) / height
        # Of readings far apart the third difference shows the movement, not the noise.
        span_s = times[..., 3] - times[..., 0]
        pace = np.sqrt(((x - past[..., 0, :]) ** 2).sum(-1)) / (height * span_s)
        # Nothing is learnt from fast movement either: its turns look like noise.
        useful = going_on & np.isfinite(size) & (span_s < 0.5) & (pace < _LEARNING_PACE)
        below = size < noise * _CHI_QUANTILE[space]
        # A new track learns faster, up to five times.
        age_s = memory[f"{space}_age_s"][slots] + np.where(useful, te, 0.0)
        memory[f"{space}_age_s"][slots] = age_s
        gain = te / s.noise_time_s * (1 + 4 * np.exp(-age_s / _LEARNING_S))
        step = np.where(below, -gain * (1 - _QUANTILE), gain * _QUANTILE)
        updated = np.clip(noise * np.exp(np.where(useful, step, 0.0)), s.min_noise_sizes, s.max_noise_sizes)
        memory[f"{space}_noise"][slots] = updated
        fresh = ~going_on & ~missing
        points = np.where(fresh[..., None, None], np.nan, points)
        points[..., -1, :] = x
        times[..., :3] = np.where(fresh[..., None], np.nan, times[..., :3])
        memory[f"{space}_past"][slots] = np.where(missing[..., None, None], past, points[..., 1:, :])
        memory[f"{space}_past_s"][slots] = np.where(missing[..., None], past_s, times[..., 1:])
        return updated


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
