"""The choice itself: for every block keep, recompute or offload, so that memory never exceeds the budget and time is least.

A cost table goes in, a `Choice` comes out. The problem is a mixed-integer linear programme: at every position of
forward and backward the bytes that are alive are a base plus what each choice adds or takes away there (Checkmate,
Jain et al. 2020, poses the same constraint per operation; here a position is the worst moment between two borders
of blocks). Offloaded bytes share one copy engine, so what does not fit beside the computation is waited for.
It is solved exactly by HiGHS through `scipy.optimize.milp`; `solve_by_trying` goes through every choice and is
what the other is judged by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gpu_optimizer.errors import PlanError

Action = Literal["keep", "recompute", "offload", "host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOption:
    """One thing that can be done with one block instead of keeping what it saves.

    Args:
        block: Index of the block.
        action: "recompute", "offload", or "host" for the optimizer, which then works there.
        delta_bytes: (positions,) what it adds to the live bytes at each position; mostly negative.
        time_s: What it costs for certain, seconds per micro-batch.
        copied_bytes: What goes out in forward and comes back in backward.
    """

    block: int
    action: Action
    delta_bytes: NDArray[np.float64]
    time_s: float
    copied_bytes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """What a step needs and what can be done about it.

    Args:
        blocks: Names of the blocks, in the order in which they run.
        positions: Names of the positions, for messages.
        base_bytes: (positions,) bytes alive there when everything is kept.
        options: What can be done, each at most once per block.
        conflicts: Groups of blocks of which at most one may be touched (they lie inside each other or overlap).
        forward_s: Time in which copies out can hide, seconds.
        backward_s: Time in which copies back can hide, seconds.
        copy_bytes_per_s: Rate of the copy engine; needed where something is offloaded.
    """

    blocks: tuple[str, ...]
    positions: tuple[str, ...]
    base_bytes: NDArray[np.float64]
    options: tuple[BlockOption, ...]
    conflicts: tuple[tuple[int, ...], ...] = ()
    forward_s: float = 0.0
    backward_s: float = 0.0
    copy_bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if self.base_bytes.shape != (len(self.positions),):
            raise PlanError(f"base_bytes: expected one value for each of {len(self.positions)} positions, got {self.base_bytes.shape}")
        for option in self.options:
            if not 0 <= option.block < len(self.blocks):
                raise PlanError(f"option of block {option.block}: there are {len(self.blocks)} blocks")
            if option.delta_bytes.shape != self.base_bytes.shape:
                raise PlanError(f"option of {self.blocks[option.block]!r}: expected one delta for each position")
            if option.copied_bytes and not self.copy_bytes_per_s:
                raise PlanError("copy_bytes_per_s: needed where something is offloaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is done with every block.

    Args:
        actions: One per block.
        peak_bytes: Most bytes alive at any position, by the table.
        position: Where that is.
        time_s: What is added to the plain micro-batch, seconds.
    """

    actions: tuple[Action, ...]
    peak_bytes: int
    position: str
    time_s: float


def solve(table: CostTable, budget_bytes: float, *, limit_s: float = 20.0) -> Choice | None:
    """The fastest choice within the budget; None where there is none.

    Among equally fast ones the one with the lower sum of live bytes is taken, so the answer does not depend on the solver's mood.

    Args:
        table: What a step needs.
        budget_bytes: What may be alive at any position.
        limit_s: Give up proving optimality after this time and take the best found.

    Raises:
        PlanError: The solver failed or found nothing in its time.

    Example:
        >>> saved = np.array([-60.0, -60.0])
        >>> options = tuple(BlockOption(block=i, action="recompute", delta_bytes=saved, time_s=t) for i, t in ((0, 2.0), (1, 1.0)))
        >>> table = CostTable(blocks=("a", "b"), positions=("loss", "b"), base_bytes=np.array([160.0, 100.0]), options=options)
        >>> solve(table, 100).actions
        ('keep', 'recompute')
        >>> solve(table, 30) is None
        True
    """
    weights = _tie_breakers(table)
    rows = table.base_bytes <= budget_bytes
    if rows.all():
        return _choice(table, [])
    chosen = _milp(table, weights, budget_bytes=budget_bytes, limit_s=limit_s)
    return None if chosen is None else _choice(table, chosen)


def smallest(table: CostTable, *, limit_s: float = 20.0) -> Choice:
    """The choice with the lowest peak, whatever it costs; the fastest of those.

    Example:
        >>> option = BlockOption(block=0, action="recompute", delta_bytes=np.array([-60.0]), time_s=2.0)
        >>> smallest(CostTable(blocks=("a",), positions=("loss",), base_bytes=np.array([160.0]), options=(option,))).peak_bytes
        100
    """
    lowest = _milp(table, np.zeros(len(table.options)), budget_bytes=None, limit_s=limit_s)
    if lowest is None:
        raise PlanError("the solver found no smallest plan in its time; try again with a larger limit")
    peak = _peaks(table, lowest).max()
    return solve(table, peak * (1 + 1e-9) + 1e-3, limit_s=limit_s) or _choice(table, lowest)


def chosen(table: CostTable, actions: Mapping[str, str]) -> Choice:
    """What the table says of given actions by name of block; all others are kept.

    Example:
        >>> option = BlockOption(block=0, action="recompute", delta_bytes=np.array([-60.0]), time_s=2.0)
        >>> table = CostTable(blocks=("a",), positions=("loss",), base_bytes=np.array([160.0]), options=(option,))
        >>> chosen(table, {}).peak_bytes, chosen(table, {"a": "recompute"}).peak_bytes
        (160, 100)
    """
    return _choice(table, [index for index, option in enumerate(table.options) if actions.get(table.blocks[option.block]) == option.action])


def solve_by_trying(table: CostTable, budget_bytes: float) -> Choice | None:
    """The same answer as `solve` by going through every choice; for tables of up to a dozen blocks.

    Raises:
        PlanError: More than 2^20 choices.
    """
    by_block: list[list[int | None]] = [[None] for _ in table.blocks]
    for index, option in enumerate(table.options):
        by_block[option.block].append(index)
    if np.prod([len(options) for options in by_block], dtype=float) > 2**20:
        raise PlanError("too many choices to try each one; use solve")
    best: Choice | None = None
    for combination in product(*by_block):
        chosen = [index for index in combination if index is not None]
        touched = {table.options[index].block for index in chosen}
        if any(len(touched & set(group)) > 1 for group in table.conflicts) or _peaks(table, chosen).max() > budget_bytes:
            continue
        choice = _choice(table, chosen)
        if best is None or choice.time_s < best.time_s:
            best = choice
    return best


def _milp(table: CostTable, weights: NDArray[np.float64], *, budget_bytes: float | None, limit_s: float) -> list[int] | None:
    """Indices of the options taken. Without a budget the highest position is minimised instead of the time."""
    from scipy.optimize import Bounds, milp
    from scipy.sparse import csr_array

    count = len(table.options)
    # Variables: one 0/1 per option, then seconds waited for copies out, for copies back, and the peak in units of the scale.
    scale = max(1.0, float(np.abs(table.base_bytes).max()))
    objective = np.zeros(count + 3)
    rows, lower, upper = [], [], []
    deltas = np.array([option.delta_bytes for option in table.options]).reshape(count, -1).T / scale
    peak_column = np.zeros((len(table.positions), 3))
    if budget_bytes is None:
        objective[-1] = 1.0
        peak_column[:, 2] = -1.0
        upper.append(-table.base_bytes / scale)
    else:
        objective[:count] = weights
        objective[count : count + 2] = 1.0
        upper.append((budget_bytes - table.base_bytes) / scale)
    rows.append(np.hstack([deltas, peak_column]))
    lower.append(np.full(len(table.positions), -np.inf))
    for blocks in _exclusive(table):
        row = np.zeros((1, count + 3))
        row[0, :count] = [option.block in blocks for option in table.options]
        rows.append(row)
        lower.append(np.array([-np.inf]))
        upper.append(np.array([1.0]))
    if table.copy_bytes_per_s:
        seconds = np.array([option.copied_bytes for option in table.options]) / table.copy_bytes_per_s
        for column, window in ((count, table.forward_s), (count + 1, table.backward_s)):
            row = np.zeros((1, count + 3))
            row[0, :count], row[0, column] = seconds, -1.0
            rows.append(row)
            lower.append(np.array([-np.inf]))
            upper.append(np.array([window]))
    result = milp(
        objective,
        integrality=np.r_[np.ones(count), np.zeros(3)],
        bounds=Bounds(np.zeros(count + 3), np.r_[np.ones(count), np.full(3, np.inf)]),  # pyright: ignore[reportArgumentType]
        constraints=(csr_array(np.vstack(rows)), np.concatenate(lower), np.concatenate(upper)),  # pyright: ignore[reportArgumentType]
        options={"time_limit": limit_s, "mip_rel_gap": 0.0},
    )
    if result.x is None:
        if result.status in (2, 3):
            return None
        raise PlanError(f"the solver found nothing in {limit_s:g} s: {result.message}")
    return [index for index in range(count) if result.x[index] > 0.5]


def _exclusive(table: CostTable) -> list[set[int]]:
    """Sets of blocks of which at most one option may be taken."""
    return [{block} for block in sorted({option.block for option in table.options})] + [set(group) for group in table.conflicts]


def _tie_breakers(table: CostTable) -> NDArray[np.float64]:
    """Times of the options, each raised by a share too small to change which choice is fastest."""
    times = np.array([option.time_s for option in table.options])
    unit = max(float(times.sum()), table.forward_s + table.backward_s, 1e-9) * 1e-9
    return times + unit * (1 + np.arange(len(times)) / max(1, len(times)))


def _peaks(table: CostTable, chosen: list[int]) -> NDArray[np.float64]:
    return table.base_bytes + sum((table.options[index].delta_bytes for index in chosen), np.zeros(len(table.positions)))


def _choice(table: CostTable, chosen: list[int]) -> Choice:
    actions: list[Action] = ["keep"] * len(table.blocks)
    for index in chosen:
        actions[table.options[index].block] = table.options[index].action
    peaks = _peaks(table, chosen)
    time_s = sum(table.options[index].time_s for index in chosen)
    copied = sum(table.options[index].copied_bytes for index in chosen)
    if copied and table.copy_bytes_per_s:
        copy_s = copied / table.copy_bytes_per_s
        time_s += max(0.0, copy_s - table.forward_s) + max(0.0, copy_s - table.backward_s)
    worst = int(peaks.argmax())
    return Choice(actions=tuple(actions), peak_bytes=int(np.ceil(peaks[worst])), position=table.positions[worst], time_s=float(time_s))
