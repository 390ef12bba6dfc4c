"""Who watches a stream: one slot for the newest frame each, events kept for a while, and limits for what they may send.

A watcher that reads slowly is skipped ahead; it costs neither the stream nor other watchers anything.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pose_analyzer.pipeline.workers.messages import to_json

MAX_EVENTS = 500
_MAX_NOTICES = 50
PREVIEW_WIDTHS = (160, 320, 480, 640, 960, 1280, 1920, 2560, 3840)
"""Widths that previews come in, px; a wish is rounded down, so that a hundred wishes do not cost a hundred encodings."""


@dataclass(frozen=True, slots=True)
class FrameOut:
    """One measured frame on its way to watchers.

    Args:
        number: How many frames were measured up to this one.
        head: The message without its closing brace, and without what differs between watchers.
        captured_s: When it was captured, on the monotonic clock.
        pictures: Width -> JPEG.
        events: What happened at it, JSON each.
    """

    number: int
    head: str
    captured_s: float
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    events: Sequence[str] = ()


class Watcher:
    """One client's view of a stream.

    Args:
        width: Widest picture it wants, px; None: no pictures.
        clock: The monotonic clock.

    Example:
        >>> watcher = Watcher(width=None, clock=lambda: 1.5)
        >>> for number in (1, 2, 5):
        ...     watcher.offer(FrameOut(number, '{"type":"frame"', captured_s=1.0, events=[f'"event {number}"']))
        >>> watcher.take()
        ['{"type":"frame","age_s":0.5,"events":["event 1","event 2","event 5"],"skipped":0,"image":false}']
    """

    def __init__(self, *, width: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.width = None if width is None else max((w for w in PREVIEW_WIDTHS if w <= width), default=PREVIEW_WIDTHS[0])
        self._clock = clock
        self._frame: FrameOut | None = None
        # What was said before the frame that waits, and after it.
        self._before: deque[str] = deque(maxlen=_MAX_NOTICES)
        self._after: deque[str] = deque(maxlen=_MAX_NOTICES)
        self._events: deque[str] = deque()
        self._events_lost = 0
        self._last_number: int | None = None
        self._ready = asyncio.Event()
        self.is_over = False

    def offer(self, frame: FrameOut) -> None:
        """The newest frame; replaces one that was not sent yet, whose events stay."""
        self._before.extend(self._after)
        self._after.clear()
        self._frame = frame
        self._events.extend(frame.events)
        while len(self._events) > MAX_EVENTS:
            self._events.popleft()
            self._events_lost += 1
        self._ready.set()

    def tell(self, text: str) -> None:
        """A message that is not left out, such as a change of state."""
        (self._before if self._frame is None else self._after).append(text)
        self._ready.set()

    def end(self) -> None:
        """Nothing more will come."""
        self.is_over = True
        self._ready.set()

    async def wait(self) -> None:
        """Until there is something to be sent, or it is over."""
        await self._ready.wait()

    def take(self) -> list[str | bytes]:
        """What is to be sent now, in order: texts, and after the text of a frame its picture."""
        out: list[str | bytes] = [*self._before]
        frame, self._frame = self._frame, None
        if frame is not None:
            picture = None if self.width is None else _widest(frame.pictures, self.width)
            out.append(self._complete(frame, has_picture=picture is not None))
            if picture is not None:
                out.append(picture)
            self._last_number = frame.number
        out.extend(self._after)
        self._before.clear()
        self._after.clear()
        if not self.is_over:
            self._ready.clear()
        return out

    def _complete(self, frame: FrameOut, *, has_picture: bool) -> str:
        skipped = 0 if self._last_number is None else max(frame.number - self._last_number - 1, 0)
        age_s = round(max(self._clock() - frame.captured_s, 0.0), 4)
        lost = f',"events_lost":{self._events_lost}' if self._events_lost else ""
        events = ",".join(self._events)
        self._events.clear()
        self._events_lost = 0
        image = "true" if has_picture else "false"
        return f'{frame.head},"age_s":{age_s},"events":[{events}]{lost},"skipped":{skipped},"image":{image}}}'


class TokenBucket:
    """How often something may happen: a rate over time, and a few more at once.

    Args:
        rate_hz: Tokens that come back per second.
        burst_s: How many seconds' worth may be spent at once.
        clock: Seconds that only grow.

    Example:
        >>> now = [0.0]
        >>> bucket = TokenBucket(2.0, burst_s=1.0, clock=lambda: now[0])
        >>> [bucket.take() for _ in range(3)]
        [True, True, False]
        >>> now[0] = 0.5
        >>> bucket.take()
        True
    """

    def __init__(self, rate_hz: float, *, burst_s: float = 3.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_hz, self._clock = rate_hz, clock
        self._most = max(rate_hz * burst_s, 1.0)
        self._tokens, self._last_s = self._most, clock()

    def take(self) -> bool:
        """Spend one; False: there is none."""
        now_s = self._clock()
        self._tokens = min(self._most, self._tokens + (now_s - self._last_s) * self._rate_hz)
        self._last_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def head_of(message: Mapping[str, Any]) -> str:
    """A frame message as JSON, open at its end for what differs between watchers."""
    return to_json(message)[:-1]


def _widest(pictures: Mapping[int, bytes], width: int) -> bytes | None:
    """The widest picture that is not wider than wanted."""
    fitting = [w for w in pictures if w <= width]
    return pictures[max(fitting)] if fitting else None
