"""Readings at even times: what formats with one frame rate need.

Times that lie on a grid, up to a twentieth of a frame, keep their values; others are interpolated between neighbours. Where
frames are missing, rows are too (NaN): nothing is bridged that is longer than `max_gap_s`, and nothing is extended past the ends.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared_utils.errors import ValidationError

Array = NDArray[np.float64]

# Of a frame: times that are off the grid by less have been rounded or shaken by the container, not resampled.
_ON_GRID = 0.05
_MOST_ROWS = 2_000_000


class EvenSeries(NamedTuple):
    """Values at even times.

    Args:
        times_s: (t,) rising by 1 / rate_hz.
        values: (t, c), NaN = no reading.
        rate_hz: Rows per second.
        resampled: Whether values were interpolated.
    """

    times_s: Array
    values: Array
    rate_hz: float
    resampled: bool


def evenly(times_s: Array, values: Array, *, rate_hz: float | None = None, max_gap_s: float | None = None) -> EvenSeries:
    """Bring rows to even times.

    Args:
        times_s: (n,) finite and rising, n > 0.
        values: (n, c); NaN = no reading.
        rate_hz: Rows per second; default as they come (the median step).
        max_gap_s: Longest step that is interpolated; default 2.5 median steps.

    Raises:
        ValidationError: Times do not rise, the rate is not positive, or there would be more than two million rows.

    Example:
        >>> even = evenly(np.array([0.0, 0.1, 0.3]), np.array([[1.0], [2.0], [4.0]]))
        >>> even.rate_hz, even.values[:, 0].tolist()
        (10.0, [1.0, 2.0, nan, 4.0])
    """
    times_s, values = np.asarray(times_s, np.float64), np.asarray(values, np.float64)
    if not len(times_s) or not np.isfinite(times_s).all() or (np.diff(times_s) <= 0).any():
        raise ValidationError("times must be finite and rise; leave out rows that do not")
    if rate_hz is not None and not (math.isfinite(rate_hz) and rate_hz > 0):
        raise ValidationError(f"rate_hz must be positive, got {rate_hz}")
    if len(times_s) == 1:
        return EvenSeries(times_s.copy(), values.copy(), 30.0 if rate_hz is None else rate_hz, False)
    step_s = float(np.quantile(np.diff(times_s), 0.5, method="lower"))
    grid = _grid(times_s, step_s)
    if grid is not None and (rate_hz is None or math.isclose(rate_hz * grid[1], 1.0, rel_tol=1e-4)):
        at, step_s = grid
        _check_rows(at[-1] + 1)
        out = np.full((int(at[-1]) + 1, values.shape[1]), np.nan)
        out[at] = values
        return EvenSeries(float(times_s[0]) + np.arange(len(out)) * step_s, out, _tidy(1.0 / step_s), False)
    rate = 1.0 / step_s if rate_hz is None else rate_hz
    count = math.floor((times_s[-1] - times_s[0]) * rate + 1e-6) + 1
    _check_rows(count)
    even = times_s[0] + np.arange(count) / rate
    return EvenSeries(even, _between(even, times_s, values, 2.5 * step_s if max_gap_s is None else max_gap_s), _tidy(rate), True)


def _grid(times_s: Array, step_s: float) -> tuple[NDArray[np.int64], float] | None:
    """The place of each time on a grid, and the grid's step; None when they lie on none."""
    steps = np.round(np.diff(times_s) / step_s)
    if (steps < 1).any():
        return None
    at = np.r_[0.0, np.cumsum(steps)]
    slope, start = np.polyfit(at, times_s, 1)
    # The first row keeps its own time, so the grid is the line through it.
    off = np.abs(times_s - (times_s[0] + slope * at)).max()
    return (at.astype(np.int64), float(slope)) if slope > 0 and max(off, abs(start - times_s[0])) <= _ON_GRID * slope else None


def _between(even: Array, times_s: Array, values: Array, max_gap_s: float) -> Array:
    """Linear between the rows on either side, where both are readings and near enough."""
    after = np.clip(np.searchsorted(times_s, even - 1e-9), 1, len(times_s) - 1)
    before = after - 1
    gap = times_s[after] - times_s[before]
    share = np.clip((even - times_s[before]) / gap, 0.0, 1.0)[:, None]
    mixed = (1 - share) * values[before] + share * values[after]
    mixed[gap > max_gap_s] = np.nan
    # A time that is met exactly needs no neighbour.
    mixed = np.where(share <= 1e-6, values[before], mixed)
    return np.where(share >= 1 - 1e-6, values[after], mixed)


def _check_rows(count: float) -> None:
    if count > _MOST_ROWS:
        raise ValidationError(f"even times would need {count:.0f} rows; the times have a gap of hours, or rate_hz is too high")


def _tidy(rate_hz: float) -> float:
    """A rate without the noise of rounded times: 30.0003 is 30."""
    return round(rate_hz, 2)
