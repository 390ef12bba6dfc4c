"""Optimisations one at a time, each judged before the next, and none kept that costs too much accuracy.

A starting point, named changes and a judge go in; the changed thing and a table come out. What a change costs is
known because nothing else changed, and the sum of what all of them cost together is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

from gpu_optimizer.errors import PrecisionError

T = TypeVar("T")
Outcome = Literal["baseline", "kept", "too inaccurate", "no gain", "failed", "not tried"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRow:
    """What one optimisation did.

    Args:
        name: Its name.
        score: Score after it, higher is better; None where it was not judged.
        drop: Baseline's score less this one, of all kept changes and this one together.
        cost: Cost after it (seconds, bytes), lower is better; None where no cost is measured.
        outcome: What became of it.
        note: Why.
    """

    name: str
    score: float | None
    drop: float | None
    cost: float | None
    outcome: Outcome
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardReport(Generic[T]):
    """The result of `one_at_a_time`.

    Args:
        value: The baseline with every kept optimisation applied.
        rows: One per optimisation, the baseline first.
        max_drop: The limit, points.
    """

    value: T
    rows: tuple[GuardRow, ...]
    max_drop: float

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the kept optimisations, in order."""
        return tuple(row.name for row in self.rows if row.outcome == "kept")

    def to_dict(self) -> dict[str, Any]:
        """The rows as plain values, for JSON; the value itself is not among them."""
        return {"max_drop": self.max_drop, "rows": [asdict(row) for row in self.rows]}

    def table(self) -> str:
        """As Markdown."""
        lines = ["| optimisation | score | drop | cost | outcome | note |", "|---|---|---|---|---|---|"]
        for row in self.rows:
            figures = (_figure(value) for value in (row.score, row.drop, row.cost))
            lines.append(f"| {row.name} | {' | '.join(figures)} | {row.outcome} | {row.note} |")
        return "\n".join(lines)


def one_at_a_time(
    baseline: T,
    optimisations: Mapping[str, Callable[[T], T]],
    evaluate: Callable[[T], float],
    *,
    max_drop: float = 0.5,
    cost: Callable[[T], float] | None = None,
    min_gain: float = 0.0,
    on_drop: Literal["stop", "skip"] = "stop",
) -> GuardReport[T]:
    """Apply optimisations one after the other as long as the score stays within `max_drop` points of the baseline's.

    Args:
        baseline: What is optimised: a model, a configuration.
        optimisations: Name -> function that gives a changed copy and leaves what it is given alone.
        evaluate: Score in points (percent), higher is better, on data that no optimisation is tuned on.
        max_drop: Largest drop from the baseline, of all kept changes together.
        cost: Seconds or bytes; a change that does not lower it by `min_gain` is not kept.
        min_gain: Smallest relative gain in cost that counts, 0.05 for 5 %.
        on_drop: After a change that drops too much, "stop" tries none of the following; "skip" goes on without it.

    Raises:
        PrecisionError: `max_drop` is below 0, or the baseline's score is not a number.

    Example:
        >>> report = one_at_a_time(80.0, {"a": lambda x: x - 0.3, "b": lambda x: x - 0.3, "c": lambda x: x}, lambda x: x)
        >>> report.kept, report.value, [row.outcome for row in report.rows]
        (('a',), 79.7, ['baseline', 'kept', 'too inaccurate', 'not tried'])
    """
    if max_drop < 0:
        raise PrecisionError(f"max_drop: expected 0 or more points, got {max_drop}")
    first = float(evaluate(baseline))
    if first != first:
        raise PrecisionError("the baseline's score is not a number; evaluate must work before anything is optimised")
    price = None if cost is None else float(cost(baseline))
    rows = [GuardRow(name="baseline", score=first, drop=0.0, cost=price, outcome="baseline", note="")]
    value, stopped = baseline, False
    for name, change in optimisations.items():
        if stopped:
            rows.append(GuardRow(name=name, score=None, drop=None, cost=None, outcome="not tried", note="an earlier one dropped too much"))
            continue
        candidate, row = _tried(name, change, value, evaluate, first, max_drop, cost, price, min_gain)
        rows.append(row)
        stopped = row.outcome == "too inaccurate" and on_drop == "stop"
        if row.outcome == "kept":
            value, price = candidate, row.cost
    return GuardReport(value=value, rows=tuple(rows), max_drop=max_drop)


def _tried(
    name: str,
    change: Callable[[Any], Any],
    value: Any,
    evaluate: Callable[[Any], float],
    first: float,
    max_drop: float,
    cost: Callable[[Any], float] | None,
    price: float | None,
    min_gain: float,
) -> tuple[Any, GuardRow]:
    try:
        candidate = change(value)
        score = float(evaluate(candidate))
    except Exception as error:  # noqa: BLE001 -- one optimisation that does not work must not cost the others
        return value, GuardRow(name=name, score=None, drop=None, cost=None, outcome="failed", note=f"{type(error).__name__}: {error}")
    drop = first - score
    if not drop <= max_drop + 1e-9:
        note = f"{drop:.3g} points below the baseline, at most {max_drop:g}"
        return value, GuardRow(name=name, score=score, drop=drop, cost=None, outcome="too inaccurate", note=note)
    new = None if cost is None else float(cost(candidate))
    if new is not None and price is not None and not new <= price * (1 - min_gain):
        note = f"{new:.4g} instead of {price:.4g}"
        return value, GuardRow(name=name, score=score, drop=drop, cost=new, outcome="no gain", note=note)
    return candidate, GuardRow(name=name, score=score, drop=drop, cost=new, outcome="kept", note="")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
