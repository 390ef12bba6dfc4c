"""Bytes that a model holds before it computes anything: parameters, buffers and gradients, by module.

A `torch.nn.Module` goes in, a table comes out. Nothing is estimated: each byte of each storage is
attributed to the first module that refers to it, so tied weights and views are counted once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpu_optimizer._torch_private import coo_parts
from gpu_optimizer.errors import ProfilingError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleMemory:
    """What one module holds itself, without the modules below it.

    Args:
        name: Path in the model, `""` for the model itself, as `named_modules()` gives it.
        kind: Class name of the module.
        parameter_bytes: Bytes of its parameters that no earlier module holds.
        buffer_bytes: The same of its buffers, non-persistent ones included.
        gradient_bytes: The same of the gradients that are there now.
        parameters: Elements of its parameters that no earlier module holds.
        shared_with: Modules that hold (part of) the same bytes and come earlier.
    """

    name: str
    kind: str
    parameter_bytes: int
    buffer_bytes: int
    gradient_bytes: int
    parameters: int
    shared_with: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """Parameters, buffers and gradients together."""
        return self.parameter_bytes + self.buffer_bytes + self.gradient_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMemory:
    """The modules of a model in the order of `named_modules()`, and their sums.

    Args:
        modules: One row per module that holds something itself or refers to shared bytes.
        storage_bytes: Size of the storages that are kept alive. Larger than `total_bytes` when a
            tensor is a view of a larger storage: the rest of it stays allocated too.
        by_dtype: Bytes by element type, for example `{"float32": 400}`.
        by_device: Bytes by device, for example `{"cuda:0": 400}`.
    """

    modules: tuple[ModuleMemory, ...]
    storage_bytes: int
    by_dtype: dict[str, int]
    by_device: dict[str, int]

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all parameters, each counted once."""
        return sum(module.parameter_bytes for module in self.modules)

    @property
    def buffer_bytes(self) -> int:
        """Bytes of all buffers, each counted once."""
        return sum(module.buffer_bytes for module in self.modules)

    @property
    def gradient_bytes(self) -> int:
        """Bytes of all gradients that are there now."""
        return sum(module.gradient_bytes for module in self.modules)

    @property
    def parameters(self) -> int:
        """Elements of all parameters, each counted once."""
        return sum(module.parameters for module in self.modules)

    @property
    def total_bytes(self) -> int:
        """Parameters, buffers and gradients together."""
        return self.parameter_bytes + self.buffer_bytes + self.gradient_bytes

    def below(self, prefix: str) -> ModelMemory:
        """The part at and below one module, for example `"encoder.layer.0"`.

        Only rows are selected: bytes that an earlier module outside of the part holds stay with that
        module. `storage_bytes`, `by_dtype` and `by_device` are those of the whole model.

        Raises:
            ProfilingError: No row lies there.
        """
        rows = tuple(m for m in self.modules if not prefix or m.name == prefix or m.name.startswith(f"{prefix}."))
        if not rows:
            known = ", ".join(repr(m.name) for m in self.modules[:8])
            raise ProfilingError(f"no module with memory of its own at or below {prefix!r}; the first ones are {known}")
        return ModelMemory(modules=rows, storage_bytes=self.storage_bytes, by_dtype=self.by_dtype, by_device=self.by_device)


def parameter_memory(model: torch.nn.Module) -> ModelMemory:
    """Count the bytes of a model's parameters, buffers and gradients, exactly and each once.

    Two tensors share bytes when they share a storage and their ranges overlap in it, whatever their
    shapes: tied weights, views of one flat buffer, gradients that are views of a bucket. A strided
    view counts as the range from its first to its last element. On the meta device tensors have no
    storage; there, tied weights are recognised by being the same object.

    Args:
        model: Any module, on any device, in any element type. It is not changed.

    Returns:
        One row per module, with the sums.

    Raises:
        ProfilingError: A parameter has no shape yet (a lazy module before its first input), or
            `model` is not a module.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 8, bias=False))
        >>> parameter_memory(model).parameter_bytes  # (8*4 + 4 + 4*8) float32
        272
        >>> model[1].weight = torch.nn.Parameter(model[0].weight.T)  # the same bytes, seen transposed
        >>> parameter_memory(model).parameter_bytes
        144
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        raise ProfilingError(f"expected a torch.nn.Module, got {type(model).__name__}")
    ledger = _Ledger()
    rows = [_measure(name, module, ledger) for name, module in model.named_modules()]
    return ModelMemory(
        modules=tuple(row for row in rows if row.total_bytes or row.shared_with),
        storage_bytes=sum(ledger.storages.values()),
        by_dtype=dict(ledger.by_dtype),
        by_device=dict(ledger.by_device),
    )


def _measure(name: str, module: torch.nn.Module, ledger: _Ledger) -> ModuleMemory:
    kind = type(module).__name__
    shared: dict[str, None] = {}
    sums = {"parameters": 0, "parameter_bytes": 0, "buffer_bytes": 0, "gradient_bytes": 0}
    for key, parameter in module.named_parameters(recurse=False, remove_duplicate=True):
        _require_shape(f"{name}.{key}".lstrip("."), parameter)
        claimed = ledger.claim(parameter, name, shared)
        sums["parameter_bytes"] += claimed
        sums["parameters"] += _elements(parameter, claimed)
        if parameter.grad is not None:
            sums["gradient_bytes"] += ledger.claim(parameter.grad, name, shared)
    for key, buffer in module.named_buffers(recurse=False, remove_duplicate=True):
        _require_shape(f"{name}.{key}".lstrip("."), buffer)
        sums["buffer_bytes"] += ledger.claim(buffer, name, shared)
    shared.pop(name, None)
    return ModuleMemory(name=name, kind=kind, shared_with=tuple(shared), **sums)


def _elements(parameter: torch.Tensor, claimed_bytes: int) -> int:
    return parameter.numel() if claimed_bytes >= parameter.numel() * parameter.element_size() else claimed_bytes // parameter.element_size()


def _require_shape(name: str, tensor: torch.Tensor) -> None:
    from torch.nn.parameter import is_lazy

    if is_lazy(tensor):
        raise ProfilingError(f"{name} has no shape yet; run the model on one input before measuring it")


class _Ledger:
    """Which bytes of which storage are taken, and by whom."""

    def __init__(self) -> None:
        self.storages: dict[Any, int] = {}
        self.by_dtype: dict[str, int] = {}
        self.by_device: dict[str, int] = {}
        self._taken: dict[Any, list[tuple[int, int, str]]] = {}

    def claim(self, tensor: torch.Tensor, owner: str, shared: dict[str, None]) -> int:
        """Take the bytes of a tensor; returns those that were free, and adds the holders of the others to `shared`."""
        claimed = 0
        for part in _dense_parts(tensor):
            key, first, end, size = _extent(part)
            self.storages.setdefault(key, size)
            taken = self._taken.setdefault(key, [])
            free = _minus((first, end), taken)
            shared.update(dict.fromkeys(holder for a, b, holder in taken if a < end and first < b))
            taken.extend((a, b, owner) for a, b in free)
            bytes_here = sum(b - a for a, b in free)
            claimed += bytes_here
            for table, label in ((self.by_dtype, str(part.dtype).removeprefix("torch.")), (self.by_device, str(part.device))):
                if bytes_here:
                    table[label] = table.get(label, 0) + bytes_here
        return claimed


def _dense_parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The strided tensors that a tensor is made of: itself, or indices and values of a sparse one."""
    import torch

    if tensor.layout == torch.sparse_coo:
        yield from coo_parts(tensor)
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        yield from (tensor.crow_indices(), tensor.col_indices(), tensor.values())
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        yield from (tensor.ccol_indices(), tensor.row_indices(), tensor.values())
    else:
        yield tensor


def _extent(tensor: torch.Tensor) -> tuple[Any, int, int, int]:
    """Storage key, first byte, byte after the last, and size of the storage in bytes."""
    size = tensor.element_size()
    if tensor.numel() == 0:
        return ("empty", tensor.device), 0, 0, 0
    if tensor.device.type == "meta":
        return ("meta", id(tensor)), 0, tensor.numel() * size, tensor.numel() * size
    span = 1 + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    storage = tensor.untyped_storage()
    first = int(tensor.storage_offset()) * size
    return (tensor.device, storage.data_ptr()), first, first + int(span) * size, storage.nbytes()


def _minus(wanted: tuple[int, int], taken: Iterable[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """The parts of a range that no taken range covers."""
    free, (first, end) = [], wanted
    for a, b, _ in sorted(taken):
        if b <= first or a >= end:
            continue
        if a > first:
            free.append((first, a))
        first = max(first, b)
    if first < end:
        free.append((first, end))
    return free
