"""Playback of a recording: range, stride, pace and loop on top of any reader."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from types import TracebackType
from typing import Self

from pose_analyzer.errors import SourceError
from pose_analyzer.video.info import SourceInfo, TimingReport
from pose_analyzer.video.pace import Clock, Pacer, SystemClock
from pose_analyzer.video.reading import TIME_TOLERANCE_S, Reader
from shared_utils.data_models import Frame


class RecordedSource:
    """Frames of a recording: every one of them, in order, none dropped.

    Args:
        reader: The recording; it is closed with this source.
        stream_id: The id that every frame carries.
        stride: Deliver the frames whose number is a multiple of it, with their true number and time; the same ones
            wherever playback starts.
        start_s: First time to deliver, seconds; None is the beginning.
        end_s: First time not to deliver, seconds; None is the end.
        pace: None as fast as possible, 1.0 natural, N times as fast.
        loop: Begin again at `start_s` for ever; numbers and times keep rising, by the length of the range each time.
        clock: The wall clock that `pace` waits by.

    Raises:
        SourceError: An argument is out of range.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        stream_id: str,
        stride: int = 1,
        start_s: float | None = None,
        end_s: float | None = None,
        pace: float | None = None,
        loop: bool = False,
        clock: Clock | None = None,
    ) -> None:
        check_range(stride, start_s, end_s)
        self.stream_id = stream_id
        self._reader = reader
        self._stride = stride
        self._start_s = start_s or 0.0
        self._end_s = math.inf if end_s is None else end_s
        self._loop = loop
        self._closed = threading.Event()
        self._lock = threading.RLock()
        self._pacer = None if pace is None else Pacer(pace, clock or SystemClock(), self._closed)
        self._frames = self._play(self._start_s)

    @property
    def info(self) -> SourceInfo:
        """What is known of the recording."""
        return self._reader.info

    @property
    def damage(self) -> str | None:
        """Why it ended early or lost pictures; complete once it was read to its end."""
        return self._reader.damage

    @property
    def dropped(self) -> int:
        """Always 0: a recording waits."""
        return 0

    @property
    def timing(self) -> TimingReport:
        """Repairs to the recording's own times in the current pass."""
        return self._reader.timing

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        with self._lock:
            if self._closed.is_set():
                raise StopIteration
            try:
                return next(self._frames)
            finally:
                if self._closed.is_set():
                    self._frames.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def seek(self, timestamp_s: float) -> None:
        """Continue at the first frame whose time is not before `timestamp_s`, exactly.

        Args:
            timestamp_s: Media clock, seconds, within the recording; beyond its end nothing follows.

        Raises:
            SourceError: The time is negative or not finite, or the source is closed.
        """
        if not (math.isfinite(timestamp_s) and timestamp_s >= 0):
            raise SourceError(f"seek needs a time of 0 s or later, got {timestamp_s}")
        with self._lock:
            if self._closed.is_set():
                raise SourceError(f"{self.info.name}: the source is closed; open it again")
            self._frames.close()
            if self._pacer is not None:
                self._pacer.restart()
            self._frames = self._play(timestamp_s)

    def close(self) -> None:
        """Release the recording; ends a wait for the next frame's moment at once."""
        self._closed.set()
        with self._lock:
            # A signal handler may call this in the middle of a frame of the same thread; the file is let go of after it.
            with suppress(ValueError):
                self._frames.close()
            self._reader.close()

    def _play(self, from_s: float) -> Generator[Frame]:
        index_shift, time_shift_s = 0, 0.0
        next_index, next_s = None, None
        while True:
            delivered = 0
            fresh = True
            with closing(self._reader.pictures(from_s)) as pictures:
                for picture in pictures:
                    if picture.timestamp_s >= self._end_s - TIME_TOLERANCE_S or self._closed.is_set():
                        break
                    if fresh and next_index is not None and next_s is not None:
                        index_shift, time_shift_s = next_index - picture.index, next_s - picture.timestamp_s
                    fresh = False
                    timestamp_s = picture.timestamp_s + time_shift_s
                    next_index, next_s = picture.index + index_shift + 1, timestamp_s + picture.duration_s
                    if picture.index % self._stride:
                        continue
                    image = picture.rgb()
                    if image is None:
                        continue
                    frame = Frame(image, index=picture.index + index_shift, timestamp_s=timestamp_s, stream_id=self.stream_id)
                    if self._pacer is not None:
                        self._pacer.hold(timestamp_s)
                    delivered += 1
                    yield frame
            # A range without a frame would be walked through for ever.
            if not self._loop or not delivered or self._closed.is_set():
                return
            from_s = self._start_s


def check_range(stride: int, start_s: float | None, end_s: float | None) -> None:
    """Make sure that stride and range make sense.

    Raises:
        SourceError: Stride below 1, a negative time, or an end that is not after the start.
    """
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise SourceError(f"stride must be a whole number of 1 or more, got {stride!r}")
    for name, value in (("start_s", start_s), ("end_s", end_s)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise SourceError(f"{name} must be 0 s or later, got {value}")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise SourceError(f"end_s ({end_s}) must lie after start_s ({start_s or 0.0})")
