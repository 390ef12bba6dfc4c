"""What a plan is asked for, the ways there are to run the step, and a way that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

import torch

from gpu_optimizer.costing import PriceBook
from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.batches import examples, first_rows, with_examples
from gpu_optimizer.planning.hosting import copy_rate, host_optimizer_s, why_nothing_moves
from gpu_optimizer.planning.identity import model_identity
from gpu_optimizer.planning.ledger import ErrorLedger, default_ledger_path
from gpu_optimizer.planning.machine import Machine
from gpu_optimizer.planning.probe import StepTimes
from gpu_optimizer.planning.scenario import Scenario, Traces
from gpu_optimizer.planning.sizes import parse_bytes
from gpu_optimizer.planning.solver import Choice, CostTable
from gpu_optimizer.planning.treatment import Treatment
from gpu_optimizer.profiling.profile import MemoryProfile
from gpu_optimizer.steps import Precision, TrainingStep

Search = Literal["checkpoint", "offload", "precision", "accumulation", "batch"]
EXACT: tuple[Search, ...] = ("checkpoint", "offload", "accumulation")
"""What changes nothing of what is trained; the number format and the batch size do, so they are asked for by name."""

_BATCH_STATISTICS = torch.nn.modules.batchnorm._BatchNorm


class BudgetError(PlanError):
    """Nothing that may be done makes the step fit.

    Args:
        budget_bytes: What was given.
        smallest_bytes: The smallest budget for which there is a plan with the same search.
        by_category: What the peak of that plan is made of.
        phase: Phase of that peak.
    """

    def __init__(self, message: str, *, budget_bytes: int, smallest_bytes: int, by_category: dict[str, int], phase: str) -> None:
        super().__init__(message)
        self.budget_bytes = budget_bytes
        self.smallest_bytes = smallest_bytes
        self.by_category = by_category
        self.phase = phase


class PlanOptions(TypedDict, total=False):
    """Further arguments of `plan`, all of which may be left out.

    Args:
        usd_per_hour: Price of the device, to have the plan say what a step costs.
        price_source: Where the price comes from.
        book: Prices for the objective "cost". Default: those that come with the project.
        ledger: Past errors, from which margins follow. Default: the user's, see `default_ledger_path`.
        margin: Share by which predictions are raised, instead of what the ledger says.
        efficiency: Share of its peak rate that a machine reaches which is not here; default 0.4.
        copy_gb_per_s: Rate of copies between device and host, 10^9 bytes per second. Default: measured where the
            device is here, else that of the link its maker states.
        repeats: Timed runs of each part; default 3.
        solve_s: Time limit of each solution, seconds; default 20.
        progress: Called with a sentence at every stage.
    """

    usd_per_hour: float | None
    price_source: str | None
    book: PriceBook | None
    ledger: ErrorLedger | None
    margin: float | None
    efficiency: float
    copy_gb_per_s: float | None
    repeats: int
    solve_s: float
    progress: Callable[[str], None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for, with everything filled in."""

    step: TrainingStep
    identity: str
    machine: Machine
    budget_bytes: int
    margin: float
    ledger: ErrorLedger
    search: frozenset[str]
    copy_bytes_per_s: float | None
    efficiency: float
    repeats: int
    solve_s: float
    progress: Callable[[str], None]
    usd_per_hour: float | None
    price_source: str | None
    traces: Traces

    @property
    def usable_bytes(self) -> float:
        """What a prediction may be so that with its margin it fits."""
        return self.budget_bytes / (1 + self.margin)

    def table(self, scenario: Scenario, times: StepTimes) -> CostTable:
        """What a way to run the step needs, and all that may be done about it."""
        extra_s = None
        if self.copy_bytes_per_s is not None and self.step.optimizer is not None:
            on_host_s = host_optimizer_s(self.step, self.copy_bytes_per_s, here=self.machine.torch_device is not None)
            # Options cost their time in every micro-batch, this one once in a step.
            extra_s = max(0.0, on_host_s - times.optimizer_s) / scenario.step.accumulation
        return scenario.table(
            times, copy_bytes_per_s=self.copy_bytes_per_s, recompute="checkpoint" in self.search, host_optimizer_s=extra_s
        )


def step_of(model: torch.nn.Module | TrainingStep, sample: Any, **rest: Any) -> TrainingStep:
    """The step that is meant: a whole one, or one made of a model and a sample.

    Raises:
        PlanError: There is no sample.
    """
    if isinstance(model, TrainingStep):
        return model
    if sample is None:
        raise PlanError("sample: a plan needs what the model is called with; pass a batch, or a TrainingStep instead of the model")
    return TrainingStep.of(model, sample, **rest)


def requested(
    step: TrainingStep,
    budget: int | float | str | None,
    *,
    search: Collection[str],
    device: Any,
    options: PlanOptions,
    traces: Traces | None = None,
) -> Request:
    """The arguments of `plan` with everything filled in.

    Raises:
        PlanError: Something asked for makes no sense.
    """
    if unknown := set(search) - set(get_args(Search)):
        raise PlanError(f"search: {sorted(unknown)[0]!r} is not known; choose from {', '.join(get_args(Search))}")
    machine = Machine.of(step.device if device is None and step.device.type != "meta" else device or "cpu")
    ledger = options.get("ledger")
    ledger = ErrorLedger(default_ledger_path()) if ledger is None else ledger
    identity, margin = model_identity(step.model), options.get("margin")
    movable = "offload" in search and machine.has_host
    return Request(
        step=step,
        identity=identity,
        machine=machine,
        budget_bytes=parse_bytes("90%" if budget is None else budget, whole_bytes=machine.memory_bytes),
        margin=ledger.memory_margin(machine.name, model=identity) if margin is None else share("margin", margin),
        ledger=ledger,
        search=frozenset(search),
        copy_bytes_per_s=copy_rate(machine, options.get("copy_gb_per_s")) if movable else None,
        efficiency=options.get("efficiency", 0.4),
        repeats=options.get("repeats", 3),
        solve_s=options.get("solve_s", 20.0),
        progress=options.get("progress") or (lambda _: None),
        usd_per_hour=options.get("usd_per_hour"),
        price_source=options.get("price_source"),
        traces={} if traces is None else traces,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A way to run the step that was traced."""

    name: str
    scenario: Scenario
    table: CostTable
    choice: Choice
    profile: MemoryProfile
    times: StepTimes

    @property
    def time_s(self) -> float:
        """The whole step."""
        micro = self.times.forward_s + self.times.backward_s + self.choice.time_s
        return self.scenario.step.accumulation * micro + self.times.optimizer_s

    @property
    def treatment(self) -> Treatment:
        """What is done with the model."""
        return Treatment(recomputed=self.names("recompute"), offloaded=self.names("offload"), optimizer_on_host=bool(self.names("host")))

    def names(self, action: str) -> tuple[str, ...]:
        """Blocks that are treated so."""
        return tuple(name for name, chosen in zip(self.table.blocks, self.choice.actions, strict=True) if chosen == action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A number format and a split, with its times.

    Args:
        least_s: Time for each example if nothing had to be done about memory.
        scenario: How the step is run.
        times: Times of one micro-batch of it.
    """

    least_s: float
    scenario: Scenario
    times: StepTimes


def ways(request: Request, notes: list[str]) -> Iterator[list[Scenario]]:
    """Scenarios by number format, each list with the largest micro-batch first."""
    step, search, machine = request.step, request.search, request.machine
    if why := why_nothing_moves(machine, search, request.copy_bytes_per_s):
        notes.append(why)
    formats: list[Precision] = [step.precision]
    if "precision" in search:
        formats.extend(precision for precision in machine.precisions if precision != step.precision)
    batch = examples(step.sample)
    splits = {(batch, step.accumulation): step}
    if "accumulation" in search and batch > 1:
        if any(isinstance(module, _BATCH_STATISTICS) and module.training for module in step.model.modules()):
            notes.append(
                "the batch is not split: BatchNorm in training normalises over the micro-batch, so smaller ones train another model"
            )
        else:
            splits |= {(size, batch * step.accumulation // size): first_rows(step, size) for size in _divisors(batch)}
    if "batch" in search and has_rows(step):
        splits |= {(size, step.accumulation): with_examples(step, size) for size in _other_sizes(batch)}
    ordered = sorted(splits.items(), key=lambda split: (-split[0][0], split[0][1]))
    for precision in formats:
        yield [
            Scenario(step=micro.replace(precision=precision, accumulation=count), machine=machine, traces=request.traces)
            for (_, count), micro in ordered
        ]


def has_rows(step: TrainingStep) -> bool:
    """Whether the sample has a dimension that a batch could be."""
    return any(tensor.dim() for tensor in step.sample.tensors())


def per_example(scenario: Scenario, time_s: float) -> float:
    """Time of a step by its examples, which compares steps of different batch sizes."""
    return time_s / (scenario.micro_batch * scenario.step.accumulation)


def _divisors(batch: int) -> list[int]:
    """Up to seven smaller micro-batches that divide the batch, 1 among them."""
    divisors = [size for size in range(1, batch) if batch % size == 0]
    if len(divisors) <= 7:
        return divisors
    wanted = {1} | {min(divisors, key=lambda size: abs(size - batch / 2**power)) for power in range(1, 7)}
    return sorted(wanted)


def _other_sizes(batch: int) -> list[int]:
    return sorted({max(1, round(batch * factor)) for factor in (0.125, 0.25, 0.5, 2, 4, 8)} - {batch})


def share(name: str, value: float) -> float:
    """The value as a share.

    Raises:
        PlanError: It is negative, or no share at all.
    """
    if not 0 <= value < 10:
        raise PlanError(f"{name}: expected a share of 0 or more, such as 0.05, got {value}")
    return float(value)
