"""From a trace of one plain step to a cost table: what each block holds, when, and what freeing it would do.

A `Tracker` that followed a step goes in, a `CostTable` comes out. Every storage's life is known, so the bytes alive
at each moment are exact for the plain step; what a checkpoint or an offload changes is worked out from them:

- What a block saved and nobody else holds is gone from the end of its forward until its backward begins.
- A recomputed block needs its inputs until then, and while it recomputes, what its forward needed at most.
- An offloaded block's tensors leave after it has run, the last few once the next block has, and are back one block
  early, since copies run beside the computation.

Outputs of a block are counted as long as in the plain step, which is on the safe side; the last few tensors wait longer
where the next block is not offloaded, which is not. The planner traces the step again with the plan in force, so the
prediction itself does not rest on this table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gpu_optimizer.planning.checkpoints import parse_run
from gpu_optimizer.planning.solver import BlockOption, CostTable
from gpu_optimizer.planning.treatment import IN_FLIGHT, MIN_MOVED_BYTES
from gpu_optimizer.profiling.profile import rounded
from gpu_optimizer.profiling.tracker import Call, Life, Tracker

OPTIMIZER = "(optimizer)"
"""What stands for the optimizer's state among the blocks."""

_HELD = ("parameters", "buffers", "inputs", "gradients", "optimizer_state")


@dataclass(frozen=True, slots=True)
class BlockCalls:
    """One module that may be treated, and its forward passes in the step that is looked at.

    Args:
        name: Path of the module, or a run of children such as "features[3:6]".
        calls: Its forward passes, each with its backward ticks.
        saved: What each of them saved and nobody else holds.
        members: For each of them the calls of modules that it is made of, by `id`; itself for a module.
    """

    name: str
    calls: tuple[Call, ...]
    saved: tuple[tuple[Life, ...], ...]
    members: tuple[frozenset[int], ...]

    def saved_bytes(self, granule_bytes: int = 1) -> int:
        """What treating the block frees."""
        return sum(rounded(life.size_bytes, granule_bytes) for lives in self.saved for life in lives)

    def held_bytes(self) -> int:
        """What must stay to compute the block again and would be gone by then."""
        ends = [(call, call.backward[1] if call.backward else call.died) for call in self.calls]
        return sum(life.size_bytes for call, end in ends for life in call.inputs.values() if life.died is not None and life.died < end)


def find_blocks(tracker: Tracker, names: Iterable[str], *, step: int, runs: Iterable[tuple[str, list[str]]] = ()) -> tuple[BlockCalls, ...]:
    """The modules and runs that save something which a checkpoint would free, in the order of their first call.

    Args:
        tracker: What followed the steps.
        names: Candidates.
        step: Index of the step that is looked at.
        runs: Further candidates: a name, and the modules that are called one after the other.
    """
    windows = {life.window for life in tracker.lives if life.step == step and life.phase == "forward"}
    runs = list(runs)
    wanted = set(names) | {name for _, parts in runs for name in parts}
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in tracker.calls:
        if call.module in wanted and call.window in windows and not call.recompute:
            calls[call.module].append(call)
    saved: dict[int, list[Life]] = defaultdict(list)
    for life in tracker.lives:
        if life.phase == "forward" and life.window in windows and life.category not in _HELD and life.savers:
            for call in life.stack:
                saved[id(call)].append(life)
    groups = [(name, [[call] for call in calls[name]]) for name in names if calls[name]]
    groups += [
        (name, [list(group) for group in zip(*(calls[part] for part in parts), strict=True)]) for name, parts in runs if _even(calls, parts)
    ]
    found = (_block(name, of, saved) for name, of in groups)
    return tuple(sorted((block for block in found if block is not None), key=lambda block: block.calls[0].born))


def _even(calls: Mapping[str, list[Call]], parts: Sequence[str]) -> bool:
    """Whether all parts of a run are called equally often, at least once."""
    return len({len(calls[part]) for part in parts}) == 1 and bool(calls[parts[0]])


def _block(name: str, groups: Sequence[list[Call]], saved: Mapping[int, list[Life]]) -> BlockCalls | None:
    """A module or a run with what it saves; None where that is nothing."""
    members = tuple(frozenset(id(call) for call in group) for group in groups)
    calls = tuple(group[0] if len(group) == 1 else _joined(name, group, ids) for group, ids in zip(groups, members, strict=True))
    if any(call.backward is None for call in calls):
        return None
    kept = tuple(
        tuple(dict.fromkeys(_own(call, ids, (life for part in group for life in saved[id(part)]))))
        for call, group, ids in zip(calls, groups, members, strict=True)
    )
    return BlockCalls(name, calls, kept, members) if any(kept) else None


def _joined(name: str, group: Sequence[Call], members: frozenset[int]) -> Call:
    """Calls of a run's modules as one call."""
    backward = [call.backward for call in group if call.backward is not None]
    return Call(
        name,
        False,
        group[0].window,
        group[0].born,
        group[-1].died,
        {key: life for call in group for key, life in call.inputs.items() if not any(id(c) in members for c in life.stack)},
        group[-1].outputs,
        sum(call.flops for call in group),
        (min(first for first, _ in backward), max(last for _, last in backward)) if backward else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What may be done with the blocks of a step, and what that costs.

    Args:
        recompute_s: Seconds of a forward pass of each block; None where nothing may be computed again.
        copy_bytes_per_s: Rate of copies to the host and back; None where nothing can be moved.
        host_optimizer_s: What an optimizer that steps on the host adds to every micro-batch; None where it cannot.
        forward_s: Time of the forward pass, for copies to hide in.
        backward_s: Time of the backward pass, for copies back to hide in.
    """

    recompute_s: Mapping[str, float] | None = None
    copy_bytes_per_s: float | None = None
    host_optimizer_s: float | None = None
    forward_s: float = 0.0
    backward_s: float = 0.0


def build_table(tracker: Tracker, blocks: Sequence[BlockCalls], means: Means, *, step: int, granule_bytes: int = 1) -> CostTable:
    """The table of one micro-batch of a step.

    Args:
        tracker: What followed the plain steps.
        blocks: What may be treated, from `find_blocks`.
        means: What may be done with it.
        step: Index of the step that is looked at; positions of all steps count.
        granule_bytes: Multiple in which the allocator hands out memory.
    """
    curve = _Curve(tracker.lives, granule_bytes)
    hosted = _Curve([life for life in tracker.lives if _is_optimizers(life)], granule_bytes, like=curve)
    lags = _Lags([call for block in blocks for call in block.calls])
    edits = [_Edits(block, lags, granule_bytes) for block in blocks]
    ticks, labels = _positions(tracker, [curve, curve.without(hosted)], edits, step)
    # One more position per block: the moment of its recomputation that needs most.
    starts = np.array([min(call.backward[0] for call in block.calls if call.backward) for block in blocks], dtype=np.int64)
    all_ticks = np.concatenate([ticks, starts])
    options = []
    for index, block in enumerate(blocks):
        if means.recompute_s is not None:
            delta = edits[index].recompute_delta(all_ticks)
            extra = _recompute_extra(tracker.lives, block, granule_bytes)
            delta[len(ticks) + index] += extra - _alive_bytes(block, int(starts[index]), granule_bytes)
            options.append(BlockOption(block=index, action="recompute", delta_bytes=delta, time_s=means.recompute_s[block.name]))
        if means.copy_bytes_per_s and edits[index].moved_bytes:
            delta = edits[index].offload_delta(all_ticks)
            moved = float(edits[index].moved_bytes)
            options.append(BlockOption(block=index, action="offload", delta_bytes=delta, time_s=0.0, copied_bytes=moved))
    names = [block.name for block in blocks]
    if means.host_optimizer_s is not None and hosted.total.any():
        options.append(BlockOption(block=len(names), action="host", delta_bytes=-hosted.at(all_ticks), time_s=means.host_optimizer_s))
        names.append(OPTIMIZER)
    return CostTable(
        blocks=tuple(names),
        positions=(*labels, *(f"recomputing {block.name}" for block in blocks)),
        base_bytes=curve.at(all_ticks),
        options=tuple(options),
        conflicts=_conflicts(blocks),
        forward_s=means.forward_s,
        backward_s=means.backward_s,
        copy_bytes_per_s=means.copy_bytes_per_s,
    )


def _is_optimizers(life: Life) -> bool:
    """Whether it would not be on the device if the optimizer worked on the host: its state, and what it computes with."""
    return life.category == "optimizer_state" or (life.phase == "optimizer" and life.category is None)


def _own(call: Call, members: frozenset[int], lives: Iterable[Life]) -> Iterable[Life]:
    """What was made and saved inside the call, is alive after it, and is neither its output nor saved elsewhere."""
    outputs = set(map(id, call.outputs))
    for life in lives:
        outlives = life.died is None or life.died > call.died
        if outlives and id(life) not in outputs and all(any(id(c) in members for c in stack) for stack in life.savers):
            yield life


def _conflicts(blocks: Sequence[BlockCalls]) -> tuple[tuple[int, ...], ...]:
    """Groups of blocks that run at the same moment, of which at most one may be treated.

    Forward passes are intervals of ticks, so all that overlap a moment can be read off where each one begins.
    """
    groups: dict[tuple[int, ...], None] = {}
    for block in blocks:
        for begun in block.calls:
            group = tuple(
                index
                for index, other in enumerate(blocks)
                if any(call.born <= begun.born < call.died or call is begun for call in other.calls)
            )
            if len(group) > 1:
                groups[group] = None
    return tuple(groups)


class _Curve:
    """Bytes alive after every tick of the plain step."""

    def __init__(self, lives: Iterable[Life], granule_bytes: int, *, like: _Curve | None = None) -> None:
        events = [
            (tick, sign * rounded(life.size_bytes, granule_bytes))
            for life in lives
            for tick, sign in ((life.born, 1), (life.died, -1))
            if tick is not None
        ]
        length = max((tick for tick, _ in events), default=0) + 2 if like is None else len(like.total)
        changes = np.zeros(length)
        for tick, size in events:
            changes[tick] += size
        self.total = np.cumsum(changes)

    def without(self, other: _Curve) -> _Curve:
        """The curve without what another one counts."""
        rest = _Curve((), 1, like=self)
        rest.total = self.total - other.total
        return rest

    def at(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.total[np.clip(ticks, 0, len(self.total) - 1)]

    def worst(self, first: int, end: int) -> int:
        """Tick of the most bytes in [first, end)."""
        return first + int(self.total[first:end].argmax())


class _Lags:
    """When copies that run beside the computation are through: one block later, and one block earlier on the way back."""

    def __init__(self, calls: Sequence[Call]) -> None:
        outer = [call for call in calls if not any(other.born <= call.born and call.died < other.died for other in calls)]
        self._forward = sorted(call.died for call in outer)
        self._backward = sorted(call.backward[0] for call in calls if call.backward)

    def gone(self, call: Call, later: int) -> int:
        """When a storage has left after which `later` others of the call are sent: the last few wait for the next block's."""
        following = next((tick for tick in self._forward if tick > call.died), call.died)
        return (call.died if later >= IN_FLIGHT else following) + 1

    def back(self, call: Call) -> int:
        begin = call.backward[0] if call.backward else call.died
        earlier = [tick for tick in self._backward if tick < begin]
        return earlier[-1] if earlier else begin


class _Edits:
    """Intervals of ticks in which treating one block adds or takes away bytes."""

    def __init__(self, block: BlockCalls, lags: _Lags, granule_bytes: int) -> None:
        self.freed: list[tuple[int, int, int]] = []  # first tick, end, bytes taken away
        self.offloaded: list[tuple[int, int, int]] = []
        self.moved_bytes = 0
        self.held: list[tuple[int, int, int]] = []  # inputs that must stay
        for call, saved in zip(block.calls, block.saved, strict=True):
            begin, end = call.backward or (call.died, call.died)
            movable = [life for life in saved if life.size_bytes >= MIN_MOVED_BYTES and parse_run(block.name) is None]
            for life in saved:
                self.freed.append((call.died + 1, min(begin, _death(life, end)), rounded(life.size_bytes, granule_bytes)))
            for later, life in enumerate(sorted(movable, key=lambda life: -life.born)):
                size = rounded(life.size_bytes, granule_bytes)
                self.offloaded.append((lags.gone(call, later), min(lags.back(call), _death(life, end)), size))
                self.moved_bytes += size
            for life in call.inputs.values():
                if life.died is not None and life.died < end:
                    self.held.append((life.died, end, rounded(life.size_bytes, granule_bytes)))

    def recompute_delta(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        return _covering(self.held, ticks) - _covering(self.freed, ticks)

    def offload_delta(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        return -_covering(self.offloaded, ticks)

    def borders(self) -> set[int]:
        return {tick for first, end, _ in (*self.freed, *self.offloaded, *self.held) for tick in (first, end)}


def _death(life: Life, end: int) -> int:
    return end if life.died is None else life.died


def _covering(intervals: Iterable[tuple[int, int, int]], ticks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the intervals that hold each tick."""
    total = np.zeros(len(ticks))
    for first, end, size in intervals:
        total[(ticks >= first) & (ticks < end)] += size
    return total


def _positions(tracker: Tracker, curves: Sequence[_Curve], edits: Sequence[_Edits], step: int) -> tuple[NDArray[np.int64], list[str]]:
    """The worst tick of each curve between every two borders: within, all deltas but the optimizer's are constant.

    Forward and backward of the other steps hold at most what they hold in the one that is looked at.
    """
    length = len(curves[0].total)
    borders = {0, length} | {span.start for span in tracker.spans}
    for edit in edits:
        borders |= edit.borders()
    ordered = sorted(tick for tick in borders if 0 <= tick <= length)
    ticks, labels = [], []
    for first, end in pairwise(ordered):
        for tick in sorted({curve.worst(first, end) for curve in curves}) if end > first else ():
            span = max((span for span in tracker.spans if span.start <= max(tick, 1)), key=lambda span: span.start, default=None)
            if span is None or span.step == step or span.phase == "optimizer":
                ticks.append(tick)
                labels.append("before the step" if span is None else f"{span.phase} of step {span.step + 1}")
    return np.array(ticks, dtype=np.int64), labels


def _alive_bytes(block: BlockCalls, tick: int, granule_bytes: int) -> float:
    """What the block saved and still holds right before its backward begins; recomputed, it is made anew."""
    there = (life for lives in block.saved for life in lives if life.died is None or life.died >= tick)
    return float(sum(rounded(life.size_bytes, granule_bytes) for life in there))


def _recompute_extra(lives: Iterable[Life], block: BlockCalls, granule_bytes: int) -> float:
    """Most bytes alive at once of what a call of the block allocates while it runs forward."""
    worst = 0.0
    for call, ids in zip(block.calls, block.members, strict=True):
        changes = []
        for life in lives:
            if any(id(c) in ids for c in life.stack) and life.born <= call.died:
                size = rounded(life.size_bytes, granule_bytes)
                changes.append((life.born, size))
                if life.died is not None and life.died <= call.died:
                    changes.append((life.died, -size))
        level = 0
        for _, size in sorted(changes):
            level += size
            worst = max(worst, level)
    return worst
