"""The parts of a fragmentation report that show in the state itself: how full each pool is, and who holds what.

`fragmentation_history` tells how it came about, `fragmentation_advice` what would help, `cuda_analyzer` puts all together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from gpu_optimizer.profiling.allocator_pool import PoolId
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.snapshots import Frame, MemorySnapshot, Segment, Stack

NO_STACK = "(no stack was recorded)"
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
class SegmentUse:
    """How full one segment is.

    Args:
        address: First byte.
        pool: Pool and stream as in `PoolUse.name`.
        size_bytes: Length.
        active_bytes: In use, or waiting for another stream.
        largest_free_bytes: Largest free block.
        blocks: What it is divided into.
        expandable: Whether it can grow.
    """

    address: int
    pool: str
    size_bytes: int
    active_bytes: int
    largest_free_bytes: int
    blocks: int
    expandable: bool


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


def mib_text(count: int) -> str:
    """Bytes for people.

    Example:
        >>> mib_text(3 * 2**29), mib_text(5 * 2**18)
        ('1,536 MiB', '1.2 MiB')
    """
    return f"{count / 2**20:,.1f}".removesuffix(".0") + " MiB"


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


def segment_uses(segments: Iterable[Segment]) -> tuple[SegmentUse, ...]:
    """How full every segment is, those with most free memory first."""
    rows = (
        SegmentUse(
            address=segment.address,
            pool=pool_name(segment.pool_id, segment.stream, small=segment.small),
            size_bytes=segment.size_bytes,
            active_bytes=segment.active_bytes,
            largest_free_bytes=max((block.size_bytes for block in segment.blocks if not block.is_active), default=0),
            blocks=len(segment.blocks),
            expandable=segment.expandable,
        )
        for segment in segments
    )
    return tuple(sorted(rows, key=lambda row: (row.active_bytes - row.size_bytes, row.address)))


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


def _line(frame: Frame) -> str:
    return f"{PurePosixPath(frame.filename).name or '?'}:{frame.line} {frame.name}".rstrip()


def _is_library(frame: Frame) -> bool:
    name = frame.filename
    if not name or name in ("??", "<unknown>") or name.startswith("<frozen") or name.endswith(_NATIVE) or ".so." in name:
        return True
    return "torch" in PurePosixPath(name.replace("\\", "/")).parts
