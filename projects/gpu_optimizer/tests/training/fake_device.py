"""A device made of CPU tensors that behaves as badly as a real one may.

Copies do not happen when they are asked for but when they are ordered or have been asked about often enough. A
source that was freed before gives garbage, a buffer that is used again while a copy still reads it gives garbage, new
device memory is garbage until its copy is ordered, and `poison` overwrites every original that was let go.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch

GARBAGE = 0xFF  # NaN in every floating format


class FakeTransfer:
    def __init__(self, device: FakeDevice, copy: Callable[[], None]) -> None:
        self._device, self._copy, self._polls, self.done = device, copy, 0, False

    def finished(self) -> bool:
        self._polls += 1
        if self._polls > self._device.patience:
            self._run()
        return self.done

    def order(self) -> None:
        self._run()

    def wait(self) -> None:
        self._run()

    def _run(self) -> None:
        if not self.done:
            self.done = True
            self._copy()


class FakeDevice:
    """Owns every CPU tensor that is not one of its buffers or named as the host's.

    Args:
        patience: Times a transfer may be asked about before it is over by itself.
        host: Tensors that lie on the host.
    """

    def __init__(self, *, patience: int = 2, host: tuple[torch.Tensor, ...] = ()) -> None:
        self.patience = patience
        self.host = {tensor.untyped_storage().data_ptr() for tensor in host}
        self.out_copies = self.in_copies = self.buffers = 0
        self._sources: list[tuple[torch.Tensor, FakeTransfer]] = []

    def owns(self, tensor: torch.Tensor) -> bool:
        return tensor.device.type == "cpu" and tensor.untyped_storage().data_ptr() not in self.host

    def host_buffer(self, size_bytes: int) -> torch.Tensor:
        self.buffers += 1
        buffer = torch.full((size_bytes,), GARBAGE, dtype=torch.uint8)
        self.host.add(buffer.untyped_storage().data_ptr())
        return buffer

    def copy_out(self, source: torch.Tensor, buffer: torch.Tensor, after: FakeTransfer | None) -> FakeTransfer:
        self.out_copies += 1
        if after is not None:
            after.order()
        buffer.fill_(GARBAGE)
        alive = weakref.ref(source.untyped_storage())

        def copy() -> None:
            storage = alive()
            if storage is not None:
                buffer.copy_(torch.empty(0, dtype=torch.uint8).set_(storage))

        transfer = FakeTransfer(self, copy)
        self._sources.append((alive, transfer))
        return transfer

    def copy_in(self, buffer: torch.Tensor, device: torch.device, after: FakeTransfer | None) -> tuple[torch.Tensor, FakeTransfer]:
        self.in_copies += 1
        if after is not None:
            after.order()
        target = torch.full((buffer.numel(),), GARBAGE, dtype=torch.uint8)
        alive = weakref.ref(target.untyped_storage())

        def copy() -> None:
            storage = alive()
            if storage is not None:
                torch.empty(0, dtype=torch.uint8).set_(storage).copy_(buffer)

        return target, FakeTransfer(self, copy)

    def poison(self) -> int:
        """Overwrite every original whose copy is over; how many there were."""
        count = 0
        for alive, transfer in self._sources:
            storage = alive()
            if transfer.done and storage is not None:
                torch.empty(0, dtype=torch.uint8).set_(storage).fill_(GARBAGE)
                count += 1
        return count
