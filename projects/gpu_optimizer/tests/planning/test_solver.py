from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.solver import BlockOption, CostTable, smallest, solve, solve_by_trying


def chain(saved: list[int], times: list[float], *, rate: float | None = None, window: float = 0.0, nested: bool = False) -> CostTable:
    """A chain of blocks: what block i saves is alive from its forward to its backward; recomputing brings it back there."""
    n = len(saved)
    positions = tuple(f"backward of {i}" for i in range(n))
    base = np.array([100.0 + sum(saved[: i + 1]) for i in range(n)])
    options = []
    for i in range(n):
        gone = np.array([-float(saved[i]) if i < p else 0.0 for p in range(n)])
        options.append(BlockOption(block=i, action="recompute", delta_bytes=gone, time_s=times[i]))
        if rate:
            options.append(BlockOption(block=i, action="offload", delta_bytes=gone, time_s=0.0, copied_bytes=float(saved[i])))
    return CostTable(
        blocks=tuple(map(str, range(n))),
        positions=positions,
        base_bytes=base,
        options=tuple(options),
        conflicts=((0, 1),) if nested and n > 1 else (),
        forward_s=window,
        backward_s=window,
        copy_bytes_per_s=rate,
    )


blocks = st.integers(1, 8).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 100), min_size=n, max_size=n),
        st.lists(st.integers(1, 50).map(float), min_size=n, max_size=n),
    )
)


@settings(deadline=None, max_examples=60)
@given(parts=blocks, share=st.floats(0.0, 1.1), rate=st.sampled_from([None, 1.0, 10.0]), window=st.integers(0, 40), nested=st.booleans())
def test_going_through_every_choice_finds_nothing_better(parts, share, rate, window, nested) -> None:
    table = chain(*parts, rate=rate, window=float(window), nested=nested)
    budget = 100 + share * sum(parts[0])
    exact, tried = solve(table, budget), solve_by_trying(table, budget)
    assert (exact is None) == (tried is None)
    if exact is not None and tried is not None:
        assert exact.peak_bytes <= budget
        assert exact.time_s == pytest.approx(tried.time_s, abs=1e-6)


def test_twelve_blocks_as_found_by_trying_all_4096_choices() -> None:
    rng = np.random.default_rng(3)
    table = chain(list(rng.integers(1, 100, 12)), list(rng.integers(1, 50, 12).astype(float)))
    for share in (0.4, 0.6, 0.8):
        budget = float(table.base_bytes.max() * share)
        exact, tried = solve(table, budget), solve_by_trying(table, budget)
        assert (exact and exact.time_s) == (tried and pytest.approx(tried.time_s))


def test_only_the_block_that_pays_is_recomputed() -> None:
    # At the end 100 + 110 bytes are alive, the last 60 of them in use: without block 0 it is 170, without 1 and 2 still 200.
    choice = solve(chain([40, 5, 5, 60], [1.0, 10.0, 10.0, 10.0]), 170)
    assert choice is not None
    assert choice.actions == ("recompute", "keep", "keep", "keep")
    assert choice.time_s == 1.0


def test_a_copy_that_hides_costs_nothing_and_one_that_does_not_is_waited_for() -> None:
    hidden = solve(chain([50, 100], [9.0, 9.0], rate=10.0, window=10.0), 200)
    waited = solve(chain([50, 100], [9.0, 9.0], rate=10.0, window=2.0), 200)
    assert hidden is not None
    assert hidden.actions == ("offload", "keep")
    assert hidden.time_s == 0.0
    assert waited is not None
    assert waited.time_s == pytest.approx(6.0)  # (5 s of copying - 2 s of computing) each way, less than 9 s of computing again


def test_a_block_and_one_inside_it_are_not_both_touched() -> None:
    choice = smallest(chain([50, 40, 10], [1.0, 1.0, 1.0], nested=True))
    assert choice.actions[:2].count("recompute") <= 1


def test_the_smallest_peak_is_found_and_no_budget_below_it_works() -> None:
    table = chain([30, 20, 25], [1.0, 2.0, 3.0])
    least = smallest(table)
    assert least.peak_bytes == 130  # at the backward of block 0 its own 30 are back: 100 + 30
    assert least.time_s == 1.0 + 2.0  # block 0 alone leaves 145 at the end, block 1 alone 150 at its own backward
    assert solve(table, least.peak_bytes) is not None
    assert solve(table, least.peak_bytes - 1) is None


def test_a_plain_step_that_fits_is_left_alone() -> None:
    choice = solve(chain([30, 20], [1.0, 1.0]), 150)
    assert choice is not None
    assert choice.actions == ("keep", "keep")
    assert choice.time_s == 0.0


def test_damaged_tables_are_refused() -> None:
    option = BlockOption(block=3, action="recompute", delta_bytes=np.zeros(1), time_s=1.0)
    with pytest.raises(PlanError, match="1 blocks"):
        CostTable(blocks=("a",), positions=("p",), base_bytes=np.zeros(1), options=(option,))
    with pytest.raises(PlanError, match="positions"):
        CostTable(blocks=("a",), positions=("p",), base_bytes=np.zeros(2), options=())
    moved = BlockOption(block=0, action="offload", delta_bytes=np.zeros(1), time_s=0.0, copied_bytes=1.0)
    with pytest.raises(PlanError, match="copy_bytes_per_s"):
        CostTable(blocks=("a",), positions=("p",), base_bytes=np.zeros(1), options=(moved,))
    with pytest.raises(PlanError, match="too many"):
        solve_by_trying(chain([1] * 21, [1.0] * 21), 100)
