"""One recording's clock on another's: by repetitions, by warping a joint's curve, or by a fixed offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.people import ChoiceError
from shared_utils.data_models import Event, EventType
from shared_utils.errors import ValidationError

Array = NDArray[np.float64]

_MOST_SAMPLES = 1500
_RATE_HZ = 12.0
# Share of the way to the turning point that counts as being there; the middle of that time is the turn.
_AT_TURN = 0.95
# What a step along one clock only costs, in squared deviations: where nothing moves, both clocks run on.
_PENALTY = 0.1
# Warped clocks are read off every so often: between, time runs evenly, so that a picture does not stutter.
_KNOT_S = 0.4
_MAX_SLOPE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimeMap:
    """When on B's clock it is what on A's clock; beyond the knots both run equally fast.

    Args:
        a_s: (k,) rising, seconds; k > 0.
        b_s: (k,) rising.
        how: In words.

    Raises:
        ValidationError: Knots do not rise.

    Example:
        >>> clock = TimeMap(a_s=np.array([1.0, 3.0]), b_s=np.array([10.0, 11.0]))
        >>> [float(clock.to_b(t)) for t in (0.0, 2.0, 4.0)], float(clock.to_a(10.5))
        ([9.0, 10.5, 12.0], 2.0)
    """

    a_s: Array
    b_s: Array
    how: str = ""

    def __post_init__(self) -> None:
        for knots in (self.a_s, self.b_s):
            if len(knots) == 0 or not np.isfinite(knots).all() or (np.diff(knots) <= 0).any():
                raise ValidationError("knots of a time map must be finite and rise")

    def to_b(self, a_s: float | Array) -> Array:
        """B's time at A's."""
        return _through(a_s, self.a_s, self.b_s)

    def to_a(self, b_s: float | Array) -> Array:
        """A's time at B's."""
        return _through(b_s, self.b_s, self.a_s)


def by_offset(offset_s: float) -> TimeMap:
    """B is `offset_s` ahead: what happens at t in A happens at t + offset in B.

    Example:
        >>> float(by_offset(1.5).to_b(2.0))
        3.5
    """
    return TimeMap(a_s=np.zeros(1), b_s=np.array([float(offset_s)]), how=f"B {offset_s:+.2f} s")


def by_repetitions(a: Sequence[Event], b: Sequence[Event], curve_a: tuple[Array, Array], curve_b: tuple[Array, Array]) -> TimeMap:
    """Beginning, turning point and end of each repetition meet: the first of A with the first of B, and so on.

    Args:
        a: Events of one person; completed repetitions are used.
        b: Those of the other.
        curve_a: Times and values of an angle that shows the movement, for the turning point.
        curve_b: The same of the other.

    Raises:
        ChoiceError: One of them has no repetition.
    """
    reps = [[e for e in events if e.type == EventType.REP_COMPLETED] for events in (a, b)]
    count = min(map(len, reps))
    if not count:
        raise ChoiceError("to align by repetitions, both need at least one; align by dtw or an offset")
    knots: list[tuple[float, float]] = []
    for one, other in zip(reps[0], reps[1], strict=False):
        turns = [_turn_s(one, *curve_a), _turn_s(other, *curve_b)]
        marks = [(one.start_s, other.start_s), (one.end_s, other.end_s)]
        if None not in turns:
            marks.insert(1, (turns[0], turns[1]))  # type: ignore[arg-type]
        # Repetitions may touch: the end of one is then the beginning of the next.
        knots += [m for m in marks if not knots or (m[0] > knots[-1][0] + 1e-3 and m[1] > knots[-1][1] + 1e-3)]
    a_s, b_s = np.array(knots).T
    return TimeMap(a_s=a_s, b_s=b_s, how=f"aligned by {count} repetition{'s' * (count > 1)}")


def by_warping(curve_a: tuple[Array, Array], curve_b: tuple[Array, Array]) -> TimeMap:
    """Dynamic time warping of one angle's curve onto another's (Sakoe and Chiba 1978), from the first to the last movement of both.

    Args:
        curve_a: Times and values; NaN is bridged.
        curve_b: The same of the other.

    Raises:
        ChoiceError: One curve does not move.
    """
    rate = min(_RATE_HZ, *(_MOST_SAMPLES / max(float(np.ptp(t)), 1e-6) if len(t) else _RATE_HZ for t, _ in (curve_a, curve_b)))
    (times_a, a), (times_b, b) = (_moving(*curve, rate) for curve in (curve_a, curve_b))
    i, j = np.array(_path(a, b)).T
    a_s, b_s = times_a[i], times_b[j]
    knots = np.arange(a_s[0], a_s[-1], _KNOT_S)
    # The path has steps along either clock; its middle does not.
    order = np.unique(a_s)
    middle = np.array([b_s[a_s == t].mean() for t in order])
    at = np.interp(np.r_[knots, a_s[-1]], order, middle)
    return TimeMap(**_steadied(np.r_[knots, a_s[-1]], at), how="aligned by warping")


def _steadied(a_s: Array, b_s: Array) -> dict[str, Array]:
    """Knots whose slopes lie within 1/4..4 where that is possible: pictures neither stop nor race."""
    kept_a, kept_b = [float(a_s[0])], [float(b_s[0])]
    for a, b in zip(a_s[1:].tolist(), b_s[1:].tolist(), strict=True):
        step = a - kept_a[-1]
        if step <= 1e-6:
            continue
        kept_a.append(a)
        kept_b.append(kept_b[-1] + float(np.clip(b - kept_b[-1], step / _MAX_SLOPE, step * _MAX_SLOPE)))
    return {"a_s": np.array(kept_a), "b_s": np.array(kept_b)}


def _turn_s(event: Event, times_s: Array, values: Array) -> float | None:
    """Middle of the time at the turning point of a repetition; None when it was not seen."""
    inside = (times_s >= event.start_s) & (times_s <= event.end_s) & np.isfinite(values)
    if inside.sum() < 4:
        return None
    t, way = times_s[inside], np.abs(values[inside] - values[inside][0])
    there = t[way >= _AT_TURN * way.max()]
    middle = float((there[0] + there[-1]) / 2)
    return middle if event.start_s + 0.02 < middle < event.end_s - 0.02 else None


def _moving(times_s: Array, values: Array, rate_hz: float) -> tuple[Array, Array]:
    """The part of a curve from its first to its last movement, even in time, of mean 0 and deviation 1."""
    known = np.isfinite(values) & np.isfinite(times_s)
    if known.sum() < 4 or np.ptp(values[known]) < 5.0:
        raise ChoiceError("a curve that hardly moves cannot be warped; align by an offset")
    t = np.arange(times_s[known][0], times_s[known][-1], 1.0 / rate_hz)
    x = np.interp(t, times_s[known], values[known])
    away = np.flatnonzero(np.abs(x - np.median(np.r_[x[:3], x[-3:]])) > 0.15 * np.ptp(x))
    first, last = max(int(away[0]) - round(rate_hz / 2), 0), min(int(away[-1]) + round(rate_hz / 2), len(x) - 1)
    t, x = t[first : last + 1], x[first : last + 1]
    return t, (x - x.mean()) / max(float(x.std()), 1e-9)


def _path(a: Array, b: Array) -> list[tuple[int, int]]:
    """The cheapest way through all pairs, by anti-diagonals."""
    n, m = len(a), len(b)
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for d in range(2, n + m + 1):
        i = np.arange(max(1, d - m), min(n, d - 1) + 1)
        j = d - i
        least = np.minimum(np.minimum(total[i - 1, j], total[i, j - 1]) + _PENALTY, total[i - 1, j - 1])
        total[i, j] = (a[i - 1] - b[j - 1]) ** 2 + least
    i, j = n, m
    path = [(n - 1, m - 1)]
    while (i, j) != (1, 1):
        options = [(total[i - 1, j - 1], i - 1, j - 1), (total[i - 1, j] + _PENALTY, i - 1, j), (total[i, j - 1] + _PENALTY, i, j - 1)]
        _, i, j = min(options, key=lambda o: o[0])
        path.append((i - 1, j - 1))
    return path[::-1]


def _through(x: float | Array, knots: Array, values: Array) -> Array:
    x = np.asarray(x, np.float64)
    inside = np.interp(x, knots, values)
    return np.where(x < knots[0], values[0] + x - knots[0], np.where(x > knots[-1], values[-1] + x - knots[-1], inside))
