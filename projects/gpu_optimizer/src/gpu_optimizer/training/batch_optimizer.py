"""The largest batch that fits, known before anything is run and confirmed by three real steps.

A model and a sample go in. Peaks of a few batch sizes are estimated without running, the largest within the budget
follows from them, and three whole steps at that size confirm it: forward, backward and optimizer, twice with the
optimizer's state there. Everything the trial changed is put back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import torch

from gpu_optimizer.errors import BatchSizeError
from gpu_optimizer.steps import Sample, TrainingStep, tensors_in
from gpu_optimizer.training.batch_decorator import batch_size_decorator
from gpu_optimizer.training.batch_search import AffinePiece, PeakCurve
from gpu_optimizer.training.meter import meter_for
from gpu_optimizer.training.oom import attempt, release_memory
from gpu_optimizer.training.restoring import TrainingState

PeakEstimator = Callable[[TrainingStep], int]
"""Says what a step will need at most, in bytes, without running it."""

_STEPS = 3
_RETREAT = 0.95  # of the budget, each time a confirmation fails: what estimates do not see is a few percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Three real steps at one batch size.

    Args:
        batch_size: Examples.
        predicted_bytes: What was estimated before.
        measured_bytes: What was measured; None where memory ran out.
        fits: Whether all three steps went through within the budget.
    """

    batch_size: int
    predicted_bytes: int
    measured_bytes: int | None
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSizeResult:
    """The largest batch size, and how it was found.

    Args:
        batch_size: Examples per micro-batch.
        budget_bytes: What it had to fit into.
        predicted_peak_bytes: Estimated peak at that size.
        measured_peak_bytes: Measured in the confirming run; None without one. On accelerators what the allocator reserved.
        trials: Every real run.
        oom_count: Runs that ran out of memory.
        estimates: Batch sizes whose peak was estimated.
        pieces: The peak by batch size, as lines.
    """

    batch_size: int
    budget_bytes: int
    predicted_peak_bytes: int
    measured_peak_bytes: int | None
    trials: tuple[Trial, ...]
    oom_count: int
    estimates: tuple[int, ...]
    pieces: tuple[AffinePiece, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BatchSizeResult:
        """What `to_dict` gave."""
        parts = {
            "trials": tuple(Trial(**trial) for trial in values["trials"]),
            "pieces": tuple(AffinePiece(**piece) for piece in values["pieces"]),
            "estimates": tuple(values["estimates"]),
        }
        return cls(**{**values, **parts})

    def __str__(self) -> str:
        measured = "not measured" if self.measured_peak_bytes is None else f"{self.measured_peak_bytes / 2**20:.1f} MiB measured"
        return (
            f"batch size {self.batch_size}: {self.predicted_peak_bytes / 2**20:.1f} MiB predicted, {measured}, "
            f"budget {self.budget_bytes / 2**20:.1f} MiB, {self.oom_count} out of memory"
        )


def auto_batch_size(model_or_step: Any = None, sample: Any = None, **options: Any) -> Any:
    """The largest batch size that fits; or, as a decorator, the largest with which a function goes through.

    `auto_batch_size(model, sample, ...)` is `find_batch_size`; `@auto_batch_size` and `@auto_batch_size(...)` are
    `batch_size_decorator`. The options are theirs.

    Example:
        >>> @auto_batch_size(starting_batch_size=64)
        ... def train(batch_size, rate):
        ...     if batch_size > 20:
        ...         raise torch.OutOfMemoryError("CUDA out of memory.")
        ...     return batch_size, rate
        >>> train(rate=0.1), train.oom_count
        ((16, 0.1), 2)
    """
    if isinstance(model_or_step, torch.nn.Module | TrainingStep):
        return find_batch_size(model_or_step, sample, **options)
    if sample is not None:
        raise BatchSizeError(f"expected a model or a TrainingStep before the sample, got {type(model_or_step).__name__}")
    if model_or_step is None:
        return batch_size_decorator(**options)
    if callable(model_or_step):
        return batch_size_decorator(**options)(model_or_step)
    raise BatchSizeError(f"expected a model, a TrainingStep or a function, got {type(model_or_step).__name__}")


def find_batch_size(
    model_or_step: torch.nn.Module | TrainingStep,
    sample: Any = None,
    *,
    max_vram_percent: float = 0.9,
    budget: int | None = None,
    worst_case: Any = None,
    optimizer: Any = "adamw",
    loss: Callable[..., torch.Tensor] | None = None,
    target: Any = None,
    precision: Any = "fp32",
    minimum: int = 1,
    maximum: int | None = None,
    multiple_of: int = 1,
    confirm: bool = True,
    estimate_peak: PeakEstimator | None = None,
) -> BatchSizeResult:
    """The largest batch that a training step can have.

    Args:
        model_or_step: The model, or the whole step; `optimizer`, `loss`, `target` and `precision` then come from it.
        sample: What the model is called with, of any batch size; a `DataLoader` gives its first batch.
        max_vram_percent: Share of the device's memory that may be used, above 0 and at most 1.
        budget: Bytes instead of a share; needed where the model is on the CPU.
        worst_case: The largest sample that can come (the longest text, the largest picture), of any batch size, or a
            function from a batch size to such a sample. It takes the sample's place.
        optimizer: As in `TrainingStep`, or the optimizer that is really used; it is then put back.
        loss: As in `TrainingStep`.
        target: As in `TrainingStep`.
        precision: As in `TrainingStep`.
        minimum: Smallest batch that makes sense.
        maximum: Largest that makes sense: the size of the data set, for instance.
        multiple_of: Choose multiples of this only.
        confirm: Run three real steps at the size found; where they do not fit, the next smaller one is tried.
        estimate_peak: Estimates a step's peak without running it; default: `profiling.estimate_step`.

    Raises:
        BatchSizeError: Not even `minimum` fits, or the options do not make sense.
    """
    real = optimizer if isinstance(optimizer, torch.optim.Optimizer) else None
    generators = TrainingState(torch.nn.Module())
    if isinstance(model_or_step, TrainingStep):
        step = model_or_step
    else:
        sample, target = _first_batch(sample, target, loss)
        first = worst_case(max(minimum, 2)) if callable(worst_case) else sample if worst_case is None else worst_case
        recipe = _recipe(real) if real is not None else optimizer
        step = TrainingStep.of(model_or_step, first, optimizer=recipe, loss=loss, target=target, precision=precision)
    make = _resizer(step, worst_case)
    total_budget, cap = _budgets(step, budget, max_vram_percent)
    estimate = estimate_peak or _estimate_peak()
    curve = PeakCurve(lambda size: estimate(make(size)), minimum=minimum, maximum=maximum, multiple_of=multiple_of)
    limit, trials = total_budget, []
    try:
        while True:
            size = curve.largest(limit)
            if not confirm:
                break
            trials.append(_confirmed(make(size), real, size, curve.at(size), cap))
            if trials[-1].fits:
                break
            limit = min(int(limit * _RETREAT), curve.at(size) - 1)
    finally:
        generators.restore()
    return BatchSizeResult(
        batch_size=size,
        budget_bytes=total_budget,
        predicted_peak_bytes=curve.at(size),
        measured_peak_bytes=trials[-1].measured_bytes if trials else None,
        trials=tuple(trials),
        oom_count=sum(not trial.fits for trial in trials),
        estimates=tuple(sorted(curve.known)),
        pieces=curve.pieces(),
    )


def _confirmed(step: TrainingStep, real: torch.optim.Optimizer | None, size: int, predicted: int, cap: int) -> Trial:
    """Three real steps; afterwards everything is as before, whether they went through or not."""
    state = TrainingState(step.model, real)
    try:
        measured, failed = attempt(lambda _: _run_steps(step, real, cap), None)
    finally:
        step.model.zero_grad(set_to_none=True)
        state.restore()
    del state
    release_memory()
    fits = failed is None and measured is not None and measured <= cap
    return Trial(batch_size=size, predicted_bytes=predicted, measured_bytes=measured, fits=fits)


def _run_steps(step: TrainingStep, real: torch.optim.Optimizer | None, cap: int) -> int:
    with meter_for(step.device, cap, _resident(step, real)) as meter:
        optimizer = real if real is not None else step.make_optimizer()
        scaler = step.make_scaler()
        for _ in range(_STEPS):
            step.run(optimizer, scaler=scaler)
    return meter.peak_bytes


def _resident(step: TrainingStep, real: torch.optim.Optimizer | None) -> list[torch.Tensor]:
    """What is in memory before the first step; gradients are not, for the step begins without."""
    states = () if real is None else tensors_in([list(entry.values()) for entry in real.state.values()])
    return list(chain(step.model.parameters(), step.model.buffers(), step.sample.tensors(), tensors_in(step.target), states))


def _budgets(step: TrainingStep, budget: int | None, share: float) -> tuple[int, int]:
    """Bytes for the step, and bytes for all that this process has on the device while the step runs."""
    device = step.device
    if budget is None and not 0 < share <= 1:
        raise BatchSizeError(f"max_vram_percent: expected a share above 0 and at most 1 (0.9 for 90 %), got {share}")
    if device.type in ("cpu", "meta"):
        if budget is None or budget < 1:
            raise BatchSizeError(f"the model is on {device.type}, whose memory is not its own; pass budget= in bytes, got {budget}")
        return budget, budget
    free, total = torch.accelerator.get_memory_info(device)
    cap = budget if budget is not None else min(int(share * total), free + torch.accelerator.memory_reserved(device))
    own = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _resident(step, None)}.values())
    others = max(torch.accelerator.memory_allocated(device) - own, 0)
    return (cap - others, cap) if budget is None else (budget, budget + others)


def _resizer(step: TrainingStep, worst_case: Any) -> Callable[[int], TrainingStep]:
    if callable(worst_case):
        return lambda size: step.with_batch(size).replace(sample=Sample.of(worst_case(size)))
    chosen = step if worst_case is None else step.replace(sample=Sample.of(worst_case))
    return chosen.with_batch


def _recipe(optimizer: torch.optim.Optimizer) -> Callable[[Any], torch.optim.Optimizer]:
    """Another optimizer of the same kind, for estimates: its state must not be the real one's."""
    known = inspect.signature(type(optimizer)).parameters
    settings = {key: value for key, value in optimizer.defaults.items() if key in known}
    return lambda parameters: type(optimizer)(parameters, **settings)


def _first_batch(sample: Any, target: Any, loss: Any) -> tuple[Any, Any]:
    """The first batch of a loader, taken without moving the loader or any generator; anything else as it is."""
    if sample is None:
        raise BatchSizeError("pass a sample: what the model is called with, or a DataLoader")
    if hasattr(sample, "__next__"):
        raise BatchSizeError("an iterator cannot be put back after a batch is taken from it; pass the DataLoader or a sample")
    if not isinstance(sample, torch.utils.data.DataLoader):
        return sample, target
    generators = [part for part in (sample.generator, getattr(sample.sampler, "generator", None)) if part is not None]
    states = [(generator, generator.get_state()) for generator in generators]
    batch = next(iter(sample))
    for generator, state in states:
        generator.set_state(state)
    if loss is not None and target is None and isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    return batch, target


def _estimate_peak() -> PeakEstimator:
    """The estimator of the profiling room."""
    from gpu_optimizer.profiling import estimate_step

    return lambda step: estimate_step(step).peak_bytes
