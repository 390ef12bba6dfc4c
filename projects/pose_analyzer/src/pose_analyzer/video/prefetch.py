"""Decoding ahead: the next frames of a recording are ready while the last one is being analysed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from pose_analyzer.errors import SourceError
from pose_analyzer.video.info import Source, SourceInfo, TimingReport
from shared_utils.data_models import Frame

_POLL_S = 0.05


class _Ahead:
    """One run of the thread that reads ahead, from a start or a jump to the next jump or the end."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._stop = threading.Event()
        self._items: queue.Queue[Frame | BaseException | None] = queue.Queue(size)
        self._thread = threading.Thread(target=self._run, name=f"prefetch {source.stream_id}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            for frame in self._source:
                if not self._put(frame):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            end = error
        self._put(end)

    def _put(self, item: Frame | BaseException | None) -> bool:
        """Wait for room; False when nobody wants more."""
        while not self._stop.is_set():
            try:
                self._items.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def get(self) -> Frame | BaseException | None:
        """The next frame, the error that ended the source, or None at its end or when stopped."""
        while not self._stop.is_set():
            try:
                return self._items.get(timeout=_POLL_S)
            except queue.Empty:
                continue
        return None

    def stop(self) -> None:
        """Let the thread end after the frame it is at."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the thread; it ends within one decoded frame."""
        if threading.current_thread() is not self._thread:
            self._thread.join()


class Prefetch:
    """A source whose frames are decoded ahead in a thread: all of them, in order.

    It owns the source and closes it. An error of the source is raised at its place among the frames.

    Args:
        source: Any source; meant for recordings (a live source reads ahead by itself).
        size: How many frames may be ready; each holds its picture in memory.

    Raises:
        SourceError: `size` is below 1.
    """

    def __init__(self, source: Source, size: int = 8) -> None:
        if size < 1:
            raise SourceError(f"prefetch needs room for 1 frame or more, got {size}")
        self._source = source
        self._size = size
        self._ahead: _Ahead | None = None
        self._ended = False

    @property
    def info(self) -> SourceInfo:
        """What is known of the source."""
        return self._source.info

    @property
    def stream_id(self) -> str:
        """The id that every frame carries."""
        return self._source.stream_id

    @property
    def damage(self) -> str | None:
        """Why it ended early; runs ahead of the frames by up to `size`."""
        return self._source.damage

    @property
    def dropped(self) -> int:
        """Captured frames that were never delivered."""
        return self._source.dropped

    @property
    def timing(self) -> TimingReport:
        """Repairs to the source's own times."""
        return self._source.timing

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._ended:
            raise StopIteration
        if self._ahead is None:
            self._ahead = _Ahead(self._source, self._size)
        item = self._ahead.get()
        if isinstance(item, Frame):
            return item
        self._ended = True
        if item is None:
            raise StopIteration
        raise item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def seek(self, timestamp_s: float) -> None:
        """Continue at the first frame whose time is not before `timestamp_s`; what was ready is forgotten.

        Raises:
            SourceError: The source cannot jump there.
        """
        self._halt()
        self._ended = False
        self._source.seek(timestamp_s)

    def close(self) -> None:
        """Stop reading ahead and close the source."""
        self._ended = True
        if self._ahead is not None:
            self._ahead.stop()
        # Closed before the thread is waited for: that wakes one which waits for the natural pace or for a camera.
        self._source.close()
        self._halt()

    def _halt(self) -> None:
        if self._ahead is not None:
            self._ahead.stop()
            self._ahead.join()
            self._ahead = None


def prefetch(source: Source, size: int = 8) -> Prefetch:
    """Decode ahead in a thread.

    Args:
        source: The source; it is closed with what is returned.
        size: How many frames may be ready.

    Returns:
        A source with the same frames in the same order.

    Raises:
        SourceError: `size` is below 1.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from pose_analyzer.video import VideoWriter, open_source
        >>> path = Path(tempfile.mkdtemp()) / "three.mp4"
        >>> with VideoWriter(path, width=64, height=48, fps=25) as writer:
        ...     for _ in range(3):
        ...         writer.write(np.zeros((48, 64, 3), np.uint8))
        >>> with prefetch(open_source(path)) as frames:
        ...     [frame.index for frame in frames]
        [0, 1, 2]
    """
    return Prefetch(source, size)
