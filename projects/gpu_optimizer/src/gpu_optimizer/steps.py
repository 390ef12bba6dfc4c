"""One training step as every room speaks of it: a model, a sample, a loss, an optimizer, a number format.

A model and a sample go in; `TrainingStep.run` does what a training loop does between two batches.
Profiles, plans and searches are all made of this one description, so what is predicted is what is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, get_args

import torch

from gpu_optimizer.errors import StepError

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
OptimizerName = Literal["sgd", "sgd_momentum", "adam", "adamw"]
OptimizerSpec = OptimizerName | Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer] | None

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_OPTIMIZERS: dict[str, Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    "sgd_momentum": lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-4),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-4),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model is called with.

    Args:
        args: Positional arguments.
        kwargs: Keyword arguments.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, value: Any) -> Sample:
        """A sample from what people pass: a tensor, a tuple or list of arguments, a mapping of keyword arguments.

        Raises:
            StepError: There is no tensor in it.

        Example:
            >>> Sample.of(torch.zeros(4, 3)).batch_size
            4
            >>> Sample.of({"x": torch.zeros(2, 3), "scale": 2.0}).with_batch(5).kwargs["x"].shape
            torch.Size([5, 3])
        """
        if isinstance(value, cls):
            sample = value
        elif isinstance(value, Mapping):
            sample = cls((), dict(value))
        elif isinstance(value, tuple | list):
            sample = cls(tuple(value))
        else:
            sample = cls((value,))
        if not any(True for _ in sample.tensors()):
            raise StepError(
                f"a sample needs at least one tensor, got {type(value).__name__}; pass a tensor, a tuple of arguments or a dict"
            )
        return sample

    @property
    def keywords(self) -> Mapping[str, Any]:
        """Keyword arguments, empty where there are none."""
        return self.kwargs or {}

    @property
    def batch_size(self) -> int:
        """Length of the first dimension of the first tensor that has one.

        Raises:
            StepError: Every tensor is a scalar.
        """
        for tensor in self.tensors():
            if tensor.dim():
                return tensor.shape[0]
        raise StepError("the sample has no batch dimension: all its tensors are scalars")

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor in it, however deep."""
        return tensors_in((self.args, self.keywords))

    def with_batch(self, size: int) -> Sample:
        """The same sample with another batch size: what has the batch's length in its first dimension is repeated or cut.

        Raises:
            StepError: `size` is below 1.
        """
        if size < 1:
            raise StepError(f"a batch has at least 1 example, got {size}")
        return self.map(batch_resizer(self.batch_size, size))

    def to(self, device: torch.device | str) -> Sample:
        """The same sample on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Sample:
        """The same sample with every tensor changed."""
        return Sample(map_tensors(self.args, change), map_tensors(dict(self.keywords), change))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """Everything that decides what one optimizer step needs.

    Args:
        model: The model, on the device it is trained on. Training mode is what its own flag says.
        sample: What it is called with, one micro-batch.
        loss: `loss(output)`, or `loss(output, target)` where a target is given, to a scalar tensor. Default: the
            output's own `loss` where it has one, else the mean of the squares of all its floating tensors.
        target: Second argument of `loss`; a tensor or anything made of tensors.
        optimizer: A name, a function from parameters to an optimizer, or None for no optimizer step.
        precision: Number format of the forward pass: "bf16" and "fp16" through autocast ("fp16" scales the loss on
            CUDA), "tf32" in the matrix units of CUDA, "fp32" everywhere.
        accumulation: Micro-batches per optimizer step; each is `sample`.

    Example:
        >>> step = TrainingStep.of(torch.nn.Linear(3, 2), torch.ones(4, 3), optimizer="sgd")
        >>> first = step.run(step.make_optimizer())
        >>> step.run(step.make_optimizer()) < first
        True
    """

    model: torch.nn.Module
    sample: Sample
    loss: Callable[..., torch.Tensor] | None = None
    target: Any = None
    optimizer: OptimizerSpec = "adamw"
    precision: Precision = "fp32"
    accumulation: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.model, torch.nn.Module):
            raise StepError(f"model: expected a torch.nn.Module, got {type(self.model).__name__}")
        if self.precision not in get_args(Precision):
            raise StepError(f"precision: expected one of {', '.join(get_args(Precision))}, got {self.precision!r}")
        if self.accumulation < 1:
            raise StepError(f"accumulation: expected at least 1 micro-batch, got {self.accumulation}")
        if isinstance(self.optimizer, str) and self.optimizer not in _OPTIMIZERS:
            raise StepError(f"optimizer: expected one of {', '.join(_OPTIMIZERS)}, a function or None, got {self.optimizer!r}")

    @classmethod
    def of(cls, model: torch.nn.Module, sample: Any, **rest: Any) -> TrainingStep:
        """A step from a sample in any form that `Sample.of` takes."""
        return cls(model=model, sample=Sample.of(sample), **rest)

    @property
    def device(self) -> torch.device:
        """Where the model is: that of its first parameter or buffer, else of the sample."""
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            return tensor.device
        return next(self.sample.tensors()).device

    @property
    def batch_size(self) -> int:
        """Examples per optimizer step."""
        return self.sample.batch_size * self.accumulation

    def replace(self, **changes: Any) -> TrainingStep:
        """The same step with some parts changed."""
        return replace(self, **changes)

    def with_batch(self, size: int) -> TrainingStep:
        """The same step with another micro-batch; what in the target has the batch's length follows."""
        resize = batch_resizer(self.sample.batch_size, size)
        return replace(self, sample=self.sample.with_batch(size), target=map_tensors(self.target, resize))

    def make_optimizer(self) -> torch.optim.Optimizer | None:
        """A new optimizer for the model's trainable parameters; None where the step has none.

        Raises:
            StepError: Nothing is trainable.
        """
        if self.optimizer is None:
            return None
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if not parameters:
            raise StepError("the model has no trainable parameter; pass optimizer=None or unfreeze something")
        make = _OPTIMIZERS[self.optimizer] if isinstance(self.optimizer, str) else self.optimizer
        return make(parameters)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the forward pass runs."""
        dtype = _AUTOCAST.get(self.precision)
        if dtype is None:
            return tf32_allowed() if self.precision == "tf32" else nullcontext()
        kind = self.device.type if self.device.type != "meta" else "cpu"
        return torch.autocast(kind, dtype=dtype)

    def forward_loss(self) -> torch.Tensor:
        """The forward pass and the loss.

        Raises:
            StepError: The loss is not a scalar.
        """
        with self.autocast():
            output = self.model(*self.sample.args, **self.sample.keywords)
            if self.loss is None:
                value = default_loss(output)
            else:
                value = self.loss(output) if self.target is None else self.loss(output, self.target)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise StepError(f"the loss must be a scalar tensor, got {shape}; reduce it with .mean() or .sum()")
        return value

    def run(self, optimizer: torch.optim.Optimizer | None = None, *, scaler: torch.amp.GradScaler | None = None) -> float:
        """One whole step: old gradients are freed, every micro-batch goes forward and backward, the optimizer steps.

        Args:
            optimizer: What `make_optimizer` gave; None leaves the parameters as they are.
            scaler: Loss scaler for fp16.

        Returns:
            The mean loss of the micro-batches.
        """
        self.model.zero_grad(set_to_none=True)
        loss = self.accumulate(scaler=scaler)
        if optimizer is not None and scaler is not None:
            scaler.step(optimizer)
            scaler.update()
        elif optimizer is not None:
            optimizer.step()
        return float(loss)

    def accumulate(self, *, scaler: torch.amp.GradScaler | None = None) -> torch.Tensor:
        """Forward and backward of every micro-batch; the mean loss stays on its device, so nothing waits for it."""
        losses = []
        for _ in range(self.accumulation):
            value = self.forward_loss() / self.accumulation
            (value if scaler is None else scaler.scale(value)).backward()
            losses.append(value.detach())
            del value
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def make_scaler(self) -> torch.amp.GradScaler | None:
        """A loss scaler where fp16 on an accelerator needs one, else None."""
        if self.precision != "fp16" or self.device.type == "cpu" or self.device.type == "meta":
            return None
        return torch.amp.GradScaler(self.device.type)


def default_loss(output: Any) -> torch.Tensor:
    """The output's own loss where it has one, else the mean of the squares of all its floating tensors.

    Raises:
        StepError: The output has no floating tensor.

    Example:
        >>> default_loss((torch.ones(2), torch.zeros(2))).item()
        0.5
    """
    own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(own, torch.Tensor):
        return own
    floating = [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
    if not floating:
        raise StepError(f"the model gave no floating tensor ({type(output).__name__}); pass loss=")
    means = [tensor.float().square().mean() for tensor in floating]
    return means[0] if len(means) == 1 else torch.stack(means).mean()


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested tuples, lists, mappings and dataclasses."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def map_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same nested value with every tensor changed; what is no container stays the same object."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(part, change) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(part, change) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(part, change) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: map_tensors(getattr(value, field.name), change) for field in fields(value) if field.init})
    return value


def batch_resizer(old: int, new: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that brings tensors with `old` rows to `new` rows and leaves all others alone."""

    def resize(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.dim() or tensor.shape[0] != old or old == new:
            return tensor
        rows = torch.arange(new, device=tensor.device) % old if tensor.device.type != "meta" else None
        if rows is None:
            return torch.empty((new, *tensor.shape[1:]), dtype=tensor.dtype, device="meta")
        return tensor.detach().index_select(0, rows).requires_grad_(tensor.requires_grad)

    return resize


class tf32_allowed:
    """Inside, CUDA's matrix units may round fp32 inputs to TF32; the setting before is put back."""

    def __enter__(self) -> None:
        self._before = [(part, part.fp32_precision) for part in (torch.backends.cuda.matmul, torch.backends.cudnn.conv)]
        for part, _ in self._before:
            part.fp32_precision = "tf32"

    def __exit__(self, *_: object) -> None:
        for part, before in self._before:
            part.fp32_precision = before
