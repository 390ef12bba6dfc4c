"""Measures what a piece of work needs while it runs, and lets it run out of memory at a budget.

On an accelerator the allocator counts and refuses. On the CPU, where nothing refuses until the machine is full,
every operator's new storages are counted until they are freed.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

import torch

from gpu_optimizer._torch_private import observe_operators, storage_key, storages_of, when_freed
from gpu_optimizer.steps import tensors_in


class MemoryMeter(Protocol):
    """A context manager; `peak_bytes` is what was needed inside."""

    @property
    def peak_bytes(self) -> int:
        """Most bytes in use at once."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class HostMeter:
    """Counts live storages of CPU tensors; what operators use below torch's dispatcher (scratch) is not seen.

    Args:
        budget_bytes: Above this, the operator that asked raises `torch.OutOfMemoryError`. None only counts.
        holding: Tensors that are there already.

    Example:
        >>> there = torch.zeros(100)
        >>> with HostMeter(holding=[there]) as meter:
        ...     total = torch.zeros(1000).sum()
        >>> meter.peak_bytes
        4404
    """

    def __init__(self, budget_bytes: int | None = None, *, holding: Iterable[torch.Tensor] = ()) -> None:
        self.budget_bytes = budget_bytes
        self.peak_bytes = 0
        self.live_bytes = 0
        self._known: dict[int, object] = {}
        for tensor in holding:
            self._count(tensor)

    def __enter__(self) -> HostMeter:
        self._mode = observe_operators(self._seen)
        self._mode.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._mode.__exit__(kind, error, trace)
        self._known.clear()

    def _seen(self, _operator: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> None:
        before = self.live_bytes
        for tensor in tensors_in(output):
            self._count(tensor)
        if self.budget_bytes is not None and self.live_bytes > self.budget_bytes:
            raise torch.OutOfMemoryError(
                f"The budget is out of memory. Tried to allocate {self.live_bytes - before} bytes, {before} of {self.budget_bytes} in use"
            )

    def _count(self, tensor: torch.Tensor) -> None:
        for storage in storages_of(tensor):
            key, size = storage_key(storage), storage.nbytes()
            if key not in self._known and storage.device.type == "cpu":
                self._known[key] = when_freed(storage, lambda key=key, size=size: self._freed(key, size))
                self.live_bytes += size
                self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _freed(self, key: int, size: int) -> None:
        if self._known.pop(key, None) is not None:
            self.live_bytes -= size


class AcceleratorMeter:
    """Asks the accelerator's caching allocator what it reserved at most; on CUDA it also refuses above the budget.

    Args:
        device: An accelerator with torch's caching allocator.
        budget_bytes: Most that this process may reserve while inside; needs CUDA, elsewhere it is only compared afterwards.
    """

    def __init__(self, device: torch.device, budget_bytes: int | None = None) -> None:
        self.device = device
        self.budget_bytes = budget_bytes
        self.peak_bytes = 0
        self._fraction: float | None = None

    def __enter__(self) -> AcceleratorMeter:
        torch.accelerator.synchronize(self.device)
        torch.accelerator.empty_cache()
        if self.budget_bytes is not None and self.device.type == "cuda":
            total = torch.cuda.get_device_properties(self.device).total_memory
            self._fraction = torch.cuda.get_per_process_memory_fraction(self.device)
            torch.cuda.set_per_process_memory_fraction(min(self.budget_bytes / total, 1.0), self.device)
        torch.accelerator.reset_peak_memory_stats(self.device)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fraction is not None:
            torch.cuda.set_per_process_memory_fraction(self._fraction, self.device)
        if error is None:
            torch.accelerator.synchronize(self.device)
        self.peak_bytes = torch.accelerator.max_memory_reserved(self.device)


def meter_for(device: torch.device, budget_bytes: int, holding: Iterable[torch.Tensor]) -> MemoryMeter:
    """The meter of a device."""
    return HostMeter(budget_bytes, holding=holding) if device.type == "cpu" else AcceleratorMeter(device, budget_bytes)
