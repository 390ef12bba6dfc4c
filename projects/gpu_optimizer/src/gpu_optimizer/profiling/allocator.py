"""What torch's CUDA caching allocator would reserve: its rules, run on a list of requests instead of a GPU.

Requests go in one by one (`alloc`, `free`, `record_stream`) or as a trace (`replay` in
`gpu_optimizer.profiling.replay`); addresses, reserved and active bytes come out, and a snapshot in torch's own
format. The rules are those of c10/cuda/CUDACachingAllocator.cpp (torch 2.13); time does not exist here, so a
block that another stream uses stays pending until `synchronize`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpu_optimizer.errors import AllocatorError, SimulatedOutOfMemoryError
from gpu_optimizer.profiling.allocator_pool import DEFAULT_POOL, Block, ExpandableSegment, Pool, PoolId, merge
from gpu_optimizer.profiling.allocator_segments import DeviceMemory, History
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings

if TYPE_CHECKING:
    from gpu_optimizer.profiling.snapshots import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorStats:
    """Sums of an allocator's state; names as in `torch.cuda.memory_stats`.

    Args:
        reserved_bytes: Taken from the driver.
        allocated_bytes: In blocks that tensors hold, rounding included.
        active_bytes: The same with blocks that were freed but that another stream may still use.
        requested_bytes: What was asked for, without rounding.
        inactive_split_bytes: Free, but next to a block in use: cannot be given back. Expandable segments not counted.
        peak_reserved_bytes: Highest `reserved_bytes` so far.
        peak_allocated_bytes: Highest `allocated_bytes` so far.
        peak_active_bytes: Highest `active_bytes` so far.
        device_allocs: Segments (or pieces of expandable ones) taken from the driver.
        device_frees: Given back to it.
        alloc_retries: Requests for which the whole cache had to be given back first.
        ooms: Requests that could not be served.
    """

    reserved_bytes: int
    allocated_bytes: int
    active_bytes: int
    requested_bytes: int
    inactive_split_bytes: int
    peak_reserved_bytes: int
    peak_allocated_bytes: int
    peak_active_bytes: int
    device_allocs: int
    device_frees: int
    alloc_retries: int
    ooms: int


class AllocatorSimulator:
    """torch's caching allocator of one device.

    Args:
        settings: Its settings; default: those of torch.
        capacity_bytes: Memory of the device that is there for the allocator; None = as much as it asks for.
        device: Number of the device in the snapshot.
        record: Keep the history of requests for the snapshot.

    Raises:
        AllocatorError: `capacity_bytes` is not positive, or a memory fraction is set without it.

    Example:
        >>> allocator = AllocatorSimulator()
        >>> _ = allocator.alloc("x", 3 * 2**20)  # above 1 MiB and below 10 MiB: a segment of 20 MiB
        >>> allocator.reserved_bytes // 2**20, allocator.allocated_bytes // 2**20
        (20, 3)
        >>> allocator.free("x")
        >>> allocator.reserved_bytes // 2**20, allocator.allocated_bytes
        (20, 0)
    """

    def __init__(
        self,
        settings: AllocatorSettings | None = None,
        *,
        capacity_bytes: int | None = None,
        device: int = 0,
        record: bool = True,
    ) -> None:
        self.settings = settings or AllocatorSettings()
        self.capacity_bytes, self.device = capacity_bytes, device
        self.history = History(record=record)
        self._memory = DeviceMemory(self.settings, capacity_bytes, self.history)
        self.allocated_bytes = self.active_bytes = self.requested_bytes = 0
        self._peak_allocated = self._peak_active = 0
        self._retries = self._ooms = 0
        self._pools: dict[PoolId, tuple[Pool, Pool]] = {}
        self._freeable: set[PoolId] = {DEFAULT_POOL}
        self._held: dict[Hashable, Block] = {}
        self._active: dict[int, Block] = {}
        self._pending: dict[Hashable, Block] = {}
        self._pool_pair(DEFAULT_POOL)

    @property
    def reserved_bytes(self) -> int:
        """Taken from the driver."""
        return self._memory.reserved_bytes

    def alloc(self, key: Hashable, size: int, *, stream: int = 0, pool: PoolId = DEFAULT_POOL, frames: Sequence[Any] = ()) -> int:
        """Serve a request.

        Args:
            key: Name under which it is freed.
            size: Bytes asked for; 0 takes nothing, as in torch.
            stream: Number of the stream.
            pool: (0, 0), or the id of a private pool (CUDA graph, `MemPool`).
            frames: Stack of the request for the snapshot, innermost first.

        Returns:
            Address of the block; 0 for an empty request.

        Raises:
            AllocatorError: The key is held already, or the size is negative.
            SimulatedOutOfMemoryError: The device has too little memory.
        """
        if size < 0:
            raise AllocatorError(f"a request has at least 0 bytes, got {size}")
        if key in self._held or key in self._pending:
            raise AllocatorError(f"{key!r} is held already; free it first or use another key")
        self.history.clock += 1
        if size == 0:
            return 0
        rounded = self.settings.round_size(size)
        home = self._pool_pair(pool)[0 if self.settings.is_small(rounded) else 1]
        block = self._cached(home, rounded, stream) or self._fresh(home, rounded, stream, tuple(frames))
        if block is None:
            raise self._out_of_memory(size, rounded, stream, pool, tuple(frames))
        block = self._split(block, rounded)
        block.allocated, block.requested, block.frames, block.key = True, size, tuple(frames), key
        self._held[key] = self._active[block.address] = block
        self.history.note("alloc", block.address, size, stream, pool, block.frames)
        self.allocated_bytes += block.size
        self.active_bytes += block.size
        self.requested_bytes += size
        self._peak_allocated = max(self._peak_allocated, self.allocated_bytes)
        self._peak_active = max(self._peak_active, self.active_bytes)
        return block.address

    def free(self, key: Hashable, *, wait: bool = False) -> None:
        """Give a block back; one that another stream uses (`record_stream`) stays pending until `synchronize`.

        Args:
            key: Name it was asked for under; one of an empty request is passed over.
            wait: Leave it pending in any case.
        """
        self.history.clock += 1
        block = self._held.pop(key, None)
        if block is None:
            return
        block.allocated = False
        self.allocated_bytes -= block.size
        self.history.note("free_requested", block.address, block.requested, block.stream, block.pool.pool_id, block.frames)
        if wait or block.stream_uses:
            block.pending = True
            self._pending[key] = block
        else:
            self._release_to_pool(block)

    def holds(self, key: Hashable) -> bool:
        """Whether a request under this key is still there."""
        return key in self._held

    def record_stream(self, key: Hashable, stream: int) -> None:
        """Say that another stream uses a block (`Tensor.record_stream`).

        Raises:
            AllocatorError: Nothing is held under the key.
        """
        if key not in self._held:
            raise AllocatorError(f"nothing is held under {key!r}")
        block = self._held[key]
        if stream != block.stream:
            block.stream_uses |= {stream}

    def complete(self, key: Hashable) -> None:
        """The streams that used one pending block have passed its end; nothing happens if it is not pending."""
        block = self._pending.pop(key, None)
        if block is not None:
            self._release_to_pool(block)

    def synchronize(self) -> None:
        """All streams have passed all recorded uses: pending blocks become free."""
        for key in list(self._pending):
            self.complete(key)

    def empty_cache(self) -> None:
        """Give back every segment that no tensor lies in (`torch.cuda.empty_cache`)."""
        self.synchronize()
        for pool_id in sorted(self._pools):
            if pool_id in self._freeable:
                for pool in self._pools[pool_id]:
                    self._memory.give_back_unused(pool)

    def release_pool(self, pool: PoolId) -> None:
        """Nobody will replay the graph of a private pool again: its unused segments may be given back."""
        self._freeable.add(pool)

    def stats(self) -> AllocatorStats:
        """Sums of the present state."""
        split = sum(
            block.size
            for pools in self._pools.values()
            for pool in pools
            for block in pool.free_blocks()
            if block.is_split and block.segment is None
        )
        return AllocatorStats(
            reserved_bytes=self.reserved_bytes,
            allocated_bytes=self.allocated_bytes,
            active_bytes=self.active_bytes,
            requested_bytes=self.requested_bytes,
            inactive_split_bytes=split,
            peak_reserved_bytes=self._memory.peak_reserved_bytes,
            peak_allocated_bytes=self._peak_allocated,
            peak_active_bytes=self._peak_active,
            device_allocs=self._memory.allocs,
            device_frees=self._memory.frees,
            alloc_retries=self._retries,
            ooms=self._ooms,
        )

    def segments(self) -> list[list[Block]]:
        """Blocks of every contiguous range of memory, in the order of addresses."""
        free = [block for pools in self._pools.values() for pool in pools for block in pool.free_blocks()]
        heads = [block for block in (*free, *self._active.values()) if block.prev is None or not block.prev.mapped]
        chains = []
        for head in sorted(heads, key=lambda block: block.address):
            chain, block = [], head
            while block is not None and block.mapped:
                chain.append(block)
                block = block.next
            chains.append(chain)
        return chains

    def adopt(self, segment: Segment, *, room_bytes: int = 0) -> None:
        """Take over a segment as it stands in a snapshot; its blocks are held under their addresses.

        Args:
            segment: A segment with its blocks.
            room_bytes: Addresses behind an expandable one that are still without memory.
        """
        home = self._pool_pair(segment.pool_id)[0 if segment.small else 1]
        granule = self.settings.granule(small=segment.small)
        space = ExpandableSegment(segment.address, segment.size_bytes + room_bytes, granule) if segment.expandable else None
        last: Block | None = None
        for row in segment.blocks:
            block = Block(row.address, row.size_bytes, segment.stream, home, segment=space)
            block.requested, block.frames = row.requested_bytes if row.is_active else 0, row.frames
            block.allocated, block.pending = row.state == "active_allocated", row.state == "active_awaiting_free"
            block.link(last, None)
            last = block
            if block.is_free:
                home.put(block)
                continue
            self._active[block.address] = block
            (self._held if block.allocated else self._pending)[block.address] = block
            self.allocated_bytes += block.size if block.allocated else 0
            self.active_bytes += block.size
            self.requested_bytes += block.requested
        if space is not None and room_bytes:
            room = Block(segment.address + segment.size_bytes, room_bytes, segment.stream, home, segment=space, mapped=False)
            room.link(last, None)
            home.put_unmapped(room)
        self._memory.adopt(segment.address, segment.size_bytes)
        self._peak_allocated, self._peak_active = self.allocated_bytes, self.active_bytes

    def snapshot(self) -> dict[str, Any]:
        """The state in the format of `torch.cuda.memory._snapshot()`; time stamps count requests."""
        from gpu_optimizer.profiling.snapshot_writer import official_snapshot

        return official_snapshot(self)

    def _pool_pair(self, pool_id: PoolId) -> tuple[Pool, Pool]:
        if pool_id not in self._pools:
            self._pools[pool_id] = Pool(pool_id, small=True), Pool(pool_id, small=False)
        return self._pools[pool_id]

    def _cached(self, home: Pool, size: int, stream: int) -> Block | None:
        """A free block that serves the request, taken out of its pool."""
        home.lookups += 1
        block = home.best_fit(size, stream)
        if block is None:
            return None
        limit = self.settings.max_split_bytes
        if limit is not None:
            too_large = block.size >= limit if size < limit else block.size >= size + self.settings.max_non_split_rounding_bytes
            if too_large:
                return None
        home.take(block)
        return block

    def _fresh(self, home: Pool, size: int, stream: int, frames: tuple[Any, ...]) -> Block | None:
        """Memory from the driver; unused segments are given back where it has too little."""
        self._memory.collect_garbage(self._pools[DEFAULT_POOL][1])
        block = self._memory.take(home, size, stream, frames)
        if block is None and self._memory.give_back_oversize(home, size, stream):
            block = self._memory.take(home, size, stream, frames)
        if block is None:
            self.empty_cache()
            self._retries += 1
            block = self._memory.take(home, size, stream, frames)
        return block

    def _split(self, block: Block, size: int) -> Block:
        """The first `size` bytes of a block that was taken; the rest goes back to the pool where it is worth a block."""
        rest = block.size - size
        if block.pool.small or block.segment is not None:
            worth = rest >= self.settings.min_block_bytes
        else:
            limit = self.settings.max_split_bytes
            worth = (limit is None or size < limit) and rest > self.settings.small_limit_bytes
        if not worth:
            return block
        first = Block(block.address, size, block.stream, block.pool, segment=block.segment)
        first.segment_frames, block.segment_frames = block.segment_frames, ()
        first.link(block.prev, block)
        block.address += size
        block.size = rest
        block.pool.put(block)
        return first

    def _release_to_pool(self, block: Block) -> None:
        """A block that nobody uses any more joins its free neighbours and the pool."""
        del self._active[block.address]
        self.active_bytes -= block.size
        self.requested_bytes -= block.requested
        self.history.note("free_completed", block.address, block.requested, block.stream, block.pool.pool_id, block.frames)
        block.pending, block.requested, block.frames, block.key, block.stream_uses = False, 0, (), None, frozenset()
        merge(block)
        block.pool.put(block)

    def _out_of_memory(self, size: int, rounded: int, stream: int, pool: PoolId, frames: tuple[Any, ...]) -> SimulatedOutOfMemoryError:
        self._ooms += 1
        self.history.note("oom", self._memory.free_bytes, rounded, stream, pool, frames)
        unused = self.reserved_bytes - self.active_bytes
        return SimulatedOutOfMemoryError(
            f"no room for {size} bytes (a segment of {self.settings.segment_size(rounded)}): of {self._memory.limit_bytes} allowed bytes "
            f"{self.reserved_bytes} are reserved, {self.active_bytes} in use and {unused} free in pieces that are too "
            "small; free something first, use smaller requests, or try expandable_segments:True"
        )
