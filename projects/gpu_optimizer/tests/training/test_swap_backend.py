"""How copies are ordered on CUDA's streams, on stand-ins for streams and events; and the pool of pinned buffers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from fake_device import FakeDevice

from gpu_optimizer.training.swap_backend import CudaBackend, HostPool

DEVICE = torch.device("cpu")  # tensors that only stand for those of a GPU


class FakeStream:
    def __init__(self, log: list[tuple[str, ...]], name: str) -> None:
        self.log, self.name = log, name

    def wait_stream(self, other: FakeStream) -> None:
        self.log.append((self.name, "waits for", other.name))

    def wait_event(self, event: FakeEvent) -> None:
        self.log.append((self.name, "waits for the event of", event.of))

    def __enter__(self) -> None:
        self.log.append((self.name, "is entered"))

    def __exit__(self, *_: object) -> None:
        self.log.append((self.name, "is left"))


class FakeEvent:
    of = "nobody"

    def record(self, stream: FakeStream) -> None:
        self.of = stream.name
        stream.log.append((stream.name, "records"))

    def query(self) -> bool:
        return False


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What a `CudaBackend` asks of CUDA, in order; `record_stream` is an error."""
    entries: list[tuple[str, ...]] = []
    names = iter(["first stream", "second stream"])
    computing = FakeStream(entries, "computing")
    fakes: dict[str, Any] = {
        "is_available": lambda: True,
        "Stream": lambda _: FakeStream(entries, next(names)),
        "Event": FakeEvent,
        "current_stream": lambda _=None: computing,
        "stream": lambda stream: stream,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)

    def refuse(*_: Any) -> None:
        raise AssertionError("record_stream delays reuse for as long as the device likes")

    monkeypatch.setattr(torch.Tensor, "record_stream", refuse)
    return entries


def test_147168_a_copy_out_is_ordered_by_events_and_not_by_record_stream(log: list[tuple[str, ...]]) -> None:
    source, buffer = torch.arange(8, dtype=torch.uint8), torch.zeros(8, dtype=torch.uint8)
    backend = CudaBackend()
    transfer = backend.copy_out(source, buffer, None)
    assert log == [
        ("first stream", "waits for", "computing"),  # what is copied is finished
        ("first stream", "is entered"),
        ("first stream", "records"),
        ("first stream", "is left"),
    ]
    assert torch.equal(source, buffer)
    transfer.order()
    assert log[-1] == ("computing", "waits for the event of", "first stream")


def test_memory_for_a_copy_in_comes_from_the_computing_stream(log: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """So the allocator may use it again in that stream's order: the reason why no tensor needs `record_stream`."""
    made: list[tuple[str, ...]] = []
    empty = torch.empty

    def watched(*args: Any, **words: Any) -> torch.Tensor:
        made.extend(log)
        return empty(*args, **words)

    monkeypatch.setattr(torch, "empty", watched)
    backend = CudaBackend()
    _, transfer = backend.copy_in(torch.zeros(8, dtype=torch.uint8), DEVICE, None)
    assert ("first stream", "is entered") not in made
    assert log[0] == ("first stream", "waits for", "computing")  # earlier work may still use that memory
    transfer.order()
    assert log[-1] == ("computing", "waits for the event of", "first stream")


def test_a_copy_waits_for_the_one_that_still_reads_its_buffer(log: list[tuple[str, ...]]) -> None:
    backend = CudaBackend()
    buffer = torch.zeros(8, dtype=torch.uint8)
    _, reading = backend.copy_in(buffer, DEVICE, None)
    backend.copy_out(torch.ones(8, dtype=torch.uint8), buffer, reading)
    assert ("second stream", "waits for the event of", "first stream") in log


def test_trl_host_memory_is_a_limit_and_not_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    pool = HostPool(FakeDevice())
    assert pool.limit_bytes == 500
    assert pool.take(400) is not None
    assert pool.take(200) is None
    assert pool.total_bytes == 400


def test_86097_pinned_memory_has_a_hard_cap_whatever_sizes_come() -> None:
    device = FakeDevice()
    pool = HostPool(device, 4096)
    for size in range(100, 3000, 37):
        taken = pool.take(size)
        if taken is not None:
            pool.give_back(taken[0], None)
        assert pool.total_bytes <= 4096


def test_buffers_are_bytes_so_formats_of_one_size_share_them() -> None:
    device = FakeDevice()
    pool = HostPool(device, 4096)
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.float64):
        buffer, _ = pool.take(64)
        assert buffer.view(dtype).numel() * dtype.itemsize == 64
        pool.give_back(buffer, None)
    assert device.buffers == 1
