"""Pictures that a client sends, measured one at a time in a measuring process.

The service sends "picture" (with `frame_id`, `timestamp_s`, the encoded picture as payload) only when the one before is
answered, so that nothing queues here; the answer is "frame", or "bad_picture" with the reason. "restart" begins anew with
another exercise; "finish" is answered with "finished" and the events of what was still going on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from pose_analyzer.biomechanics.angles import ANGLE_NAMES
from pose_analyzer.detection import PoseDetector
from pose_analyzer.errors import SourceError
from pose_analyzer.pipeline.stream import Pipeline
from pose_analyzer.pipeline.workers.channel import Channel
from pose_analyzer.pipeline.workers.describe import describe_people, describe_skeleton, image_plane
from pose_analyzer.pipeline.workers.orders import PushOrder, read_order
from pose_analyzer.pipeline.workers.pictures import decode_picture
from shared_utils.data_models import Event, Frame

# Clocks of browsers are coarse; two pictures are at least so far apart.
_LEAST_STEP_S = 1e-3
# A clock that jumps back by more than this has started anew.
_CLOCK_BREAK_S = 5.0


def run_push(channel: Channel, order: Mapping[str, Any], *, detector: PoseDetector | None = None) -> None:
    """Measure what is sent until a stop is asked for.

    Args:
        channel: The line to the service.
        order: A `PushOrder` as message.
        detector: A warm detector to use where it fits the order.

    Raises:
        WorkerError: An order is wrong.
        PipelineError: A stage fails on picture after picture.
    """
    pushed = _Pushed(channel, read_order(PushOrder, order), detector)
    try:
        while (message := channel.receive()) is not None:
            pushed.obey(*message)
    finally:
        pushed.pipeline.close()


class _Pushed:
    """One client's pictures: the pipeline, the clock, what is answered."""

    def __init__(self, channel: Channel, order: PushOrder, detector: PoseDetector | None) -> None:
        self._channel, self._warm = channel, detector
        self._index = 0
        self._last_s = -math.inf
        self._begin(order)

    def obey(self, header: dict[str, Any], payload: bytes) -> None:
        match header["type"]:
            case "picture":
                self._measure(header, payload)
            case "restart":
                events = self.pipeline.restart()
                self.pipeline.close()
                self._begin(read_order(PushOrder, header), events)
            case "finish":
                self._channel.send({"type": "finished", "events": [event.to_dict() for event in self.pipeline.flush()]})

    def _begin(self, order: PushOrder, events: list[Event] | None = None) -> None:
        self._order = order
        self.pipeline: Pipeline = order.build(self._warm)
        self._channel.send(
            {
                "type": "opened",
                "skeleton": describe_skeleton(self.pipeline.detector.skeleton),
                "angle_names": [ANGLE_NAMES[i] for i in image_plane(ANGLE_NAMES)],
                "events": [event.to_dict() for event in events or []],
            }
        )

    def _measure(self, header: dict[str, Any], payload: bytes) -> None:
        started_s = time.monotonic()
        try:
            image = decode_picture(payload, max_pixels=self._order.max_pixels)
        except SourceError as error:
            self._channel.send({"type": "bad_picture", "frame_id": header["frame_id"], "detail": str(error)})
            return
        decoded_s = time.monotonic()
        height, width = image.shape[:2]
        if self._order.mirror:
            image = np.ascontiguousarray(image[:, ::-1])
        timestamp_s, ended = self._stamp(float(header["timestamp_s"]))
        frame = Frame(image, index=self._index, timestamp_s=timestamp_s, stream_id=self._order.stream_id)
        update = self.pipeline.process(frame)
        self._index += 1
        self._channel.send(
            {
                "type": "frame",
                "frame_id": header["frame_id"],
                "frame_index": frame.index,
                "timestamp_s": round(frame.timestamp_s, 4),
                "width": width,
                "height": height,
                "timings_s": {"decode": round(decoded_s - started_s, 6)} | {k: round(v, 6) for k, v in update.timings_s.items()},
                "people": describe_people(update, mirrored_width_px=width if self._order.mirror else None),
                "events": [event.to_dict() for event in (*ended, *update.events)],
            }
        )

    def _stamp(self, sent_s: float) -> tuple[float, list[Event]]:
        """A time that rises: the client's own, or a little later than the last; where it starts anew, so does everything."""
        events: list[Event] = []
        if sent_s < self._last_s - _CLOCK_BREAK_S:
            events = self.pipeline.restart()
        elif sent_s <= self._last_s:
            sent_s = self._last_s + _LEAST_STEP_S
        self._last_s = sent_s
        return sent_s, events
