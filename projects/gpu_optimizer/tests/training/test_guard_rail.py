from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_optimizer.errors import PrecisionError
from gpu_optimizer.training.guard_rail import one_at_a_time


@settings(deadline=None)
@given(st.lists(st.floats(-1, 2, allow_nan=False), max_size=8), st.floats(0, 2))
def test_what_is_kept_never_costs_more_than_the_limit_together(drops: list[float], limit: float) -> None:
    report = one_at_a_time(
        90.0,
        {f"{index}": (lambda value, drop=drop: value - drop) for index, drop in enumerate(drops)},
        lambda value: value,
        max_drop=limit,
        on_drop="skip",
    )
    assert 90.0 - report.value <= limit + 1e-6
    kept = [drop for index, drop in enumerate(drops) if f"{index}" in report.kept]
    assert report.value == pytest.approx(90.0 - sum(kept))


def test_it_stops_at_the_first_that_drops_too_much() -> None:
    tried: list[str] = []

    def change(name: str, drop: float):
        def run(value: float) -> float:
            tried.append(name)
            return value - drop

        return run

    report = one_at_a_time(
        80.0, {"fp16": change("fp16", 0.1), "int8": change("int8", 0.6), "prune": change("prune", 0.0)}, lambda value: value
    )
    assert tried == ["fp16", "int8"]
    assert report.kept == ("fp16",)
    assert report.rows[2].note == "0.7 points below the baseline, at most 0.5"
    assert "| int8 | 79.3 | 0.7 |  | too inaccurate |" in report.table()
    assert json.loads(json.dumps(report.to_dict()))["rows"][3]["outcome"] == "not tried"


def test_a_change_without_gain_or_with_an_error_is_not_kept_and_the_others_go_on() -> None:
    def broken(_: tuple[float, float]) -> tuple[float, float]:
        raise RuntimeError("no kernel")

    report = one_at_a_time(
        (90.0, 10.0),
        {"slower": lambda v: (v[0], 11.0), "broken": broken, "little": lambda v: (v[0], 9.8), "faster": lambda v: (v[0] - 0.2, 5.0)},
        lambda value: value[0],
        cost=lambda value: value[1],
        min_gain=0.05,
    )
    assert [row.outcome for row in report.rows] == ["baseline", "no gain", "failed", "no gain", "kept"]
    assert report.rows[2].note == "RuntimeError: no kernel"
    assert report.value == (89.8, 5.0)


def test_a_score_that_is_no_number_counts_as_a_drop() -> None:
    report = one_at_a_time(1.0, {"nan": lambda _: float("nan")}, lambda value: value)
    assert report.rows[1].outcome == "too inaccurate"
    with pytest.raises(PrecisionError, match="not a number"):
        one_at_a_time(float("nan"), {}, lambda value: value)
    with pytest.raises(PrecisionError, match="max_drop"):
        one_at_a_time(1.0, {}, lambda value: value, max_drop=-1)
