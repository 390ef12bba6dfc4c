"""One class for what a model's training needs: estimated without running, measured, or watched in one's own loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.profiling.costs import module_costs
from gpu_optimizer.profiling.estimate import GRANULE_BYTES, Target, count_base, estimate_step, finished_profile, names_of, tag_gradients
from gpu_optimizer.profiling.measure import measure_step
from gpu_optimizer.profiling.profile import MemoryProfile
from gpu_optimizer.profiling.tracker import Tracker
from gpu_optimizer.steps import Sample, TrainingStep, tensors_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An estimate beside its measurement.

    Args:
        estimated: Without running.
        measured: By running.
    """

    estimated: MemoryProfile
    measured: MemoryProfile

    @property
    def error(self) -> float:
        """By how much the estimate is above the measurement, as a share of it; negative where it is below."""
        return self.estimated.peak_bytes / self.measured.peak_bytes - 1


class MemoryProfiler:
    """Where the memory of a model's training goes.

    Args:
        model: The model, on the device it is trained on, or on "meta" for estimates.
        sample: What it is called with, in any form that `Sample.of` takes.
        rest: As in `TrainingStep`: `loss`, `target`, `optimizer`, `precision`, `accumulation`.

    Example:
        >>> profiler = MemoryProfiler(torch.nn.Linear(64, 8), torch.ones(4, 64), optimizer="sgd")
        >>> profiler.estimate().by_category_at_peak["parameters"]
        2080
        >>> abs(profiler.compare().error) < 0.01
        True
    """

    def __init__(self, model: torch.nn.Module, sample: Any, **rest: Any) -> None:
        self.step = TrainingStep.of(model, sample, **rest)

    def estimate(self, *, steps: int = 2, target: Target | None = None) -> MemoryProfile:
        """As `estimate_step`."""
        return estimate_step(self.step, steps=steps, target=target)

    def measure(self, *, steps: int = 2) -> MemoryProfile:
        """As `measure_step`."""
        return measure_step(self.step, steps=steps)

    def compare(self, *, steps: int = 2) -> Comparison:
        """Estimate and measure the same steps."""
        return Comparison(estimated=self.estimate(steps=steps), measured=self.measure(steps=steps))

    @staticmethod
    @contextmanager
    def watch(model: torch.nn.Module, optimizer: Optimizer | None = None, *, inputs: Any = ()) -> Iterator[Watched]:
        """Follow a training loop of one's own; afterwards `.profile` of what this gives says what it took.

        A step ends when `optimizer.step()` does. On a CPU the peak is that of the tensors and of the work space that
        kernels are known to take; on CUDA it is the allocator's own.

        Args:
            model: The model that is trained inside.
            optimizer: Its optimizer; what state it has already counts from the start.
            inputs: Tensors, or anything made of tensors, that are there all the time.

        Raises:
            ProfilingError: The model is on "meta".

        Example:
            >>> model = torch.nn.Linear(64, 8)
            >>> optimizer = torch.optim.Adam(model.parameters())
            >>> with MemoryProfiler.watch(model, optimizer) as watched:
            ...     for _ in range(2):
            ...         model(torch.ones(4, 64)).sum().backward()
            ...         optimizer.step()
            ...         optimizer.zero_grad()
            >>> watched.profile.steps, watched.profile.by_category_at_peak["optimizer_state"]
            (2, 4168)
        """
        step = TrainingStep(model=model, sample=Sample((inputs,)), optimizer=None)
        kind = step.device.type if any(True for _ in model.parameters()) else "cpu"
        if kind not in GRANULE_BYTES:
            raise ProfilingError(f"a model on {kind!r} does not run; use MemoryProfiler.estimate(), or move the model")
        watched = Watched(model, kind)
        with watched.following(step, optimizer):
            yield watched


class Watched:
    """What `MemoryProfiler.watch` gives: its profile is there when the loop is over."""

    def __init__(self, model: torch.nn.Module, kind: str) -> None:
        self._model, self._kind = model, kind
        self._profile: MemoryProfile | None = None

    @property
    def profile(self) -> MemoryProfile:
        """What the loop took.

        Raises:
            ProfilingError: The loop is not over, or nothing was allocated in it.
        """
        if self._profile is None:
            raise ProfilingError("there is no profile before the end of the `with` block that watches; ask for it after the block")
        return self._profile

    @contextmanager
    def following(self, step: TrainingStep, optimizer: Optimizer | None) -> Iterator[None]:
        """Follow what happens inside."""
        tracker = Tracker(
            names_of(self._model),
            kinds=(self._kind,),
            work="cpu" if self._kind == "cpu" else None,
        )
        count_base(tracker, step)
        _count_state(tracker, self._model, optimizer)
        cuda = _CudaPeak(step.device) if self._kind == "cuda" else None
        with ExitStack() as stack:
            tag_gradients(stack, self._model, tracker)
            stack.enter_context(tracker.tracking())
            tracker.begin_step(0)
            if optimizer is not None:
                stack.callback(optimizer.register_step_post_hook(_step_counter(tracker)).remove)
            yield
        costs = module_costs(self._model, tracker)
        self._profile = _watched_profile(tracker, step, costs, self._kind, cuda)


class _CudaPeak:
    """CUDA's own count of what was allocated since this was made, above what was there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.reset_peak_memory_stats(device)
        self._before = torch.cuda.memory_allocated(device)

    def above_bytes(self) -> int:
        torch.cuda.synchronize(self._device)
        return torch.cuda.max_memory_allocated(self._device) - self._before

    def reserved_bytes(self) -> int:
        return torch.cuda.max_memory_reserved(self._device)


def _watched_profile(tracker: Tracker, step: TrainingStep, costs: Any, kind: str, cuda: _CudaPeak | None) -> MemoryProfile:
    steps = max((life.step for life in tracker.lives), default=0) + 1
    profile = finished_profile(
        tracker, step, method="measured", steps=steps, modules=costs, granule_bytes=GRANULE_BYTES[kind], device=str(step.device)
    )
    if cuda is None:
        return profile
    peak = profile.base_bytes + cuda.above_bytes()
    return profile.replace(peak_bytes=peak, scratch_bytes=peak - profile.peak_bytes, reserved_bytes=cuda.reserved_bytes())


def _count_state(tracker: Tracker, model: torch.nn.Module, optimizer: Optimizer | None) -> None:
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            tracker.add(parameter.grad, f"{name}.grad", "gradients")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter, state in optimizer.state.items() if optimizer is not None else ():
        for key, value in state.items():
            for tensor in tensors_in(value):
                tracker.add(tensor, f"{names.get(id(parameter), 'optimizer')}: {key}", "optimizer_state")


def _step_counter(tracker: Tracker) -> Callable[..., None]:
    def count(*_: object) -> None:
        tracker.begin_step(tracker.step + 1)

    return count
