"""Run a training step and say what it took: by the profiler's record of the CPU's allocator, or CUDA's own counters.

The step runs twice: once untouched, which gives the peak, and once followed operator by operator, which
gives the lives. The model is afterwards what it was before, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from gpu_optimizer._torch_private import profiled_memory, profiled_ranges, release_cublas_workspaces
from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.profiling.costs import module_costs
from gpu_optimizer.profiling.estimate import GRANULE_BYTES, count_base, finished_profile, follow, names_of
from gpu_optimizer.profiling.fake import kept
from gpu_optimizer.profiling.profile import MemoryProfile, Phase, live_bytes, rounded
from gpu_optimizer.profiling.tracker import Tracker
from gpu_optimizer.steps import TrainingStep, tensors_in

_STEP = "gpu_optimizer step"
_BACKWARD = "autograd::engine::evaluate_function"
_OPTIMIZER = "Optimizer.step#"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Truth:
    """What the allocator said: bytes above those there before, and where that was, if it is known."""

    above_bytes: int
    reserved_bytes: int | None = None
    step: int | None = None
    phase: Phase | None = None


def measure_step(step: TrainingStep, *, steps: int = 2) -> MemoryProfile:
    """Run the first steps of a training on the model's device and measure what they allocate.

    On a CPU the peak is exact: every byte that torch's allocator handed out, work space inside kernels included. On
    CUDA it is the allocator's own peak. Weights, buffers, gradients and random generators are put back afterwards.

    Args:
        step: What is run, on the device its model is on.
        steps: Number of steps; the first has no optimizer state before its end.

    Raises:
        ProfilingError: The model is on "meta" or on a device without a way to measure, or `steps` is below 1.

    Example:
        >>> step = TrainingStep.of(torch.nn.Linear(100, 10, bias=False), torch.ones(5, 100), optimizer="sgd")
        >>> profile = measure_step(step)
        >>> profile.method, profile.by_category_at_peak["gradients"]
        ('measured', 4000)
    """
    kind = step.device.type
    if kind not in _TRUTHS:
        raise ProfilingError(
            f"a model on {kind!r} cannot be measured, only on {', '.join(_TRUTHS)}; use estimate_step(), or move the model"
        )
    if steps < 1:
        raise ProfilingError(f"steps: expected at least 1, got {steps}")
    with restored(step):
        truth = _TRUTHS[kind](step, steps)
    tracker = Tracker(names_of(step.model), kinds=(kind,))
    with restored(step):
        count_base(tracker, step)
        with tracker.tracking():
            follow(step, tracker, steps, together=False)
        costs = module_costs(step.model, tracker)
    granule = GRANULE_BYTES[kind]
    base = sum(rounded(life.size_bytes, granule) for life in tracker.lives if life.born == 0)
    followed = finished_profile(
        tracker, step, method="measured", steps=steps, modules=costs, granule_bytes=granule, device=str(step.device)
    )
    return _joined(followed, truth, base + truth.above_bytes)


@contextmanager
def restored(step: TrainingStep) -> Iterator[None]:
    """Afterwards parameters and buffers have the values they had before, inputs their gradients; copies lie in the host's memory."""
    tensors = {id(tensor): tensor for module in step.model.modules() for tensor in _tensors_of(module)}
    values = [(tensor, tensor.detach().to("cpu", copy=True)) for tensor in tensors.values()]
    inputs = [(tensor, tensor.grad) for tensor in tensors_in((step.sample.args, step.sample.keywords, step.target)) if tensor.is_leaf]
    with kept(step.model):
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in values:
                    tensor.copy_(value)
            for tensor, gradient in inputs:
                tensor.grad = gradient


def _tensors_of(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)
    for name, value in vars(module).items():
        if not name.startswith("_"):
            yield from tensors_in(value)


def _joined(followed: MemoryProfile, truth: _Truth, peak_bytes: int) -> MemoryProfile:
    """The lives as they were followed, with the peak as it was measured, in the phase in which that was."""
    ticks, totals = live_bytes(followed.lives, followed.granule_bytes)
    there = [
        truth.phase is None or ((span := followed.span_at(int(tick))).phase == truth.phase and span.step == truth.step) for tick in ticks
    ]
    top = int(np.argmax(np.where(there, totals, -1)))
    return MemoryProfile(
        **{
            name: getattr(followed, name)
            for name in ("method", "device", "batch_size", "steps", "granule_bytes", "lives", "spans", "modules")
        },
        peak_bytes=peak_bytes,
        peak_tick=int(ticks[top]),
        scratch_bytes=peak_bytes - int(totals[top]),
        reserved_bytes=truth.reserved_bytes,
    )


def _run(step: TrainingStep, steps: int) -> None:
    optimizer, scaler = step.make_optimizer(), step.make_scaler()
    for _ in range(steps):
        with record_function(_STEP):
            step.run(optimizer, scaler=scaler)


def _cpu_truth(step: TrainingStep, steps: int) -> _Truth:
    step.model.zero_grad(set_to_none=True)
    with _quiet(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        _run(step, steps)
    changes = profiled_memory(profiler)
    if not changes:
        return _Truth(above_bytes=0)
    live = np.cumsum([size for _, size in changes])
    top = int(np.argmax(live))
    when = changes[top][0]
    begun = [begin for begin, _ in profiled_ranges(profiler, _STEP) if begin <= when]
    phase: Phase = "optimizer" if _within(when, profiled_ranges(profiler, _OPTIMIZER)) else "forward"
    if phase == "forward" and _within(when, profiled_ranges(profiler, _BACKWARD)):
        phase = "backward"
    return _Truth(above_bytes=max(int(live[top]), 0), step=max(len(begun) - 1, 0), phase=phase)


@contextmanager
def _quiet() -> Iterator[None]:
    """The profiler says nothing on standard error unless somebody asked for it: without a GPU it would tell of an ERROR each time."""
    if "KINETO_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["KINETO_LOG_LEVEL"] = "99"
    try:
        yield
    finally:
        os.environ.pop("KINETO_LOG_LEVEL", None)


def _within(when: int, ranges: list[tuple[int, int]]) -> bool:
    return any(begin <= when <= end for begin, end in ranges)


def _cuda_truth(step: TrainingStep, steps: int) -> _Truth:
    step.model.zero_grad(set_to_none=True)
    torch.cuda.synchronize(step.device)
    release_cublas_workspaces()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(step.device)
    torch.cuda.reset_peak_memory_stats(step.device)
    _run(step, steps)
    torch.cuda.synchronize(step.device)
    above = torch.cuda.max_memory_allocated(step.device) - before
    return _Truth(above_bytes=above, reserved_bytes=torch.cuda.max_memory_reserved(step.device))


_TRUTHS: dict[str, Callable[[TrainingStep, int], _Truth]] = {"cpu": _cpu_truth, "cuda": _cuda_truth}
