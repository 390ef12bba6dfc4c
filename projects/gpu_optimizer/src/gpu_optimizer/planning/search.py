"""The search itself: from a request, over every way to run the step, to the fastest plan that fits.

Ways are looked at in the order of the least time they could take, so the search ends as soon as no other can be
faster. What fits by the cost table is traced before it is believed, and the table corrected by what it was wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from gpu_optimizer.errors import CheckpointError, PlanError
from gpu_optimizer.planning.guarding import FormatGuard
from gpu_optimizer.planning.impossible import budget_error
from gpu_optimizer.planning.plans import Plan
from gpu_optimizer.planning.request import BudgetError, Found, Request, Way, per_example, ways
from gpu_optimizer.planning.scenario import Timer, outermost, without_impossible
from gpu_optimizer.planning.sizes import format_bytes
from gpu_optimizer.planning.solver import Choice, CostTable, chosen, smallest, solve
from gpu_optimizer.planning.table import OPTIMIZER
from gpu_optimizer.planning.writing import written
from gpu_optimizer.profiling.capacity import device_need
from gpu_optimizer.profiling.profile import MemoryProfile
from gpu_optimizer.profiling.profile_table import words

_ROUNDS = 6  # of solving, tracing and correcting the table by what it was wrong


def answer(request: Request) -> Plan:
    """The best plan for a request.

    Raises:
        BudgetError: There is none.
    """
    notes: list[str] = []
    best, seen = _search(request, _timed_ways(request, notes), notes)
    notes += _too_much_for_the_card(request, best)
    return written(request, best, seen, notes)


def _too_much_for_the_card(request: Request, found: Found) -> list[str]:
    """What a budget of tensors leaves out: the allocator's segments, the libraries and the context must fit the card as well."""
    there = request.machine.memory_bytes
    if request.machine.kind != "cuda" or there is None:
        return []
    need = device_need(found.profile, margin=request.margin)
    if need.fits(there):
        return []
    return [f"{need}; {request.machine.name} has {words(there)}: torch may get by with it, more slowly; plan for less to be safe"]


def _timed_ways(request: Request, notes: list[str]) -> list[Way]:
    """Every way with the least time it could take, the most promising first."""
    found = []
    for scenarios in ways(request, notes):
        timer = Timer(scenarios, request.machine, budget_bytes=request.usable_bytes, efficiency=request.efficiency, repeats=request.repeats)
        request.progress(f"tracing and timing {scenarios[0].step.precision}")
        for scenario in scenarios:
            times = timer.times(scenario)
            least = scenario.step.accumulation * (times.forward_s + times.backward_s) + times.optimizer_s
            found.append(Way(least_s=per_example(scenario, least), scenario=scenario, times=times))
    # Equally fast ways, but for rounding: the one with fewer micro-batches.
    return sorted(found, key=lambda way: (float(f"{way.least_s:.4g}"), way.scenario.step.accumulation))


def _search(request: Request, candidates: Sequence[Way], notes: list[str]) -> tuple[Found, list[Found]]:
    """The best way, and what is worth showing beside it."""
    best: Found | None = None
    seen: list[Found] = []
    guard = FormatGuard(request, notes)
    for way in candidates:
        scenario = way.scenario
        if best is not None and way.least_s >= per_example(best.scenario, best.time_s) * (1 - 1e-3):
            break
        if guard.refused(scenario.step.precision):
            continue
        request.progress(f"{scenario.step.precision}, {scenario.step.accumulation} x {scenario.micro_batch}: solving")
        found = _fit(request, way, notes)
        if not seen:
            seen.append(_plain(request, way))
        faster = found is not None and (best is None or per_example(scenario, found.time_s) < per_example(best.scenario, best.time_s))
        if found is not None and faster and guard.passes(found):
            best = found
    if best is None:
        raise _impossible(request, [way for way in candidates if not guard.refused(way.scenario.step.precision)], notes)
    guard.conclude(best)
    others = [found for found in (_everything(request, best), _only_moved(request, best, notes)) if found is not None]
    return best, [*seen, *others, best]


def _fit(request: Request, way: Way, notes: list[str]) -> Found | None:
    """The fastest choice of blocks that fits when it is traced; None where there is none."""
    table = request.table(way.scenario, way.times)
    if way.scenario.profile.peak_bytes <= request.usable_bytes:
        return _plain(request, way, name="the plan")
    found = [_fastest(request, way, part, notes) for part in _parts(table) if part.options]
    return min((one for one in found if one is not None), key=_by_time, default=None)


def _by_time(found: Found) -> tuple[float, int]:
    return found.time_s, found.profile.peak_bytes


def _parts(table: CostTable) -> list[CostTable]:
    """The whole table; where blocks can be moved, also what is left without moving and without computing again.

    What a mixture needs is known least exactly before it is traced. With these two the plan is never slower than the
    best of each kind.
    """
    actions = {option.action for option in table.options}
    single = ("offload", "recompute") if {"offload", "recompute"} <= actions else ()
    return [table, *(replace(table, options=tuple(option for option in table.options if option.action != kind)) for kind in single)]


def _fastest(request: Request, way: Way, table: CostTable, notes: list[str]) -> Found | None:
    """Solve, trace, correct the aim by what the table was wrong, until the best that fits is found."""
    usable = request.usable_bytes
    fitting = (found for found in _wholesale(way, table) if found.profile.peak_bytes <= usable)
    easy = min(fitting, key=_by_time, default=None)
    aim, best, tried = usable, None, set()
    for _ in range(_ROUNDS):
        choice = _next_choice(request, table, aim, first=best is None and aim < usable)
        if choice is None and best is None:
            choice = smallest(table, limit_s=request.solve_s)
        if choice is None or choice.actions in tried:
            break
        tried.add(choice.actions)
        found, table = traced(way, table, choice, notes)
        if found is None:
            continue
        wrong = found.profile.peak_bytes - choice.peak_bytes
        if found.profile.peak_bytes <= usable and (best is None or found.time_s < best.time_s):
            best = found
        # The table is a little off: aim by as much higher or lower, always strictly beyond what was just tried.
        aim = usable - wrong if wrong > 0 or best is None else max(usable - wrong, choice.peak_bytes + 1)
        if best is not None and wrong >= 0 and found is best:
            break
    return min((found for found in (best, easy) if found is not None), key=_by_time, default=None)


def _wholesale(way: Way, table: CostTable) -> list[Found]:
    """All blocks treated alike, traced: a bound for what the table knows least exactly, and what people do by hand."""
    names = outermost(way.scenario.blocks)
    actions = {option.action for option in table.options}
    orders: list[dict[str, str]] = [dict.fromkeys(names, action) for action in ("recompute", "offload") if action in actions]
    if "host" in actions:
        orders += [{OPTIMIZER: "host"}, *({**order, OPTIMIZER: "host"} for order in orders)]
    found = []
    for order in orders:
        with suppress(CheckpointError):
            found.append(_with_choice(way, table, chosen(table, order)))
    return found


def _with_choice(way: Way, table: CostTable, choice: Choice, *, name: str = "the plan") -> Found:
    """The choice traced.

    Raises:
        CheckpointError: Something in it cannot be checkpointed.
    """
    found = Found(name=name, scenario=way.scenario, table=table, choice=choice, profile=way.scenario.profile, times=way.times)
    return replace(found, profile=way.scenario.traced_with(found.treatment))


def _next_choice(request: Request, table: CostTable, aim: float, *, first: bool) -> Choice | None:
    choice = solve(table, aim, limit_s=request.solve_s)
    return smallest(table, limit_s=request.solve_s) if choice is None and first else choice


def traced(way: Way, table: CostTable, choice: Choice, notes: list[str]) -> tuple[Found | None, CostTable]:
    """The choice traced; where a module turns out not to be possible, a table without it."""
    try:
        return _with_choice(way, table, choice), table
    except CheckpointError:
        recomputed = [name for name, action in zip(table.blocks, choice.actions, strict=True) if action == "recompute"]
        _, refused = without_impossible(way.scenario, recomputed)
        if not refused:
            raise
    notes.extend(f"left alone: {why}" for why in refused.values())
    possible = (option for option in table.options if option.action != "recompute" or table.blocks[option.block] not in refused)
    return None, replace(table, options=tuple(possible))


def _plain(request: Request, way: Way, *, name: str = "plain") -> Found:
    table = request.table(way.scenario, way.times)
    return Found(name=name, scenario=way.scenario, table=table, choice=chosen(table, {}), profile=way.scenario.profile, times=way.times)


def _everything(request: Request, best: Found) -> Found | None:
    """Every block checkpointed, in the split that the plan uses: what people do by hand."""
    if "checkpoint" not in request.search or not best.table.options:
        return None
    choice = chosen(best.table, dict.fromkeys(outermost(best.scenario.blocks), "recompute"))
    try:
        return _with_choice(_way_of(best), best.table, choice, name="checkpoint everything")
    except CheckpointError:
        return None


def _way_of(found: Found) -> Way:
    return Way(least_s=0.0, scenario=found.scenario, times=found.times)


def _only_moved(request: Request, best: Found, notes: list[str]) -> Found | None:
    """Nothing computed again, only moved to the host: shown so that nobody has to guess why it is not the plan."""
    actions = set(best.choice.actions)
    options = tuple(option for option in best.table.options if option.action != "recompute")
    if not options or not actions - {"keep"} or "recompute" not in actions:
        return None
    table = replace(best.table, options=options)
    way = _way_of(best)
    found = _fastest(request, way, table, [])
    if found is None:
        least = format_bytes(_least(request, way, table, []).peak_bytes)
        notes.append(f"moving to the host alone is not enough: it leaves a peak of {least}")
        return None
    return replace(found, name="moved to the host only")


def _impossible(request: Request, candidates: Iterable[Way], notes: list[str]) -> BudgetError:
    """The answer with the lowest peak of any way: that of one of the smallest micro-batches."""
    lowest: MemoryProfile | None = None
    for way in sorted(candidates, key=lambda way: way.scenario.micro_batch)[:2]:
        profile = _least(request, way, request.table(way.scenario, way.times), notes)
        lowest = profile if lowest is None or profile.peak_bytes < lowest.peak_bytes else lowest
    if lowest is None:
        raise PlanError("there is no way left to run the step: " + "; ".join(notes))
    return budget_error(request, lowest, notes)


def _least(request: Request, way: Way, table: CostTable, notes: list[str]) -> MemoryProfile:
    """The lowest peak that the table's options reach, traced; that of the plain step where they help nothing."""
    reached = [way.scenario.profile, *(found.profile for found in _wholesale(way, table))]
    while table.options:
        found, table = traced(way, table, smallest(table, limit_s=request.solve_s), notes)
        if found is not None:
            reached.append(found.profile)
            break
    return min(reached, key=lambda profile: profile.peak_bytes)
