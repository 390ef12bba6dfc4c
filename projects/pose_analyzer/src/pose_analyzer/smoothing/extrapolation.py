"""Where unseen keypoints are now: by their velocity, or by what the same person did before in the same posture.

Nothing here looks ahead. `damped` continues a movement that dies away; `Recall` looks for moments in the person's own last
seconds that look like now, and replays what followed (analogue forecasting, Lorenz 1969; repetitions make it strong).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.tracks import Array

_VELOCITY_WEIGHT_S = 0.15  # 1 body height/s of difference counts like 0.15 body heights of distance
_MIN_AGE_S = 0.4  # a moment ago is no analogue: it is the same movement
_MIN_ANALOGUES = 5
_MIN_POINTS = 4
_USUALLY = 0.8
# Difference of pose (root mean square, body heights) at which an analogue counts for 61 %, and at which the
# velocity counts as much as the memory.
_KERNEL_SIZES, _TRUST_SIZES = 0.007, 0.12
# What happened forwards is a better guide than what happened backwards.
_BACK_FACTOR, _BACK_SIZES = 1.5, 0.01
_HANDOVER_S = 0.05  # until then the velocity knows better
_OFFSET_S = 0.5  # in which the difference between memory and the last reading fades


def damped(last: Array, velocity: Array, ahead_s: float | Array, decay_s: float) -> Array:
    """`last` moved on with a velocity that falls to 37 % within `decay_s`.

    Example:
        >>> damped(np.zeros(1), np.ones(1), 100.0, 0.2).tolist()
        [0.2]
    """
    return last + velocity * (decay_s * -np.expm1(-np.asarray(ahead_s) / decay_s))


@dataclass(slots=True)
class History:
    """The last seconds of one track, oldest first: times (m,), values (m, k, d); NaN = not seen. The first two of d are px."""

    times_s: Array
    values: Array

    @classmethod
    def empty(cls, k: int, d: int) -> History:
        """Nothing yet."""
        return cls(np.zeros(0), np.zeros((0, k, d)))

    def add(self, time_s: float, values: Array, keep_s: float) -> None:
        """Append one frame (k, d) and drop what is older than `keep_s`."""
        first = int(np.searchsorted(self.times_s, time_s - keep_s))
        self.times_s = np.append(self.times_s[first:], time_s)
        self.values = np.concatenate([self.values[first:], values[None]])

    def velocity(self, window_s: float) -> Array:
        """(k, d) per second: slope of a line through each keypoint's last readings within `window_s`; 0 where there are not two.

        The window ends at each keypoint's own last reading.
        """
        known = ~np.isnan(self.values[..., 0])
        k = self.values.shape[1]
        if not len(self.times_s):
            return np.zeros(self.values.shape[1:])
        last = np.where(known.any(0), len(known) - 1 - known[::-1].argmax(0), 0)
        t = self.times_s[:, None] - self.times_s[last][None]
        weight = (known & (t >= -window_s) & (t <= 0)).astype(float)
        count = np.maximum(weight.sum(0), 1.0)
        mean_t = (weight * t).sum(0) / count
        values = np.where(weight[..., None] > 0, self.values, 0.0)
        mean = np.einsum("mk,mkd->kd", weight, values) / count[:, None]
        centred = weight * (t - mean_t)
        spread = (centred * (t - mean_t)).sum(0)
        slope = np.einsum("mk,mkd->kd", centred, values - mean * (weight[..., None] > 0))
        return np.where(spread[:, None] > 0, slope / np.where(spread > 0, spread, 1.0)[:, None], 0.0).reshape(k, -1)

    def velocities(self) -> Array:
        """(m, k, 2) px/s by central differences; NaN where a neighbour is missing."""
        if len(self.times_s) < 3:
            return np.full((len(self.times_s), self.values.shape[1], 2), np.nan)
        xy = self.values[..., :2]
        out = np.full_like(xy, np.nan)
        out[1:-1] = (xy[2:] - xy[:-2]) / (self.times_s[2:] - self.times_s[:-2])[:, None, None]
        return out


class Recall:
    """What followed, in a person's own past, on moments like one given moment.

    Args:
        history: The person's past, up to the last moment when everything was seen.
        now_xy: (k, 2) px pose to compare with; NaN = unseen.
        now_velocity: (k, 2) px/s.
        height_px: Body height.
    """

    def __init__(self, history: History, now_xy: Array, now_velocity: Array, height_px: float) -> None:
        self._history, self._height_px = history, height_px
        # Points that are seen now and nearly always were.
        usual = (~np.isnan(history.values[..., 0])).mean(0) >= _USUALLY if len(history.times_s) else np.zeros(len(now_xy), bool)
        self._points = ~np.isnan(now_xy).any(-1) & ~np.isnan(now_velocity).any(-1) & usual
        xy = history.values[:, self._points, :2]
        # Relative to the middle of the seen points: people who walk on are still themselves.
        self._middle_now = now_xy[self._points].mean(0) if self._points.any() else np.full(2, np.nan)
        self._middles = xy.mean(1) if self._points.any() else np.full((len(xy), 2), np.nan)
        place = (xy - self._middles[:, None]) - (now_xy[self._points] - self._middle_now)
        then, now = history.velocities()[:, self._points], now_velocity[self._points]
        self._cost, self._cost_back = (self._difference(place, (sign * then - now) * _VELOCITY_WEIGHT_S) for sign in (1, -1))

    def _difference(self, place: Array, motion: Array) -> Array:
        """(m,) mean square difference between each moment and now, in body heights squared; NaN where it cannot be told."""
        if self._points.sum() < _MIN_POINTS:
            return np.full(len(place), np.nan)
        return ((place**2).sum(-1) + (motion**2).sum(-1)).mean(1) / self._height_px**2

    def displacement(self, ahead_s: float) -> tuple[Array, float]:
        """(k, d) by how much the points moved within `ahead_s` after such moments, and the trust 0..1; NaN where unknown.

        A movement also knows its way back: moments of the same pose and opposite velocity are replayed backwards.
        """
        h = self._history
        if not len(h.times_s):
            return np.full(h.values.shape[1:], np.nan), 0.0
        first_s, last_s = h.times_s[0], h.times_s[-1]
        after = np.where(h.times_s <= last_s - max(ahead_s, _MIN_AGE_S), self._cost, np.nan)
        before = np.where(h.times_s >= first_s + ahead_s, _BACK_FACTOR * self._cost_back + _BACK_SIZES**2, np.nan)
        w, trust = _kernel(np.concatenate([after, before]))
        if trust == 0.0:
            return np.full(h.values.shape[1:], np.nan), 0.0
        chosen = np.flatnonzero(w > 1e-3 * w.max())
        index, direction = chosen % len(after), np.where(chosen < len(after), 1.0, -1.0)
        later = _at(h, h.times_s[index] + direction * ahead_s)
        return _weighted(later - h.values[index], w[chosen]), trust

    def posture(self) -> tuple[Array, float]:
        """(k, d) where all points are when the seen ones are as now (px placed by the seen ones), and the trust 0..1."""
        h = self._history
        w, trust = _kernel(self._cost)
        if trust == 0.0:
            return np.full(h.values.shape[1:], np.nan), 0.0
        chosen = np.flatnonzero(w > 1e-3 * w.max())
        values = h.values[chosen].copy()
        values[..., :2] += (self._middle_now - self._middles[chosen])[:, None]
        return _weighted(values, w[chosen]), trust


def _kernel(cost: Array) -> tuple[Array, float]:
    """Weights (m,) of moments that differ by `cost`, summing to 1, and the trust 0..1 in the best of them."""
    known = np.isfinite(cost)
    if known.sum() < _MIN_ANALOGUES:
        return np.zeros(len(cost)), 0.0
    best = float(cost[known].min())
    w = np.exp(-(np.where(known, cost, np.inf) - best) / (2 * _KERNEL_SIZES**2))
    return w / w.sum(), 1 / (1 + best / _TRUST_SIZES**2)


def recalled(base: Array, memory: Array, trust: float, ahead_s: float) -> Array:
    """Velocity's prediction `base` and memory's, blended by trust; where memory knows nothing, `base`."""
    share = trust * -np.expm1(-ahead_s / _HANDOVER_S)
    return np.where(np.isnan(memory), base, base + share * (memory - base))


def fading(ahead_s: float) -> float:
    """Share of the last reading's difference from memory that is left after `ahead_s`."""
    return float(np.exp(-ahead_s / _OFFSET_S))


def _at(history: History, times_s: Array) -> Array:
    """(m', k, d) values at times between the frames, by straight lines; NaN where an end is missing."""
    right = np.clip(np.searchsorted(history.times_s, times_s), 1, len(history.times_s) - 1)
    left = right - 1
    span = history.times_s[right] - history.times_s[left]
    share = np.clip((times_s - history.times_s[left]) / span, 0.0, 1.0)[:, None, None]
    return (1 - share) * history.values[left] + share * history.values[right]


def _weighted(values: Array, weights: Array) -> Array:
    known: NDArray[np.bool_] = ~np.isnan(values)
    w = weights[:, None, None] * known
    total = w.sum(0)
    mean = (w * np.where(known, values, 0.0)).sum(0) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, np.nan)
