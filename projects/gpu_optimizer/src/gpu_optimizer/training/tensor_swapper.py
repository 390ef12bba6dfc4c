"""Activations that wait on the host between the forward and the backward pass.

Inside the swapper's context, tensors that autograd saves are copied out while the forward pass goes on, and come
back in the order in which the backward pass needs them. What is copied is the storage, once for each content: views,
transposes and broadcasts of it are made again from the copy, so none is taken for another and none is blown up.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gpu_optimizer._torch_private import Saved, storage_key, version_of, when_freed
from gpu_optimizer.errors import SwapError
from gpu_optimizer.training.swap_backend import Backend, CudaBackend, HostPool, Transfer, storage_bytes


@dataclass(slots=True, kw_only=True)
class SwapCounters:
    """What a swapper has done so far.

    Args:
        out_bytes: Bytes copied to the host.
        in_bytes: Bytes copied back.
        shared: Saved tensors whose storage was on its way already.
        kept: Saved tensors left where they are: parameters, small ones, other devices.
        refused: Saved tensors left where they are because the host's limit was reached.
    """

    out_bytes: int = 0
    in_bytes: int = 0
    shared: int = 0
    kept: int = 0
    refused: int = 0


class TensorSwapper:
    """Moves saved activations to the host; a context manager around the forward pass.

    Args:
        model: Its parameters and buffers stay where they are, and views of them too.
        backend: How bytes travel; default: CUDA.
        min_bytes: Smaller storages stay: a copy costs microseconds whatever its size.
        host_limit_bytes: Most host memory used; what does not fit stays on the device. Default: half of what is free.
        prefetch: So many storages come back before the backward pass asks for them.
        in_flight: So many storages may be on their way out at once; each holds its device memory until it has left.
        keep: Tensors that stay although autograd saves them: inputs that the caller holds anyway.
        movable: Types of tensors that may leave; what wraps others is more than its storage. A trace names its fake ones.

    Example:
        >>> swapper = TensorSwapper(model, min_bytes=1 << 16)  # doctest: +SKIP
        >>> with swapper:  # doctest: +SKIP
        ...     loss = model(batch).sum()
        >>> loss.backward()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: torch.nn.Module | None = None,
        *,
        backend: Backend | None = None,
        min_bytes: int = 1 << 20,
        host_limit_bytes: int | None = None,
        prefetch: int = 2,
        in_flight: int = 5,
        keep: Iterable[torch.Tensor] = (),
        movable: tuple[type, ...] = (torch.Tensor, torch.nn.Parameter),
    ) -> None:
        if min_bytes < 1 or prefetch < 0 or in_flight < 1:
            raise SwapError(f"expected min_bytes >= 1, prefetch >= 0, in_flight >= 1, got {min_bytes}, {prefetch}, {in_flight}")
        self.counters = SwapCounters()
        self.backend = backend or CudaBackend()
        self.pool = HostPool(self.backend, host_limit_bytes)
        self._model = model
        self._min_bytes = min_bytes
        self._prefetch = prefetch
        self._in_flight = in_flight
        self._keep = list(keep)
        self._movable = movable
        self._staying: set[int] = set()
        self._entries: dict[tuple[int, int], tuple[weakref.ref[_Entry], object]] = {}
        self._order: list[weakref.ref[_Entry]] = []
        self._leaving: deque[_Entry] = deque()
        self._open: list[torch.autograd.graph.saved_tensors_hooks] = []
        self._handles: list[Any] = []

    def __enter__(self) -> TensorSwapper:
        if not self._open:
            tensors = [*self._keep, *(() if self._model is None else (*self._model.parameters(), *self._model.buffers()))]
            self._staying = {storage_key(tensor.untyped_storage()) for tensor in tensors if tensor.layout == torch.strided}
            self._order = [reference for reference in self._order if reference() is not None]
            for index, reference in enumerate(self._order):
                if (entry := reference()) is not None:
                    entry.index = index
        self._open.append(torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack))
        self._open[-1].__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.pop().__exit__(*error)

    def attach(self, names: Iterable[str]) -> TensorSwapper:
        """Swap what is saved inside these modules of the model, without a context around the forward pass.

        Raises:
            SwapError: The swapper has no model, or the model no such module.
        """
        for name in names:
            try:
                module = None if self._model is None else self._model.get_submodule(name)
            except AttributeError:
                module = None
            if module is None:
                raise SwapError(f"the model has no module {name!r}; give names as model.named_modules() does, and the model first")
            self._handles.append(module.register_forward_pre_hook(lambda *_: self.__enter__() and None))
            self._handles.append(module.register_forward_hook(lambda *_: self.__exit__(None, None, None), always_call=True))
        return self

    def detach(self) -> None:
        """Undo every `attach`."""
        while self._handles:
            self._handles.pop().remove()

    def flush(self) -> None:
        """Let go of everything on its way out; without it the last storages stay until the backward pass takes them."""
        while self._leaving:
            self._let_go()

    def _pack(self, tensor: torch.Tensor) -> Any:
        if not self._may_leave(tensor):
            self.counters.kept += 1
            return Saved.of(tensor)
        storage = tensor.untyped_storage()
        key = (storage_key(storage), version_of(tensor))
        entry = self._entries[key][0]() if key in self._entries else None
        if entry is None:
            entry = self._send(tensor, key)
            if entry is None:
                self.counters.refused += 1
                return Saved.of(tensor)
        else:
            self.counters.shared += 1
        return _Handle(entry, tensor.dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))

    def _may_leave(self, tensor: torch.Tensor) -> bool:
        if type(tensor) not in self._movable or tensor.layout != torch.strided or not self.backend.owns(tensor):
            return False
        if tensor.is_conj() or tensor.is_neg() or tensor.is_quantized:
            return False
        storage = tensor.untyped_storage()
        return storage.nbytes() >= self._min_bytes and storage_key(storage) not in self._staying

    def _send(self, tensor: torch.Tensor, key: tuple[int, int]) -> _Entry | None:
        storage = tensor.untyped_storage()
        taken = self.pool.take(storage.nbytes())
        if taken is None:
            return None
        buffer, reader = taken
        source = storage_bytes(storage)
        entry = _Entry(self.pool, buffer, tensor.device, len(self._order))
        entry.last = self.backend.copy_out(source, buffer, reader)
        entry.source, entry.watched, entry.version = storage, tensor.detach(), key[1]
        self._entries[key] = (weakref.ref(entry), when_freed(storage, lambda: self._forget(key)))
        self._order.append(weakref.ref(entry))
        self._leaving.append(entry)
        self.counters.out_bytes += storage.nbytes()
        while self._leaving and (len(self._leaving) > self._in_flight or self._leaving[0].arrived()):
            self._let_go()
        return entry

    def _forget(self, key: tuple[int, int]) -> None:
        self._entries.pop(key, None)

    def _let_go(self) -> None:
        entry = self._leaving.popleft()
        if entry.last is not None and not entry.last.finished():
            entry.last.order()
        entry.changed = entry.changed or entry.is_changed()
        entry.source = entry.watched = None

    def _unpack(self, packed: Any) -> torch.Tensor:
        if isinstance(packed, Saved):
            return packed.back()
        entry = packed.entry
        if entry.changed or entry.is_changed():
            raise SwapError("a tensor needed for the gradient was changed in place while it was copied out; do not change saved tensors")
        storage = self._back(entry) if entry.source is None else entry.source
        for index in range(entry.index - 1, max(entry.index - 1 - self._prefetch, -1), -1):
            earlier = self._order[index]() if index < len(self._order) else None
            if earlier is not None and earlier.source is None and earlier.alive() is None and earlier.coming is None:
                self._fetch(earlier)
        return torch.empty(0, dtype=packed.dtype, device=entry.device).set_(storage, packed.offset, packed.shape, packed.stride)

    def _fetch(self, entry: _Entry) -> None:
        entry.coming = self.backend.copy_in(entry.buffer, entry.device, entry.last)
        entry.last = entry.coming[1]
        self.counters.in_bytes += entry.buffer.numel()

    def _back(self, entry: _Entry) -> torch.UntypedStorage:
        storage = entry.alive()
        if storage is not None:
            return storage
        if entry.coming is None:
            self._fetch(entry)
        data, transfer = entry.take_coming()
        transfer.order()
        storage = data.untyped_storage()
        entry.restored = weakref.ref(storage)
        return storage


class _Entry:
    """One content of one storage on the host, alive as long as some graph needs it."""

    __slots__ = (
        "__weakref__", "buffer", "changed", "coming", "device", "index", "last", "pool", "restored", "source", "version", "watched"
    )  # fmt: skip

    def __init__(self, pool: HostPool, buffer: torch.Tensor, device: torch.device, index: int) -> None:
        self.pool = pool
        self.buffer = buffer
        self.device = device
        self.index = index
        self.last: Transfer | None = None
        self.source: torch.UntypedStorage | None = None
        self.watched: torch.Tensor | None = None
        self.version = 0
        self.changed = False
        self.coming: tuple[torch.Tensor, Transfer] | None = None
        self.restored: weakref.ref[torch.UntypedStorage] | None = None

    def __del__(self) -> None:
        if self.coming is not None:  # fetched for nothing: its device memory must not be used again before the copy is over
            self.coming[1].order()
        self.pool.give_back(self.buffer, self.last)

    def arrived(self) -> bool:
        return self.last is not None and self.last.finished()

    def is_changed(self) -> bool:
        return self.watched is not None and version_of(self.watched) != self.version

    def alive(self) -> torch.UntypedStorage | None:
        return None if self.restored is None else self.restored()

    def take_coming(self) -> tuple[torch.Tensor, Transfer]:
        if self.coming is None:
            raise SwapError("nothing is on its way back")
        coming, self.coming = self.coming, None
        return coming


@dataclass(frozen=True, slots=True)
class _Handle:
    entry: _Entry
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@contextmanager
def swapped_activations(model: torch.nn.Module, names: Iterable[str], **options: Any) -> Iterator[TensorSwapper]:
    """Swap what is saved inside these modules as long as the context is open; the options are `TensorSwapper`'s."""
    swapper = TensorSwapper(model, **options).attach(names)
    try:
        yield swapper
    finally:
        swapper.detach()
