"""What is done with a model so that its step fits, and that in force: the same for a trace as for real training."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch

from gpu_optimizer._torch_private import fake_tensor_type, forget_calls
from gpu_optimizer.errors import StepError, SwapError
from gpu_optimizer.planning.checkpoints import Checkpoints
from gpu_optimizer.steps import OptimizerSpec, TrainingStep
from gpu_optimizer.training import Backend, OffloadedOptimizer, TensorSwapper, Transfer

MIN_MOVED_BYTES = 1 << 20
"""Smaller storages stay on the device: a copy costs microseconds whatever its size."""

IN_FLIGHT = 5
"""So many storages may be on their way out at once; each holds its memory on the device until it has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What is done with a step.

    Args:
        recomputed: Modules and runs that are checkpointed.
        offloaded: Modules whose activations wait on the host.
        optimizer_on_host: Whether the optimizer's state lies on the host, and it steps there.
    """

    recomputed: tuple[str, ...] = ()
    offloaded: tuple[str, ...] = ()
    optimizer_on_host: bool = False


class Treated:
    """A treatment in force on a model; `remove`, or the end of a `with`, takes it off.

    Args:
        model: The model; nothing of it is rewritten.
        treatment: What is done.
        backend: How bytes travel to the host; default: CUDA.
        options: Further arguments of `TensorSwapper`.

    Raises:
        CheckpointError: Something cannot be checkpointed.
        SwapError: Something is to travel and there is neither a CUDA device nor a backend.
    """

    def __init__(self, model: torch.nn.Module, treatment: Treatment, *, backend: Backend | None = None, **options: Any) -> None:
        self.treatment = treatment
        self._backend = backend
        self._swapper: TensorSwapper | None = None
        self._handles: list[Any] = []
        self._checkpoints = Checkpoints(model).apply(treatment.recomputed)
        try:
            if treatment.offloaded:
                settings = {"min_bytes": MIN_MOVED_BYTES, **options}
                self._swapper = TensorSwapper(model, backend=backend, in_flight=IN_FLIGHT, **settings).attach(treatment.offloaded)
                self._handles.append(model.register_forward_hook(self._all_has_left))
        except SwapError:
            self._checkpoints.remove()
            raise

    def optimizer(self, plain: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """An optimizer as the treatment wants it: the same one, or one that does its work on the host.

        Raises:
            StepError: It has a state already, which would be lost.
        """
        return on_host(plain, self._backend) if self.treatment.optimizer_on_host else plain

    def step(self, step: TrainingStep) -> TrainingStep:
        """The step with its optimizer as the treatment wants it."""
        if not self.treatment.optimizer_on_host:
            return step
        return step.replace(optimizer=self._maker(step.optimizer))

    def remove(self) -> None:
        """Take everything off."""
        while self._handles:
            self._handles.pop().remove()
        if self._swapper is not None:
            self._swapper.detach()
            self._swapper = None
        self._checkpoints.remove()

    def __enter__(self) -> Treated:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _all_has_left(self, *_: object) -> None:
        """Between forward and backward memory is fullest, so nothing may still wait there for its copy to be through."""
        if self._swapper is not None:
            self._swapper.flush()

    def _maker(self, spec: OptimizerSpec) -> OptimizerSpec:
        def make(parameters: Any) -> torch.optim.Optimizer:
            holder = torch.nn.Module()
            holder.parts = torch.nn.ParameterList(parameters)
            plain = TrainingStep.of(holder, torch.zeros(1), optimizer=spec).make_optimizer()
            if plain is None:
                raise StepError("there is no optimizer whose state could lie on the host")
            return self.optimizer(plain)

        return None if spec is None else make


def on_host(plain: torch.optim.Optimizer, backend: Backend | None = None) -> OffloadedOptimizer:
    """An optimizer of the same class, groups and settings whose state and float32 weights lie on the host.

    Args:
        plain: An optimizer that has not stepped yet; it is not to be used any more.
        backend: How gradients and weights travel; default: CUDA.

    Raises:
        StepError: It has a state already, which would be lost; load that into what this returns instead.
        SwapError: There is no CUDA device and no backend is given.
    """
    if plain.state:
        raise StepError("the optimizer has stepped already; make a new one, and load the old one's state_dict into what this returns")
    known = inspect.signature(type(plain)).parameters
    settings = {name: value for name, value in plain.defaults.items() if name in known}
    return OffloadedOptimizer([dict(group) for group in plain.param_groups], type(plain), backend=backend, **settings)


class Followed:
    """A host for traces: what lies there is not counted, and no copy is through before it is waited for.

    Tensors on their way out thus count as long as the swapper holds them at most, whatever the speed of the copies.
    """

    def owns(self, tensor: torch.Tensor) -> bool:
        """All that is not on the host."""
        forget_calls(tensor)  # storages that have left must be seen to be freed
        return tensor.device.type != "meta"

    def host_buffer(self, size_bytes: int) -> torch.Tensor:
        """Bytes on a device that a trace does not count."""
        return torch.empty(size_bytes, dtype=torch.uint8, device="meta")

    def copy_out(self, source: torch.Tensor, buffer: torch.Tensor, after: Transfer | None) -> Transfer:
        """Nothing is copied."""
        return _NeverEarly()

    def copy_in(self, buffer: torch.Tensor, device: torch.device, after: Transfer | None) -> tuple[torch.Tensor, Transfer]:
        """New bytes on the device."""
        return torch.empty(buffer.numel(), dtype=torch.uint8, device=device), _NeverEarly()


class _NeverEarly:
    def finished(self) -> bool:
        return False

    def order(self) -> None:
        return None

    def wait(self) -> None:
        return None


def treated_trace(model: torch.nn.Module, treatment: Treatment) -> Treated:
    """The treatment in force for a trace without running; the host is taken to be large enough."""
    return Treated(model, treatment, backend=Followed(), movable=(torch.Tensor, fake_tensor_type()), host_limit_bytes=1 << 62)
