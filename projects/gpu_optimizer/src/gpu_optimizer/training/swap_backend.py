"""How bytes travel between an accelerator and the host, and the pool of host buffers they travel to.

A `Backend` starts copies and hands out `Transfer`s; whoever drops a buffer or a source before its transfer is over
says so by `order`. `CudaBackend` is the real one; a test may put its own in its place.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

import psutil
import torch

from gpu_optimizer.errors import SwapError

_SHARE = 0.5  # of the host's free memory, where no limit is given


class Transfer(Protocol):
    """A copy on its way."""

    def finished(self) -> bool:
        """Whether it is over, without waiting."""
        ...

    def order(self) -> None:
        """From now on, what the device computes comes after it. The program does not wait."""
        ...

    def wait(self) -> None:
        """The program waits until it is over."""
        ...


class Backend(Protocol):
    """A device whose tensors can be moved out, and the host."""

    def owns(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor lies on the device."""
        ...

    def host_buffer(self, size_bytes: int) -> torch.Tensor:
        """Host memory that copies can go to, as bytes."""
        ...

    def copy_out(self, source: torch.Tensor, buffer: torch.Tensor, after: Transfer | None) -> Transfer:
        """Start copying bytes to the host, after what is computed now and after `after`."""
        ...

    def copy_in(self, buffer: torch.Tensor, device: torch.device, after: Transfer | None) -> tuple[torch.Tensor, Transfer]:
        """Start copying a buffer into new bytes on the device; they may be read once the transfer is ordered."""
        ...


class _Event:
    def __init__(self, event: torch.cuda.Event, device: torch.device) -> None:
        self.event = event
        self._device = device

    def finished(self) -> bool:
        return self.event.query()

    def order(self) -> None:
        torch.cuda.current_stream(self._device).wait_event(self.event)

    def wait(self) -> None:
        self.event.synchronize()


class CudaBackend:
    """CUDA: pinned buffers, one stream each way, events.

    New device memory always comes from the computing stream, which waits for the copy into it, so the allocator
    may use it again in that stream's order; `record_stream`, which delays reuse, is not needed.

    Raises:
        SwapError: There is no CUDA device.
    """

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise SwapError("there is no CUDA device to swap from; give the tool a backend of your own, or leave it out")
        self._streams: dict[tuple[torch.device, str], torch.cuda.Stream] = {}

    def owns(self, tensor: torch.Tensor) -> bool:
        """CUDA tensors."""
        return tensor.is_cuda

    def host_buffer(self, size_bytes: int) -> torch.Tensor:
        """Pinned bytes."""
        return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)

    def copy_out(self, source: torch.Tensor, buffer: torch.Tensor, after: Transfer | None) -> Transfer:
        """On the outgoing stream."""
        stream = self._stream(source.device, "out")
        stream.wait_stream(torch.cuda.current_stream(source.device))
        return self._copy(source, buffer, stream, source.device, after)

    def copy_in(self, buffer: torch.Tensor, device: torch.device, after: Transfer | None) -> tuple[torch.Tensor, Transfer]:
        """On the incoming stream; the memory may still be in use by earlier work of the computing stream, which is waited for."""
        target = torch.empty(buffer.numel(), dtype=torch.uint8, device=device)
        stream = self._stream(device, "in")
        stream.wait_stream(torch.cuda.current_stream(device))
        return target, self._copy(buffer, target, stream, device, after)

    def _stream(self, device: torch.device, way: str) -> torch.cuda.Stream:
        if (device, way) not in self._streams:
            self._streams[device, way] = torch.cuda.Stream(device)
        return self._streams[device, way]

    def _copy(
        self, source: torch.Tensor, target: torch.Tensor, stream: torch.cuda.Stream, device: torch.device, after: Transfer | None
    ) -> _Event:
        if isinstance(after, _Event):
            stream.wait_event(after.event)
        with torch.cuda.stream(stream):
            target.copy_(source, non_blocking=True)
            event = torch.cuda.Event()
            event.record(stream)
        return _Event(event, device)


class HostPool:
    """Host buffers that are used again, with a limit; pinning memory anew costs milliseconds each time.

    Args:
        backend: Makes the buffers.
        limit_bytes: Most bytes in all buffers, in use or not; default: half of the host's free memory now.
    """

    def __init__(self, backend: Backend, limit_bytes: int | None = None) -> None:
        if limit_bytes is not None and limit_bytes < 0:
            raise SwapError(f"host_limit_bytes: expected at least 0, got {limit_bytes}")
        self.limit_bytes = int(psutil.virtual_memory().available * _SHARE) if limit_bytes is None else limit_bytes
        self.total_bytes = 0
        self.used_bytes = 0
        self.made = 0
        self._backend = backend
        self._free: defaultdict[int, list[tuple[torch.Tensor, Transfer | None]]] = defaultdict(list)

    def take(self, size_bytes: int) -> tuple[torch.Tensor, Transfer | None] | None:
        """A buffer of exactly this size, and the transfer that may still read it; None where the limit forbids it."""
        if not self._free[size_bytes]:
            self._make_room(size_bytes)
            if self.total_bytes + size_bytes > self.limit_bytes:
                return None
            self._free[size_bytes].append((self._backend.host_buffer(size_bytes), None))
            self.total_bytes += size_bytes
            self.made += 1
        self.used_bytes += size_bytes
        return self._free[size_bytes].pop(0)

    def give_back(self, buffer: torch.Tensor, last: Transfer | None) -> None:
        """The buffer may be used again once `last` is over."""
        self.used_bytes -= buffer.numel()
        self._free[buffer.numel()].append((buffer, last))

    def _make_room(self, size_bytes: int) -> None:
        """Let go of unused buffers of other sizes, so far as the limit asks for it and nothing reads them."""
        for waiting in list(self._free.values()):
            while waiting and self.total_bytes + size_bytes > self.limit_bytes and (waiting[0][1] is None or waiting[0][1].finished()):
                buffer, _ = waiting.pop(0)
                self.total_bytes -= buffer.numel()


def storage_bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    """The storage as a tensor of bytes that shares it."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
