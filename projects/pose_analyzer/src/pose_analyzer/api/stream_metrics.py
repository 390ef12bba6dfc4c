"""Numbers of the streams for Prometheus; a stream's own go when it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry

from pose_analyzer.api.messages import StreamState
from shared_utils.metrics import counter, gauge, histogram

PUSHED = "live"
"""Label of all clients' own pictures together: a series per client would be data, not a metric."""
STAGES = ("decode", "detect", "track", "smooth", "measure", "count")


class StreamMetrics:
    """The metrics of a manager's streams.

    Args:
        registry: Where they belong.
        count_states: State -> how many streams are in it now.
        count_clients: "watch" or "push" -> how many WebSocket clients there are now.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        count_states: Callable[[], Mapping[str, int]],
        count_clients: Callable[[], Mapping[str, int]],
    ) -> None:
        self._stages = histogram("pose_stage_duration_seconds", "Time per stage and frame.", ["stage", "stream"], registry=registry)
        self._latency = histogram("pose_frame_latency_seconds", "From the capture of a frame to its result.", ["stream"], registry=registry)
        self._frames = counter("pose_frames_total", "Frames measured.", ["stream"], registry=registry)
        self._dropped = counter("pose_frames_dropped_total", "Frames captured and never measured.", ["stream"], registry=registry)
        self._gaps = counter("pose_stream_gaps_total", "Times a camera was lost.", ["stream"], registry=registry)
        streams = gauge("pose_streams", "Streams by state.", ["state"], registry=registry)
        clients = gauge("pose_clients", "WebSocket clients: watch a stream, or push their own pictures.", ["kind"], registry=registry)
        for state in get_args(StreamState):
            streams.labels(state).set_function(lambda state=state: count_states().get(state, 0))
        for kind in ("watch", "push"):
            clients.labels(kind).set_function(lambda kind=kind: count_clients().get(kind, 0))

    def begin(self, stream: str) -> None:
        """Show a stream from its start, with zeros."""
        for metric in (self._frames, self._dropped, self._gaps, self._latency):
            metric.labels(stream)

    def note_frame(self, stream: str, timings_s: Mapping[str, Any], latency_s: float, *, frames: int = 1, dropped: int = 0) -> None:
        """Count what one frame message tells: frames and drops since the one before, the stages' times, the delay."""
        self._frames.labels(stream).inc(max(frames, 0))
        if dropped > 0:
            self._dropped.labels(stream).inc(dropped)
        self._latency.labels(stream).observe(max(latency_s, 0.0))
        for stage in STAGES:
            if stage in timings_s:
                self._stages.labels(stage, stream).observe(timings_s[stage])

    def note_gap(self, stream: str) -> None:
        """A camera was lost."""
        self._gaps.labels(stream).inc()

    def forget(self, stream: str) -> None:
        """Remove everything that carries a stream's id."""
        for metric in (self._frames, self._dropped, self._gaps, self._latency):
            with contextlib.suppress(KeyError):
                metric.remove(stream)
        for stage in STAGES:
            with contextlib.suppress(KeyError):
                self._stages.remove(stage, stream)
