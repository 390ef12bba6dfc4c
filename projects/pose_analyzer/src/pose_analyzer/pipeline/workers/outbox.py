"""What a measuring process has to say, sent by a thread of its own: the newest frame, every event, no queue without bound.

Writing to the service waits while it does not read. Measuring goes on meanwhile: a frame that was not sent yet is replaced by a
newer one (`skipped` counts it), its events move on to that one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.pipeline.workers.channel import Channel
from shared_utils.data_models import Event

ALIVE_S = 1.0
"""At least so often something is said, unless measuring is stuck."""
STUCK_S = 15.0
"""A single frame that takes longer is not going to end; then nothing is said any more, and the service ends the process."""
MAX_EVENTS = 500
JPEG_QUALITY = 80


class Outbox:
    """Sends frames, events and states in a thread.

    Args:
        channel: Where to.
        stuck_s: How long one frame may take, seconds.
    """

    def __init__(self, channel: Channel, *, stuck_s: float = STUCK_S) -> None:
        self._channel = channel
        self._stuck_s = stuck_s
        self._ready = threading.Condition()
        self._frame: dict[str, Any] | None = None
        self._image: NDArray[np.uint8] | None = None
        self._events: deque[dict[str, Any]] = deque()
        self._lost_events = 0
        self._skipped = 0
        self._notices: deque[dict[str, Any]] = deque()
        self._ended = False
        self._busy_since_s: float | None = None
        self.widths: tuple[int, ...] = ()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put_frame(self, message: dict[str, Any], image: NDArray[np.uint8], events: Sequence[Event]) -> None:
        """The newest frame; replaces one that is still waiting.

        Args:
            message: All but its events and pictures.
            image: (H, W, 3) uint8 RGB, not written to afterwards.
            events: What happened at it.
        """
        with self._ready:
            if self._frame is not None:
                self._skipped += 1
            self._frame, self._image = message, image
            self._keep(events)
            self._ready.notify()

    def put_notice(self, message: Mapping[str, Any], events: Sequence[Event] = ()) -> None:
        """Something to be said at once and never left out, with the events that belong to it."""
        with self._ready:
            self._notices.append({**message, "events": [event.to_dict() for event in events]})
            self._ready.notify()

    def begin(self) -> None:
        """A frame is going to be measured."""
        self._busy_since_s = time.monotonic()

    def end(self) -> None:
        """It has been measured."""
        self._busy_since_s = None

    def close(self) -> None:
        """Send what waits, then end."""
        with self._ready:
            self._ended = True
            self._ready.notify()
        self._thread.join()

    def _keep(self, events: Sequence[Event]) -> None:
        self._events.extend(event.to_dict() for event in events)
        while len(self._events) > MAX_EVENTS:
            self._events.popleft()
            self._lost_events += 1

    def _run(self) -> None:
        while True:
            with self._ready:
                if not (self._notices or self._frame or self._ended):
                    self._ready.wait(ALIVE_S)
                notices, frame, image = [*self._notices], self._frame, self._image
                self._notices.clear()
                self._frame = self._image = None
                if frame is not None:
                    frame |= {"events": [*self._events], "events_lost": self._lost_events, "skipped": self._skipped}
                    self._events.clear()
                    self._lost_events = self._skipped = 0
                ended = self._ended
            if frame is not None and image is not None:
                self._send_frame(frame, image)
            for notice in notices:
                self._channel.send(notice)
            if ended:
                return
            if frame is None and not notices and not self._is_stuck():
                self._channel.send({"type": "alive"})

    def _send_frame(self, frame: dict[str, Any], image: NDArray[np.uint8]) -> None:
        # What is as wide as the source or wider is the source: encoded once.
        widths = sorted({min(width, image.shape[1]) for width in self.widths})
        pictures = [(width, encode_preview(image, width)) for width in widths]
        frame["images"] = [{"width": width, "bytes": len(data)} for width, data in pictures]
        self._channel.send(frame, b"".join(data for _, data in pictures))

    def _is_stuck(self) -> bool:
        since_s = self._busy_since_s
        return since_s is not None and time.monotonic() - since_s > self._stuck_s


def encode_preview(image: NDArray[np.uint8], width: int) -> bytes:
    """The picture as JPEG, at most so wide.

    Args:
        image: (H, W, 3) uint8 RGB.
        width: Greatest width, px.

    Example:
        >>> jpeg = encode_preview(np.zeros((100, 200, 3), np.uint8), 50)
        >>> cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape
        (25, 50, 3)
    """
    scale = width / image.shape[1]
    if scale < 1:
        image = np.asarray(cv2.resize(image, (width, max(1, round(image.shape[0] * scale))), interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()
