"""Memory as the driver gives it: segments taken, mapped piece by piece, and given back, with a history of it.

The caching allocator asks here when no cached block serves a request. Ordinary segments are taken and given back
whole; expandable ones are ranges of addresses behind which memory is put where it is needed.
"""

from __future__ import annotations

from typing import Any

from gpu_optimizer.errors import AllocatorError
from gpu_optimizer.profiling.allocator_pool import Block, ExpandableSegment, Pool, PoolId, merge
from gpu_optimizer.profiling.allocator_settings import MIB, AllocatorSettings

_FIRST_ADDRESS = 0x7F00_0000_0000
_ADDRESS_SPACE = 2**40
"""Addresses an expandable segment gets where the device's memory is not known."""


class History:
    """What the allocator did, as entries of torch's memory trace.

    Args:
        record: Keep the entries.
    """

    __slots__ = ("clock", "entries", "record")

    def __init__(self, *, record: bool) -> None:
        self.record = record
        self.clock = 0
        self.entries: list[dict[str, Any]] = []

    def note(self, action: str, address: int, size: int, stream: int, pool: PoolId, frames: tuple[Any, ...]) -> None:
        """Add an entry; of "oom" the address is the memory that the device has left, as in torch."""
        if not self.record:
            return
        where = "device_free" if action == "oom" else "addr"
        self.entries.append(
            {
                "action": action,
                where: address,
                "size": size,
                "stream": stream,
                "time_us": self.clock,
                "frames": list(frames),
                "pool_id": pool,
            }
        )


class DeviceMemory:
    """The memory of one device.

    Args:
        settings: Settings of the allocator.
        capacity_bytes: Memory there is; None = as much as is asked for.
        history: Where every step is noted.

    Raises:
        AllocatorError: `capacity_bytes` is not positive, or a memory fraction is set without it.
    """

    def __init__(self, settings: AllocatorSettings, capacity_bytes: int | None, history: History) -> None:
        if capacity_bytes is not None and capacity_bytes < 1:
            raise AllocatorError(f"capacity_bytes: expected at least 1, got {capacity_bytes}")
        if settings.memory_fraction is not None and capacity_bytes is None:
            raise AllocatorError("memory_fraction needs capacity_bytes: a share of what?")
        self._settings, self._capacity, self._history = settings, capacity_bytes, history
        fraction = settings.memory_fraction
        self._allowed = None if fraction is None or capacity_bytes is None else int(fraction * capacity_bytes)
        self.reserved_bytes = self.peak_reserved_bytes = 0
        self.allocs = self.frees = 0
        self._next_address = _FIRST_ADDRESS

    @property
    def limit_bytes(self) -> int | None:
        """How much may be reserved; None = no limit."""
        return self._capacity if self._allowed is None else self._allowed

    @property
    def free_bytes(self) -> int:
        """What the driver still has; 0 where the capacity is not known."""
        return 0 if self._capacity is None else self._capacity - self.reserved_bytes

    def adopt(self, address: int, size: int) -> None:
        """Count a segment that was taken before this program began."""
        self.reserved_bytes += size
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        # New addresses must lie behind it, and behind those that an expandable one may still grow into.
        self._next_address = max(self._next_address, address + size + 2 * _ADDRESS_SPACE)

    def take(self, home: Pool, size: int, stream: int, frames: tuple[Any, ...]) -> Block | None:
        """A block for a rounded request, outside of its pool; None where there is too little memory."""
        amount = self._settings.segment_size(size)
        if self._allowed is not None and self.reserved_bytes + amount > self._allowed:
            return None
        if self._settings.expandable_segments:
            return self._expand(home, size, stream, frames)
        if not self._fits(amount):
            return None
        block = Block(self._addresses(amount), amount, stream, home)
        block.segment_frames = frames
        self._reserve(amount)
        self._history.note("segment_alloc", block.address, amount, stream, home.pool_id, frames)
        return block

    def _expand(self, home: Pool, size: int, stream: int, frames: tuple[Any, ...]) -> Block | None:
        """Memory at the lowest addresses of the stream's expandable segments where `size` bytes have room."""
        block = self._room(home, size, stream)
        if not block.mapped and not self._map(block, min(block.size, size), frames):
            return None
        while block.size < size:
            behind = block.next
            if behind is None or not self._map(behind, min(size - block.size, behind.size), frames):
                return None
            block = behind
        home.take(block)
        return block

    def _room(self, home: Pool, size: int, stream: int) -> Block:
        """The lowest free or unmapped block from which on `size` addresses are free; a new segment if there is none."""
        for unmapped in home.unmapped_blocks(stream):
            before = unmapped.prev
            start = before if before is not None and before.is_free else unmapped
            found, block = 0, start
            while found < size and block is not None and block.is_free:
                found += block.size
                block = block.next
            if found >= size:
                return start
        granule = self._settings.granule(small=home.small)
        wanted = _ADDRESS_SPACE if self._capacity is None else self._capacity + self._capacity // 8
        space = -(-max(wanted, size) // granule) * granule
        segment = ExpandableSegment(self._addresses(space), space, granule)
        block = Block(segment.address, space, stream, home, segment=segment, mapped=False)
        home.put_unmapped(block)
        return block

    def _map(self, block: Block, size: int, frames: tuple[Any, ...]) -> bool:
        """Put memory behind the first `size` bytes of an unmapped block and merge it with its free neighbours."""
        assert block.segment is not None  # noqa: S101 - only expandable segments have unmapped blocks
        address, amount = block.segment.pieces_over(block.address, size)
        if not self._fits(amount):
            return False
        home = block.pool
        home.take_unmapped(block)
        block.mapped = True
        if amount < block.size:
            rest = Block(address + amount, block.size - amount, block.stream, home, segment=block.segment, mapped=False)
            rest.link(block, block.next)
            home.put_unmapped(rest)
            block.size = amount
        merge(block)
        home.put(block)
        self._reserve(amount)
        if block.prev is None and not block.segment_frames:
            block.segment_frames = frames
        self._history.note("segment_map", address, amount, block.stream, home.pool_id, frames)
        return True

    def give_back_unused(self, pool: Pool) -> None:
        """Give back every unsplit segment of a pool and every whole free piece of its expandable segments."""
        for block in pool.free_blocks():
            if block.segment is not None:
                self._unmap(block)
            elif not block.is_split:
                self._return_segment(block)

    def _return_segment(self, block: Block) -> None:
        block.pool.take(block)
        self.reserved_bytes -= block.size
        self.frees += 1
        self._history.note("segment_free", block.address, block.size, block.stream, block.pool.pool_id, block.segment_frames)

    def _unmap(self, block: Block) -> None:
        """Take the memory from behind the whole pieces of a free block; what is left on either side stays mapped."""
        assert block.segment is not None  # noqa: S101 - the caller looked
        address, amount = block.segment.pieces_inside(block.address, block.size)
        if amount == 0:
            return
        home, end = block.pool, block.address + block.size
        home.take(block)
        if address > block.address:
            head = Block(block.address, address - block.address, block.stream, home, segment=block.segment)
            head.segment_frames = block.segment_frames
            head.link(block.prev, block)
            home.put(head)
        if end > address + amount:
            tail = Block(address + amount, end - address - amount, block.stream, home, segment=block.segment)
            tail.link(block, block.next)
            home.put(tail)
        block.address, block.size, block.mapped, block.segment_frames = address, amount, False, ()
        merge(block)
        self.reserved_bytes -= amount
        self.frees += 1
        self._history.note("segment_unmap", address, amount, block.stream, home.pool_id, ())
        if block.is_split:
            home.put_unmapped(block)

    def give_back_oversize(self, home: Pool, size: int, stream: int) -> bool:
        """Where splitting is limited: give back enough unused oversize segments of the stream for the request."""
        limit = self._settings.max_split_bytes
        if limit is None:
            return False
        wanted = max(size, limit)
        unused = [block for block in home.from_size(limit, stream) if block.segment is None and not block.is_split]
        large_enough = [block for block in unused if block.size >= wanted]
        if large_enough:
            self._return_segment(large_enough[0])
            return True
        released = 0
        for block in reversed(unused):
            if released >= wanted:
                break
            released += block.size
            self._return_segment(block)
        return released >= wanted

    def collect_garbage(self, large: Pool) -> None:
        """Above the threshold: give back unused segments, those that were left alone longest first."""
        share = self._settings.garbage_collection_threshold
        if not share or self._allowed is None or self.reserved_bytes <= int(share * self._allowed):
            return
        wanted = self.reserved_bytes - int(share * self._allowed)
        candidates = [block for block in large.free_blocks() if not block.is_split and block.segment is None]
        reclaimed = 0
        while candidates and reclaimed < wanted:
            mean_age = sum(large.lookups - block.age_base for block in candidates) / len(candidates)
            old = [block for block in candidates if large.lookups - block.age_base >= mean_age]
            candidates = [block for block in candidates if large.lookups - block.age_base < mean_age]
            for block in old:
                reclaimed += block.size
                self._return_segment(block)

    def _fits(self, amount: int) -> bool:
        return self._capacity is None or self.reserved_bytes + amount <= self._capacity

    def _reserve(self, amount: int) -> None:
        self.reserved_bytes += amount
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        self.allocs += 1

    def _addresses(self, size: int) -> int:
        address = self._next_address
        self._next_address += -(-size // (2 * MIB)) * 2 * MIB
        return address
