"""Gaps of a recording, closed from both sides: a cubic that leaves and arrives with the movement's own velocity."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose_analyzer.smoothing.tracks import Array, require_positive
from shared_utils.errors import ValidationError

_SLOPE_WINDOW_S = 0.15


def fill_gaps(x: ArrayLike, times_s: ArrayLike, *, max_gap_s: float = 0.5) -> tuple[Array, NDArray[np.bool_]]:
    """Fill NaN between known values along axis 0; nothing is extrapolated at the ends.

    A gap becomes a cubic Hermite spline. Its end slopes are those of a line through the last readings before and the first after
    the gap (within 0.15 s), so that noise of a single reading does not swing it out as a spline through all points does.

    Args:
        x: (t, ...) NaN = missing.
        times_s: (t,) increasing.
        max_gap_s: Longest time between the readings on both sides of a gap, seconds.

    Returns:
        The array with gaps filled, and (t, ...) true where a value was filled in.

    Raises:
        ValidationError: Shapes or times are wrong, or `max_gap_s` is not above 0.

    Example:
        >>> t = np.arange(5) / 10
        >>> x, filled = fill_gaps([0.0, 1.0, np.nan, 3.0, 4.0], t)
        >>> x.round(6).tolist(), filled.tolist()
        ([0.0, 1.0, 2.0, 3.0, 4.0], [False, False, True, False, False])
    """
    x, t = np.asarray(x, np.float64), np.asarray(times_s, np.float64)
    require_positive(max_gap_s=max_gap_s)
    if t.ndim != 1 or x.ndim < 1 or len(x) != len(t):
        raise ValidationError(f"x must have one row per time, got {x.shape} for {t.shape}")
    if not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise ValidationError("times_s must be finite and increasing")
    flat = x.reshape(len(t), -1)
    out = flat.copy()
    for column in np.flatnonzero(np.isnan(flat).any(0) & ~np.isnan(flat).all(0)):
        known = np.flatnonzero(~np.isnan(flat[:, column]))
        for a, b in itertools.pairwise(known):
            if b - a > 1 and t[b] - t[a] <= max_gap_s:
                out[a + 1 : b, column] = _bridge(flat[:, column], t, known, a, b)
    out = out.reshape(x.shape)
    return out, np.isnan(x) & ~np.isnan(out)


def _bridge(x: Array, t: Array, known: NDArray[np.intp], a: int, b: int) -> Array:
    before = known[(known <= a) & (t[known] >= t[a] - _SLOPE_WINDOW_S)]
    after = known[(known >= b) & (t[known] <= t[b] + _SLOPE_WINDOW_S)]
    span = t[b] - t[a]
    straight = (x[b] - x[a]) / span
    left = _slope(x[before], t[before], straight, at_end=True)
    right = _slope(x[after], t[after], straight, at_end=False)
    s = (t[a + 1 : b] - t[a]) / span
    return (
        x[a] * (2 * s**3 - 3 * s**2 + 1) + left * span * (s**3 - 2 * s**2 + s) + x[b] * (3 * s**2 - 2 * s**3) + right * span * (s**3 - s**2)
    )


def _slope(x: Array, t: Array, default: float, *, at_end: bool) -> float:
    """Slope at the gap's edge of a parabola (of a line, with fewer than four readings) through the readings beside the gap."""
    if len(x) < 2:
        return float(default)
    edge = t[-1] if at_end else t[0]
    return float(np.polynomial.polynomial.polyfit(t - edge, x, 2 if len(x) >= 4 else 1)[1])
