"""A model without its memory: parameters and buffers become fake tensors in place, and come back as they were.

The module objects stay the same, so hooks, wrapped forwards, tied weights and models on the meta device
work as they do for real. Whatever a forward pass leaves on a module is taken off again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from gpu_optimizer._torch_private import fake_mode, storage_key
from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.steps import TrainingStep, map_tensors, tensors_in


@contextmanager
def fake_step(step: TrainingStep) -> Iterator[TrainingStep]:
    """The same step on fake tensors; model, gradients and random generators are put back at the end, whatever happens.

    Raises:
        ProfilingError: A parameter has no shape yet.
    """
    for name, parameter in step.model.named_parameters():
        if is_lazy(parameter):
            raise ProfilingError(f"{name} has no shape yet; run the model on one input before profiling it")
    device = fake_device(step.device)
    with kept(step.model), fake_mode(), _default_device(device):
        twins = _Twins(device)
        for module in step.model.modules():
            _replace_tensors(module, twins)
        yield step.replace(sample=step.sample.map(twins.of), target=map_tensors(step.target, twins.of))


def fake_device(real: torch.device) -> torch.device:
    """Device that fake tensors claim to be on: CUDA's own where it is there, else the CPU, which stands for all others."""
    if real.type == "cuda" and torch.cuda.is_available():
        return torch.device("cuda", real.index if real.index is not None else torch.cuda.current_device())
    return torch.device("cpu")


def _default_device(device: torch.device) -> AbstractContextManager[Any]:
    """Where tensors are made that name no device: inside `with torch.device("meta")` they would be left out of the count."""
    return device if torch.get_default_device().type == "meta" else nullcontext()


@contextmanager
def kept(model: torch.nn.Module) -> Iterator[None]:
    """Afterwards every module holds the same objects as before, and the random generators go on as if nothing had been."""
    modules = [(module, dict(module.__dict__), _contents(module)) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    generators = _random_state()
    try:
        yield
    finally:
        for module, attributes, contents in modules:
            for container, before in contents:
                _refill(container, before)
            module.__dict__.clear()
            module.__dict__.update(attributes)
        for parameter, gradient in gradients:
            if parameter.grad is not gradient:
                parameter.grad = gradient
        _restore_random_state(generators)


class _Twins:
    """The fake tensor of every real one: one storage for one storage, one object for one object."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._twins: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._storages: dict[int, torch.Tensor] = {}

    def of(self, real: torch.Tensor) -> torch.Tensor:
        """The fake tensor that stands for a real one."""
        if id(real) not in self._twins:
            with torch.no_grad():
                twin = self._strided(real) if real.layout == torch.strided else real
            if isinstance(real, torch.nn.Parameter):
                twin = torch.nn.Parameter(twin, requires_grad=real.requires_grad)
                vars(twin).update(vars(real))
            elif real.requires_grad:
                twin.requires_grad_()
            self._twins[id(real)] = (real, twin)
        return self._twins[id(real)][1]

    def _strided(self, real: torch.Tensor) -> torch.Tensor:
        storage = real.untyped_storage()
        like: dict[str, Any] = {"dtype": real.dtype, "device": self._device}
        key = storage_key(storage)
        if storage.nbytes() <= real.numel() * real.element_size():
            if key not in self._storages:
                self._storages[key] = torch.empty_strided(real.shape, real.stride(), **like)
            return self._storages[key].as_strided(real.shape, real.stride())
        if key not in self._storages:
            self._storages[key] = torch.empty(storage.nbytes(), dtype=torch.uint8, device=self._device)
        whole = self._storages[key]
        return whole.view(real.dtype).as_strided(real.shape, real.stride(), real.storage_offset())


def _replace_tensors(module: torch.nn.Module, twins: _Twins) -> None:
    """Put twins in place of tensors, wherever a module holds them: also in lists, as recurrent layers do."""
    for name, value in list(module.__dict__.items()):
        if name in ("_parameters", "_buffers"):
            module.__dict__[name] = {key: None if tensor is None else twins.of(tensor) for key, tensor in value.items()}
        elif name != "_modules" and isinstance(value, torch.Tensor | list | tuple | dict) and next(tensors_in(value), None) is not None:
            module.__dict__[name] = map_tensors(value, twins.of)


def _contents(module: torch.nn.Module) -> list[tuple[Any, Any]]:
    """What is in the lists, sets and dictionaries that a module holds."""
    return [(value, value.copy()) for value in module.__dict__.values() if isinstance(value, list | set | dict)]


def _refill(container: Any, before: Any) -> None:
    if isinstance(container, list):
        container[:] = before
    else:
        container.clear()
        container.update(before)


def _random_state() -> tuple[Any, ...]:
    """State of the global generators, numpy's legacy one included: models draw from it, too."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda  # noqa: NPY002


def _restore_random_state(state: tuple[Any, ...]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])
    if state[3] is not None:
        torch.cuda.set_rng_state_all(state[3])
