"""How long the parts of a step take here: every block's forward pass, the whole forward, backward and optimizer step.

A real step is run a few times on the model's device and medians are taken. Nothing of it stays: parameters, buffers,
gradients, random states and modes are put back. Where the model cannot run (it lies on the meta device, or the plan
is for another machine) `roofline_times` says what the machine's peak rates allow.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.batches import examples
from gpu_optimizer.steps import TrainingStep


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Times of one micro-batch, and of the optimizer step.

    Args:
        forward_s: The forward pass with the loss.
        backward_s: The backward pass.
        optimizer_s: The optimizer's step, once per window.
        block_s: Forward pass of every block asked for, by name.
        spread: Half the range between the quarters of the whole step's time over its median: how noisy the machine is.
        batch: Examples in the micro-batch that was timed.
        method: "measured" or "roofline".
    """

    forward_s: float
    backward_s: float
    optimizer_s: float
    block_s: Mapping[str, float]
    spread: float
    batch: int
    method: str

    @property
    def step_s(self) -> float:
        """One micro-batch and the optimizer step."""
        return self.forward_s + self.backward_s + self.optimizer_s

    def scaled(self, factor: float) -> StepTimes:
        """The times of a micro-batch `factor` times as large, if time grows with it; the optimizer's stays."""
        return StepTimes(
            forward_s=self.forward_s * factor,
            backward_s=self.backward_s * factor,
            optimizer_s=self.optimizer_s,
            block_s={name: seconds * factor for name, seconds in self.block_s.items()},
            spread=self.spread,
            batch=max(1, round(self.batch * factor)),
            method=self.method,
        )


def measure_times(step: TrainingStep, blocks: Iterable[str], *, repeats: int = 3, warm_up: int = 1) -> StepTimes:
    """Run the step and time it.

    Args:
        step: What is run, on the device its model lies on.
        blocks: Names of modules whose forward pass is timed.
        repeats: Steps that count; medians are taken.
        warm_up: Steps before them that do not.

    Raises:
        PlanError: The model lies on the meta device, or there is no such module.
    """
    if step.device.type == "meta":
        raise PlanError("a model on the meta device cannot be run; time it with roofline_times")
    names = list(blocks)
    known = dict(step.model.named_modules())
    if missing := [name for name in names if name not in known]:
        raise PlanError(f"no module is called {missing[0]!r}; names are as in model.named_modules()")
    clock = _Clock(step.device)
    runs = []
    with untouched(step.model, step.device), _timed({name: known[name] for name in names}, clock) as spans:
        for _ in range(warm_up + repeats):
            spans.clear()
            runs.append((_timed_step(step, clock), {name: list(marks) for name, marks in spans.items()}))
    counted = runs[warm_up:]
    parts = [[clock.between(*pair) for pair in pairs] + [0.0] * (3 - len(pairs)) for pairs, _ in counted]
    totals = sorted(sum(part) for part in parts)
    quarter = len(totals) // 4
    return StepTimes(
        forward_s=statistics.median(part[0] for part in parts),
        backward_s=statistics.median(part[1] for part in parts),
        optimizer_s=statistics.median(part[2] for part in parts),
        block_s={name: statistics.median(sum(clock.between(*pair) for pair in of.get(name, ())) for _, of in counted) for name in names},
        spread=(totals[-1 - quarter] - totals[quarter]) / 2 / statistics.median(totals),
        batch=examples(step.sample),
        method="measured",
    )


def roofline_times(
    flops: Mapping[str, float],
    *,
    total_flops: float,
    parameter_bytes: float,
    batch: int,
    flops_per_s: float,
    bytes_per_s: float,
    efficiency: float = 0.4,
) -> StepTimes:
    """Times that a machine's peak rates allow; an estimate, and called so.

    A forward pass takes its operations over `efficiency` of the peak (Williams et al. 2009; 0.4 is what large
    transformers reach as model-FLOP utilisation, Chowdhery et al. 2022, section 4.1), a backward pass twice that, an
    optimizer step reads and writes parameters, gradients and two states.

    Args:
        flops: Operations in the forward pass of every block.
        total_flops: Operations in the whole forward pass.
        parameter_bytes: Bytes of the parameters.
        batch: Examples in the micro-batch.
        flops_per_s: Peak rate of the machine in the number format used.
        bytes_per_s: Memory bandwidth.
        efficiency: Share of the peak that is reached, above 0 and up to 1.
    """
    if not 0 < efficiency <= 1:
        raise PlanError(f"efficiency: expected a share above 0 and up to 1, got {efficiency}")
    rate = flops_per_s * efficiency
    return StepTimes(
        forward_s=total_flops / rate,
        backward_s=2 * total_flops / rate,
        optimizer_s=7 * parameter_bytes / bytes_per_s,
        block_s={name: count / rate for name, count in flops.items()},
        spread=0.5,
        batch=batch,
        method="roofline",
    )


@contextmanager
def untouched(model: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """Put parameters, buffers, gradients, modes and random states back at the end, whatever happened."""
    parameters = list(model.parameters())
    tensors = [*parameters, *model.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [parameter.grad for parameter in parameters]
    modes = [(module, module.training) for module in model.modules()]
    devices = [device] if device.type == "cuda" else []
    for parameter in parameters:
        parameter.grad = None
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for module, training in modes:
            module.training = training


class _Clock:
    """Marks in time: CUDA events on a GPU, where calls return before the work is done, else the processor's clock."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"

    def mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def between(self, first: Any, last: Any) -> float:
        if not self._cuda:
            return last - first
        last.synchronize()
        return first.elapsed_time(last) / 1000


def _timed_step(step: TrainingStep, clock: _Clock) -> list[tuple[Any, Any]]:
    """Pairs of marks around forward, backward and the optimizer's second step; the first one makes the states."""
    optimizer = step.make_optimizer()
    step.model.zero_grad(set_to_none=True)
    begin = clock.mark()
    loss = step.forward_loss()
    forward = clock.mark()
    loss.backward()
    backward = clock.mark()
    if optimizer is None:
        return [(begin, forward), (forward, backward)]
    optimizer.step()
    first = clock.mark()
    optimizer.step()
    return [(begin, forward), (forward, backward), (first, clock.mark())]


@contextmanager
def _timed(modules: Mapping[str, torch.nn.Module], clock: _Clock) -> Iterator[dict[str, list[tuple[Any, Any]]]]:
    """Pairs of marks around every forward pass of the modules."""
    spans: dict[str, list[tuple[Any, Any]]] = {}
    handles = []
    for name, module in modules.items():
        opened: list[Any] = []
        handles.append(module.register_forward_pre_hook(_opener(opened, clock)))
        handles.append(module.register_forward_hook(_closer(name, opened, spans, clock)))
    try:
        yield spans
    finally:
        for handle in handles:
            handle.remove()


def _opener(opened: list[Any], clock: _Clock) -> Callable[..., None]:
    return lambda *_: opened.append(clock.mark())


def _closer(name: str, opened: list[Any], spans: dict[str, list[tuple[Any, Any]]], clock: _Clock) -> Callable[..., None]:
    def close(*_: object) -> None:
        spans.setdefault(name, []).append((opened.pop(), clock.mark()))

    return close
