"""torch's memory snapshots as checked values: segments, their blocks, the history of requests, stacks.

A file of `torch.cuda.memory._dump_snapshot`, the dictionary of `_snapshot`, the list of `memory_snapshot()` or
the same as JSON goes in; a `MemorySnapshot` comes out, or a `SnapshotError` that names the place. A pickle can run
any program when it is opened in the usual way; here it is read by a machine that knows only plain values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as short  # values nested into each other have endless texts
from typing import Any, Literal, NamedTuple, cast, get_args

from gpu_optimizer.errors import SnapshotError
from gpu_optimizer.profiling.snapshot_files import decode, encode

BlockState = Literal["active_allocated", "active_awaiting_free", "inactive"]
Action = Literal[
    "alloc",
    "free_requested",
    "free_completed",
    "segment_alloc",
    "segment_free",
    "segment_map",
    "segment_unmap",
    "oom",
    "snapshot",
    "workspace_snapshot",
    "user_defined",
]
ACTIONS: frozenset[str] = frozenset(get_args(Action))
# The documentation says "awaiting", torch writes "pending"; files of CPU profiles know neither.
_STATES: dict[str, BlockState] = {
    "active_allocated": "active_allocated",
    "active_awaiting_free": "active_awaiting_free",
    "active_pending_free": "active_awaiting_free",
    "inactive": "inactive",
}


class Frame(NamedTuple):
    """One line of a stack."""

    filename: str
    line: int
    name: str


Stack = tuple[Frame, ...]


class SnapshotBlock(NamedTuple):
    """A piece of a segment: address, bytes with and without rounding, who asked for it (innermost first)."""

    address: int
    size_bytes: int
    requested_bytes: int
    state: BlockState
    frames: Stack = ()

    @property
    def is_active(self) -> bool:
        """Whether a tensor holds it or a stream may still use it."""
        return self.state != "inactive"


class TraceEvent(NamedTuple):
    """One entry of the history; `address` is 0 and `device_free_bytes` set where memory ran out."""

    action: Action
    address: int
    size_bytes: int
    stream: int = 0
    pool_id: tuple[int, int] = (0, 0)
    time_us: int = 0
    device_free_bytes: int = 0
    frames: Stack = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A contiguous range of memory that was taken from the driver.

    Args:
        device: Number of the device.
        address: First byte.
        size_bytes: Length.
        stream: Stream whose requests it serves.
        small: Whether it belongs to the pool for requests up to 1 MiB.
        pool_id: (0, 0), or the private pool (CUDA graph, `MemPool`) that owns it.
        expandable: Whether it can grow.
        blocks: What it is divided into, without gaps, by address.
        frames: Stack of the request it was taken for.
    """

    device: int
    address: int
    size_bytes: int
    stream: int
    small: bool
    pool_id: tuple[int, int]
    expandable: bool
    blocks: tuple[SnapshotBlock, ...]
    frames: Stack = ()

    @property
    def allocated_bytes(self) -> int:
        """Bytes that tensors hold."""
        return sum(block.size_bytes for block in self.blocks if block.state == "active_allocated")

    @property
    def active_bytes(self) -> int:
        """The same with blocks that a stream may still use."""
        return sum(block.size_bytes for block in self.blocks if block.is_active)

    @property
    def free_bytes(self) -> int:
        """Bytes that a request could get."""
        return self.size_bytes - self.active_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySnapshot:
    """The state of the allocators of all devices at one time.

    Args:
        segments: All segments, by device and address.
        traces: History by device, oldest first; empty where none was recorded.
        settings: What the allocator was set to, as torch wrote it.
    """

    segments: tuple[Segment, ...]
    traces: tuple[tuple[TraceEvent, ...], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def devices(self) -> tuple[int, ...]:
        """Devices with a segment or a history."""
        return tuple(sorted({segment.device for segment in self.segments} | {i for i, trace in enumerate(self.traces) if trace}))

    def trace(self, device: int) -> tuple[TraceEvent, ...]:
        """History of one device."""
        return self.traces[device] if device < len(self.traces) else ()


def load_snapshot(
    source: str | Path | bytes | Mapping[str, Any] | Sequence[Any], *, max_bytes: int = 256 * 2**20, trusted: bool = False
) -> MemorySnapshot:
    """Read a snapshot.

    Args:
        source: A file (pickle or JSON), its bytes, the dictionary of `torch.cuda.memory._snapshot()` or the list of
            `torch.cuda.memory_snapshot()`.
        max_bytes: Largest file that is read; stacks make files of several GB, of which nobody sees the end.
        trusted: Use Python's fast pickle reader, several times as fast. It still refuses to run anything, but a file made
            to do harm could make it ask for much memory.

    Raises:
        SnapshotError: It is no snapshot, is damaged, too large, or wants to run something.

    Example:
        >>> from gpu_optimizer.profiling.allocator import AllocatorSimulator
        >>> allocator = AllocatorSimulator()
        >>> _ = allocator.alloc("x", 5 * 2**20)
        >>> load_snapshot(allocator.snapshot()).segments[0].free_bytes // 2**20
        15
    """
    if isinstance(source, MemorySnapshot):
        return source
    value = decode(source, max_bytes=max_bytes, trusted=trusted) if isinstance(source, str | Path | bytes) else source
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = {"segments": value}
    if not isinstance(value, Mapping) or "segments" not in value:
        raise SnapshotError(
            "this is no memory snapshot: expected a dictionary with 'segments'; make one with torch.cuda.memory._dump_snapshot(path)"
        )
    reader = _Reader()
    segments = [reader.segment(row, f"segments[{i}]") for i, row in enumerate(_rows(value["segments"], "segments"))]
    traces = [
        tuple(reader.event(row, f"device_traces[{i}][{j}]") for j, row in enumerate(_rows(trace, f"device_traces[{i}]")))
        for i, trace in enumerate(_rows(value.get("device_traces", ()), "device_traces"))
    ]
    settings = value.get("allocator_settings", {})
    return MemorySnapshot(
        segments=tuple(sorted(segments, key=lambda segment: (segment.device, segment.address))),
        traces=tuple(traces),
        settings=dict(settings) if isinstance(settings, Mapping) else {},
    )


def save_snapshot(snapshot: Mapping[str, Any], path: str | Path) -> Path:
    """Write a snapshot dictionary in torch's format: JSON for a name that ends in `.json`, else a pickle.

    Raises:
        SnapshotError: The file cannot be written.
    """
    return encode(snapshot, Path(path))


class _Reader:
    """Turns rows into values; equal stacks become one object.

    Lists and dictionaries that stand in several places are read once: they are known by their id, which is theirs alone
    as long as the whole snapshot is in memory.
    """

    # Lists inside lists can be shared, so a small file can describe an endless number of rows.
    LIMIT = 50_000_000

    def __init__(self) -> None:
        self._stacks: dict[int, Stack] = {}
        self._frames: dict[int, Frame] = {}
        self._alike: dict[Any, Any] = {}
        self._entries = 0

    def segment(self, row: Any, where: str) -> Segment:
        row = _mapping(row, where)
        address, size = _count(row, "address", where), _count(row, "total_size", where)
        kind = _word(row.get("segment_type", "large"), ("small", "large"), f"{where}.segment_type")
        blocks, at = [], address
        for i, block in enumerate(_rows(row.get("blocks", ()), f"{where}.blocks")):
            blocks.append(self._block(block, at, f"{where}.blocks[{i}]"))
            at += blocks[-1].size_bytes
        if at != address + size:
            raise SnapshotError(f"{where}: its blocks have {at - address} bytes together, but total_size is {size}; the file is damaged")
        return Segment(
            device=_count(row, "device", where, 0),
            address=address,
            size_bytes=size,
            stream=_count(row, "stream", where, 0),
            small=kind == "small",
            pool_id=_pool_id(row.get("segment_pool_id", (0, 0)), where),
            expandable=bool(row.get("is_expandable", False)),
            blocks=tuple(blocks),
            frames=self._stack(row.get("frames", ()), where),
        )

    def event(self, row: Any, where: str) -> TraceEvent:
        row = _mapping(row, where)
        self._spend(1)
        action = _word(row.get("action"), ACTIONS, f"{where}.action")
        return TraceEvent(
            action=cast("Action", action),
            address=0 if action == "oom" else _count(row, "addr", where, 0),
            size_bytes=_count(row, "size", where, 0),
            stream=_count(row, "stream", where, 0),
            pool_id=_pool_id(row.get("pool_id", (0, 0)), where),
            time_us=_count(row, "time_us", where, 0),
            device_free_bytes=_count(row, "device_free", where, 0),
            frames=self._stack(row.get("frames", ()), where),
        )

    def _block(self, row: Any, at: int, where: str) -> SnapshotBlock:
        row = _mapping(row, where)
        self._spend(1)
        size = _count(row, "size", where)
        state = _STATES[_word(row.get("state"), _STATES, f"{where}.state")]
        if row.get("address", at) != at:
            raise SnapshotError(f"{where}.address: expected {at}, the end of the block before it, got {short(row['address'])}")
        # Files of torch 2.0 and older keep stack and request in a list of past uses.
        past = row.get("history") or ({},)
        latest = _mapping(_rows(past, f"{where}.history")[0], f"{where}.history[0]")
        requested = _count(row, "requested_size", where, _count(latest, "real_size", where, 0 if state == "inactive" else size))
        frames = self._stack(row.get("frames", latest.get("frames", ())), where)
        return SnapshotBlock(at, size, requested, state, frames)

    def _stack(self, rows: Any, where: str) -> Stack:
        if not rows:
            return ()
        known = self._stacks.get(id(rows))
        if known is not None:
            return known
        rows_ = _rows(rows, f"{where}.frames")
        self._spend(len(rows_))
        frames = self._frames
        stack = tuple(frames.get(id(row)) or self._frame(row, f"{where}.frames[{i}]") for i, row in enumerate(rows_))
        stack = self._alike.setdefault(stack, stack)
        self._stacks[id(rows)] = stack
        return stack

    def _frame(self, row: Any, where: str) -> Frame:
        fields = _mapping(row, where)
        filename, name = fields.get("filename", ""), fields.get("name", "")
        if not isinstance(filename, str) or not isinstance(name, str):
            raise SnapshotError(f"{where}: filename and name must be texts")
        frame = Frame(filename, _count(fields, "line", where, 0), name)
        frame = self._alike.setdefault(frame, frame)
        self._frames[id(row)] = frame
        return frame

    def _spend(self, entries: int) -> None:
        self._entries += entries
        if self._entries > self.LIMIT:
            raise SnapshotError(f"the snapshot has more than {self.LIMIT} entries; record fewer with max_entries")


def _mapping(row: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise SnapshotError(f"{where}: expected a dictionary, got {type(row).__name__}")
    return row


def _rows(rows: Any, where: str) -> Sequence[Any]:
    if not isinstance(rows, list | tuple):
        raise SnapshotError(f"{where}: expected a list, got {type(rows).__name__}")
    return rows


def _word(value: Any, allowed: Collection[str], where: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise SnapshotError(f"{where}: expected one of {', '.join(sorted(allowed))}, got {short(value)}")
    return value


def _count(row: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    value = row.get(key, default)
    if value is None and default is not None:
        return default
    if type(value) is not int or not 0 <= value < 2**64:
        raise SnapshotError(f"{where}.{key}: expected a whole number from 0, got {short(value)}")
    return value


def _pool_id(value: Any, where: str) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(part) is int for part in value):
        raise SnapshotError(f"{where}: a pool id is two whole numbers, got {short(value)}")
    return value[0], value[1]
