"""Fragmentation of a GPU's memory: how full, in how many pieces, held by whom, and what would help.

A snapshot of torch goes in (recorded, dumped, or of this process by `capture`), a `FragmentationReport` comes out:
numbers, a table, a picture, advice with predicted gains, and what a request of any size would meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gpu_optimizer.errors import SimulatedOutOfMemoryError, SnapshotError
from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.allocator_pool import DEFAULT_POOL, PoolId
from gpu_optimizer.profiling.fragmentation import Holder, PoolUse, SegmentUse, holders, mib_text, pool_uses, segment_uses, snapshot_settings
from gpu_optimizer.profiling.fragmentation_advice import Advice, ReplayCheck, advise
from gpu_optimizer.profiling.fragmentation_history import OutOfMemoryReport, PoolTimeline, out_of_memory_reports, timelines
from gpu_optimizer.profiling.snapshots import MemorySnapshot, load_snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType

Outcome = Literal["fits", "new_segment", "after_release", "out_of_memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAnswer:
    """What a request would meet.

    Args:
        outcome: "fits" into a cached block; needs a "new_segment"; fits "after_release" of cached segments;
            "out_of_memory".
        size_bytes: What was asked for.
        block_bytes: Block it would get; 0 for none.
        segment_bytes: New memory the driver would have to give; 0 for none.
        sentence: The same in words.
    """

    outcome: Outcome
    size_bytes: int
    block_bytes: int
    segment_bytes: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentationReport:
    """How the memory of one device is used.

    Args:
        device: Number of the device.
        settings: What the allocator was set to, as text for `PYTORCH_ALLOC_CONF`.
        pools: How full each pool of each stream is.
        segments: How full each segment is, those with most free memory first.
        holders: Who holds what is in use, by the innermost line outside of torch, most first.
        advice: What to change, largest gain first.
        replay_check: How well the history is repeated by the simulator that the advice is computed with.
        timelines: Bytes in use by pool over the history.
        out_of_memory: What there was each time memory ran out.
        snapshot: What it was made from; not part of `to_dict`.
    """

    device: int
    settings: str
    pools: tuple[PoolUse, ...]
    segments: tuple[SegmentUse, ...]
    holders: tuple[Holder, ...]
    advice: tuple[Advice, ...] = ()
    replay_check: ReplayCheck | None = None
    timelines: tuple[PoolTimeline, ...] = ()
    out_of_memory: tuple[OutOfMemoryReport, ...] = ()
    snapshot: MemorySnapshot | None = field(default=None, compare=False, repr=False)

    @property
    def reserved_bytes(self) -> int:
        """Taken from the driver."""
        return sum(pool.reserved_bytes for pool in self.pools)

    @property
    def allocated_bytes(self) -> int:
        """In blocks that tensors hold."""
        return sum(pool.allocated_bytes for pool in self.pools)

    @property
    def active_bytes(self) -> int:
        """The same with blocks that another stream may still use."""
        return sum(pool.active_bytes for pool in self.pools)

    @property
    def requested_bytes(self) -> int:
        """What the active blocks were asked for; the difference to `active_bytes` is lost to rounding."""
        return sum(pool.requested_bytes for pool in self.pools)

    @property
    def inactive_split_bytes(self) -> int:
        """Free, but beside a block in use: cannot be given back."""
        return sum(pool.inactive_split_bytes for pool in self.pools)

    @property
    def free_bytes(self) -> int:
        """Reserved and in nobody's use."""
        return self.reserved_bytes - self.active_bytes

    @property
    def largest_free_bytes(self) -> int:
        """Largest free block."""
        return max((pool.largest_free_bytes for pool in self.pools), default=0)

    @property
    def fragmentation_ratio(self) -> float:
        """1 - largest free block / free bytes; 0 when nothing is free."""
        return 1 - self.largest_free_bytes / self.free_bytes if self.free_bytes else 0.0

    def meets(self, size_bytes: int, *, stream: int = 0, pool: PoolId = DEFAULT_POOL, limit_bytes: int | None = None) -> RequestAnswer:
        """What a request would meet, found by making it in a simulated allocator in the same state.

        Args:
            size_bytes: Bytes asked for.
            stream: Stream that asks.
            pool: Pool it asks.
            limit_bytes: Memory that may be reserved in all; None = as much as is asked for.

        Raises:
            SnapshotError: The report was read from a file and has no snapshot, the size is not positive, or the limit
                is below what is reserved already.
        """
        if self.snapshot is None:
            raise SnapshotError("this report has no snapshot to ask; make one with analyze_snapshot")
        if size_bytes < 1:
            raise SnapshotError(f"size_bytes: expected at least 1, got {size_bytes}")
        if limit_bytes is not None and limit_bytes < self.reserved_bytes:
            raise SnapshotError(f"limit_bytes: {self.reserved_bytes} are reserved already, got a limit of {limit_bytes}")
        return _ask(restore_allocator(self.snapshot, self.device, limit_bytes=limit_bytes), size_bytes, stream, pool)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with the sums; `from_dict` reads them back, without the snapshot."""
        sums = ("reserved", "allocated", "active", "requested", "inactive_split", "free", "largest_free")
        values = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__ if name != "snapshot"}
        values |= {f"{name}_bytes": getattr(self, f"{name}_bytes") for name in sums}
        values["fragmentation_ratio"] = self.fragmentation_ratio
        for row, pool in zip(values["pools"], self.pools, strict=True):
            row |= {"name": pool.name, "free_bytes": pool.free_bytes, "fragmentation_ratio": pool.fragmentation_ratio}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FragmentationReport:
        """A report from the values of `to_dict`.

        Raises:
            SnapshotError: Something is missing or has another form.
        """
        from gpu_optimizer.profiling.fragmentation_values import report_from_dict

        return report_from_dict(values)

    def table(self) -> RenderableType:
        """Pools, holders, advice and post-mortems for the terminal."""
        from gpu_optimizer.profiling.fragmentation_table import report_table

        return report_table(self)

    def plot(self, path: str | Path) -> Path:
        """Draw every segment with its blocks, and bytes in use over time, as PNG, SVG or PDF.

        Raises:
            SnapshotError: The report has no snapshot, or the file cannot be written.
        """
        from gpu_optimizer.profiling.fragmentation_plot import plot_report

        return plot_report(self, Path(path))


def analyze_snapshot(source: Any, *, device: int | None = None, top: int = 20, advice: bool = True) -> FragmentationReport:
    """Analyse a memory snapshot.

    Args:
        source: What `load_snapshot` takes: a file, bytes, torch's dictionary or list, or a `MemorySnapshot`.
        device: Number of the device; default: the only one, or the one with most memory reserved.
        top: Lines of the program that are listed by name.
        advice: Replay the history under other settings; takes seconds for a long one.

    Raises:
        SnapshotError: It is no snapshot, or has nothing of that device.

    Example:
        >>> allocator = AllocatorSimulator()
        >>> _ = [allocator.alloc(number, 4 * 2**20) for number in range(5)]  # 5 * 4 MiB fill a segment of 20
        >>> for number in (1, 3):
        ...     allocator.free(number)
        >>> report = analyze_snapshot(allocator.snapshot())
        >>> report.free_bytes // 2**20, report.largest_free_bytes // 2**20, report.fragmentation_ratio
        (8, 4, 0.5)
        >>> report.meets(6 * 2**20).outcome
        'new_segment'
    """
    snapshot = load_snapshot(source)
    device = _device(snapshot, device)
    segments = [segment for segment in snapshot.segments if segment.device == device]
    pools = pool_uses(segments)
    suggestions, check = advise(snapshot, device, pools) if advice else ((), None)
    used = ((block.size_bytes, block.frames) for segment in segments for block in segment.blocks if block.is_active)
    return FragmentationReport(
        device=device,
        settings=snapshot_settings(snapshot).text,
        pools=pools,
        segments=segment_uses(segments),
        holders=holders(used, top),
        advice=suggestions,
        replay_check=check,
        timelines=timelines(snapshot, device),
        out_of_memory=out_of_memory_reports(snapshot, device),
        snapshot=snapshot,
    )


def restore_allocator(snapshot: MemorySnapshot, device: int, *, limit_bytes: int | None = None) -> AllocatorSimulator:
    """A simulated allocator in the state of a snapshot; blocks in use are held under their addresses.

    How far an expandable segment can grow is not in a snapshot: up to the next one here, and freely behind the last.
    """
    allocator = AllocatorSimulator(snapshot_settings(snapshot), capacity_bytes=limit_bytes, device=device, record=False)
    segments = [segment for segment in snapshot.segments if segment.device == device]
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        end = segment.address + segment.size_bytes
        room = 2**40 if following is None else following.address - end
        allocator.adopt(segment, room_bytes=max(room, 0) if segment.expandable else 0)
    return allocator


def capture(device: int | None = None, *, path: str | Path | None = None) -> MemorySnapshot:
    """The memory of this process on its CUDA devices, now.

    Args:
        device: Only this device; default: all.
        path: Also write torch's own file there, for the viewer at pytorch.org/memory_viz.

    Raises:
        SnapshotError: torch has no CUDA device here, or the device is not there.
    """
    import torch

    _require_cuda()
    if device is not None and not 0 <= device < torch.cuda.device_count():
        raise SnapshotError(f"device: there are {torch.cuda.device_count()} CUDA devices, got {device}")
    from gpu_optimizer._torch_private import cuda_memory_snapshot
    from gpu_optimizer.profiling.snapshots import save_snapshot

    raw = cuda_memory_snapshot()
    if path is not None:
        save_snapshot(raw, path)
    snapshot = load_snapshot(raw)
    if device is None:
        return snapshot
    return MemorySnapshot(
        segments=tuple(segment for segment in snapshot.segments if segment.device == device),
        traces=tuple(trace if number == device else () for number, trace in enumerate(snapshot.traces)),
        settings=snapshot.settings,
    )


@contextmanager
def record_history(max_entries: int = 100_000) -> Iterator[None]:
    """Record requests and their Python stacks while the block runs, for a `capture` in it.

    Args:
        max_entries: Newest entries that are kept; each takes some KB of host memory.

    Raises:
        SnapshotError: torch has no CUDA device here.
    """
    _require_cuda()
    from gpu_optimizer._torch_private import record_cuda_memory_history

    record_cuda_memory_history(max_entries)
    try:
        yield
    finally:
        record_cuda_memory_history(None)


def _require_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise SnapshotError(
            "torch sees no CUDA device here, so there is no allocator to look at; analyse a file that was dumped on a GPU machine, "
            "or predict one with AllocatorSimulator"
        )
    torch.cuda.init()
    if torch.cuda.get_allocator_backend() != "native":
        raise SnapshotError("the CUDA allocator in use keeps no segments to look at; run without backend:cudaMallocAsync")


def _device(snapshot: MemorySnapshot, device: int | None) -> int:
    known = snapshot.devices
    if device is None:
        reserved = {number: sum(s.size_bytes for s in snapshot.segments if s.device == number) for number in known}
        return max(reserved, key=lambda number: (reserved[number], -number), default=0)
    if device not in known:
        raise SnapshotError(f"the snapshot has nothing of device {device}, only of {', '.join(map(str, known)) or 'none'}")
    return device


def _ask(allocator: AllocatorSimulator, size: int, stream: int, pool: PoolId) -> RequestAnswer:
    before = allocator.stats()
    rounded = allocator.settings.round_size(size)
    try:
        allocator.alloc("asked", size, stream=stream, pool=pool)
    except SimulatedOutOfMemoryError as error:
        return RequestAnswer(
            outcome="out_of_memory",
            size_bytes=size,
            block_bytes=0,
            segment_bytes=0,
            sentence=str(error),
        )
    after = allocator.stats()
    block, taken = after.allocated_bytes - before.allocated_bytes, after.reserved_bytes - before.reserved_bytes
    if after.device_frees > before.device_frees:
        outcome: Outcome = "after_release"
        sentence = f"cached segments are given back first (the device waits), then the driver gives {mib_text(taken)} more than now"
    elif after.device_allocs > before.device_allocs:
        outcome, sentence = "new_segment", f"no free block has {mib_text(rounded)}: the driver must give {mib_text(taken)}"
    else:
        outcome, sentence = "fits", f"a cached block serves it, {mib_text(block)} of it are used"
    return RequestAnswer(outcome=outcome, size_bytes=size, block_bytes=block, segment_bytes=max(taken, 0), sentence=sentence)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
