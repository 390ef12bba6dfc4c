"""A list of requests run through a simulated allocator: what would be reserved, and when.

Requests come from the tensor lives of a memory profile, from the history of a snapshot, or from any program;
the same list under other settings shows what those settings are worth.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol

from gpu_optimizer.errors import AllocatorError, SimulatedOutOfMemoryError
from gpu_optimizer.profiling.allocator import AllocatorSimulator, AllocatorStats
from gpu_optimizer.profiling.allocator_pool import DEFAULT_POOL, PoolId
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.snapshots import Frame, MemorySnapshot, SnapshotBlock, TraceEvent


class Request(NamedTuple):
    """One thing a program asks of the allocator.

    Args:
        action: "alloc" and "free" need a key; "wait_free" leaves the block pending until "complete";
            "record_stream" says that `stream` uses the block too; "synchronize" and "empty_cache" need nothing.
        key: Name of the block.
        size_bytes: Bytes asked for.
        stream: Stream of the request.
        pool: (0, 0) or a private pool.
        frames: Stack, innermost first.
    """

    action: Literal["alloc", "free", "wait_free", "complete", "record_stream", "synchronize", "empty_cache"]
    key: Hashable = None
    size_bytes: int = 0
    stream: int = 0
    pool: PoolId = DEFAULT_POOL
    frames: tuple[Frame, ...] = ()


class Life(Protocol):
    """When a tensor's memory is there: ticks of its allocation and release (None: never), and its bytes."""

    @property
    def born(self) -> int:
        """Tick of its allocation."""
        ...

    @property
    def died(self) -> int | None:
        """Tick of its release."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes asked for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the simulated allocator did with a list of requests.

    Args:
        settings: Its settings, as text for `PYTORCH_ALLOC_CONF`.
        stats: Sums at the end, peaks included.
        reserved_bytes: After each request.
        active_bytes: After each request.
        out_of_memory: What the first refused request met; None if all were served.
        out_of_memory_at: Its number in the list.
    """

    settings: str
    stats: AllocatorStats
    reserved_bytes: tuple[int, ...]
    active_bytes: tuple[int, ...]
    out_of_memory: str | None = None
    out_of_memory_at: int | None = None

    @property
    def peak_bytes(self) -> int:
        """Highest reserved memory."""
        return self.stats.peak_reserved_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Replay:
        """A replay from the values of `to_dict`, lists allowed."""
        rows = {name: tuple(values[name]) for name in ("reserved_bytes", "active_bytes")}
        return cls(**{**values, **rows, "stats": AllocatorStats(**values["stats"])})


def replay(
    requests: Iterable[Request],
    settings: AllocatorSettings | None = None,
    *,
    capacity_bytes: int | None = None,
    simulator: AllocatorSimulator | None = None,
    stop: bool = True,
) -> Replay:
    """Run requests through an allocator, up to the first that it cannot serve.

    Args:
        requests: In the order in which they are made.
        settings: Settings of a new allocator; default: torch's.
        capacity_bytes: Memory of its device; None = as much as is asked for.
        simulator: Use this allocator instead, to look at its snapshot afterwards.
        stop: Stop at the first request that cannot be served; else it is left out, as by a program that goes on.

    Raises:
        AllocatorError: A request makes no sense (a key that is held twice).

    Example:
        >>> mib = 2**20
        >>> requests = [Request("alloc", "a", 12 * mib), Request("free", "a"), Request("alloc", "b", 13 * mib)]
        >>> replay(requests).stats.reserved_bytes // mib  # 13 MiB do not fit into the cached 12: 12 + 14
        26
        >>> replay(requests, AllocatorSettings(expandable_segments=True)).stats.reserved_bytes // mib
        20
    """
    allocator = simulator or AllocatorSimulator(settings, capacity_bytes=capacity_bytes, record=False)
    reserved, active = [], []
    problem, at = None, None
    for number, request in enumerate(requests):
        try:
            _serve(allocator, request)
        except SimulatedOutOfMemoryError as error:
            if problem is None:
                problem, at = str(error), number
            if stop:
                break
        reserved.append(allocator.reserved_bytes)
        active.append(allocator.active_bytes)
    return Replay(
        settings=allocator.settings.text,
        stats=allocator.stats(),
        reserved_bytes=tuple(reserved),
        active_bytes=tuple(active),
        out_of_memory=problem,
        out_of_memory_at=at,
    )


def predict_reserved(lives: Iterable[Life], settings: AllocatorSettings | None = None, *, capacity_bytes: int | None = None) -> Replay:
    """What the allocator would reserve for tensors that live as a profile says.

    Args:
        lives: `MemoryProfile.lives`, best of a profile for "cuda".
        settings: Settings of the allocator; default: torch's.
        capacity_bytes: Memory of the device, less what the CUDA context takes; None = as much as is asked for.

    Returns:
        `peak_bytes` is the memory to compare with a budget; `out_of_memory` says where the budget was not enough.

    Raises:
        AllocatorError: A life ends before it begins.
    """
    return replay(requests_from_lives(lives), settings, capacity_bytes=capacity_bytes)


def requests_from_lives(lives: Iterable[Life], *, stream: int = 0) -> list[Request]:
    """Requests of tensors that are allocated and released at given ticks, such as `MemoryProfile.lives`.

    At one tick releases come after allocations, so that an operator's output does not take its input's place.

    Raises:
        AllocatorError: A life ends before it begins.
    """
    events = []
    for number, life in enumerate(lives):
        if life.died is not None and life.died < life.born:
            raise AllocatorError(f"life {number} ends at tick {life.died}, before it begins at {life.born}")
        events.append((life.born, 0, number, Request("alloc", number, life.size_bytes, stream, frames=_made_by(life))))
        if life.died is not None:
            events.append((life.died, 1, number, Request("free", number)))
    return [request for *_, request in sorted(events, key=lambda event: event[:3])]


def requests_from_snapshot(snapshot: MemorySnapshot, device: int = 0) -> list[Request]:
    """Requests that the history of one device shows; what was there before it began is asked for first.

    A history keeps only the newest entries, so some blocks were allocated before its first one: those that are freed
    in it without an allocation, and those that are still there. What the program gave back with `empty_cache` does
    not show in it, nor do blocks that came and went before. A request that was refused is made, and given back at once.

    Raises:
        AllocatorError: There is no history of the device.
    """
    trace = snapshot.trace(device)
    if not any(event.action == "alloc" for event in trace):
        raise AllocatorError(
            f"the snapshot has no history of requests on device {device}; call torch.cuda.memory._record_memory_history("
            'stacks="python") before the part of the program that you want to see'
        )
    before, requests = _walk(trace)
    known = {event.address for event in trace if event.action == "alloc"} | {request.key for request in before}
    old = [
        _first(block.address, block.requested_bytes or block.size_bytes, segment.stream, segment.pool_id, block)
        for segment in snapshot.segments
        if segment.device == device
        for block in segment.blocks
        if block.is_active and block.address not in known
    ]
    return sorted([*before, *old], key=lambda request: str(request.key).zfill(20)) + requests


def _made_by(life: Life) -> tuple[Frame, ...]:
    """What a profile knows of a tensor, as a stack for the memory viewer."""
    operator, module, name = (str(getattr(life, field, "")) for field in ("operator", "module", "name"))
    stack = (Frame(module, 0, operator) if operator else None, Frame(module, 0, name) if name else None)
    return tuple(frame for frame in stack if frame is not None)


def _walk(trace: Sequence[TraceEvent]) -> tuple[list[Request], list[Request]]:
    """Requests for blocks that were there before, and the requests of the history itself."""
    before: list[Request] = []
    requests: list[Request] = []
    held: set[int] = set()
    pending: set[int] = set()
    for event in trace:
        address = event.address
        if event.action == "alloc":
            if address in held or address in pending:  # its release was left out of the history (skip_actions)
                requests += [Request("wait_free", address), Request("complete", address)]
                pending.discard(address)
            held.add(address)
            requests.append(Request("alloc", address, event.size_bytes, event.stream, event.pool_id, event.frames))
        elif event.action == "oom":
            key = ("refused", len(requests))
            requests += [Request("alloc", key, event.size_bytes, event.stream, event.pool_id, event.frames), Request("free", key)]
        elif event.action in ("free_requested", "free_completed"):
            if address not in held and address not in pending:
                before.append(_first(address, event.size_bytes, event.stream, event.pool_id, None))
                held.add(address)
            if event.action == "free_requested":
                held.discard(address)
                pending.add(address)
                requests.append(Request("wait_free", address))
            else:
                if address in held:
                    held.discard(address)
                    requests.append(Request("wait_free", address))
                pending.discard(address)
                requests.append(Request("complete", address))
    return before, requests


def _first(address: int, size: int, stream: int, pool: PoolId, block: SnapshotBlock | None) -> Request:
    return Request("alloc", address, size, stream, pool, () if block is None else block.frames)


def _serve(allocator: AllocatorSimulator, request: Request) -> None:
    match request.action:
        case "alloc":
            allocator.alloc(request.key, request.size_bytes, stream=request.stream, pool=request.pool, frames=request.frames)
        case "free":
            allocator.free(request.key)
        case "wait_free":
            allocator.free(request.key, wait=True)
        case "complete":
            allocator.complete(request.key)
        case "record_stream":
            allocator.record_stream(request.key, request.stream)
        case "synchronize":
            allocator.synchronize()
        case "empty_cache":
            allocator.empty_cache()
        case _:
            raise AllocatorError(f"unknown request {request.action!r}")
