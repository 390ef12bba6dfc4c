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
from gpu_optimizer.planning.batches import examples, first_rows, micro_batches, with_examples
from gpu_optimizer.planning.identity import model_identity
from gpu_optimizer.planning.ledger import ErrorLedger, LedgerEntry, default_ledger_path
from gpu_optimizer.planning.plans import Plan, format_seconds
from gpu_optimizer.planning.probe import untouched
from gpu_optimizer.planning.sizes import format_bytes
from gpu_optimizer.planning.treatment import Treated, Treatment
from gpu_optimizer.profiling.measure import measure_step
from gpu_optimizer.steps import OptimizerSpec, Precision, Sample, TrainingStep
from gpu_optimizer.training import Backend, OffloadedOptimizer
from gpu_optimizer.training.accumulation import Reduction

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

    What moves to the host is proved with a simulated device that spoils whatever is used too early, and has not been
    run on a GPU: `verify` on yours says what it does there.

    Args:
        plan: What is to be done.
        model: The model it was made for.
        backend: How what is planned to lie on the host travels there; default: CUDA.

    Raises:
        PlanError: The plan was made for another model, or is applied there already.
    """

    def __init__(self, plan: Plan, model: torch.nn.Module, *, backend: Backend | None = None) -> None:
        if model_identity(model) != plan.model:
            raise PlanError(f"this plan was made for {plan.model}, the model is {model_identity(model)}; make a plan for it with plan()")
        moves = bool(plan.offloaded) or plan.optimizer_on_host
        if moves and backend is None and next(model.parameters()).device.type != "cuda":
            raise PlanError("the plan moves tensors to the host, but the model is not on a CUDA device; move it there first")
        self.plan = plan
        self.model = model
        self._treated = Treated(
            model,
            Treatment(recomputed=plan.recomputed, offloaded=plan.offloaded, optimizer_on_host=plan.optimizer_on_host),
            backend=backend,
        )

    def optimizer(self, plain: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """The optimizer to train with: the one given, or one of its kind and settings that works on the host if that is the plan.

        Args:
            plain: A new optimizer over the model's parameters.

        Raises:
            StepError: It has stepped already.
        """
        return self._treated.optimizer(plain)

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
        return self._treated.step(planned_step(self.plan, self.model, sample, loss=loss, target=target, optimizer=optimizer))

    def run(
        self,
        sample: Any,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        loss: Callable[..., torch.Tensor] | None = None,
        target: Any = None,
        scaler: torch.amp.GradScaler | None = None,
        reduction: Reduction = "mean",
    ) -> float:
        """One optimizer step over a whole batch, in the planned micro-batches and number format.

        Args:
            sample: The batch. The gradient is that of the whole batch, also where the last micro-batch is smaller.
            optimizer: The optimizer of the training, from `optimizer()` where it is to work on the host; None computes
                gradients only.
            loss: As in `TrainingStep`.
            target: What belongs to the sample.
            scaler: Loss scaler for fp16, kept by the caller from step to step.
            reduction: What the loss does with the examples it is given: "mean" or "sum".

        Returns:
            The loss of the whole batch, reduced likewise.

        Raises:
            PlanError: The plan has the optimizer work on the host, and this one does not; or `reduction` is neither.

        Example:
            >>> from gpu_optimizer import ErrorLedger, plan
            >>> model, batch = torch.nn.Linear(4, 1), torch.randn(8, 4)
            >>> made = plan(model, batch, "1 MiB", optimizer="sgd", ledger=ErrorLedger(None), repeats=1)
            >>> with made.apply(model) as applied:
            ...     losses = [applied.run(batch, torch.optim.SGD(model.parameters(), lr=0.1)) for _ in range(3)]
            >>> losses[2] < losses[0]
            True
        """
        if reduction not in ("mean", "sum"):
            raise PlanError(f"reduction: expected 'mean' or 'sum', got {reduction!r}")
        if optimizer is not None and self.plan.optimizer_on_host and not isinstance(optimizer, OffloadedOptimizer):
            raise PlanError("the plan keeps the optimizer's state on the host; pass what applied.optimizer(your_optimizer) returns")
        self.model.zero_grad(set_to_none=True)
        total = self._gradients(sample, loss, target, scaler, reduction)
        if optimizer is not None and scaler is not None:
            scaler.step(optimizer)
            scaler.update()
        elif optimizer is not None:
            optimizer.step()
        return float(total)

    def _gradients(self, sample: Any, loss: Any, target: Any, scaler: torch.amp.GradScaler | None, reduction: str) -> torch.Tensor | float:
        """Forward and backward of every micro-batch; the loss of the whole batch."""
        rows = examples(Sample.of(sample))
        total: torch.Tensor | float = 0.0
        for part, part_target in micro_batches(self.plan, sample, target):
            step = TrainingStep(
                model=self.model, sample=part, loss=loss, target=part_target, precision=cast("Precision", self.plan.precision)
            )
            value = step.forward_loss() * (examples(part) / rows if reduction == "mean" else 1.0)
            (value if scaler is None else scaler.scale(value)).backward()
            total = total + value.detach()
        return total

    def undo(self) -> None:
        """Take everything off; the model is as it was, with the weights it has now."""
        self._treated.remove()

    def __enter__(self) -> AppliedPlan:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


def planned_step(plan: Plan, model: torch.nn.Module, sample: Any, **rest: Any) -> TrainingStep:
    """One micro-batch of the planned size with the planned number format and accumulation, made of the first rows of `sample`."""
    step = TrainingStep(model=model, sample=Sample.of(sample), **rest)
    whole = plan.micro_batch * plan.accumulation
    if examples(step.sample) == whole or plan.micro_batch < examples(step.sample) < whole:
        micro = first_rows(step, plan.micro_batch)
    else:
        micro = with_examples(step, plan.micro_batch)
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
    book.append(_entry(plan, result))
    if metrics is not None:
        metrics.record_prediction(result.predicted_peak_bytes, result.measured_peak_bytes, model=plan.model, device=str(step.device))
    return result


def _entry(plan: Plan, result: Verification) -> LedgerEntry:
    """What the ledger is told; a time by peak rates is no prediction whose error could be learnt from."""
    return LedgerEntry(
        model=plan.model,
        device=plan.device,
        predicted_peak_bytes=result.predicted_peak_bytes,
        measured_peak_bytes=result.measured_peak_bytes,
        predicted_s=result.predicted_s if plan.time_method == "measured" else None,
        measured_s=result.measured_s,
        torch=torch.__version__,
        recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


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
