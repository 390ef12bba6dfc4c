"""How a device's memory came to be as it is: use over time, limits that were met, and what there was when it ran out.

All of it is worked out from the history of a snapshot, backwards from its final state, since a history keeps only its
newest entries. The history gives sizes as they were asked for; they are rounded here as the allocator does.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.fragmentation import Holder, holders, mib_text, pool_name, pool_uses, responsible_line, snapshot_settings
from gpu_optimizer.profiling.snapshots import MemorySnapshot, TraceEvent

_RETURNS = frozenset({"segment_free", "segment_unmap"})


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
            f"fragmentation: {mib_text(cached)} were reserved and free, enough for the {mib_text(event.size_bytes)} that were asked for, "
            "but in pieces that are too small or belong to another pool or stream"
            + ("" if settings.expandable_segments else "; start the program with PYTORCH_ALLOC_CONF=expandable_segments:True")
        )
    if cached + event.device_free_bytes >= event.size_bytes:
        return (
            f"nearly full: {mib_text(cached)} cached and {mib_text(event.device_free_bytes)} free would do together, but not in one piece"
        )
    return (
        f"too much in use: {mib_text(active)} are held, and {mib_text(missing - cached)} more than there is would be needed; "
        "use a smaller batch, checkpointing, offloading or a smaller number format"
    )


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
