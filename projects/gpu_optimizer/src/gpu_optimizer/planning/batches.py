"""Batches: how many examples a sample holds, its first rows, and a batch cut into micro-batches.

Micro-batches are views of the batch they come from: in training the whole batch lies on the device, and what is
planned counts all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from gpu_optimizer.steps import Sample, TrainingStep, map_tensors

if TYPE_CHECKING:
    from gpu_optimizer.planning.plans import Plan


def examples(sample: Sample) -> int:
    """Rows of a sample; 1 where no tensor has a dimension, so that there is nothing to split.

    Example:
        >>> examples(Sample.of(torch.zeros(4, 3))), examples(Sample.of(torch.tensor(2.0)))
        (4, 1)
    """
    return sample.batch_size if any(tensor.dim() for tensor in sample.tensors()) else 1


def with_examples(step: TrainingStep, rows: int) -> TrainingStep:
    """The step with another batch of its own: repeated or cut."""
    return step if rows == examples(step.sample) else step.with_batch(rows)


def first_rows(step: TrainingStep, rows: int) -> TrainingStep:
    """The step of the first micro-batch of its batch, which stays whole in memory."""
    whole = examples(step.sample)
    if rows == whole:
        return step
    cut = _cutter(whole, 0, rows)
    return step.replace(sample=step.sample.map(cut), target=map_tensors(step.target, cut))


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
    rows = examples(whole)
    parts = []
    for first in range(0, rows, plan.micro_batch):
        cut = _cutter(rows, first, min(first + plan.micro_batch, rows))
        parts.append((whole.map(cut), map_tensors(target, cut)))
    return parts


def _cutter(rows: int, first: int, end: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: tensor[first:end] if tensor.dim() and tensor.shape[0] == rows else tensor
