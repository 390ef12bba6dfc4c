"""One way to run a step before blocks are chosen: a number format and a split into micro-batches.

A `Scenario` is traced without running, timed through a `Timer` that all scenarios of a format share, and solved for
a budget; `traced_with` says what the step really needs with given blocks treated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from gpu_optimizer._torch_private import storage_key
from gpu_optimizer.errors import CheckpointError, PlanError
from gpu_optimizer.planning.batches import examples
from gpu_optimizer.planning.checkpoints import Checkpoints, children_of_run, parse_run, runs_in
from gpu_optimizer.planning.machine import Machine
from gpu_optimizer.planning.probe import StepTimes, measure_times, roofline_times
from gpu_optimizer.planning.solver import CostTable
from gpu_optimizer.planning.table import BlockCalls, Means, build_table, find_blocks
from gpu_optimizer.planning.treatment import Treatment, treated_trace
from gpu_optimizer.profiling.estimate import Target, estimate_step, trace_step
from gpu_optimizer.profiling.profile import MemoryProfile
from gpu_optimizer.profiling.tracker import Tracker
from gpu_optimizer.steps import TrainingStep
from gpu_optimizer.training import checkpoint_candidates

_SHARE = 0.01  # of all that is saved: what a module must hold to be worth a variable of its own
_MOST_BLOCKS = 96


Plain = tuple[MemoryProfile, Tracker, tuple[BlockCalls, ...]]
Traces = dict[tuple[Any, ...], "Plain | MemoryProfile | CheckpointError"]
"""What was traced before, by step and kind of device: many machines of one kind share it."""


@dataclass(slots=True)
class Scenario:
    """A number format and a split into micro-batches.

    Args:
        step: The step of one micro-batch, with its format and accumulation.
        machine: What it is for.
        traces: Traces of this model and optimizer; what is not among them yet is added.
    """

    step: TrainingStep
    machine: Machine
    traces: Traces = field(default_factory=dict, repr=False)

    @property
    def micro_batch(self) -> int:
        """Examples per forward pass."""
        return examples(self.step.sample)

    @property
    def profile(self) -> MemoryProfile:
        """What the plain step needs."""
        return self._trace()[0]

    @property
    def blocks(self) -> tuple[BlockCalls, ...]:
        """What could be treated, in the order in which it runs."""
        return self._trace()[2]

    def table(
        self, times: StepTimes, *, copy_bytes_per_s: float | None = None, recompute: bool = True, host_optimizer_s: float | None = None
    ) -> CostTable:
        """The cost table of one micro-batch; what each argument is, `Means` says."""
        profile, tracker, blocks = self._trace()
        parts = {block.name: _parts(self.step.model, block.name) for block in blocks}
        means = Means(
            recompute_s={name: sum(times.block_s[part] for part in of) for name, of in parts.items()} if recompute else None,
            copy_bytes_per_s=copy_bytes_per_s,
            host_optimizer_s=host_optimizer_s,
            forward_s=times.forward_s,
            backward_s=times.backward_s,
        )
        return build_table(tracker, blocks, means, step=profile.steps - 1, granule_bytes=profile.granule_bytes)

    def traced_with(self, treatment: Treatment) -> MemoryProfile:
        """What the step needs when it is treated so.

        Raises:
            CheckpointError: A module cannot be checkpointed.
        """
        key = (*self._key(), treatment)
        if key not in self.traces:
            try:
                with treated_trace(self.step.model, treatment) as treated:
                    self.traces[key] = estimate_step(treated.step(self._followed()), target=self._target())
            except CheckpointError as error:
                self.traces[key] = error
        found = self.traces[key]
        if isinstance(found, CheckpointError):
            raise found
        return cast("MemoryProfile", found)

    def _trace(self) -> Plain:
        key = self._key()
        if key not in self.traces:
            profile, tracker = trace_step(self._followed(), target=self._target())
            model = self.step.model
            found = find_blocks(tracker, _candidates(model), step=profile.steps - 1, runs=runs_in(model))
            self.traces[key] = (profile, tracker, _worth_it(found, model))
        return cast("Plain", self.traces[key])

    def _key(self) -> tuple[Any, ...]:
        """What a trace depends on, for one model and optimizer; the batch may be a part of a larger one that stays in memory."""
        step = self._followed()
        storages = [tensor.untyped_storage() for tensor in step.sample.tensors()]
        held = sum({storage_key(storage): storage.nbytes() for storage in storages}.values())
        return self.micro_batch, step.accumulation, step.precision, held, self._target()

    def _followed(self) -> TrainingStep:
        """The step with at most two micro-batches: from the second on every one finds all gradients there."""
        return self.step.replace(accumulation=min(self.step.accumulation, 2))

    def _target(self) -> Target:
        return "cuda" if self.machine.kind == "cuda" else "cpu"


class Timer:
    """Times of micro-batches of one number format: measured at up to two sizes, a straight line through them.

    Args:
        scenarios: All splits of one format, largest micro-batch first.
        machine: Where they are to run.
        budget_bytes: What timing may use.
        efficiency: Share of the peak rate for machines that are not here.
    """

    def __init__(self, scenarios: Sequence[Scenario], machine: Machine, *, budget_bytes: float, efficiency: float, repeats: int) -> None:
        self._scenarios = scenarios
        self._machine = machine
        self._budget_bytes = budget_bytes
        self._efficiency = efficiency
        self._repeats = repeats
        self._measured: tuple[StepTimes, ...] | None = None

    def times(self, scenario: Scenario) -> StepTimes:
        """Times of one micro-batch of this scenario, and of the forward pass of every module."""
        if self._measured is None:
            here = self._machine.torch_device is not None and scenario.step.device.type != "meta"
            self._measured = self._measure() if here else (self._by_rates(self._scenarios[0]),)
        return between(self._measured, scenario.micro_batch)

    def _by_rates(self, scenario: Scenario) -> StepTimes:
        machine, profile = self._machine, scenario.profile
        if not machine.flops_per_s or machine.bandwidth_bytes_per_s is None:
            raise PlanError(
                f"the model is on the meta device and cannot be timed on {machine.name}; pass device= the profile of a machine, "
                "or put the model on a device"
            )
        return roofline_times(
            {cost.name: float(cost.forward_flops) for cost in profile.modules},
            total_flops=float(profile.module("").forward_flops),
            parameter_bytes=float(sum(life.size_bytes for life in profile.lives if life.category == "parameters")),
            batch=scenario.micro_batch,
            flops_per_s=machine.flops_per_s[scenario.step.precision],
            bytes_per_s=machine.bandwidth_bytes_per_s,
            efficiency=self._efficiency,
        )

    def _measure(self) -> tuple[StepTimes, ...]:
        names = _candidates(self._scenarios[0].step.model)
        plain = next((s for s in self._scenarios if s.profile.peak_bytes <= self._budget_bytes), None)
        if plain is None:
            return (self._measure_checkpointed(names),)
        smaller = next((s for s in self._scenarios if s.micro_batch <= plain.micro_batch / 2), None)
        chosen = [plain] if smaller is None else [smaller, plain]
        return tuple(measure_times(s.step.replace(accumulation=1), names, repeats=self._repeats) for s in chosen)

    def _measure_checkpointed(self, names: Iterable[str]) -> StepTimes:
        """Nothing fits as it is: time the smallest micro-batch with every block recomputed, and take that time off again."""
        smallest = self._scenarios[-1]
        blocks = outermost(smallest.blocks)
        with Checkpoints(smallest.step.model).apply(blocks):
            times = measure_times(smallest.step.replace(accumulation=1), names, repeats=self._repeats)
        # Hooks of what lies inside a block ran twice.
        inside = {name: any(name.startswith(f"{block}.") for block in blocks) for name in times.block_s}
        inner = {name: seconds / (2 if inside[name] else 1) for name, seconds in times.block_s.items()}
        again = sum(inner[part] for name in blocks for part in _parts(smallest.step.model, name))
        return StepTimes(
            forward_s=times.forward_s,
            backward_s=max(times.backward_s - again, times.forward_s),
            optimizer_s=times.optimizer_s,
            block_s=inner,
            spread=times.spread,
            batch=times.batch,
            method=times.method,
        )


def between(measured: Sequence[StepTimes], batch: int) -> StepTimes:
    """Times at another batch size: along the straight line through two measurements, or in proportion to one.

    Example:
        >>> small = StepTimes(forward_s=2.0, backward_s=4.0, optimizer_s=1.0, block_s={}, spread=0, batch=1, method="measured")
        >>> large = StepTimes(forward_s=3.0, backward_s=6.0, optimizer_s=1.0, block_s={}, spread=0, batch=2, method="measured")
        >>> between([small, large], 4).forward_s, between([small], 4).forward_s
        (5.0, 8.0)
    """
    if len(measured) == 1:
        return measured[0].scaled(batch / measured[0].batch)
    low, high = sorted(measured, key=lambda times: times.batch)
    if batch == high.batch:
        return high

    def line(small: float, large: float) -> float:
        # Never below what is proportional: a second measurement that was disturbed must not make small batches free.
        slope = min(max(0.0, (large - small) / (high.batch - low.batch)), large / high.batch)
        return large + slope * (batch - high.batch)

    return StepTimes(
        forward_s=line(low.forward_s, high.forward_s),
        backward_s=line(low.backward_s, high.backward_s),
        optimizer_s=high.optimizer_s,
        block_s={name: line(low.block_s[name], seconds) for name, seconds in high.block_s.items()},
        spread=max(low.spread, high.spread),
        batch=batch,
        method=high.method,
    )


def outermost(blocks: Sequence[BlockCalls]) -> list[str]:
    """Names of the modules among the blocks that lie in no other: what checkpointing everything means."""
    names = [block.name for block in blocks if parse_run(block.name) is None]
    return [name for name in names if not any(name != other and name.startswith(f"{other}.") for other in names)]


def _parts(model: torch.nn.Module, name: str) -> list[str]:
    """Modules whose times add up to that of a block."""
    return [name] if parse_run(name) is None else children_of_run(model, name)


def _candidates(model: torch.nn.Module) -> list[str]:
    """Every module that has a forward of its own and is not the model itself."""
    without_forward = (torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.ParameterList, torch.nn.ParameterDict)
    return [name for name, module in model.named_modules() if name and not isinstance(module, without_forward)]


def _worth_it(blocks: Sequence[BlockCalls], model: torch.nn.Module) -> tuple[BlockCalls, ...]:
    """The model's blocks, and other modules and runs that hold enough; of those that hold the same the one that costs least."""
    natural = set(checkpoint_candidates(model))
    total = max((block.saved_bytes() for block in blocks), default=0)
    seen: dict[frozenset[int], BlockCalls] = {}
    for block in sorted(blocks, key=lambda block: (block.name not in natural, block.held_bytes(), sum(call.flops for call in block.calls))):
        seen.setdefault(frozenset(id(life) for lives in block.saved for life in lives), block)
    kept = [block for block in seen.values() if block.name in natural or block.saved_bytes() >= _SHARE * total]
    largest = sorted(kept, key=lambda block: (block.name not in natural, -block.saved_bytes()))[:_MOST_BLOCKS]
    return tuple(sorted(largest, key=lambda block: block.calls[0].born))


def without_impossible(scenario: Scenario, names: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """Which of the modules can be checkpointed, and why the others cannot, found by tracing each alone."""
    possible, refused = [], {}
    for name in names:
        try:
            scenario.traced_with(Treatment(recomputed=(name,)))
            possible.append(name)
        except CheckpointError as error:
            refused[name] = str(error)
    return possible, refused
