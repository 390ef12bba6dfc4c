"""How far a running analysis is, how fast it goes and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_WINDOW_S = 15.0
_LEAST_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class JobProgress:
    """A look at a running analysis.

    Args:
        frames: Frames measured.
        total: Frames expected; None when unknown.
        frames_per_second: Over the last 15 s; None until there is something to go by.
        time_left_s: At that pace, seconds; None when unknown.
        repetitions: Completed so far, everybody's.
        people: People in the newest frame.
    """

    frames: int = 0
    total: int | None = None
    frames_per_second: float | None = None
    time_left_s: float | None = None
    repetitions: int = 0
    people: int = 0


class ProgressMeter:
    """Turns the messages of a measuring process into progress.

    Args:
        clock: Seconds that only grow.

    Example:
        >>> times = iter([0.0, 1.0])
        >>> meter = ProgressMeter(clock=lambda: next(times))
        >>> for frames in (0, 20):
        ...     meter.note({"stage": "measuring", "frames": frames, "total": 100, "repetitions": 0, "people": 1})
        >>> meter.progress.frames_per_second, meter.progress.time_left_s
        (20.0, 4.0)
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self.progress = JobProgress()

    def note(self, message: Mapping[str, Any]) -> None:
        """Take in a progress message; one of another stage changes nothing."""
        if message.get("stage") != "measuring":
            return
        now_s, frames = self._clock(), int(message["frames"])
        self._seen.append((now_s, frames))
        while now_s - self._seen[0][0] > _WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()
        then_s, before = self._seen[0]
        rate = (frames - before) / (now_s - then_s) if now_s - then_s >= _LEAST_S and frames > before else None
        total = message.get("total")
        # A header may have announced too little; what is beyond it is not known then.
        total = None if total is None or frames > int(total) else int(total)
        self.progress = JobProgress(
            frames=frames,
            total=total,
            frames_per_second=None if rate is None else round(rate, 2),
            time_left_s=None if rate is None or total is None else round((total - frames) / rate, 1),
            repetitions=int(message["repetitions"]),
            people=int(message["people"]),
        )
