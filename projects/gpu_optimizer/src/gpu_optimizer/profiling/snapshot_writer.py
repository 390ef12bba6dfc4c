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
    traces: list[list[dict[str, Any]]] = [[] for _ in range(allocator.device + 1)]
    traces[allocator.device] = [{**entry, "frames": _frames(entry["frames"])} for entry in allocator.history.entries]
    return {
        "segments": [_segment(chain, allocator.device) for chain in allocator.segments()],
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


def _segment(chain: list[Block], device: int) -> dict[str, Any]:
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
        "frames": _frames(head.segment_frames),
        "blocks": [_block(block) for block in chain],
    }


def _block(block: Block) -> dict[str, Any]:
    state = "active_allocated" if block.allocated else "active_pending_free" if block.pending else "inactive"
    return {
        "address": block.address,
        "size": block.size,
        "requested_size": block.requested,
        "state": state,
        "frames": _frames(block.frames),
    }


def _frames(stack: Iterable[Any]) -> list[dict[str, Any]]:
    names = ("filename", "line", "name")
    return [dict(zip(names, frame, strict=True)) for frame in stack]
