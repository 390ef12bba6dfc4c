"""Settings of torch's caching allocator as the environment variable `PYTORCH_ALLOC_CONF` gives them, and its arithmetic.

A string such as `"expandable_segments:True,max_split_size_mb:128"` goes in; sizes of blocks and segments
come out. Constants are those of c10/core/AllocatorConfig.h (torch 2.13), rules those of
c10/cuda/CUDACachingAllocator.cpp.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from gpu_optimizer.errors import AllocatorError

MIB = 2**20
DIVISION_INTERVALS = 16
"""Powers of two from 1 MiB up for which `roundup_power2_divisions` can differ."""

_KEYS = frozenset(
    {
        "expandable_segments",
        "garbage_collection_threshold",
        "large_segment_size_mb",
        "max_non_split_rounding_mb",
        "max_split_size_mb",
        "per_process_memory_fraction",
        "roundup_power2_divisions",
    }
)
_IGNORED = frozenset(
    {
        "backend",
        "graph_capture_record_stream_reuse",
        "pinned_free_catch_all",
        "pinned_max_cached_size_mb",
        "pinned_max_round_threshold_mb",
        "pinned_num_register_threads",
        "pinned_reserve_segment_size_mb",
        "pinned_use_background_threads",
        "pinned_use_cuda_host_register",
        "pinned_use_hip_host_register",
        "release_lock_on_cudamalloc",
        "release_lock_on_hipmalloc",
        "throw_on_cudamalloc_oom",
    }
)
"""Settings that change timing, host memory or messages, not which device memory is reserved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorSettings:
    """What decides how much memory the allocator takes for a request.

    Args:
        min_block_bytes: Every request is rounded up to a multiple of this.
        small_limit_bytes: Requests up to this size (rounded) come from the small pool.
        small_segment_bytes: What the small pool takes from the driver at a time.
        large_limit_bytes: Requests above the small limit and below this take a whole large segment and split it.
        large_segment_bytes: Size of that segment (`large_segment_size_mb`).
        round_large_bytes: Segments for larger requests are rounded up to a multiple of this.
        max_split_bytes: Blocks of this size or more are never split (`max_split_size_mb`); None = no limit.
        max_non_split_rounding_bytes: A request at or above `max_split_bytes` takes a block at most this much larger.
        roundup_power2_divisions: Steps between two powers of two to which requests are rounded, for 1, 2, 4 ... MiB
            and above (`roundup_power2_divisions`); 0 or 1 = no such rounding.
        garbage_collection_threshold: Share of the allowed memory above which unused segments are given back before a
            new one is taken. Without a memory fraction the allocator ignores it.
        memory_fraction: Share of the device's memory that the process may reserve
            (`torch.cuda.set_per_process_memory_fraction`, `per_process_memory_fraction`); None = all, unchecked.
        expandable_segments: One growing segment per pool and stream instead of one segment per request.

    Example:
        >>> settings = AllocatorSettings.parse("expandable_segments:True,roundup_power2_divisions:4")
        >>> settings.round_size(1200), settings.expandable_segments  # 1200 <= 4 * 512: only rounded to 512
        (1536, True)
        >>> settings.round_size(5 * 2**20 + 1) / 2**20  # between 4 and 8 MiB in steps of 1 MiB
        6.0
    """

    min_block_bytes: int = 512
    small_limit_bytes: int = MIB
    small_segment_bytes: int = 2 * MIB
    large_limit_bytes: int = 10 * MIB
    large_segment_bytes: int = 20 * MIB
    round_large_bytes: int = 2 * MIB
    max_split_bytes: int | None = None
    max_non_split_rounding_bytes: int = 20 * MIB
    roundup_power2_divisions: tuple[int, ...] = (0,) * DIVISION_INTERVALS
    garbage_collection_threshold: float = 0.0
    memory_fraction: float | None = None
    expandable_segments: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_bytes") and value is not None and (type(value) is not int or value < 1):
                raise AllocatorError(f"{field.name}: expected a number of bytes of at least 1, got {value!r}")
        small = self.small_limit_bytes, self.small_segment_bytes, self.large_limit_bytes, self.large_segment_bytes
        if not small[0] <= small[1] or not small[2] <= small[3]:
            raise AllocatorError("a segment must hold the largest request that takes it: raise small_ or large_segment_bytes")
        if self.max_split_bytes is not None and self.max_split_bytes < self.large_segment_bytes:
            raise AllocatorError(
                f"max_split_bytes: expected at least the large segment's {self.large_segment_bytes} bytes, got {self.max_split_bytes}"
            )
        if len(self.roundup_power2_divisions) != DIVISION_INTERVALS:
            raise AllocatorError(f"roundup_power2_divisions: expected {DIVISION_INTERVALS} numbers, one per power of two from 1 MiB")
        if any(steps and not _power_of_two(steps) for steps in self.roundup_power2_divisions):
            raise AllocatorError(f"roundup_power2_divisions: expected powers of two or 0, got {self.roundup_power2_divisions}")
        if not 0 <= self.garbage_collection_threshold < 1:
            raise AllocatorError(f"garbage_collection_threshold: expected 0 or a share below 1, got {self.garbage_collection_threshold}")
        if self.memory_fraction is not None and not 0 < self.memory_fraction <= 1:
            raise AllocatorError(f"memory_fraction: expected a share above 0 and at most 1, got {self.memory_fraction}")

    @classmethod
    def parse(cls, text: str, *, unknown: Literal["refuse", "ignore"] = "refuse") -> AllocatorSettings:
        """Settings from the text of `PYTORCH_ALLOC_CONF`; what does not change reserved device memory is passed over.

        Args:
            text: Keys and values as torch reads them.
            unknown: What happens to a key that is not known here; files of a newer torch may have one.

        Raises:
            AllocatorError: A key is not known or its value not possible; the text names both.
        """
        changes: dict[str, Any] = {}
        rest = re.sub(r"\s+", "", text)
        while rest:
            match = re.match(r"([^:,]+):(\[[^\]]*\]|[^,\[\]]+)(,|$)", rest)
            if match is None:
                raise AllocatorError(f"cannot read {rest!r} in the allocator settings; expected key:value,key:[a:b,c:d]")
            if match[1] in _KEYS or unknown == "refuse":
                changes.update(_setting(match[1], match[2]))
            rest = rest[match.end() :]
        return cls(**changes)

    def with_(self, **changes: Any) -> AllocatorSettings:
        """The same settings with some changed."""
        return replace(self, **changes)

    @property
    def text(self) -> str:
        """What to write into `PYTORCH_ALLOC_CONF`; empty for the defaults."""
        parts = []
        default = AllocatorSettings()
        if self.expandable_segments:
            parts.append("expandable_segments:True")
        if self.max_split_bytes is not None:
            parts.append(f"max_split_size_mb:{self.max_split_bytes // MIB}")
        if self.garbage_collection_threshold:
            parts.append(f"garbage_collection_threshold:{self.garbage_collection_threshold:g}")
        if any(steps > 1 for steps in self.roundup_power2_divisions):
            parts.append(f"roundup_power2_divisions:{_divisions_text(self.roundup_power2_divisions)}")
        if self.large_segment_bytes != default.large_segment_bytes:
            parts.append(f"large_segment_size_mb:{self.large_segment_bytes // MIB}")
        if self.max_non_split_rounding_bytes != default.max_non_split_rounding_bytes:
            parts.append(f"max_non_split_rounding_mb:{self.max_non_split_rounding_bytes // MIB}")
        if self.memory_fraction is not None:
            parts.append(f"per_process_memory_fraction:{self.memory_fraction:g}")
        return ",".join(parts)

    def round_size(self, size: int) -> int:
        """Size of the block for a request of `size` bytes."""
        unit = self.min_block_bytes
        if size < unit:
            return unit
        interval = min(max(size.bit_length() - 1 - 20, 0), DIVISION_INTERVALS - 1)
        steps = self.roundup_power2_divisions[interval]
        if steps > 1 and size > unit * steps:
            return _next_division(size, steps)
        return -(-size // unit) * unit

    def is_small(self, rounded: int) -> bool:
        """Whether a rounded request comes from the small pool."""
        return rounded <= self.small_limit_bytes

    def segment_size(self, rounded: int) -> int:
        """What is asked of the driver for a rounded request that no cached block serves."""
        if rounded <= self.small_limit_bytes:
            return self.small_segment_bytes
        if rounded < self.large_limit_bytes:
            return self.large_segment_bytes
        return -(-rounded // self.round_large_bytes) * self.round_large_bytes

    def granule(self, *, small: bool) -> int:
        """Piece of memory that an expandable segment grows by."""
        return self.small_segment_bytes if small else self.large_segment_bytes


def _setting(key: str, value: str) -> dict[str, Any]:
    """One key of the text as arguments of `AllocatorSettings`."""
    try:
        if key == "expandable_segments":
            if value not in ("True", "False"):
                raise ValueError("expected True or False")
            return {"expandable_segments": value == "True"}
        if key in ("max_split_size_mb", "large_segment_size_mb", "max_non_split_rounding_mb"):
            name = {
                "max_split_size_mb": "max_split_bytes",
                "large_segment_size_mb": "large_segment_bytes",
                "max_non_split_rounding_mb": "max_non_split_rounding_bytes",
            }[key]
            return {name: int(value) * MIB}
        if key == "garbage_collection_threshold":
            return {"garbage_collection_threshold": float(value)}
        if key == "per_process_memory_fraction":
            return {"memory_fraction": float(value)}
        if key == "roundup_power2_divisions":
            return {"roundup_power2_divisions": _divisions(value)}
    except ValueError as error:
        raise AllocatorError(f"{key}: cannot use {value!r} ({error})") from error
    if key in _IGNORED:
        return {}
    raise AllocatorError(f"unknown allocator setting {key!r}; see PYTORCH_ALLOC_CONF in torch's notes on CUDA semantics")


def _divisions(value: str) -> tuple[int, ...]:
    """`"4"` or `"[64:8,256:4,>:1]"` (MiB : steps) as one number per power of two from 1 MiB."""
    if not value.startswith("["):
        return (int(value),) * DIVISION_INTERVALS
    steps = [0] * DIVISION_INTERVALS
    last = 0
    for number, pair in enumerate(value.strip("[]").split(",")):
        size, _, count = pair.partition(":")
        if size == ">":
            steps[last + 1 :] = [int(count)] * (DIVISION_INTERVALS - last - 1)
            continue
        if not _power_of_two(int(size)):
            raise ValueError(f"{size} is no power of two")
        index = min(int(math.log2(int(size))), DIVISION_INTERVALS - 1)
        if number == 0:
            steps[:index] = [int(count)] * index
        steps[index] = int(count)
        last = index
    return tuple(steps)


def _divisions_text(steps: tuple[int, ...]) -> str:
    if len(set(steps)) == 1:
        return str(steps[0])
    return "[" + ",".join(f"{2**index}:{count}" for index, count in enumerate(steps)) + "]"


def _next_division(size: int, steps: int) -> int:
    """The next of `steps` equal steps between two powers of two."""
    if _power_of_two(size):
        return size
    floor = 1 << (size.bit_length() - 1)
    step = floor >> (steps.bit_length() - 1)
    return floor << 1 if step == 0 else -(-size // step) * step


def _power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
