"""A large batch in small pieces, with the gradient of the large one.

Micro-batches of whatever lengths go in; the gradient of each optimizer step is that of the mean (or sum) over all
examples, or tokens, of its window. Dividing every micro-batch's mean by their number, as loops do, is wrong as soon as
they differ: in the last window, and wherever texts have different lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch

from gpu_optimizer.errors import StepError
from gpu_optimizer.steps import tensors_in
from gpu_optimizer.training.oom import batch_length

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccumulatedStep:
    """One optimizer step.

    Args:
        loss: Loss of the whole window, reduced as its micro-batches are.
        weight: Examples or tokens in it.
        micro_batches: Number of pieces.
        gradient_norm: Norm before clipping; None where nothing was clipped.
        stepped: False where the scaler found a gradient that is not finite and left the step out.
    """

    loss: float
    weight: float
    micro_batches: int
    gradient_norm: float | None
    stepped: bool


class Accumulator:
    """Runs windows of micro-batches and steps once for each.

    Args:
        optimizer: Steps once per window.
        micro_batches: Pieces per window; the last window of an epoch may have fewer.
        loss_fn: A micro-batch to its loss, a scalar tensor.
        reduction: What `loss_fn` does with its examples. For "mean" each piece counts by its weight.
        weight: What a micro-batch counts: its number of tokens that are not padding, for instance. Default: its examples.
        max_norm: Clip the gradient of the whole window, once, after the scaler is taken out.
        scheduler: Steps once per optimizer step that was made.
        scaler: Loss scaler for fp16.

    Raises:
        StepError: `micro_batches` is below 1, or `max_norm` not above 0.

    Example:
        >>> layer = torch.nn.Linear(1, 1, bias=False)
        >>> step = Accumulator(
        ...     torch.optim.SGD(layer.parameters(), lr=0.0), micro_batches=2, loss_fn=lambda rows: layer(rows).mean()
        ... ).window([torch.ones(3, 1), torch.full((1, 1), 5.0)])
        >>> float(layer.weight.grad), step.weight  # mean of 1, 1, 1, 5
        (2.0, 4.0)
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        micro_batches: int,
        loss_fn: Callable[[Any], torch.Tensor],
        reduction: Reduction = "mean",
        weight: Callable[[Any], float] | None = None,
        max_norm: float | None = None,
        scheduler: Any = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        if micro_batches < 1:
            raise StepError(f"micro_batches: expected at least 1, got {micro_batches}")
        if reduction not in ("mean", "sum"):
            raise StepError(f"reduction: expected 'mean' or 'sum', got {reduction!r}")
        if max_norm is not None and max_norm <= 0:
            raise StepError(f"max_norm: expected a number above 0, got {max_norm}")
        self._optimizer = optimizer
        self._size = micro_batches
        self._loss = loss_fn
        self._reduction: Reduction = reduction
        self._weight = weight or batch_length
        self._max_norm = max_norm
        self._scheduler = scheduler
        self._scaler = scaler

    def run(self, micro_batches: Iterable[Any]) -> Iterator[AccumulatedStep]:
        """One step per window; the last may be smaller. Nothing is drawn from the iterable before it is needed."""
        source = iter(micro_batches)
        while window := list(islice(source, self._size)):
            yield self.window(window)

    def window(self, micro_batches: Sequence[Any]) -> AccumulatedStep:
        """Forward and backward of every micro-batch, then one step. The gradients stay for whoever looks at them.

        Raises:
            StepError: The window is empty, its weight is 0, or a loss is no scalar.
        """
        weights = [float(self._weight(batch)) for batch in micro_batches]
        total = sum(weights)
        if not micro_batches or total <= 0 or min(weights) < 0:
            raise StepError(f"a window needs micro-batches with a weight above 0 together, got weights {weights}")
        self._optimizer.zero_grad(set_to_none=True)
        parts = []
        for batch, weight in zip(micro_batches, weights, strict=True):
            if weight == 0 and self._reduction == "mean":
                continue  # a mean over nothing is not a number
            share = weight / total if self._reduction == "mean" else 1.0
            loss = self._loss(batch)
            if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
                raise StepError("loss_fn must return a scalar tensor; reduce it with .mean() or .sum() and say which as reduction=")
            part = loss * share
            (part if self._scaler is None else self._scaler.scale(part)).backward()
            parts.append(part.detach())
            del loss, part
        norm, stepped = self._step()
        return AccumulatedStep(
            loss=float(torch.stack(parts).sum()), weight=total, micro_batches=len(micro_batches), gradient_norm=norm, stepped=stepped
        )

    def _step(self) -> tuple[float | None, bool]:
        norm = None
        if self._max_norm is not None:
            if self._scaler is not None:
                self._scaler.unscale_(self._optimizer)
            parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, self._max_norm))
        stepped = True
        if self._scaler is None:
            self._optimizer.step()
        else:
            before = self._scaler.get_scale()
            self._scaler.step(self._optimizer)
            self._scaler.update()
            stepped = self._scaler.get_scale() >= before  # it lowers the scale exactly when it left the step out
        if self._scheduler is not None and stepped:
            self._scheduler.step()
        return norm, stepped


def accumulate(
    micro_batches: Iterable[Any], optimizer: torch.optim.Optimizer, loss_fn: Callable[[Any], torch.Tensor], *, every: int, **options: Any
) -> list[AccumulatedStep]:
    """An epoch of micro-batches, a step for every `every` of them; the options are `Accumulator`'s."""
    return list(Accumulator(optimizer, micro_batches=every, loss_fn=loss_fn, **options).run(micro_batches))


def target_tokens(ignore_index: int = -100) -> Callable[[Any], float]:
    """A weight for token losses: how many targets are not `ignore_index`. The target is the last tensor of the micro-batch.

    Example:
        >>> target_tokens()((torch.zeros(2, 3), torch.tensor([[1, -100, 2], [-100, -100, 3]])))
        3.0
    """

    def count(batch: Any) -> float:
        return float((list(tensors_in(batch))[-1] != ignore_index).sum())

    return count
