"""Live sources: a capture thread that never waits for its reader, and comes back when the camera does.

The thread reads and decodes; the newest frames stand in a short queue whose oldest is dropped (and counted) when nobody
fetches it in time. When the camera is lost, the thread says so, waits (longer each time, with chance in it, so that fifty
cameras behind one failed switch do not return in one burst) and connects again; the media clock measures the gap.
"""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import SourceError
from pose_analyzer.video.container import AV_ERRORS, reason
from pose_analyzer.video.info import SourceInfo, TimingReport
from pose_analyzer.video.pace import Clock, SystemClock
from pose_analyzer.video.recorded import check_range
from pose_analyzer.video.timing import LiveClock
from shared_utils.data_models import Event, EventType, Frame

_CLOSE_S = 0.8
_POLL_S = 0.5
_KEPT_EVENTS = 1000


@dataclass(slots=True)
class LivePicture:
    """One picture as it comes from a camera.

    Args:
        pts_s: The camera's own time of it, seconds from any origin; None if it gives none.
        rgb: Gives the (H, W, 3) uint8 RGB array, or None if its pixels are unusable; called in the reader's thread.
    """

    pts_s: float | None
    rgb: Callable[[], NDArray[np.uint8] | None]


class Connection(Protocol):
    """One connection to a camera, good until it breaks."""

    @property
    def info(self) -> SourceInfo:
        """What is known of the stream."""
        ...

    def pictures(self) -> Iterator[LivePicture]:
        """Pictures as they arrive; ends, or raises `SourceError` or `OSError`, when the camera is lost."""
        ...

    def close(self) -> None:
        """Let go of the camera."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How to come back to a lost camera.

    Args:
        first_s: Pause before the first new attempt, seconds.
        factor: Each further pause is this much longer.
        longest_s: No pause is longer, seconds.
        jitter: Each pause is shortened by a random part of up to this share, 0 to 1.
        attempts: Give up after this many failures in a row; None never gives up.

    Raises:
        SourceError: A value is out of range.

    Example:
        >>> [Backoff(first_s=0.5, longest_s=3.0, jitter=0).pause_s(n, 0.0) for n in range(4)]
        [0.5, 1.0, 2.0, 3.0]
    """

    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 30.0
    jitter: float = 0.5
    attempts: int | None = None

    def __post_init__(self) -> None:
        if not (self.first_s >= 0 and self.factor >= 1 and self.longest_s >= self.first_s and 0 <= self.jitter <= 1):
            raise SourceError(f"a back-off needs 0 <= first_s <= longest_s, factor >= 1 and jitter within 0 to 1, got {self}")

    def pause_s(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures in a row; `chance` in 0 to 1 is the throw of the dice."""
        # Past 2**60 the power is beyond every limit, and would overflow in the end.
        full_s = min(self.first_s * self.factor ** min(failures, 60), self.longest_s)
        return full_s * (1 - self.jitter * chance)


@dataclass(slots=True)
class _Waiting:
    """A captured picture with its times."""

    index: int
    timestamp_s: float
    wall_time: datetime
    picture: LivePicture


@dataclass(slots=True)
class DropOldestQueue:
    """A bounded queue that never blocks its writer.

    Args:
        size: How many items it holds; one more pushes out the oldest.

    Example:
        >>> queue = DropOldestQueue(2)
        >>> for item in "abc":
        ...     queue.put(item)
        >>> queue.get(), queue.dropped
        ('b', 1)
    """

    size: int
    dropped: int = 0
    _items: deque = field(default_factory=deque)
    _ready: threading.Condition = field(default_factory=threading.Condition)
    _ended: bool = False

    def put(self, item: object) -> None:
        """Add an item; drops the oldest when full."""
        with self._ready:
            if len(self._items) >= self.size:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._ready.notify()

    def get(self) -> object | None:
        """The oldest item; waits for one; None when the queue has ended and is empty."""
        with self._ready:
            while not self._items and not self._ended:
                # A bounded wait, so that Ctrl-C gets through on every platform.
                self._ready.wait(_POLL_S)
            return self._items.popleft() if self._items else None

    def end(self, *, discard: bool = False) -> None:
        """Nothing more will come; with `discard`, forget what waits."""
        with self._ready:
            self._ended = True
            if discard:
                self._items.clear()
            self._ready.notify_all()


class LiveSource:
    """Frames of a camera: the newest ones, in order.

    `timestamp_s` starts at 0 with the first frame and follows the camera's own clock while that is believable, else the
    time of arrival (see `LiveClock`); `wall_time` is the arrival in UTC by this computer's clock.

    Args:
        connection: The first connection, made already, so that a wrong address is an error at once.
        reconnect: Makes a further connection; raises `SourceError` while the camera is away.
        stream_id: The id that frames and events carry.
        shown: How messages call the camera; without credentials.
        stride: Deliver every so many-th captured frame.
        end_s: Stop at this media time, seconds; None runs until closed.
        queue_size: Frames that may wait for the reader.
        backoff: How to come back to a lost camera.
        on_event: Called for `stream_lost` and `stream_resumed`, in the capture thread; must be quick.
        clock: The wall clock.

    Raises:
        SourceError: An argument is out of range.
    """

    def __init__(
        self,
        connection: Connection,
        reconnect: Callable[[], Connection],
        *,
        stream_id: str,
        shown: str,
        stride: int = 1,
        end_s: float | None = None,
        queue_size: int = 2,
        backoff: Backoff | None = None,
        on_event: Callable[[Event], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_range(stride, None, end_s)
        if queue_size < 1:
            raise SourceError(f"queue_size must be 1 or more, got {queue_size}")
        self.info = connection.info
        self.stream_id = stream_id
        self.damage: str | None = None
        self._shown = shown
        self._stride = stride
        self._end_s = math.inf if end_s is None else end_s
        self._reconnect = reconnect
        self._backoff = backoff or Backoff()
        self._on_event = on_event
        self._clock = clock or SystemClock()
        self._media = LiveClock()
        self._queue = DropOldestQueue(queue_size)
        self._events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._closed = threading.Event()
        self._failure: BaseException | None = None
        self._next_index = 0
        self._lost: tuple[float, int] | None = None
        self._thread = threading.Thread(target=self._capture, args=(connection,), name=f"capture {stream_id}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Captured frames that nobody fetched in time."""
        return self._queue.dropped

    @property
    def timing(self) -> TimingReport:
        """How often the camera's own times could not be used."""
        return self._media.report

    def events(self) -> list[Event]:
        """`stream_lost` and `stream_resumed` since the last call; the newest thousand are kept."""
        found = []
        while self._events:
            found.append(self._events.popleft())
        return found

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        while True:
            waiting = self._queue.get()
            if self._failure is not None:
                raise self._failure
            if not isinstance(waiting, _Waiting):
                raise StopIteration
            image = waiting.picture.rgb()
            if image is not None:
                return Frame(image, waiting.index, waiting.timestamp_s, waiting.wall_time, self.stream_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def seek(self, timestamp_s: float) -> None:
        """A camera cannot be sought.

        Raises:
            SourceError: Always.
        """
        raise SourceError(f"{self._shown}: is live and cannot jump to {timestamp_s} s; record it first")

    def close(self) -> None:
        """Stop within a second, even when the camera hangs.

        A thread that is stuck in a read is left behind; it ends, and lets go of the camera, when the read times out.
        """
        self._closed.set()
        self._queue.end(discard=True)
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_S)

    def _capture(self, connection: Connection | None) -> None:
        try:
            while connection is not None:
                lost = self._receive(connection)
                if lost is None:
                    break
                self._say_lost(lost)
                connection = self._come_back()
        except BaseException as error:  # noqa: BLE001 - handed to the reader's thread, which raises it
            self._failure = error
        finally:
            self._queue.end()

    def _receive(self, connection: Connection) -> str | None:
        """Take pictures until the connection breaks; why it broke, or None when no more are wanted."""
        try:
            for picture in connection.pictures():
                if self._closed.is_set() or not self._accept(picture):
                    return None
        except (SourceError, *AV_ERRORS) as error:
            return str(error) if isinstance(error, SourceError) else reason(error)
        finally:
            connection.close()
        return "the camera ended the stream"

    def _accept(self, picture: LivePicture) -> bool:
        """Stamp a picture and hand it on; False once the end is reached."""
        before_s = self._media.last_s
        timestamp_s = self._media.stamp(picture.pts_s, self._clock.monotonic_s())
        if timestamp_s >= self._end_s:
            return False
        if self._lost is not None:
            self._say_resumed(before_s or 0.0, timestamp_s)
        index = self._next_index
        self._next_index += 1
        if index % self._stride == 0:
            self._queue.put(_Waiting(index, timestamp_s, self._clock.utc(), picture))
        return True

    def _come_back(self) -> Connection | None:
        """Connect anew, however long it takes; None when closed or out of attempts."""
        limit = self._backoff.attempts
        failures, why = 0, "not tried"
        while limit is None or failures < limit:
            self._clock.wait(self._backoff.pause_s(failures, random.random()), self._closed)
            if self._closed.is_set():
                return None
            try:
                connection = self._reconnect()
            except (SourceError, *AV_ERRORS) as error:
                failures += 1
                why = str(error) if isinstance(error, SourceError) else reason(error)
                continue
            self._media.reconnect()
            self._lost = (self._lost[0] if self._lost else 0.0, failures + 1)
            return connection
        self.damage = f"{self._shown}: lost after {self._media.last_s or 0.0:.2f} s and not back after {failures} attempts ({why})"
        return None

    def _say_lost(self, why: str) -> None:
        at_s = self._media.last_s or 0.0
        self._lost = (at_s, 0)
        self._tell(
            Event(EventType.STREAM_LOST, self.stream_id, -1, at_s, at_s, message=f"{self._shown} was lost: {why}", data={"reason": why})
        )

    def _say_resumed(self, last_s: float, now_s: float) -> None:
        attempts = self._lost[1] if self._lost else 0
        self._lost = None
        gap_s = now_s - last_s
        self._tell(
            Event(
                EventType.STREAM_RESUMED,
                self.stream_id,
                -1,
                last_s,
                now_s,
                value=gap_s,
                unit="s",
                message=f"{self._shown} is back after {gap_s:.1f} s",
                data={"attempts": attempts},
            )
        )

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        if self._on_event is not None:
            self._on_event(event)
