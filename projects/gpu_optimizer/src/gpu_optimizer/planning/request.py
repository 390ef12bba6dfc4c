"""What a plan is asked for, the ways there are to run the step, and a way that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.ledger import ErrorLedger
from gpu_optimizer.planning.machine import Machine
from gpu_optimizer.planning.probe import StepTimes
from gpu_optimizer.planning.scenario import Scenario
from gpu_optimizer.planning.solver import Choice, CostTable
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

    @property
    def usable_bytes(self) -> float:
        """What a prediction may be so that with its margin it fits."""
        return self.budget_bytes / (1 + self.margin)


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

    def names(self, action: str) -> list[str]:
        """Blocks that are treated so."""
        return [name for name, chosen in zip(self.table.blocks, self.choice.actions, strict=True) if chosen == action]


def ways(request: Request, notes: list[str]) -> Iterator[list[Scenario]]:
    """Scenarios by number format, each list with the largest micro-batch first."""
    step, search, machine = request.step, request.search, request.machine
    formats: list[Precision] = [step.precision]
    if "precision" in search:
        formats.extend(precision for precision in machine.precisions if precision != step.precision)
    batch = step.sample.batch_size if any(tensor.dim() for tensor in step.sample.tensors()) else 1
    splits = [(batch, step.accumulation)]
    if "accumulation" in search and batch > 1:
        if any(isinstance(module, _BATCH_STATISTICS) and module.training for module in step.model.modules()):
            notes.append(
                "the batch is not split: BatchNorm in training normalises over the micro-batch, so smaller ones train another model"
            )
        else:
            splits += [(size, batch * step.accumulation // size) for size in _divisors(batch)]
    if "batch" in search:
        splits += [(size, step.accumulation) for size in _other_sizes(batch)]
    splits = sorted(set(splits), key=lambda split: (-split[0], split[1]))
    for precision in formats:
        yield [
            Scenario(step=step.with_batch(size).replace(precision=precision, accumulation=count), machine=machine) for size, count in splits
        ]


def per_example(scenario: Scenario, time_s: float) -> float:
    """Time of a step by its examples, which compares steps of different batch sizes."""
    return time_s / scenario.step.batch_size


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


def copy_rate(machine: Machine) -> float | None:
    """Bytes per second between device and pinned host memory, measured with 64 MiB; None for a machine that is not here."""
    if machine.torch_device is None or machine.torch_device.type != "cuda":
        return None
    size = 64 * 2**20
    host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(size, dtype=torch.uint8, device=machine.torch_device)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    there.copy_(host, non_blocking=True)
    begin.record()
    for _ in range(4):
        host.copy_(there, non_blocking=True)
    end.record()
    end.synchronize()
    return 4 * size / (begin.elapsed_time(end) / 1000)
