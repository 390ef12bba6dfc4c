"""One stream in a measuring process: a camera, a recording at its pace or the demo, measured until it ends or is stopped.

Messages to the service: "opened" (once), "frame" (the newest, see `outbox`), "state" (lost, live), "alive" (when there is
nothing else), "finished". From it: "watch" (widths of the pictures that somebody looks at), "pause" and "resume" (demo only).

Who is late drops frames, oldest first, and counts them; a stream never lags behind its source.
"""

from __future__ import annotations

import gc
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from pose_analyzer.biomechanics.angles import ANGLE_NAMES
from pose_analyzer.detection import PoseDetector
from pose_analyzer.pipeline.demo import DemoSource
from pose_analyzer.pipeline.stream import Update
from pose_analyzer.pipeline.workers.channel import Channel
from pose_analyzer.pipeline.workers.describe import describe_people, describe_skeleton, image_plane
from pose_analyzer.pipeline.workers.orders import CameraInput, FileInput, StreamOrder, read_order
from pose_analyzer.pipeline.workers.outbox import Outbox
from pose_analyzer.video import Backoff, open_source
from pose_analyzer.video.live import DropOldestQueue, LiveSource
from shared_utils.data_models import Event, EventType, Frame

# A hitch of the machine of up to a tenth of a second costs a recording no frame.
_WAITING_FRAMES = 3
_RATE_SPAN_S = 2.0
_MAX_WIDTHS = 3


def run_stream(channel: Channel, order: Mapping[str, Any], *, detector: PoseDetector | None = None) -> None:
    """Measure a source until it ends or a stop is asked for.

    Args:
        channel: The line to the service.
        order: A `StreamOrder` as message.
        detector: A warm detector to use where it fits the order.

    Raises:
        SourceError: The source cannot be opened.
        WorkerError: The order is wrong.
        PipelineError: A stage fails on frame after frame.
    """
    session = _StreamSession(channel, read_order(StreamOrder, order), detector)
    session.run()


class _StreamSession:
    """Everything of one stream: where frames come from, the pipeline, what is said."""

    def __init__(self, channel: Channel, order: StreamOrder, detector: PoseDetector | None) -> None:
        self._channel, self._order, self._detector = channel, order, detector
        self._outbox = Outbox(channel)
        self._gate = _Gate()
        self._failure: BaseException | None = None
        self._restart_at_s: float | None = None
        self._source: Any = None
        self._feed: _Feed | None = None
        self._frames = 0
        self._arrivals: deque[float] = deque()
        threading.Thread(target=self._listen, name="commands", daemon=True).start()

    def run(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._outbox.close)
            # Opening a camera waits for the network: the pipeline is built meanwhile.
            opening = threading.Thread(target=self._open, name="opening", daemon=True)
            opening.start()
            pipeline = stack.enter_context(self._order.build(self._detector))
            opening.join()
            if self._failure is not None:
                raise self._failure
            source = stack.enter_context(self._source)
            self._say_opened(pipeline.detector.skeleton)
            order = self._order.source
            # The demo keeps its own pace.
            self._feed = feed = stack.enter_context(_Feed(source, self._gate, pace=order.pace if isinstance(order, FileInput) else None))
            if self._channel.stop_requested.is_set():
                return  # asked for before there was a feed to be closed
            for frame, captured_s in feed:
                self._outbox.begin()
                events = pipeline.restart() if self._came_back(frame) else []
                update = pipeline.process(frame)
                self._say_frame(update, [*events, *update.events], captured_s, feed.dropped)
                self._outbox.end()
            self._say_finished(source, pipeline.flush())

    def _open(self) -> None:
        source = self._order.source
        try:
            if isinstance(source, CameraInput):
                self._source = open_source(
                    source.address,
                    stream_id=self._order.stream_id,
                    max_pixels=self._order.max_pixels,
                    open_timeout_s=source.open_timeout_s,
                    read_timeout_s=source.read_timeout_s,
                    backoff=Backoff(first_s=source.retry_first_s, longest_s=max(source.retry_longest_s, source.retry_first_s)),
                    on_event=self._note_gap,
                )
            elif isinstance(source, FileInput):
                self._source = open_source(
                    source.path,
                    stream_id=self._order.stream_id,
                    max_pixels=self._order.max_pixels,
                    loop=source.loop,
                    decode_threads=source.decode_threads,
                )
            else:
                self._source = DemoSource(clock=self._gate.now_s, remember=True)
        except BaseException as error:  # noqa: BLE001  # raised again in the main thread
            self._failure = error

    def _listen(self) -> None:
        """Do what the service says until it wants an end; that wakes whoever waits for a frame."""
        while (message := self._channel.receive()) is not None:
            header = message[0]
            if header["type"] == "watch":
                widths = header.get("widths") or []
                self._outbox.widths = tuple(sorted({max(16, min(int(width), 3840)) for width in widths})[:_MAX_WIDTHS])
            elif header["type"] == "pause":
                self._gate.close()
            elif header["type"] == "resume":
                self._gate.open()
        self._gate.open()
        feed = self._feed
        if feed is not None:
            feed.close()

    def _note_gap(self, event: Event) -> None:
        """A camera was lost or is back; called in the capture thread, before the first frame after the gap."""
        if event.type == EventType.STREAM_LOST:
            # What the old connection held is tied in circles (PyAV); now is the time to let go of it, nobody waits for a frame.
            gc.collect()
            self._outbox.put_notice({"type": "state", "state": "lost", "reason": event.message}, [event])
        elif event.type == EventType.STREAM_RESUMED:
            self._restart_at_s = event.end_s
            self._outbox.put_notice({"type": "state", "state": "live", "reason": event.message, "gap_s": event.value}, [event])

    def _came_back(self, frame: Frame) -> bool:
        """Whether this is the first frame after a gap: people may have changed places."""
        if self._restart_at_s is None or frame.timestamp_s < self._restart_at_s:
            return False
        self._restart_at_s = None
        return True

    def _say_opened(self, skeleton: Any) -> None:
        info = self._source.info
        self._outbox.put_notice(
            {
                "type": "opened",
                "width": info.width,
                "height": info.height,
                "nominal_fps": info.nominal_fps,
                "is_live": info.is_live,
                "codec": info.codec,
                "skeleton": describe_skeleton(skeleton),
                "angle_names": [ANGLE_NAMES[i] for i in image_plane(ANGLE_NAMES)],
            }
        )

    def _say_frame(self, update: Update, events: list[Event], captured_s: float, dropped: int) -> None:
        frame, now_s = update.frame, time.monotonic()
        self._frames += 1
        self._outbox.put_frame(
            {
                "type": "frame",
                "frame_index": frame.index,
                "timestamp_s": round(frame.timestamp_s, 4),
                "width": frame.width,
                "height": frame.height,
                "captured_s": captured_s,
                "latency_s": round(now_s - captured_s, 6),
                "fps": self._rate(now_s),
                "frames": self._frames,
                "dropped": dropped,
                "timings_s": {stage: round(seconds, 6) for stage, seconds in update.timings_s.items()},
                "people": describe_people(update),
            },
            frame.image,
            events,
        )

    def _rate(self, now_s: float) -> float:
        """Measured frames per second over the last two seconds."""
        self._arrivals.append(now_s)
        while now_s - self._arrivals[0] > _RATE_SPAN_S:
            self._arrivals.popleft()
        span_s = now_s - self._arrivals[0]
        return round((len(self._arrivals) - 1) / span_s, 1) if span_s > 0 else 0.0

    def _say_finished(self, source: Any, events: list[Event]) -> None:
        damage = source.damage
        if damage and not isinstance(source, LiveSource):
            at_s = max((event.end_s for event in events), default=0.0)
            events = [*events, Event(EventType.SOURCE_DAMAGED, self._order.stream_id, -1, at_s, at_s, message=damage)]
        self._outbox.put_notice({"type": "finished", "reason": damage, "is_lost": isinstance(source, LiveSource) and bool(damage)}, events)


class _Gate:
    """Holds the demo while nobody looks: its clock stands still."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._is_open.set()
        self._lock = threading.Lock()
        self._away_s = 0.0
        self._closed_at_s: float | None = None

    def open(self) -> None:
        with self._lock:
            if self._closed_at_s is not None:
                self._away_s += time.monotonic() - self._closed_at_s
                self._closed_at_s = None
        self._is_open.set()

    def close(self) -> None:
        with self._lock:
            if self._closed_at_s is None:
                self._closed_at_s = time.monotonic()
        self._is_open.clear()

    def wait(self) -> None:
        self._is_open.wait()

    def now_s(self) -> float:
        """Seconds on a clock that stands while the gate is closed."""
        with self._lock:
            return (self._closed_at_s or time.monotonic()) - self._away_s


class _Feed:
    """Frames with the moment they were captured (monotonic clock, seconds), newest first in line.

    A camera drops frames by itself. A recording is played by a thread at its pace; a frame's moment is when it was due, so that
    slow decoding counts as delay. Where decoding alone is more than a second late, the recording waits for it: what would have
    been shown meanwhile counts as dropped.
    """

    _LATEST_S = 1.0

    def __init__(self, source: Any, gate: _Gate, *, pace: float | None) -> None:
        self._source, self._gate, self._pace = source, gate, pace
        self._queue = DropOldestQueue(_WAITING_FRAMES)
        self._failure: BaseException | None = None
        self._is_live = isinstance(source, LiveSource)
        self._closed = threading.Event()
        self._never_shown = 0

    def __enter__(self) -> _Feed:
        if not self._is_live:
            threading.Thread(target=self._play, name="playback", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End; wakes who waits for a frame."""
        self._closed.set()
        self._source.close()

    @property
    def dropped(self) -> int:
        """Frames that were never measured."""
        return self._source.dropped if self._is_live else self._queue.dropped + self._never_shown

    def __iter__(self) -> Iterator[tuple[Frame, float]]:
        if self._is_live:
            for frame in self._source:
                age_s = (datetime.now(UTC) - frame.wall_time).total_seconds()
                yield frame, time.monotonic() - max(age_s, 0.0)
            return
        while isinstance(item := self._queue.get(), tuple):
            yield item
        if self._failure is not None:
            raise self._failure

    def _play(self) -> None:
        anchor_s = math.nan
        before_s = 0.0
        try:
            for frame in self._source:
                self._gate.wait()
                now_s = time.monotonic()
                if self._pace is None:
                    self._queue.put((frame, now_s))
                    continue
                media_s = frame.timestamp_s / self._pace
                if math.isnan(anchor_s):
                    anchor_s = now_s - media_s
                late_s = now_s - anchor_s - media_s
                if late_s > self._LATEST_S:
                    self._never_shown += round(late_s / max(media_s - before_s, 1e-3))
                    anchor_s += late_s
                elif self._closed.wait(max(-late_s, 0.0)):
                    return
                before_s = media_s
                self._queue.put((frame, anchor_s + media_s))
        except BaseException as error:  # noqa: BLE001  # raised again in the measuring thread
            self._failure = error
        finally:
            self._queue.end()
