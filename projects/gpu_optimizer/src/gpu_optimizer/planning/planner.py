"""`plan`: the fastest (or cheapest) way to run a training step that stays within a memory budget.

A model, a sample and a budget go in, a frozen `Plan` comes out. For every number format and split into micro-batches
that may be used: trace the plain step without running it, time its parts here, build the cost table, solve it
exactly, then trace again with the solution in force, so the predicted peak is that of the plan itself and not of the
table. Ways that could not be faster than the best one found are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch

from gpu_optimizer.errors import CheckpointError, PlanError
from gpu_optimizer.planning.identity import model_identity
from gpu_optimizer.planning.ledger import ErrorLedger, default_ledger_path
from gpu_optimizer.planning.machine import Machine
from gpu_optimizer.planning.plans import Plan
from gpu_optimizer.planning.probe import StepTimes
from gpu_optimizer.planning.request import EXACT, BudgetError, Found, Request, Search, copy_rate, per_example, share, ways
from gpu_optimizer.planning.scenario import Scenario, Timer, outermost, without_impossible
from gpu_optimizer.planning.sizes import format_bytes, parse_bytes
from gpu_optimizer.planning.solver import Choice, CostTable, smallest, solve
from gpu_optimizer.planning.writing import written
from gpu_optimizer.steps import OptimizerSpec, Precision, TrainingStep

_ROUNDS = 6  # of solving, tracing and correcting the table by what it was wrong


def plan(
    model: torch.nn.Module | TrainingStep,
    sample: Any = None,
    budget: int | float | str | None = None,
    *,
    loss: Callable[..., torch.Tensor] | None = None,
    target: Any = None,
    optimizer: OptimizerSpec = "adamw",
    precision: Precision = "fp32",
    objective: Literal["time", "cost"] = "time",
    search: Collection[str] = EXACT,
    device: Any = None,
    usd_per_hour: float | None = None,
    price_source: str | None = None,
    ledger: ErrorLedger | None = None,
    margin: float | None = None,
    efficiency: float = 0.4,
    repeats: int = 3,
    solve_s: float = 20.0,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """The fastest way to run a training step within a memory budget.

    Args:
        model: The model, on its device or on "meta"; or a whole `TrainingStep`, and no sample then.
        sample: What it is called with: a whole batch, as it is to be trained on.
        budget: Bytes that tensors may take at any moment: a number, "8GiB", or "90%" of the device. Default: 90 %.
        loss: As in `TrainingStep`.
        target: As in `TrainingStep`.
        optimizer: As in `TrainingStep`.
        precision: Number format that is used unless the search may choose.
        objective: "time" for the fastest step on one device; "cost" for the cheapest among machines with a price, those
            named in `device` or all, unless `usd_per_hour` gives the price of one.
        search: What may be done. "checkpoint", "offload" and "accumulation" leave what is trained as it is;
            "precision" and "batch" (another batch size, for the least time per example) do not.
        device: What to plan for, default the model's device: a device here, or another machine by its `MachineProfile`
            or its short name in config/machines.yml.
        usd_per_hour: Price of the device, to have the plan say what a step costs.
        price_source: Where the price comes from.
        ledger: Past errors, from which margins follow. Default: the user's, see `default_ledger_path`.
        margin: Share by which predictions are raised, instead of what the ledger says.
        efficiency: Share of its peak rate that a machine reaches which is not here.
        repeats: Timed runs of each part.
        solve_s: Time limit of each solution, seconds.
        progress: Called with a sentence at every stage.

    Raises:
        BudgetError: Nothing makes it fit; it says the smallest budget that works and what stands in the way.
        PlanError: Something asked for makes no sense.

    Example:
        >>> model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()) for _ in range(6)))
        >>> made = plan(model, torch.randn(512, 64), "1 MiB", optimizer="sgd", ledger=ErrorLedger(None), repeats=1)
        >>> made.guarded_peak_bytes <= 2**20, made.batch_size
        (True, 512)
    """
    step = _step(model, sample, loss=loss, target=target, optimizer=optimizer, precision=precision)
    if objective not in ("time", "cost"):
        raise PlanError(f"objective: expected 'time' or 'cost', got {objective!r}")
    if unknown := set(search) - set(get_args(Search)):
        raise PlanError(f"search: {sorted(unknown)[0]!r} is not known; choose from {', '.join(get_args(Search))}")
    settings: dict[str, Any] = {"efficiency": efficiency, "solve_s": solve_s}
    if objective == "cost" and usd_per_hour is None:
        from gpu_optimizer.planning.economy import cheapest_plans

        names = None if device is None else [device] if isinstance(device, str) else list(device)
        settings |= {"search": search, "ledger": ledger, "margin": margin, "progress": progress}
        return cheapest_plans(step, None, "90%" if budget is None else budget, machines=names, **settings)[0]
    machine = Machine.of(step.device if device is None and step.device.type != "meta" else device or "cpu")
    ledger = ledger if ledger is not None else ErrorLedger(default_ledger_path())
    identity = model_identity(step.model)
    request = Request(
        step=step,
        identity=identity,
        machine=machine,
        budget_bytes=parse_bytes("90%" if budget is None else budget, whole_bytes=machine.memory_bytes),
        margin=ledger.memory_margin(machine.name, model=identity) if margin is None else share("margin", margin),
        ledger=ledger,
        search=frozenset(search),
        copy_bytes_per_s=copy_rate(machine) if "offload" in search and machine.has_host else None,
        repeats=repeats,
        progress=progress or (lambda _: None),
        usd_per_hour=usd_per_hour,
        price_source=price_source,
        **settings,
    )
    notes: list[str] = []
    best, seen = _search(request, list(ways(request, notes)), notes)
    return written(request, best, seen, notes)


def _step(model: torch.nn.Module | TrainingStep, sample: Any, **rest: Any) -> TrainingStep:
    if isinstance(model, TrainingStep):
        return model
    if sample is None:
        raise PlanError("sample: a plan needs what the model is called with; pass a batch, or a TrainingStep instead of the model")
    return TrainingStep.of(model, sample, **rest)


def _search(request: Request, formats: Sequence[list[Scenario]], notes: list[str]) -> tuple[Found, list[Found]]:
    """The best way, and what is worth showing beside it."""
    best: Found | None = None
    seen: list[Found] = []
    candidates = []
    for scenarios in formats:
        timer = Timer(
            scenarios,
            request.machine,
            budget_bytes=request.usable_bytes,
            efficiency=request.efficiency,
            repeats=request.repeats,
        )
        request.progress(f"tracing and timing {scenarios[0].step.precision}")
        for scenario in scenarios:
            times = timer.times(scenario)
            candidates.append(
                (
                    per_example(scenario, scenario.step.accumulation * (times.forward_s + times.backward_s) + times.optimizer_s),
                    scenario,
                    times,
                )
            )
    # Equally fast ways, but for rounding: the one with fewer micro-batches.
    for least, scenario, times in sorted(candidates, key=lambda way: (float(f"{way[0]:.4g}"), way[1].step.accumulation)):
        if best is not None and least >= per_example(best.scenario, best.time_s) * (1 - 1e-3):
            break
        request.progress(f"{scenario.step.precision}, {scenario.step.accumulation} x {scenario.micro_batch}: solving")
        found = _fit(request, scenario, times, notes)
        if not seen:
            seen.append(_plain(request, scenario, times))
        if found is not None and (best is None or per_example(scenario, found.time_s) < per_example(best.scenario, best.time_s)):
            best = found
    if best is None:
        raise _impossible(request, candidates, notes)
    everything = _everything(request, best)
    return best, [*seen, *([everything] if everything else []), best]


def _fit(request: Request, scenario: Scenario, times: StepTimes, notes: list[str]) -> Found | None:
    """The fastest choice of blocks that fits when it is traced; None where there is none."""
    usable = request.usable_bytes
    table = _table(request, scenario, times)
    if scenario.profile.peak_bytes <= usable:
        return Found(name="the plan", scenario=scenario, table=table, choice=_kept(table), profile=scenario.profile, times=times)
    if not table.options:
        return None
    aim, best, tried = usable, None, set()
    for _ in range(_ROUNDS):
        choice = solve(table, aim, limit_s=request.solve_s)
        if choice is None and best is None and aim < usable:
            choice = smallest(table, limit_s=request.solve_s)
        if choice is None:
            lowest = smallest(table, limit_s=request.solve_s)
            choice = lowest if best is None and lowest.actions not in tried else None
        if choice is None or choice.actions in tried:
            break
        tried.add(choice.actions)
        found, table = _traced(request, scenario, times, table, choice, notes)
        if found is None:
            continue
        wrong = found.profile.peak_bytes - choice.peak_bytes
        if found.profile.peak_bytes <= usable and (best is None or found.time_s < best.time_s):
            best = found
        # The table is a little off: aim by as much higher or lower, always strictly beyond what was just tried.
        aim = usable - wrong if wrong > 0 or best is None else max(usable - wrong, choice.peak_bytes + 1)
        if best is not None and wrong >= 0 and found is best:
            break
    return best


def _traced(
    request: Request, scenario: Scenario, times: StepTimes, table: CostTable, choice: Choice, notes: list[str]
) -> tuple[Found | None, CostTable]:
    """The choice traced; where a module turns out not to be possible, a table without it."""
    found = Found(name="the plan", scenario=scenario, table=table, choice=choice, profile=scenario.profile, times=times)
    recomputed = found.names("recompute")
    try:
        profile = scenario.traced_with(recomputed)
    except CheckpointError:
        _, refused = without_impossible(scenario, recomputed)
        if not refused:
            raise
        notes.extend(f"left alone: {why}" for why in refused.values())
        kept = tuple(option for option in table.options if table.blocks[option.block] not in refused)
        return None, replace(table, options=kept)
    if found.names("offload"):
        # What goes to the host is taken off by the table: copies do not run in a trace.
        without = tuple("keep" if action == "offload" else action for action in choice.actions)
        profile = replace(profile, peak_bytes=profile.peak_bytes - _peak_of(table, without) + choice.peak_bytes)
    return replace(found, profile=profile), table


def _table(request: Request, scenario: Scenario, times: StepTimes) -> CostTable:
    return scenario.table(times, copy_bytes_per_s=request.copy_bytes_per_s, recompute="checkpoint" in request.search)


def _kept(table: CostTable) -> Choice:
    worst = int(table.base_bytes.argmax())
    return Choice(
        actions=("keep",) * len(table.blocks), peak_bytes=int(table.base_bytes[worst]), position=table.positions[worst], time_s=0.0
    )


def _peak_of(table: CostTable, actions: Sequence[str]) -> int:
    live = table.base_bytes.copy()
    for option in table.options:
        if actions[option.block] == option.action:
            live += option.delta_bytes
    return int(live.max())


def _plain(request: Request, scenario: Scenario, times: StepTimes) -> Found:
    table = _table(request, scenario, times)
    return Found(name="plain", scenario=scenario, table=table, choice=_kept(table), profile=scenario.profile, times=times)


def _everything(request: Request, best: Found) -> Found | None:
    """Every block checkpointed, in the split that the plan uses: what people do by hand."""
    if "checkpoint" not in request.search or not best.table.options:
        return None
    names = set(outermost(best.scenario.blocks))
    actions = tuple("recompute" if name in names else "keep" for name in best.table.blocks)
    seconds = {option.block: option.time_s for option in best.table.options if option.action == "recompute"}
    time_s = sum(seconds.get(index, 0.0) for index, action in enumerate(actions) if action == "recompute")
    choice = Choice(actions=actions, peak_bytes=_peak_of(best.table, actions), position="", time_s=time_s)  # type: ignore[arg-type]
    try:
        profile = best.scenario.traced_with(sorted(names))
    except CheckpointError:
        return None
    return replace(best, name="checkpoint everything", choice=choice, profile=profile)


def _impossible(request: Request, candidates: Sequence[tuple[float, Scenario, StepTimes]], notes: list[str]) -> BudgetError:
    """The error that says what would work: the lowest peak of any way, and what it is made of."""
    lowest = candidates[0][1].profile
    for _, scenario, times in sorted(candidates, key=lambda candidate: candidate[1].micro_batch)[:2]:
        table = _table(request, scenario, times)
        profiles = [scenario.profile]
        if table.options:
            found, _ = _traced(request, scenario, times, table, smallest(table, limit_s=request.solve_s), notes)
            profiles += [found.profile] if found else []
        lowest = min([*profiles, lowest], key=lambda profile: profile.peak_bytes)
    needed = int(lowest.peak_bytes * (1 + request.margin)) + 1
    parts = {name: size for name, size in sorted(lowest.by_category_at_peak.items(), key=lambda part: -part[1]) if size}
    largest = ", ".join(f"{name.replace('_', ' ')} {format_bytes(size)}" for name, size in list(parts.items())[:3])
    more = {"checkpoint": "recomputing blocks", "accumulation": "smaller micro-batches", "precision": "another number format"}
    if request.step.sample.batch_size == 1:
        del more["accumulation"]
    idle = [words for name, words in more.items() if name not in request.search]
    advice = f"; the search may not use {' or '.join(idle)}" if idle else "; a smaller model, optimizer or sample is needed"
    return BudgetError(
        f"no plan fits {format_bytes(request.budget_bytes)}: the smallest budget that works is {format_bytes(needed)} "
        f"(with a margin of {request.margin:.1%}); its peak, in the {lowest.peak_phase} phase, is made of {largest}{advice}"
        + "".join(f"; {note}" for note in notes),
        budget_bytes=request.budget_bytes,
        smallest_bytes=needed,
        by_category=parts,
        phase=lowest.peak_phase,
    )
