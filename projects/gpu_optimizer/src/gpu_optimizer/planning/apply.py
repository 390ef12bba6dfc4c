"""A plan in force, and what it really needs: `AppliedPlan` and `Verification`.

Applying puts checkpoints (and what moves tensors to the host) on the model and rewrites nothing of it; undoing takes
them off. Verifying runs real steps, compares them with what was predicted, and notes the errors for the next plan.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import torch

from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.checkpoints import Checkpoints
from gpu_optimizer.planning.identity import model_identity
from gpu_optimizer.planning.ledger import ErrorLedger, LedgerEntry, default_ledger_path
from gpu_optimizer.planning.plans import Plan, format_seconds
from gpu_optimizer.planning.probe import untouched
from gpu_optimizer.planning.sizes import format_bytes
from gpu_optimizer.profiling.measure import measure_step
from gpu_optimizer.steps import OptimizerSpec, Precision, Sample, TrainingStep, map_tensors
from gpu_optimizer.training.tensor_swapper import TensorSwapper

if TYPE_CHECKING:
    from gpu_optimizer.monitoring import WorkloadMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a plan said and what came of it.

    Args:
        predicted_peak_bytes: What the plan said, without its margin.
        measured_peak_bytes: Most bytes that were allocated in real steps.
        budget_bytes: What was to be kept.
        predicted_s: Time of a step by the plan.
        measured_s: Time of a step, the median of those that ran.
    """

    predicted_peak_bytes: int
    measured_peak_bytes: int
    budget_bytes: int
    predicted_s: float
    measured_s: float

    @property
    def within_budget(self) -> bool:
        """Whether the budget was kept."""
        return self.measured_peak_bytes <= self.budget_bytes

    @property
    def memory_error(self) -> float:
        """Measured over predicted peak, minus 1: above 0 the plan said too little."""
        return self.measured_peak_bytes / self.predicted_peak_bytes - 1

    @property
    def time_error(self) -> float:
        """Measured over predicted time, minus 1."""
        return self.measured_s / self.predicted_s - 1

    def to_dict(self) -> dict[str, Any]:
        """The verification as plain JSON types."""
        return asdict(self) | {"within_budget": self.within_budget, "memory_error": self.memory_error, "time_error": self.time_error}

    def __str__(self) -> str:
        return (
            f"{'within' if self.within_budget else 'OVER'} the budget of {format_bytes(self.budget_bytes)}: "
            f"measured {format_bytes(self.measured_peak_bytes)}, predicted {format_bytes(self.predicted_peak_bytes)} "
            f"({self.memory_error:+.2%}); {format_seconds(self.measured_s)} a step, predicted {format_seconds(self.predicted_s)} "
            f"({self.time_error:+.0%})"
        )


class AppliedPlan:
    """A plan in force on a model; also a context manager that undoes it.

    Args:
        plan: What is to be done.
        model: The model it was made for.

    Raises:
        PlanError: The plan was made for another model, or is applied there already.
    """

    def __init__(self, plan: Plan, model: torch.nn.Module) -> None:
        if model_identity(model) != plan.model:
            raise PlanError(f"this plan was made for {plan.model}, the model is {model_identity(model)}; make a plan for it with plan()")
        if plan.offloaded and next(model.parameters()).device.type != "cuda":
            raise PlanError("the plan moves activations to the host, but the model is not on a CUDA device; move it there first")
        self.plan = plan
        self.model = model
        self._checkpoints = Checkpoints(model).apply(plan.recomputed)
        self._swapper = TensorSwapper(model).attach(plan.offloaded) if plan.offloaded else None

    def step(
        self, sample: Any, *, loss: Callable[..., torch.Tensor] | None = None, target: Any = None, optimizer: OptimizerSpec = "adamw"
    ) -> TrainingStep:
        """The step as planned, to be measured: every micro-batch is the first rows of `sample`. For training there is `run`.

        Args:
            sample: A batch like the one that was planned with.
            loss: As in `TrainingStep`; it must average over the batch for the split to change nothing.
            target: As in `TrainingStep`.
            optimizer: As in `TrainingStep`.
        """
        return planned_step(self.plan, self.model, sample, loss=loss, target=target, optimizer=optimizer)

    def run(
        self,
        sample: Any,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        loss: Callable[..., torch.Tensor] | None = None,
        target: Any = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> float:
        """One optimizer step over a whole batch, in the planned micro-batches and number format.

        Args:
            sample: The batch. The gradient is that of the whole batch, also where the last micro-batch is smaller.
            optimizer: The optimizer of the training; None computes gradients only.
            loss: As in `TrainingStep`; it averages over the examples it is given.
            target: What belongs to the sample.
            scaler: Loss scaler for fp16, kept by the caller from step to step.

        Returns:
            The mean loss of the batch.

        Example:
            >>> from gpu_optimizer import ErrorLedger, plan
            >>> model, batch = torch.nn.Linear(4, 1), torch.randn(8, 4)
            >>> made = plan(model, batch, "1 MiB", optimizer="sgd", ledger=ErrorLedger(None), repeats=1)
            >>> with made.apply(model) as applied:
            ...     losses = [applied.run(batch, torch.optim.SGD(model.parameters(), lr=0.1)) for _ in range(3)]
            >>> losses[2] < losses[0]
            True
        """
        self.model.zero_grad(set_to_none=True)
        rows = Sample.of(sample).batch_size
        total: torch.Tensor | float = 0.0
        for part, part_target in micro_batches(self.plan, sample, target):
            step = TrainingStep(
                model=self.model, sample=part, loss=loss, target=part_target, precision=cast("Precision", self.plan.precision)
            )
            value = step.forward_loss() * (part.batch_size / rows)
            (value if scaler is None else scaler.scale(value)).backward()
            total = total + value.detach()
        if optimizer is not None and scaler is not None:
            scaler.step(optimizer)
            scaler.update()
        elif optimizer is not None:
            optimizer.step()
        return float(total)

    def undo(self) -> None:
        """Take everything off; the model is as it was, with the weights it has now."""
        if self._swapper is not None:
            self._swapper.detach()
            self._swapper = None
        self._checkpoints.remove()

    def __enter__(self) -> AppliedPlan:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


def planned_step(plan: Plan, model: torch.nn.Module, sample: Any, **rest: Any) -> TrainingStep:
    """One micro-batch of the planned size with the planned number format and accumulation, made of the first rows of `sample`."""
    whole = Sample.of(sample)
    step = TrainingStep(model=model, sample=whole, **rest)
    micro = step.with_batch(plan.micro_batch) if whole.batch_size != plan.micro_batch else step
    return micro.replace(precision=cast("Precision", plan.precision), accumulation=plan.accumulation)


def verify(
    plan: Plan,
    model: torch.nn.Module,
    sample: Any,
    *,
    loss: Callable[..., torch.Tensor] | None = None,
    target: Any = None,
    optimizer: OptimizerSpec | None = None,
    ledger: ErrorLedger | None = None,
    metrics: WorkloadMetrics | None = None,
    repeats: int = 3,
) -> Verification:
    """Run the planned step for real, and note what it needed.

    Weights, buffers, gradients and random states are afterwards as they were.

    Args:
        plan: The plan.
        model: The model it was made for, with or without the plan applied.
        sample: A batch like the one planned with.
        loss: As in `TrainingStep`.
        target: As in `TrainingStep`.
        optimizer: Default: the one planned with.
        ledger: Where the errors are noted. Default: the user's.
        metrics: Where both peaks are shown for Prometheus, if anywhere.
        repeats: Steps that are timed.

    Raises:
        PlanError: The plan is for another model, or its optimizer is a function and none was passed.
    """
    if optimizer is None and plan.optimizer not in ("none", "sgd", "sgd_momentum", "adam", "adamw"):
        raise PlanError(f"optimizer: the plan was made with {plan.optimizer!r}; pass the same function again")
    chosen = optimizer if optimizer is not None else None if plan.optimizer == "none" else plan.optimizer
    with ExitStack() as stack:
        applied = stack.enter_context(AppliedPlan(plan, model))
        step = applied.step(sample, loss=loss, target=target, optimizer=cast("OptimizerSpec", chosen))
        profile = measure_step(step, steps=2)
        seconds = _time(step, repeats)
    result = Verification(
        predicted_peak_bytes=plan.predicted_peak_bytes,
        measured_peak_bytes=profile.peak_bytes,
        budget_bytes=plan.budget_bytes,
        predicted_s=plan.predicted_s,
        measured_s=seconds,
    )
    book = ledger if ledger is not None else ErrorLedger(default_ledger_path())
    book.append(
        LedgerEntry(
            model=plan.model,
            device=plan.device,
            predicted_peak_bytes=result.predicted_peak_bytes,
            measured_peak_bytes=result.measured_peak_bytes,
            predicted_s=result.predicted_s if plan.time_method == "measured" else None,
            measured_s=result.measured_s,
            torch=torch.__version__,
            recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )
    if metrics is not None:
        metrics.record_prediction(result.predicted_peak_bytes, result.measured_peak_bytes, model=plan.model, device=str(step.device))
    return result


def _time(step: TrainingStep, repeats: int) -> float:
    """Median time of a whole step, the optimizer's states made before."""
    cuda = step.device.type == "cuda"
    times = []
    with untouched(step.model, step.device):
        optimizer = step.make_optimizer()
        for _ in range(repeats + 1):
            if cuda:
                torch.cuda.synchronize(step.device)
            begin = time.perf_counter()
            step.run(optimizer)
            if cuda:
                torch.cuda.synchronize(step.device)
            times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def micro_batches(plan: Plan, sample: Any, target: Any = None) -> list[tuple[Sample, Any]]:
    """A batch cut into the planned micro-batches, for a training loop of one's own.

    Args:
        plan: The plan.
        sample: A whole batch; the last micro-batch may be smaller.
        target: What belongs to it.

    Example:
        >>> from types import SimpleNamespace
        >>> [part.batch_size for part, _ in micro_batches(SimpleNamespace(micro_batch=2), torch.zeros(5, 3))]
        [2, 2, 1]
    """
    whole = Sample.of(sample)
    rows = whole.batch_size
    parts = []
    for first in range(0, rows, plan.micro_batch):
        cut = _cutter(rows, first, min(first + plan.micro_batch, rows))
        parts.append((whole.map(cut), map_tensors(target, cut)))
    return parts


def _cutter(rows: int, first: int, end: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: tensor[first:end] if tensor.dim() and tensor.shape[0] == rows else tensor
