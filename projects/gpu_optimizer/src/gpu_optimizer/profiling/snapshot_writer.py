"""The state of a simulated allocator in the format of `torch.cuda.memory._snapshot()`.

What comes out is what torch's own tools (`torch.cuda._memory_viz`, the viewer at pytorch.org/memory_viz) read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gpu_optimizer.profiling.allocator_pool import Block

if TYPE_CHECKING:
    from gpu_optimizer.profiling.allocator import AllocatorSimulator


def official_snapshot(allocator: AllocatorSimulator) -> dict[str, Any]:
    """Segments, blocks, traces and settings of a simulated allocator.

    Example:
        >>> from gpu_optimizer.profiling.allocator import AllocatorSimulator
        >>> allocator = AllocatorSimulator()
        >>> _ = allocator.alloc("x", 1000)
        >>> [(block["size"], block["requested_size"], block["state"]) for block in allocator.snapshot()["segments"][0]["blocks"]]
        [(1024, 1000, 'active_allocated'), (2096128, 0, 'inactive')]
    """
    settings = allocator.settings
    stacks = _Stacks()
    traces: list[list[dict[str, Any]]] = [[] for _ in range(allocator.device + 1)]
    traces[allocator.device] = [{**entry, "frames": stacks.rows(entry["frames"])} for entry in allocator.history.entries]
    return {
        "segments": [_segment(chain, allocator.device, stacks) for chain in allocator.segments()],
        "device_traces": traces,
        "allocator_settings": {
            "PYTORCH_CUDA_ALLOC_CONF": settings.text,
            "max_split_size": -1 if settings.max_split_bytes is None else settings.max_split_bytes,
            "garbage_collection_threshold": settings.garbage_collection_threshold,
            "expandable_segments": settings.expandable_segments,
            "roundup_power2_divisions": {str(2**index): steps for index, steps in enumerate(settings.roundup_power2_divisions)},
        },
        "external_annotations": [],
    }


def _segment(chain: list[Block], device: int, stacks: _Stacks) -> dict[str, Any]:
    head = chain[0]
    return {
        "device": device,
        "address": head.address,
        "total_size": sum(block.size for block in chain),
        "allocated_size": sum(block.size for block in chain if block.allocated),
        "active_size": sum(block.size for block in chain if not block.is_free),
        "requested_size": sum(block.requested for block in chain if not block.is_free),
        "stream": head.stream,
        "segment_type": "small" if head.pool.small else "large",
        "segment_pool_id": head.pool.pool_id,
        "is_expandable": head.segment is not None,
        "frames": stacks.rows(head.segment_frames),
        "blocks": [_block(block, stacks) for block in chain],
    }


def _block(block: Block, stacks: _Stacks) -> dict[str, Any]:
    state = "active_allocated" if block.allocated else "active_pending_free" if block.pending else "inactive"
    return {
        "address": block.address,
        "size": block.size,
        "requested_size": block.requested,
        "state": state,
        "frames": stacks.rows(block.frames),
    }


class _Stacks:
    """Stacks as lists of dictionaries; each is written once and shared by all that have it, which keeps files small."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        self._frames: dict[Any, dict[str, Any]] = {}

    def rows(self, stack: Iterable[Any]) -> list[dict[str, Any]]:
        """The list of a stack."""
        key = tuple(stack)
        if key not in self._rows:
            self._rows[key] = [self._frame(frame) for frame in key]
        return self._rows[key]

    def _frame(self, frame: Any) -> dict[str, Any]:
        if frame not in self._frames:
            self._frames[frame] = dict(zip(("filename", "line", "name"), frame, strict=True))
        return self._frames[frame]
