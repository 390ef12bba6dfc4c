"""What could be changed about the allocator, and what each change is worth: history replayed under other settings.

Every piece of advice rests on a number that was computed from the snapshot. Where there is no history to replay,
only what the state itself shows is said, and that the gain is not known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from gpu_optimizer.profiling.allocator_settings import DIVISION_INTERVALS, MIB, AllocatorSettings
from gpu_optimizer.profiling.fragmentation import PoolUse, mib_text, responsible_line, snapshot_settings
from gpu_optimizer.profiling.fragmentation_history import known_capacity, recorded_peak
from gpu_optimizer.profiling.replay import Replay, Request, replay, requests_from_snapshot
from gpu_optimizer.profiling.snapshots import MemorySnapshot, TraceEvent

T = TypeVar("T")

REPLAY_LIMIT = 100_000
"""Newest requests that are replayed; a second or two per setting."""
_WORTH_BYTES = 16 * MIB
_WORTH_SHARE = 0.02
_SPLIT_LIMITS_MIB = (64, 128, 256, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to change.

    Args:
        title: What to do.
        setting: What to write into `PYTORCH_ALLOC_CONF`; empty where it is not a setting.
        reason: The evidence, in a sentence with numbers.
        predicted_reserved_bytes: Peak of reserved memory with the change, from the replay; None where none was possible.
        gain_bytes: How much less that is than without; None as above.
        avoided_ooms: How many times less memory runs out in the replay.
    """

    title: str
    setting: str
    reason: str
    predicted_reserved_bytes: int | None = None
    gain_bytes: int | None = None
    avoided_ooms: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCheck:
    """How well the simulator repeats the history, which is what the advice's numbers are worth.

    Args:
        requests: Requests that were replayed.
        predicted_bytes: Peak of reserved memory in the replay under the program's own settings.
        recorded_bytes: Peak of reserved memory in the history itself; None where it shows no segments.
    """

    requests: int
    predicted_bytes: int
    recorded_bytes: int | None


def advise(snapshot: MemorySnapshot, device: int, pools: Sequence[PoolUse]) -> tuple[tuple[Advice, ...], ReplayCheck | None]:
    """What to change, the largest gain first, and how far to trust the numbers."""
    settings = snapshot_settings(snapshot)
    trace = snapshot.trace(device)
    general = [*_churn(trace), *_private_pools(pools), *_waiting(pools)]
    if not any(event.action == "alloc" for event in trace):
        return (*_without_history(settings, pools), *general), None
    newest = _newest(snapshot, device)
    requests = requests_from_snapshot(newest, device)
    trial = _Trial(requests, settings, known_capacity(snapshot, device))
    check = ReplayCheck(requests=len(requests), predicted_bytes=trial.now.peak_bytes, recorded_bytes=recorded_peak(newest, device))
    found = [*_growing(trial), *_rounding(trial), *_collection(trial), *_bucketing(trial)]
    found.sort(key=lambda advice: (-advice.avoided_ooms, -(advice.gain_bytes or 0)))
    return (*found, *general), check


class _Trial:
    """A history that is replayed again and again, and what it reserved under the program's own settings."""

    def __init__(self, requests: Sequence[Request], settings: AllocatorSettings, capacity_bytes: int | None) -> None:
        self.requests, self.settings, self.capacity_bytes = requests, settings, capacity_bytes
        self.now = self.under(settings)

    def under(self, settings: AllocatorSettings, requests: Sequence[Request] | None = None) -> Replay:
        """The history under other settings, or with other requests."""
        return replay(requests or self.requests, settings, capacity_bytes=self.capacity_bytes, stop=False)

    def best(self, choices: Mapping[T, AllocatorSettings]) -> tuple[T, Replay]:
        """The choice that runs out of memory least often, then the one that reserves least."""
        results = {choice: self.under(settings) for choice, settings in choices.items()}
        return min(results.items(), key=lambda item: (item[1].stats.ooms, item[1].peak_bytes))

    def advice(self, title: str, setting: str, reason: str, after: Replay) -> Iterator[Advice]:
        """The advice, if it is worth giving."""
        avoided = self.now.stats.ooms - after.stats.ooms
        gain = self.now.peak_bytes - after.peak_bytes
        if avoided > 0:
            reason = f"memory runs out {after.stats.ooms} instead of {self.now.stats.ooms} times in the replay. {reason}"
        if avoided > 0 or (avoided == 0 and gain >= max(_WORTH_BYTES, _WORTH_SHARE * self.now.peak_bytes)):
            yield Advice(
                title=title,
                setting=setting,
                reason=reason,
                predicted_reserved_bytes=after.peak_bytes,
                gain_bytes=gain,
                avoided_ooms=avoided,
            )

    def change(self, after: Replay) -> str:
        """Peaks with and without, in words."""
        return f"{mib_text(after.peak_bytes)} instead of {mib_text(self.now.peak_bytes)} are reserved at the peak"


def _growing(trial: _Trial) -> Iterator[Advice]:
    """Segments that grow, or else large blocks that are not split."""
    settings = trial.settings
    if settings.expandable_segments:
        return
    after = trial.under(settings.with_(expandable_segments=True))
    reason = f"with segments that grow, {trial.change(after)}; tensors then cannot be shared between processes"
    yield from trial.advice("Let segments grow", "expandable_segments:True", reason, after)
    if settings.max_split_bytes is None:
        limit, after = trial.best({limit: settings.with_(max_split_bytes=limit * MIB) for limit in _SPLIT_LIMITS_MIB})
        tried = ", ".join(map(str, _SPLIT_LIMITS_MIB))
        reason = f"of limits of {tried} MiB this does best: {trial.change(after)}; no use together with segments that grow"
        yield from trial.advice("Do not split large blocks", f"max_split_size_mb:{limit}", reason, after)


def _rounding(trial: _Trial) -> Iterator[Advice]:
    """Similar sizes that share blocks."""
    if any(steps > 1 for steps in trial.settings.roundup_power2_divisions):
        return
    choices = {steps: trial.settings.with_(roundup_power2_divisions=(steps,) * DIVISION_INTERVALS) for steps in (4, 8)}
    steps, after = trial.best(choices)
    reason = f"similar sizes then share blocks: {trial.change(after)}, although single tensors take up to 1/{steps} more"
    yield from trial.advice("Round requests up to steps between powers of two", f"roundup_power2_divisions:{steps}", reason, after)


def _collection(trial: _Trial) -> Iterator[Advice]:
    """Giving back old segments early: worth something where the cache holds what is not used again."""
    if trial.settings.garbage_collection_threshold or trial.settings.expandable_segments:
        return
    capacity = trial.capacity_bytes or max(trial.now.peak_bytes, 1)
    changed = trial.settings.with_(garbage_collection_threshold=0.8, memory_fraction=1.0)
    after = replay(trial.requests, changed, capacity_bytes=capacity, stop=False)
    reason = (
        f"with {mib_text(capacity)} allowed, segments that lie idle are returned early: {trial.change(after)}. It only works with "
        "torch.cuda.set_per_process_memory_fraction, and every return waits for the device"
    )
    yield from trial.advice("Give unused segments back before taking new ones", "garbage_collection_threshold:0.8", reason, after)


def _bucketing(trial: _Trial) -> Iterator[Advice]:
    """Lines that ask for many different large sizes: what padding their shapes to few sizes would do."""
    sizes: dict[str, Counter[int]] = defaultdict(Counter)
    lines: dict[int, str] = {}
    for number, request in enumerate(trial.requests):
        if request.action == "alloc" and request.size_bytes > trial.settings.small_limit_bytes and request.frames:
            lines[number] = responsible_line(request.frames)
            sizes[lines[number]][request.size_bytes] += 1
    varying = {where: counts for where, counts in sizes.items() if len(counts) >= 4 and counts.total() >= 8}
    if not varying:
        return
    padded = trial.settings.with_(roundup_power2_divisions=(8,) * DIVISION_INTERVALS)
    bucketed = [
        request._replace(size_bytes=padded.round_size(request.size_bytes)) if lines.get(number) in varying else request
        for number, request in enumerate(trial.requests)
    ]
    after = trial.under(trial.settings, bucketed)
    where, counts = max(varying.items(), key=lambda item: sum(size * count for size, count in item[1].items()))
    reason = (
        f"{len(varying)} lines ask for ever different sizes, such as {where}: {len(counts)} sizes from {mib_text(min(counts))} to "
        f"{mib_text(max(counts))}. Padded to eighths between powers of two, {trial.change(after)}"
    )
    yield from trial.advice("Pad inputs to a few fixed shapes", "", reason, after)


def _churn(trace: Sequence[TraceEvent]) -> Iterator[Advice]:
    """Segments that were given back and soon taken again, without memory having run out."""
    if any(event.action == "oom" for event in trace):
        return
    returned: Counter[tuple[int, int]] = Counter()
    again = amount = 0
    for event in trace:
        if event.action == "segment_free":
            returned[event.size_bytes, event.stream] += 1
        elif event.action == "segment_alloc" and returned[event.size_bytes, event.stream]:
            returned[event.size_bytes, event.stream] -= 1
            again += 1
            amount += event.size_bytes
    if again >= 10:
        yield Advice(
            title="Do not empty the cache in a loop",
            setting="",
            reason=f"{again} segments ({mib_text(amount)} in all) were given back and taken again at the same size although memory "
            "never ran out. torch.cuda.empty_cache() makes the device wait each time and frees nothing that a tensor of this process could "
            "not use",
        )


def _private_pools(pools: Sequence[PoolUse]) -> Iterator[Advice]:
    private = [pool for pool in pools if pool.pool_id != (0, 0)]
    free = sum(pool.free_bytes for pool in private)
    reserved = sum(pool.reserved_bytes for pool in private)
    if free >= max(_WORTH_BYTES, 0.2 * reserved):
        yield Advice(
            title="Let CUDA graphs share one pool",
            setting="",
            reason=f"private pools hold {mib_text(reserved)}, of which {mib_text(free)} are free but closed to everything else; pass one "
            "torch.cuda.graph_pool_handle() to all captures, largest first",
        )


def _waiting(pools: Sequence[PoolUse]) -> Iterator[Advice]:
    waiting = sum(pool.active_bytes - pool.allocated_bytes for pool in pools)
    if waiting >= _WORTH_BYTES:
        yield Advice(
            title="Release what other streams use by events",
            setting="",
            reason=f"{mib_text(waiting)} are freed but wait for a stream named with Tensor.record_stream; hold the tensor until an event "
            "of that stream has passed instead, then it is reused at once",
        )


def _without_history(settings: AllocatorSettings, pools: Sequence[PoolUse]) -> Iterator[Advice]:
    split = sum(pool.inactive_split_bytes for pool in pools)
    reserved = sum(pool.reserved_bytes for pool in pools)
    if not settings.expandable_segments and split >= max(_WORTH_BYTES, 0.1 * reserved):
        yield Advice(
            title="Let segments grow",
            setting="expandable_segments:True",
            reason=f"{mib_text(split)} of {mib_text(reserved)} are free beside blocks in use and cannot be returned. The snapshot has no "
            "history, so what this would save is not known; record one with gpu_optimizer.profiling.record_history()",
        )


def _newest(snapshot: MemorySnapshot, device: int) -> MemorySnapshot:
    """The same snapshot with at most `REPLAY_LIMIT` entries of history."""
    trace = snapshot.trace(device)
    if len(trace) <= REPLAY_LIMIT:
        return snapshot
    traces = tuple(part[-REPLAY_LIMIT:] if number == device else part for number, part in enumerate(snapshot.traces))
    return MemorySnapshot(segments=snapshot.segments, traces=traces, settings=snapshot.settings)
