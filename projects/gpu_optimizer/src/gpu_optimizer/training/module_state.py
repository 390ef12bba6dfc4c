"""What a module's forward changes in the module itself, so that running it a second time changes nothing.

`ModuleState` is taken before a forward. Inside `replayed()` the module is as it was then: buffers that the forward
overwrote (running statistics, moving averages, power iterations) hold their old values, plain attributes and
`training` flags too. Whatever a second forward writes goes to copies. Outside, nothing has happened.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gpu_optimizer._torch_private import version_of
from gpu_optimizer.errors import CheckpointError

# In training, these normalise by the batch, whatever their running statistics say: no old values are needed.
_BATCH_STATISTICS = (
    torch.nn.BatchNorm1d,
    torch.nn.BatchNorm2d,
    torch.nn.BatchNorm3d,
    torch.nn.SyncBatchNorm,
    torch.nn.InstanceNorm1d,
    torch.nn.InstanceNorm2d,
    torch.nn.InstanceNorm3d,
)
_OF_EVERY_MODULE = frozenset(vars(torch.nn.Module())) - {"training"}
_CONTAINERS = (list, dict, set, deque)
_PLAIN = (bool, int, float, str)  # settings such as `training`, which may change before the backward pass
_ABSENT = object()


@dataclass(slots=True)
class _Buffer:
    owner: torch.nn.Module
    key: str
    tensor: torch.Tensor
    version: int
    before: torch.Tensor | None  # its value before the forward, where that may be needed
    copied: bool = False  # a second forward gets a copy, for it may write
    watched: bool = True  # nobody else may change it until the second forward

    @property
    def name(self) -> str:
        return f"{type(self.owner).__name__}.{self.key}"


class ModuleState:
    """The state of a module and all its children, taken before its forward.

    Call `settle` after the forward; from then on `replayed` may be entered any number of times.

    Args:
        module: Whose state. Parameters are only watched: a forward that changes them cannot be repeated.

    Example:
        >>> norm = torch.nn.BatchNorm1d(2)
        >>> state = ModuleState(norm)
        >>> rows = torch.randn(8, 2)
        >>> first = norm(rows)
        >>> state.settle()
        >>> with state.replayed():
        ...     second = norm(rows)
        >>> bool(torch.equal(first, second)), int(norm.num_batches_tracked)
        (True, 1)
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._modules = tuple(module.modules())
        self._attributes = [_attributes(part) for part in self._modules]
        self._parameters = [(tensor, version_of(tensor)) for part in self._modules for tensor in _own_parameters(part)]
        self._buffers: list[_Buffer] = []
        self._tensor_attributes: list[tuple[str, torch.Tensor, int]] = []
        copies: dict[int, torch.Tensor] = {}
        for part, attributes in zip(self._modules, self._attributes, strict=True):
            own_batch = isinstance(part, _BATCH_STATISTICS) and part.training and part.track_running_stats
            for key, tensor in part._buffers.items():
                if tensor is not None:
                    before = None if own_batch else _copy(tensor, copies)
                    self._buffers.append(_Buffer(part, key, tensor, version_of(tensor), before, own_batch, not own_batch))
            for key, value in attributes.items():
                if isinstance(value, torch.Tensor):
                    self._tensor_attributes.append((f"{type(part).__name__}.{key}", value, version_of(value)))

    def settle(self) -> None:
        """Find out what the forward changed, and let go of copies that are not needed.

        Raises:
            CheckpointError: It changed a parameter, or in place a tensor that is no buffer; a second forward would
                then compute something else.
        """
        if any(version_of(tensor) != version for tensor, version in self._parameters):
            raise CheckpointError("its forward changes a parameter in place, so it cannot be run twice; do that outside of its forward")
        for name, tensor, version in self._tensor_attributes:
            if version_of(tensor) != version:
                raise CheckpointError(f"its forward changes {name} in place, a tensor that is no buffer; use register_buffer() for it")
        self._tensor_attributes.clear()
        for part, before in zip(self._modules, self._attributes, strict=True):
            for key in [key for key, value in before.items() if type(value) not in _PLAIN and vars(part).get(key, _ABSENT) is value]:
                del before[key]
        for buffer in self._buffers:
            if version_of(buffer.tensor) != buffer.version:
                buffer.copied = True
                buffer.watched = False
            else:
                buffer.before = None
                # The kernels of batch normalisation may write statistics without counting it as a change.
                buffer.copied = buffer.copied or (buffer.tensor.dim() == 1 and buffer.tensor.is_floating_point())

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Inside, the module is as it was before the forward, and what is written to it is forgotten afterwards.

        Raises:
            CheckpointError: A parameter or a buffer was changed in between, by an optimizer step for instance.
        """
        self._check_unchanged()
        now = [_attributes(part) for part in self._modules]
        buffers = [(buffer.owner, buffer.owner._buffers.get(buffer.key, _ABSENT)) for buffer in self._buffers]
        copies: dict[int, torch.Tensor] = {}
        for part, before, current in zip(self._modules, self._attributes, now, strict=True):
            _rewind(part, before, current)
        for buffer in self._buffers:
            value = buffer.tensor if buffer.before is None else buffer.before
            buffer.owner._buffers[buffer.key] = _copy(value, copies) if buffer.copied else value
        try:
            yield
        finally:
            for part, current in zip(self._modules, now, strict=True):
                _replace_attributes(part, current)
            for buffer, (owner, tensor) in zip(self._buffers, buffers, strict=True):
                if tensor is _ABSENT:
                    owner._buffers.pop(buffer.key, None)
                else:
                    owner._buffers[buffer.key] = tensor  # type: ignore[assignment]

    def _check_unchanged(self) -> None:
        if any(version_of(tensor) != version for tensor, version in self._parameters):
            raise CheckpointError(
                "a parameter was changed between the forward and the backward pass, so the block cannot be computed again as it was; "
                "step the optimizer after the last backward through this graph"
            )
        for buffer in self._buffers:
            if buffer.watched and version_of(buffer.tensor) != buffer.version:
                raise CheckpointError(
                    f"{buffer.name} was changed between the forward and the backward pass, so the block cannot be computed again; "
                    "change it after the backward pass"
                )


def _own_parameters(module: torch.nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in module._parameters.values() if tensor is not None]


def _attributes(module: torch.nn.Module) -> dict[str, Any]:
    own = vars(module)
    return {key: own[key] for key in own.keys() - _OF_EVERY_MODULE}


def _copy(tensor: torch.Tensor, copies: dict[int, torch.Tensor]) -> torch.Tensor:
    if id(tensor) not in copies:
        copies[id(tensor)] = tensor.detach().clone()
    return copies[id(tensor)]


def _rewind(module: torch.nn.Module, before: dict[str, Any], current: dict[str, Any]) -> None:
    own = vars(module)
    for key, value in current.items():
        if key not in before and type(value) in _CONTAINERS:
            own[key] = copy.copy(value)
    own.update(before)


def _replace_attributes(module: torch.nn.Module, wanted: dict[str, Any]) -> None:
    own = vars(module)
    for key in own.keys() - _OF_EVERY_MODULE - wanted.keys():
        del own[key]
    own.update(wanted)
