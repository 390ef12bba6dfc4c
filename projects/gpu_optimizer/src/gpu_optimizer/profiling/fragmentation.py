"""The parts of a fragmentation report: how full each pool is, who holds what, how it came about.

Numbers only; `cuda_analyzer` puts them together, `fragmentation_advice` draws conclusions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from gpu_optimizer.profiling.allocator_pool import PoolId
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.snapshots import Frame, MemorySnapshot, Segment, Stack, TraceEvent

NO_STACK = "(no stack was recorded)"
_RETURNS = frozenset({"segment_free", "segment_unmap"})
_NATIVE = (".cpp", ".cc", ".c", ".cu", ".cuh", ".h", ".hpp", ".so", ".pyx")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """How full one pool of one stream is.

    Args:
        device: Number of the device.
        stream: Stream whose requests it serves.
        pool_id: (0, 0) for the default pool, else that of a CUDA graph or `MemPool`.
        small: Whether it serves requests up to 1 MiB.
        segments: Ranges of memory it has.
        reserved_bytes: Their size.
        allocated_bytes: What tensors hold of it, rounding included.
        active_bytes: The same with blocks that another stream may still use.
        requested_bytes: What active blocks were asked for, without rounding.
        inactive_split_bytes: Free, but in a segment with a block in use; expandable segments not counted, as in torch.
        largest_free_bytes: Largest request it could serve without new memory.
    """

    device: int
    stream: int
    pool_id: PoolId
    small: bool
    segments: int
    reserved_bytes: int
    allocated_bytes: int
    active_bytes: int
    requested_bytes: int
    inactive_split_bytes: int
    largest_free_bytes: int

    @property
    def free_bytes(self) -> int:
        """What is reserved and in nobody's use."""
        return self.reserved_bytes - self.active_bytes

    @property
    def fragmentation_ratio(self) -> float:
        """1 - largest free block / free bytes: 0 when all that is free is in one piece, or nothing is free."""
        return 1 - self.largest_free_bytes / self.free_bytes if self.free_bytes else 0.0

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return pool_name(self.pool_id, self.stream, small=self.small)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Memory in use that one line of a program asked for.

    Args:
        where: The innermost line outside of torch, `file:line function`.
        size_bytes: Bytes of its blocks, rounding included.
        blocks: How many they are.
        largest_bytes: Largest of them.
        stack: Whole stack of that one, innermost first, at most 30 lines.
    """

    where: str
    size_bytes: int
    blocks: int
    largest_bytes: int
    stack: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTimeline:
    """Bytes in use in one pool over the history.

    Args:
        name: Pool as in `PoolUse.name`.
        ticks: Numbers of the events at which values are kept.
        active_bytes: In use (or waiting for another stream) then; of several events in between, the highest.
    """

    name: str
    ticks: tuple[int, ...]
    active_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemoryReport:
    """What there was when memory ran out.

    Args:
        tick: Number of the event in the history.
        requested_bytes: Size of the block that was asked for.
        device_free_bytes: What the driver still had.
        reserved_bytes: What the allocator had.
        active_bytes: What of it was in use.
        where: The line that asked.
        holders: Who held most then, of what the history shows.
        reading: One sentence on the cause.
    """

    tick: int
    requested_bytes: int
    device_free_bytes: int
    reserved_bytes: int
    active_bytes: int
    where: str
    holders: tuple[Holder, ...]
    reading: str


def snapshot_settings(snapshot: MemorySnapshot) -> AllocatorSettings:
    """Settings that the allocator had, as far as the snapshot tells them.

    Example:
        >>> snapshot_settings(MemorySnapshot(segments=(), settings={"expandable_segments": True})).expandable_segments
        True
    """
    told = snapshot.settings
    text = told.get("PYTORCH_CUDA_ALLOC_CONF") or told.get("PYTORCH_ALLOC_CONF") or ""
    settings = AllocatorSettings.parse(text, unknown="ignore") if isinstance(text, str) else AllocatorSettings()
    if told.get("expandable_segments") is True or any(segment.expandable for segment in snapshot.segments):
        settings = settings.with_(expandable_segments=True)
    return settings


def pool_name(pool_id: PoolId, stream: int, *, small: bool) -> str:
    """What a reader calls a pool.

    Example:
        >>> pool_name((0, 0), 0, small=False), pool_name((0, 3), 7, small=True)
        ('large', 'small pool 0.3 stream 7')
    """
    size = "small" if small else "large"
    return size + ("" if pool_id == (0, 0) else f" pool {pool_id[0]}.{pool_id[1]}") + (f" stream {stream}" if stream else "")


def pool_uses(segments: Iterable[Segment]) -> tuple[PoolUse, ...]:
    """How full every pool of every stream is."""
    groups: dict[tuple[int, PoolId, bool, int], list[Segment]] = defaultdict(list)
    for segment in segments:
        groups[segment.device, segment.pool_id, segment.small, segment.stream].append(segment)
    uses = []
    for (device, pool_id, small, stream), members in sorted(groups.items()):
        free = [block.size_bytes for segment in members for block in segment.blocks if not block.is_active]
        split = [
            block.size_bytes
            for segment in members
            if not segment.expandable and len(segment.blocks) > 1
            for block in segment.blocks
            if not block.is_active
        ]
        uses.append(
            PoolUse(
                device=device,
                stream=stream,
                pool_id=pool_id,
                small=small,
                segments=len(members),
                reserved_bytes=sum(segment.size_bytes for segment in members),
                allocated_bytes=sum(segment.allocated_bytes for segment in members),
                active_bytes=sum(segment.active_bytes for segment in members),
                requested_bytes=sum(block.requested_bytes for segment in members for block in segment.blocks if block.is_active),
                inactive_split_bytes=sum(split),
                largest_free_bytes=max(free, default=0),
            )
        )
    return tuple(uses)


def holders(blocks: Iterable[tuple[int, Stack]], top: int | None = None) -> tuple[Holder, ...]:
    """Bytes in use by the line that asked for them, most first.

    Args:
        blocks: Bytes and stack of each block.
        top: Keep this many and put the rest into one row; None = all.
    """
    groups: dict[str, list[tuple[int, Stack]]] = defaultdict(list)
    for size, stack in blocks:
        groups[responsible_line(stack)].append((size, stack))
    rows = []
    for where, members in groups.items():
        largest, stack = max(members, key=lambda member: member[0])
        rows.append(
            Holder(
                where=where,
                size_bytes=sum(size for size, _ in members),
                blocks=len(members),
                largest_bytes=largest,
                stack=tuple(map(_line, stack[:30])),
            )
        )
    rows.sort(key=lambda row: (-row.size_bytes, row.where))
    if top is None or len(rows) <= top:
        return tuple(rows)
    rest = rows[top:]
    summary = Holder(
        where=f"({len(rest)} more lines)",
        size_bytes=sum(row.size_bytes for row in rest),
        blocks=sum(row.blocks for row in rest),
        largest_bytes=max(row.largest_bytes for row in rest),
    )
    return (*rows[:top], summary)


def responsible_line(stack: Stack) -> str:
    """The innermost line that is neither torch's nor native code; of a stack without one, its innermost line.

    Example:
        >>> responsible_line((Frame("/site-packages/torch/nn/modules/linear.py", 9, "forward"), Frame("/me/net.py", 3, "run")))
        'net.py:3 run'
    """
    for frame in stack:
        if not _is_library(frame):
            return _line(frame)
    return _line(stack[0]) if stack else NO_STACK


def timelines(snapshot: MemorySnapshot, device: int, *, points: int = 400) -> tuple[PoolTimeline, ...]:
    """Bytes in use by pool over the history of a device; what was there before it began is worked out from the end."""
    settings = snapshot_settings(snapshot)
    trace = snapshot.trace(device)
    series: dict[str, list[tuple[int, int]]] = defaultdict(list)
    net: dict[str, int] = defaultdict(int)
    for tick, event in enumerate(trace):
        change = _active_change(event, settings)
        if change:
            name = _pool_name(event, settings)
            net[name] += change
            series[name].append((tick, net[name]))
    final = {use.name: use.active_bytes for use in pool_uses(s for s in snapshot.segments if s.device == device)}
    width = max(1, -(-len(trace) // points))
    rows = []
    for name in sorted(set(series) | (set(final) if trace else set())):
        start = final.get(name, 0) - net.get(name, 0)
        buckets: dict[int, int] = {}
        for tick, value in series.get(name, []):
            buckets[tick // width] = max(buckets.get(tick // width, 0), value + start)
        ticks = sorted(buckets)
        rows.append(
            PoolTimeline(
                name=name,
                ticks=(0, *(tick * width + 1 for tick in ticks)),
                active_bytes=(max(start, 0), *(max(buckets[tick], 0) for tick in ticks)),
            )
        )
    return tuple(rows)


def out_of_memory_reports(snapshot: MemorySnapshot, device: int, *, top: int = 10) -> tuple[OutOfMemoryReport, ...]:
    """What there was each time memory ran out, reconstructed from the history."""
    settings = snapshot_settings(snapshot)
    trace = snapshot.trace(device)
    if not any(event.action == "oom" for event in trace):
        return ()
    mine = [segment for segment in snapshot.segments if segment.device == device]
    reserved = sum(segment.size_bytes for segment in mine) - sum(_reserved_change(event) for event in trace)
    active = sum(segment.active_bytes for segment in mine) - sum(_active_change(event, settings) for event in trace)
    asked_for = {event.address for event in trace if event.action == "alloc"}
    live = {
        block.address: (block.size_bytes, block.frames)
        for segment in mine
        for block in segment.blocks
        if block.is_active and block.address not in asked_for
    }
    reports = []
    for tick, event in enumerate(trace):
        reserved += _reserved_change(event)
        active += _active_change(event, settings)
        if event.action == "alloc":
            live[event.address] = (settings.round_size(event.size_bytes), event.frames)
        elif event.action == "free_completed":
            live.pop(event.address, None)
        elif event.action == "oom":
            reports.append(
                OutOfMemoryReport(
                    tick=tick,
                    requested_bytes=event.size_bytes,
                    device_free_bytes=event.device_free_bytes,
                    reserved_bytes=reserved,
                    active_bytes=active,
                    where=responsible_line(event.frames),
                    holders=holders(live.values(), top),
                    reading=_reading(event, reserved, active, settings),
                )
            )
    return tuple(reports)


def known_capacity(snapshot: MemorySnapshot, device: int) -> int | None:
    """Memory the allocator could have, where the history shows a limit.

    Where memory ran out, the driver said what was left. Where it nearly did, segments were given back right before
    another was taken; the peak that was reached is then taken for the limit.
    """
    reports = out_of_memory_reports(snapshot, device, top=0)
    if reports:
        return max(report.reserved_bytes + report.device_free_bytes for report in reports)
    kinds = [event.action for event in snapshot.trace(device) if event.action.startswith("segment_")]
    returns = [(kind, following) for kind, following in pairwise(kinds) if kind in _RETURNS and following not in _RETURNS]
    return recorded_peak(snapshot, device) if returns else None


def recorded_peak(snapshot: MemorySnapshot, device: int) -> int | None:
    """Highest reserved memory in the history, worked out from the end; None without segments."""
    if not snapshot.segments:
        return None
    level = peak = sum(segment.size_bytes for segment in snapshot.segments if segment.device == device)
    for event in reversed(snapshot.trace(device)):
        level -= _reserved_change(event)
        peak = max(peak, level)
    return peak


def _reading(event: TraceEvent, reserved: int, active: int, settings: AllocatorSettings) -> str:
    cached, missing = reserved - active, event.size_bytes - event.device_free_bytes
    if cached >= event.size_bytes:
        return (
            f"fragmentation: {_mib(cached)} were reserved and free, enough for the {_mib(event.size_bytes)} that were asked for, "
            "but in pieces that are too small or belong to another pool or stream"
            + ("" if settings.expandable_segments else "; try PYTORCH_ALLOC_CONF=expandable_segments:True")
        )
    if cached + event.device_free_bytes >= event.size_bytes:
        return f"nearly full: {_mib(cached)} cached and {_mib(event.device_free_bytes)} free would do together, but not in one piece"
    return (
        f"too much in use: {_mib(active)} are held, and {_mib(missing - cached)} more than there is would be needed; "
        "use a smaller batch, checkpointing, offloading or a smaller number format"
    )


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _active_change(event: TraceEvent, settings: AllocatorSettings) -> int:
    if event.action == "alloc":
        return settings.round_size(event.size_bytes)
    return -settings.round_size(event.size_bytes) if event.action == "free_completed" else 0


def _reserved_change(event: TraceEvent) -> int:
    if event.action in ("segment_alloc", "segment_map"):
        return event.size_bytes
    return -event.size_bytes if event.action in ("segment_free", "segment_unmap") else 0


def _pool_name(event: TraceEvent, settings: AllocatorSettings) -> str:
    return pool_name(event.pool_id, event.stream, small=settings.is_small(settings.round_size(event.size_bytes)))


def _line(frame: Frame) -> str:
    return f"{PurePosixPath(frame.filename).name or '?'}:{frame.line} {frame.name}".rstrip()


def _is_library(frame: Frame) -> bool:
    name = frame.filename
    if not name or name in ("??", "<unknown>") or name.startswith("<frozen") or name.endswith(_NATIVE) or ".so." in name:
        return True
    return "torch" in PurePosixPath(name.replace("\\", "/")).parts
