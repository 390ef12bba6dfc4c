"""What torch's caching allocators hold, read only where this process uses torch already: nothing here imports it.

`read_allocators` gives one `AllocatorSample` per accelerator, `TorchCollector` the same as Prometheus metrics.
A process that has not initialised CUDA is left so: a scrape must not cost it a context of some hundred megabytes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_LABELS = ("device", "uuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorSample:
    """The allocator of one device at one moment.

    Args:
        device: As torch calls it, "cuda:0".
        uuid: Of the GPU, as NVML says it; empty where torch does not tell.
        allocated_bytes: Held by tensors.
        reserved_bytes: Taken from the driver.
        active_bytes: Held by tensors, or waiting for another stream to be done with it.
        inactive_split_bytes: Free parts of segments that are in use otherwise: cached, and not to be given back.
        allocated_peak_bytes: Most ever held by tensors since the peak was reset.
        reserved_peak_bytes: Most ever taken from the driver since then.
        free_bytes: Reserved and free, by the list of blocks.
        largest_free_bytes: The largest free block.
        out_of_memory: How often nothing could be given.
        retries: How often the cache had to be emptied to give something.
    """

    device: str
    uuid: str
    allocated_bytes: int
    reserved_bytes: int
    active_bytes: int
    inactive_split_bytes: int
    allocated_peak_bytes: int
    reserved_peak_bytes: int
    free_bytes: int | None = None
    largest_free_bytes: int | None = None
    out_of_memory: int = 0
    retries: int = 0

    @property
    def fragmentation_ratio(self) -> float | None:
        """1 - largest free block / all that is free; 0 when nothing is free, None when the blocks are not known.

        Example:
            >>> sample_of("cuda:0", "", {}, [2 << 20, 6 << 20]).fragmentation_ratio
            0.25
        """
        if self.free_bytes is None or self.largest_free_bytes is None:
            return None
        return 1 - self.largest_free_bytes / self.free_bytes if self.free_bytes else 0.0


def sample_of(device: str, uuid: str, stats: Mapping[str, int], free_blocks: Sequence[int] | None) -> AllocatorSample:
    """A sample out of torch's own table of statistics.

    Args:
        device: As torch calls it.
        uuid: Of the GPU.
        stats: As `torch.cuda.memory_stats` gives it.
        free_blocks: Sizes of the free blocks; None if they are not known.
    """

    def number(key: str) -> int:
        return int(stats.get(key, 0))

    return AllocatorSample(
        device=device,
        uuid=uuid,
        allocated_bytes=number("allocated_bytes.all.current"),
        reserved_bytes=number("reserved_bytes.all.current"),
        active_bytes=number("active_bytes.all.current"),
        inactive_split_bytes=number("inactive_split_bytes.all.current"),
        allocated_peak_bytes=number("allocated_bytes.all.peak"),
        reserved_peak_bytes=number("reserved_bytes.all.peak"),
        free_bytes=None if free_blocks is None else sum(free_blocks),
        largest_free_bytes=None if free_blocks is None else max(free_blocks, default=0),
        out_of_memory=number("num_ooms"),
        retries=number("num_alloc_retries"),
    )


def read_allocators(torch: ModuleType | Any | None = None) -> tuple[AllocatorSample, ...]:
    """Every CUDA allocator of this process; none where torch is not imported or has not touched CUDA.

    Args:
        torch: The module. Default: the one that this process has imported, if any.

    Example:
        >>> import subprocess, sys
        >>> code = "import sys; from gpu_optimizer.monitoring import read_allocators as r; print(r(), 'torch' in sys.modules)"
        >>> subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
        '() False'
    """
    torch = torch if torch is not None else sys.modules.get("torch")
    # Another thread may be in the middle of importing it.
    cuda = getattr(torch, "cuda", None)
    is_initialized = getattr(cuda, "is_initialized", None)
    if cuda is None or is_initialized is None or not is_initialized():
        return ()
    blocks = _free_blocks(cuda)
    return tuple(
        sample_of(f"cuda:{index}", _uuid(cuda, index), cuda.memory_stats(index), blocks.get(index, []))
        for index in range(cuda.device_count())
    )


def _free_blocks(cuda: Any) -> dict[int, list[int]]:
    read = cuda.memory_snapshot
    # With the history of allocations the answer takes a thousand times as long; older torch gives no choice.
    light = {"include_traces": False} if "include_traces" in inspect.signature(read).parameters else {}
    found: dict[int, list[int]] = {}
    for segment in read(**light):
        free = (block["size"] for block in segment["blocks"] if block["state"] == "inactive")
        found.setdefault(segment["device"], []).extend(free)
    return found


def _uuid(cuda: Any, index: int) -> str:
    found = getattr(cuda.get_device_properties(index), "uuid", None)
    return "" if found is None else f"GPU-{str(found).removeprefix('GPU-')}"


_GAUGES: dict[str, tuple[str, Callable[[AllocatorSample], float | None]]] = {
    "gpu_optimizer_memory_allocated_bytes": ("Memory held by tensors of this process.", lambda s: s.allocated_bytes),
    "gpu_optimizer_memory_reserved_bytes": ("Memory that torch has taken from the driver.", lambda s: s.reserved_bytes),
    "gpu_optimizer_memory_active_bytes": ("Held by tensors, or waiting for another stream.", lambda s: s.active_bytes),
    "gpu_optimizer_memory_inactive_split_bytes": ("Free, cached, and part of segments in use.", lambda s: s.inactive_split_bytes),
    "gpu_optimizer_memory_allocated_peak_bytes": ("Most held by tensors since the peak was reset.", lambda s: s.allocated_peak_bytes),
    "gpu_optimizer_memory_reserved_peak_bytes": ("Most taken from the driver since the peak was reset.", lambda s: s.reserved_peak_bytes),
    "gpu_optimizer_memory_largest_free_bytes": ("Largest block that is reserved and free.", lambda s: s.largest_free_bytes),
    "gpu_optimizer_memory_fragmentation_ratio": ("1 - largest free block / all free, 0 to 1.", lambda s: s.fragmentation_ratio),
}
_COUNTERS: dict[str, tuple[str, Callable[[AllocatorSample], float]]] = {
    "gpu_optimizer_allocator_out_of_memory": ("Requests that torch could not meet.", lambda s: s.out_of_memory),
    "gpu_optimizer_allocator_retries": ("Requests that were met only after the cache was emptied.", lambda s: s.retries),
}


class TorchCollector(Collector):
    """torch's allocators as metrics; without torch, or before it touches CUDA, there are no samples.

    Args:
        read: Takes the reading. A test passes its own.
    """

    def __init__(self, read: Callable[[], tuple[AllocatorSample, ...]] = read_allocators) -> None:
        self._read = read

    def describe(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The metrics without samples."""
        yield from _families().values()

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Read every allocator once."""
        families = _families()
        for sample in self._read():
            for name, (_, value) in (_GAUGES | _COUNTERS).items():
                number = value(sample)
                if number is not None:
                    families[name].add_metric([sample.device, sample.uuid], number)
        yield from families.values()


def _families() -> dict[str, GaugeMetricFamily | CounterMetricFamily]:
    gauges = {name: GaugeMetricFamily(name, text, labels=_LABELS) for name, (text, _) in _GAUGES.items()}
    counters = {name: CounterMetricFamily(name, text, labels=_LABELS) for name, (text, _) in _COUNTERS.items()}
    return {**gauges, **counters}
