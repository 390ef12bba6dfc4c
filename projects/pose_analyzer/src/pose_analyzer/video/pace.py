"""The wall clock of playback, and how it holds recordings back to a natural pace."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

from pose_analyzer.errors import SourceError


class Clock(Protocol):
    """Time outside the media; tests put in one that they turn by hand."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never runs backwards."""
        ...

    def utc(self) -> datetime:
        """Now, timezone-aware."""
        ...

    def wait(self, seconds: float, interrupt: threading.Event) -> None:
        """Sleep, but wake as soon as `interrupt` is set."""
        ...


class SystemClock:
    """The computer's own clock.

    Example:
        >>> clock = SystemClock()
        >>> clock.monotonic_s() <= clock.monotonic_s()
        True
    """

    def monotonic_s(self) -> float:
        """Seconds on a clock that never runs backwards."""
        return time.monotonic()

    def utc(self) -> datetime:
        """Now, timezone-aware."""
        return datetime.now(UTC)

    def wait(self, seconds: float, interrupt: threading.Event) -> None:
        """Sleep, but wake as soon as `interrupt` is set."""
        interrupt.wait(seconds)


class Pacer:
    """Holds pictures back until their moment.

    The first picture anchors the media clock to the wall clock; each further one waits for its distance in media time
    divided by `rate`. Who is late does not wait, and catches up; nothing is dropped.

    Args:
        rate: Media seconds per wall second: 1.0 is natural, 2.0 twice as fast.
        clock: The wall clock.
        interrupt: Set when playback is closed; ends every wait.

    Raises:
        SourceError: `rate` is not a positive number.
    """

    def __init__(self, rate: float, clock: Clock, interrupt: threading.Event) -> None:
        if not 0 < rate < float("inf"):
            raise SourceError(f"pace must be a positive number (1.0 = natural, 2.0 = twice as fast) or None, got {rate}")
        self._rate = rate
        self._clock = clock
        self._interrupt = interrupt
        self._anchor: tuple[float, float] | None = None

    def restart(self) -> None:
        """The next picture anchors anew, as after a jump."""
        self._anchor = None

    def hold(self, timestamp_s: float) -> None:
        """Wait until a picture of this media time is due."""
        now_s = self._clock.monotonic_s()
        if self._anchor is None:
            self._anchor = (timestamp_s, now_s)
        due_s = self._anchor[1] + (timestamp_s - self._anchor[0]) / self._rate
        if due_s > now_s:
            self._clock.wait(due_s - now_s, self._interrupt)
