"""Everything a trial run changes, kept aside on the host and put back bit for bit.

A model and, where there is one, its optimizer go in; after `restore` weights, buffers, gradients, training
flags, optimizer state, and the random numbers of Python, numpy, the CPU and every accelerator are as they were.
Tensors keep their identity: they are written back in place.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch


class TrainingState:
    """The state of a training at the moment it is made.

    Args:
        model: The model.
        optimizer: Its optimizer, if the trial uses the real one.
        weights: Parameters and gradients are kept too. False where the trial cannot change them.
        on_host: Copies lie in the host's memory, so that they do not count where memory is measured.

    Example:
        >>> layer = torch.nn.Linear(2, 2)
        >>> before = layer.weight.detach().clone()
        >>> state = TrainingState(layer)
        >>> _ = layer.weight.data.zero_()
        >>> state.restore()
        >>> torch.equal(layer.weight, before)
        True
    """

    def __init__(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None, *, weights: bool = True, on_host: bool = True
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._weights = weights
        parameters = list(model.parameters()) if weights else []
        keep = _to_host if on_host else _copied
        self._parameters = [(parameter, keep(parameter)) for parameter in parameters]
        self._gradients = [
            (parameter, parameter.grad, None if parameter.grad is None else keep(parameter.grad)) for parameter in parameters
        ]
        self._buffers = [
            (part, name, buffer, keep(buffer)) for part in model.modules() for name, buffer in part._buffers.items() if buffer is not None
        ]
        self._flags = [(part, part.training) for part in model.modules()]
        self._optimizer_state = None if optimizer is None else _copy_state(optimizer)
        self._generators = _generators()

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back; may be called again."""
        for part, training in self._flags:
            part.training = training
        for parameter, value in self._parameters:
            _write(parameter, value)
        for parameter, gradient, value in self._gradients:
            if gradient is not None and value is not None:
                _write(gradient, value)
            parameter.grad = gradient
        for part, name, buffer, value in self._buffers:
            _write(buffer, value)
            part._buffers[name] = buffer
        if self._optimizer is not None and self._optimizer_state is not None:
            _put_state(self._optimizer, *self._optimizer_state)
        _set_generators(self._generators)


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True) if tensor.device.type != "meta" else tensor.detach()


def _write(target: torch.Tensor, value: torch.Tensor) -> None:
    if target.device.type != "meta":
        target.detach().copy_(value)


def _copy_state(optimizer: torch.optim.Optimizer) -> tuple[dict[Any, Any], list[dict[str, Any]]]:
    state = {
        parameter: {
            key: (value, _to_host(value)) if torch.is_tensor(value) else (None, copy.deepcopy(value)) for key, value in entry.items()
        }
        for parameter, entry in optimizer.state.items()
    }
    groups = [{key: _copied(value) for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return state, groups


def _put_state(optimizer: torch.optim.Optimizer, state: dict[Any, Any], groups: list[dict[str, Any]]) -> None:
    optimizer.state.clear()
    for parameter, entry in state.items():
        for tensor, value in entry.values():
            if tensor is not None:
                _write(tensor, value)
        optimizer.state[parameter] = {key: copy.deepcopy(value) if tensor is None else tensor for key, (tensor, value) in entry.items()}
    for group, before in zip(optimizer.param_groups, groups, strict=True):
        for key in group.keys() - before.keys() - {"params"}:
            del group[key]
        group.update({key: _copied(value) for key, value in before.items()})


def _copied(value: Any) -> Any:
    return value.detach().clone() if torch.is_tensor(value) else copy.deepcopy(value)


def _accelerator_generators() -> Any:
    """The module with the generators of this machine's accelerator, None where there is none."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if accelerator is None else torch.get_device_module(accelerator)


def _generators() -> dict[str, Any]:
    legacy = np.random.get_state()  # noqa: NPY002 -- augmentations of users draw from it
    states: dict[str, Any] = {"python": random.getstate(), "numpy": legacy, "cpu": torch.get_rng_state()}
    module = _accelerator_generators()
    if module is not None:
        states["accelerator"] = module.get_rng_state_all() if hasattr(module, "get_rng_state_all") else module.get_rng_state()
    return states


def _set_generators(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["cpu"])
    module = _accelerator_generators()
    if module is not None and "accelerator" in states:
        if hasattr(module, "set_rng_state_all"):
            module.set_rng_state_all(states["accelerator"])
        else:
            module.set_rng_state(states["accelerator"])
