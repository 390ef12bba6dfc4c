from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_optimizer.errors import BatchSizeError
from gpu_optimizer.training.batch_search import PeakCurve

LINES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 300)), min_size=1, max_size=5)


def _brute_force(lines: list[tuple[int, int]], budget: int, sizes: list[int]) -> int | None:
    fitting = [size for size in sizes if max(fixed + slope * size for fixed, slope in lines) <= budget]
    return max(fitting, default=None)


@settings(max_examples=300, deadline=None)
@given(lines=LINES, budget=st.integers(0, 40_000), minimum=st.integers(1, 20), multiple=st.integers(1, 16), room=st.integers(0, 500))
def test_11299_binary_search_broken_it_finds_exactly_the_largest(
    lines: list[tuple[int, int]], budget: int, minimum: int, multiple: int, room: int
) -> None:
    maximum = minimum + room
    curve = PeakCurve(
        lambda size: max(fixed + slope * size for fixed, slope in lines), minimum=minimum, maximum=maximum, multiple_of=multiple
    )
    sizes = [minimum, *(size for size in range(multiple, maximum + 1, multiple) if size > minimum)]
    expected = _brute_force(lines, budget, sizes)
    if expected is None:
        with pytest.raises(BatchSizeError, match="the budget is"):
            curve.largest(budget)
    else:
        assert curve.largest(budget) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=60, max_size=60), st.integers(1, 1500))
def test_any_growing_curve_gives_a_size_that_fits(steps: list[int], budget: int) -> None:
    curve = PeakCurve(lambda size: sum(steps[:size]), maximum=60)
    if steps[0] <= budget:
        assert sum(steps[: curve.largest(budget)]) <= budget


def test_one_line_needs_three_estimates() -> None:
    curve = PeakCurve(lambda size: 1000 + 7 * size)
    assert curve.largest(1_000_000) == (1_000_000 - 1000) // 7
    assert len(curve.known) <= 4
    (piece,) = curve.pieces()
    assert (piece.bytes_per_example, piece.fixed_bytes) == (7, 1000)
    assert piece.at(10) == 1070


def test_what_even_one_example_needs_is_said() -> None:
    with pytest.raises(BatchSizeError, match=r"a batch of 1 needs 1,500 bytes, the budget is 1,000.*checkpoints.*plan\(\)"):
        PeakCurve(lambda size: 1490 + 10 * size).largest(1000)


@pytest.mark.parametrize("options", [{"minimum": 0}, {"multiple_of": 0}, {"minimum": 5, "maximum": 4}])
def test_limits_that_make_no_sense(options: dict[str, int]) -> None:
    with pytest.raises(BatchSizeError, match="expected 1 <= minimum <= maximum"):
        PeakCurve(lambda size: size, **options)
