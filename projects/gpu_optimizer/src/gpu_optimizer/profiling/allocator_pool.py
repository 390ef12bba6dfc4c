"""Blocks, and the pools in which the caching allocator keeps the free ones.

A pool holds free blocks by stream, sorted by size and then address, so that the best fit is a binary search.
Blocks of one segment form a chain; free neighbours are merged. Addresses are the identity of a block.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator
from typing import Any

PoolId = tuple[int, int]
DEFAULT_POOL: PoolId = (0, 0)


class Block:
    """A piece of a segment.

    Args:
        address: First byte.
        size: Bytes.
        stream: Stream whose requests it serves.
        pool: Pool it belongs to.
        segment: The expandable segment it lies in; None for an ordinary one.
        mapped: Whether memory stands behind its addresses; only expandable segments have blocks where none does.
    """

    __slots__ = (
        "address",
        "age_base",
        "allocated",
        "frames",
        "key",
        "mapped",
        "next",
        "pending",
        "pool",
        "prev",
        "requested",
        "segment",
        "segment_frames",
        "size",
        "stream",
        "stream_uses",
    )

    def __init__(
        self, address: int, size: int, stream: int, pool: Pool, *, segment: ExpandableSegment | None = None, mapped: bool = True
    ) -> None:
        self.address, self.size, self.stream, self.pool = address, size, stream, pool
        self.segment, self.mapped = segment, mapped
        self.requested = 0
        self.allocated = False
        self.pending = False
        self.prev: Block | None = None
        self.next: Block | None = None
        self.key: Hashable = None
        self.stream_uses: frozenset[int] = frozenset()
        self.age_base = 0
        self.frames: tuple[Any, ...] = ()
        self.segment_frames: tuple[Any, ...] = ()

    @property
    def is_split(self) -> bool:
        """Whether it shares its segment with another block."""
        return self.prev is not None or self.next is not None

    @property
    def is_free(self) -> bool:
        """Whether nobody holds it and no stream may still use it; true for unmapped blocks too."""
        return not self.allocated and not self.pending

    def link(self, before: Block | None, after: Block | None) -> None:
        """Put it between two neighbours of its segment."""
        self.prev, self.next = before, after
        if before is not None:
            before.next = self
        if after is not None:
            after.prev = self

    @property
    def growable_size(self) -> int:
        """Its size with the unmapped addresses behind it."""
        behind = self.next
        return self.size + (behind.size if behind is not None and not behind.mapped else 0)


class ExpandableSegment:
    """A range of addresses behind which memory is put piece by piece.

    Args:
        address: First address of the range.
        size: Length of the range, a multiple of `granule`.
        granule: Size of a piece.
    """

    __slots__ = ("address", "granule", "size")

    def __init__(self, address: int, size: int, granule: int) -> None:
        self.address, self.size, self.granule = address, size, granule

    def pieces_over(self, address: int, size: int) -> tuple[int, int]:
        """First address and length of the pieces that a range touches."""
        first = (address - self.address) // self.granule
        end = -(-(address + size - self.address) // self.granule)
        return self.address + first * self.granule, (end - first) * self.granule

    def pieces_inside(self, address: int, size: int) -> tuple[int, int]:
        """First address and length of the pieces that a range covers wholly; length 0 if there are none."""
        first = -(-(address - self.address) // self.granule)
        end = (address + size - self.address) // self.granule
        return self.address + first * self.granule, max(end - first, 0) * self.granule


class Pool:
    """Free blocks of one size class.

    Args:
        pool_id: (0, 0) for the default pool, else that of a CUDA graph or `torch.cuda.MemPool`.
        small: Whether it serves small requests.
    """

    __slots__ = ("_blocks", "_free", "_unmapped", "lookups", "pool_id", "small")

    def __init__(self, pool_id: PoolId, *, small: bool) -> None:
        self.pool_id, self.small = pool_id, small
        self.lookups = 0
        self._blocks: dict[int, Block] = {}
        self._free: dict[int, list[tuple[int, int]]] = {}
        self._unmapped: dict[int, list[int]] = {}

    def put(self, block: Block) -> None:
        """Add a free block."""
        block.age_base = self.lookups
        self._blocks[block.address] = block
        insort(self._free.setdefault(block.stream, []), (block.size, block.address))

    def take(self, block: Block) -> None:
        """Remove a free block."""
        rows = self._free[block.stream]
        del rows[bisect_left(rows, (block.size, block.address))]
        del self._blocks[block.address]

    def put_unmapped(self, block: Block) -> None:
        """Add addresses without memory."""
        self._blocks[block.address] = block
        insort(self._unmapped.setdefault(block.stream, []), block.address)

    def take_unmapped(self, block: Block) -> None:
        """Remove addresses without memory."""
        rows = self._unmapped[block.stream]
        del rows[bisect_left(rows, block.address)]
        del self._blocks[block.address]

    def drop(self, block: Block) -> None:
        """Remove a block that is about to be merged into a neighbour."""
        (self.take if block.mapped else self.take_unmapped)(block)

    def best_fit(self, size: int, stream: int) -> Block | None:
        """The smallest free block of a stream with at least `size` bytes; of equal ones that with the lowest address.

        In expandable segments a block counts as large as it can grow, so that its end is used last.
        """
        rows = self._free.get(stream)
        if not rows:
            return None
        index = bisect_left(rows, (size, 0))
        if index == len(rows):
            return None
        block = self._blocks[rows[index][1]]
        while block.segment is not None and index + 1 < len(rows):
            following = self._blocks[rows[index + 1][1]]
            if following.growable_size >= block.growable_size:
                break
            block, index = following, index + 1
        return block

    def from_size(self, size: int, stream: int) -> list[Block]:
        """Free blocks of a stream with at least `size` bytes, smallest first."""
        rows = self._free.get(stream, [])
        return [self._blocks[address] for _, address in rows[bisect_left(rows, (size, 0)) :]]

    def free_blocks(self) -> list[Block]:
        """All free blocks, by stream, size and address."""
        return [self._blocks[address] for stream in sorted(self._free) for _, address in self._free[stream]]

    def unmapped_blocks(self, stream: int) -> Iterator[Block]:
        """Addresses without memory of a stream, lowest first."""
        return (self._blocks[address] for address in self._unmapped.get(stream, ()))


def merge(block: Block) -> None:
    """Join a block that is in no pool with the free neighbours of its segment, which leave theirs.

    Neighbours are joined only if memory stands behind both, or behind neither.
    """
    before, after = block.prev, block.next
    if before is not None and before.is_free and before.mapped == block.mapped:
        before.pool.drop(before)
        block.address, block.segment_frames = before.address, before.segment_frames
        block.size += before.size
        block.link(before.prev, block.next)
    if after is not None and after.is_free and after.mapped == block.mapped:
        after.pool.drop(after)
        block.size += after.size
        block.link(block.prev, after.next)
