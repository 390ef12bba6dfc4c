"""How good a filter is, against the truth: jitter at rest, lag in motion, error.

All take paths (t, k, 2) in px on the same timestamps; NaN = no reading.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.smoothing.tracks import Array
from shared_utils.errors import ValidationError

_LAGS_S = np.arange(-0.06, 0.2001, 0.002)


def jitter_px(estimate: Array, truth: Array) -> float:
    """Root mean square, over frames, points and both coordinates, of how the error changes from one frame to the next, px.

    This is the trembling that one sees on a person who stands: a constant offset and a slow drift do not count (`wander_px` does
    count the drift).

    Example:
        >>> truth = np.zeros((4, 1, 2))
        >>> jitter_px(truth + 7.0, truth), jitter_px(truth + np.array([0, 1, 0, 1]).reshape(4, 1, 1), truth)
        (0.0, 1.0)
    """
    return _rms(np.diff(_error(estimate, truth), axis=0))


def wander_px(estimate: Array, truth: Array) -> float:
    """Root mean square deviation of the error of each point from its own mean, per coordinate, px.

    Example:
        >>> truth = np.zeros((4, 1, 2))
        >>> wander_px(truth + np.array([0, 1, 0, 1]).reshape(4, 1, 1), truth)
        0.5
    """
    error = _error(estimate, truth)
    known = ~np.isnan(error)
    mean = np.where(known, error, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    return _rms(error - mean)


def error_px(estimate: Array, truth: Array) -> float:
    """Mean distance to the truth, px.

    Example:
        >>> error_px(np.array([[[3.0, 4.0]], [[np.nan, 0.0]]]), np.zeros((2, 1, 2)))
        5.0
    """
    distance = np.sqrt((_error(estimate, truth) ** 2).sum(-1))
    return float(distance[~np.isnan(distance)].mean()) if (~np.isnan(distance)).any() else float("nan")


def lag_s(estimate: Array, truth: Array, times_s: Array) -> float:
    """By how much the truth has to be delayed to fit the estimate best, seconds, to 2 ms; a constant offset does not count.

    Example:
        >>> t = np.arange(90) / 30
        >>> path = np.stack([np.sin(6 * t), np.cos(6 * t)], axis=-1)[:, None]
        >>> late = np.stack([np.sin(6 * (t - 0.05)), np.cos(6 * (t - 0.05))], axis=-1)[:, None]
        >>> round(lag_s(late, path, t), 3)
        0.05
    """
    _error(estimate, truth)
    inside = (times_s >= times_s[0] + _LAGS_S[-1]) & (times_s <= times_s[-1] + _LAGS_S[0])
    misfits = []
    for lag in _LAGS_S:
        delayed = _interpolated(truth, times_s, times_s[inside] - lag)
        difference = estimate[inside] - delayed
        known = ~np.isnan(difference)
        mean = np.where(known, difference, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        misfits.append(np.where(known, (difference - mean) ** 2, 0.0).sum())
    return float(_LAGS_S[int(np.argmin(misfits))])


def fastest_points(truth: Array, times_s: Array, count: int) -> NDArray[np.intp]:
    """The `count` points that reach the highest speed, fastest first.

    Example:
        >>> fastest_points(np.array([[[0, 0], [0, 0]], [[1, 0], [5, 0]]]), np.array([0.0, 0.1]), 1).tolist()
        [1]
    """
    speed = np.sqrt((np.diff(truth, axis=0) ** 2).sum(-1)) / np.diff(times_s)[:, None]
    return np.argsort(-speed.max(0), kind="stable")[:count]


def _error(estimate: Array, truth: Array) -> Array:
    if estimate.shape != truth.shape or truth.ndim != 3:
        raise ValidationError(f"estimate and truth must both have shape (t, k, 2), got {estimate.shape} and {truth.shape}")
    return estimate - truth


def _rms(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(np.sqrt((known**2).mean())) if len(known) else float("nan")


def _interpolated(path: Array, times_s: Array, at_s: Array) -> Array:
    right = np.clip(np.searchsorted(times_s, at_s), 1, len(times_s) - 1)
    share = ((at_s - times_s[right - 1]) / (times_s[right] - times_s[right - 1]))[:, None, None]
    return (1 - share) * path[right - 1] + share * path[right]
