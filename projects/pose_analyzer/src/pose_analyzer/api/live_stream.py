"""One stream on the service's side: its measuring process, its state, what it remembers, and who watches."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from pose_analyzer.api.messages import FINAL_STATES, SCHEMA_VERSION, EventView, LatencyView, StateMessage, StreamState, StreamView
from pose_analyzer.api.stream_metrics import StreamMetrics
from pose_analyzer.api.stream_sources import StreamSource
from pose_analyzer.api.watchers import FrameOut, Watcher, head_of
from pose_analyzer.errors import PoseAnalyzerError
from pose_analyzer.pipeline.workers import WorkerPool, WorkerProcess
from pose_analyzer.pipeline.workers.messages import to_json
from shared_utils.data_models import Event
from shared_utils.logging import get_logger, redact

_log = get_logger(__name__)
FIRST_WORD_S = 60.0
"""How long a measuring process may take to load its libraries on a busy machine."""
SILENCE_S = 20.0
_STOP_S = 2.0
_KEPT_EVENTS, _TOLD_EVENTS = 1000, 200
_HISTORY_S, _HISTORY_HZ = 20.0, 15.0
_LATENCIES = 900
_MOST_WIDTHS = 3
_COUNTED = ("rep_completed", "hold_completed")


class SessionSink(Protocol):
    """Where what happens in streams is kept. Called in the event loop: hand work over, do not wait."""

    def on_event(self, stream: StreamView, event: Event) -> None:
        """Something happened."""
        ...

    def on_end(self, stream: StreamView) -> None:
        """The stream is over."""
        ...


class LiveStream:
    """A stream from its start to its end. Belongs to one event loop.

    Args:
        stream_id: What to address it by.
        name: What people call it.
        source: What to open.
        exercise: What to count; None counts nothing.
        order: Further parts of the measuring process' order.
        metrics: Where it is counted.
        sink: Where its events are kept.
        greeting: Gives the parts of a hello that do not change.
        idle_s: A demo that nobody has watched for so long stands still, seconds.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        name: str,
        source: StreamSource,
        exercise: str | None,
        order: Mapping[str, Any],
        metrics: StreamMetrics,
        sink: SessionSink | None,
        greeting: Callable[[], Mapping[str, Any]],
        idle_s: float = 30.0,
    ) -> None:
        self.id, self.name, self.source, self.exercise = stream_id, name, source, exercise
        self.state: StreamState = "starting"
        self.error: str | None = None
        self.events: deque[dict[str, Any]] = deque(maxlen=_KEPT_EVENTS)
        self.event_count = 0
        self.watchers: set[Watcher] = set()
        self._order, self._metrics, self._sink, self._greeting = dict(order), metrics, sink, greeting
        self._idle_s = idle_s
        self._created_at = datetime.now(UTC)
        self._started_at: datetime | None = None
        self._timestamp_s: float | None = None
        self._frames = self._dropped = self._repetitions = self._people = self._gaps = 0
        self._rate: float | None = None
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._series: dict[int, deque[tuple[float, Mapping[str, float | None]]]] = {}
        self._last_watched_s = time.monotonic()
        self._wishes_changed = asyncio.Event()
        self._stopping = False
        self._worker: WorkerProcess | None = None
        self._task: asyncio.Task[None] | None = None
        metrics.begin(stream_id)

    # --- life -----------------------------------------------------------------------------------
    def start(self, pool: WorkerPool) -> None:
        """Begin; what becomes of it is told by `state`."""
        self._task = asyncio.create_task(self._run(pool), name=f"stream {self.id}")

    async def stop(self) -> None:
        """End it; within about three seconds, whatever its process does."""
        self._stopping = True
        if self._worker is not None:
            await self._worker.stop(grace_s=_STOP_S)
        elif self._task is not None:
            self._task.cancel()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_STOP_S)
        self._change("stopped", None)

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in FINAL_STATES

    async def _run(self, pool: WorkerPool) -> None:
        control: asyncio.Task[None] | None = None
        reason: str | None = None
        try:
            worker = self._worker = await pool.take()
            await worker.send(
                {"type": "stream", "stream_id": self.id, "exercise": self.exercise, "source": self.source.order, **self._order}
            )
            control = asyncio.create_task(self._grant_wishes(worker))
            silence_s = FIRST_WORD_S
            while (message := await worker.receive(silence_s=silence_s)) is not None:
                silence_s = SILENCE_S
                self._take(*message)
            reason = worker.end
        except PoseAnalyzerError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  # a mistake here costs this stream, not the service
            _log.exception("stream_failed", stream=self.id)
            reason = f"the service failed on it ({type(error).__name__})"
        finally:
            if control is not None:
                control.cancel()
            if self._worker is not None and self._worker.is_running:
                await self._worker.stop(grace_s=0)
        if self._stopping:
            self._change("stopped", None)
        elif not self.is_over:
            self._change("failed", self._clean(reason or "the measuring process ended early"))

    # --- what its process says ------------------------------------------------------------------
    def _take(self, header: dict[str, Any], payload: bytes) -> None:
        match header["type"]:
            case "frame":
                self._take_frame(header, payload)
            case "state":
                if header["state"] == "lost":
                    self._gaps += 1
                    self._metrics.note_gap(self.id)
                reason = self._clean(header["reason"])
                self._change(header["state"], reason, error=reason if header["state"] == "lost" else None, events=header["events"])
            case "finished":
                is_lost = bool(header.get("is_lost"))
                reason = None if header["reason"] is None else self._clean(header["reason"])
                state: StreamState = "stopped" if self._stopping else "failed" if is_lost else "finished"
                self._change(state, reason, error=reason, events=header["events"])

    def _take_frame(self, header: dict[str, Any], payload: bytes) -> None:
        now_s = time.monotonic()
        latency_s = max(now_s - header["captured_s"], 0.0)
        frames, dropped = header["frames"], header["dropped"]
        self._metrics.note_frame(self.id, header["timings_s"], latency_s, frames=frames - self._frames, dropped=dropped - self._dropped)
        self._latencies.append(latency_s)
        self._frames, self._dropped, self._rate = frames, dropped, header["fps"]
        self._timestamp_s, self._people = header["timestamp_s"], len(header["people"])
        self._remember_angles(header["timestamp_s"], header["people"])
        events = self._keep(header["events"])
        if self.state == "starting":
            self._started_at = datetime.now(UTC)
            self._change("live", None)
        if not self.watchers:
            return
        head = head_of(
            {
                "type": "frame",
                "schema_version": SCHEMA_VERSION,
                "stream_id": self.id,
                **{key: header[key] for key in ("timestamp_s", "frame_index", "width", "height", "fps", "people")},
            }
        )
        frame = FrameOut(frames, head, header["captured_s"], _split(payload, header["images"]), [to_json(event) for event in events])
        for watcher in self.watchers:
            watcher.offer(frame)

    def _keep(self, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        kept = [{**event, "message": self._clean(str(event["message"])), "data": _cleaned(event["data"], self._clean)} for event in events]
        for event in kept:
            self.events.append(event)
            self.event_count += 1
            if event["type"] in _COUNTED:
                self._repetitions += 1
            if self._sink is not None:
                try:
                    self._sink.on_event(self.view(), Event.from_dict(event))
                except Exception:  # noqa: BLE001  # what keeps events must not stop what measures
                    _log.exception("event_not_kept", stream=self.id)
        return kept

    def _remember_angles(self, timestamp_s: float, people: Sequence[Mapping[str, Any]]) -> None:
        for person in people:
            if person["track_id"] < 0 or not person["angles"]:
                continue
            samples = self._series.setdefault(person["track_id"], deque(maxlen=int(_HISTORY_S * _HISTORY_HZ) + 1))
            # A tenth of a step of tolerance: of 30 frames/s every second one is kept, whatever the rounding.
            if not samples or timestamp_s - samples[-1][0] > 0.9 / _HISTORY_HZ:
                samples.append((timestamp_s, person["angles"]))
        for track_id in [t for t, samples in self._series.items() if timestamp_s - samples[-1][0] > _HISTORY_S]:
            del self._series[track_id]

    # --- state ----------------------------------------------------------------------------------
    def _change(
        self, state: StreamState, reason: str | None, *, error: str | None = None, events: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Enter a state and tell everybody; an end is final."""
        kept = self._keep(events)
        if self.is_over:
            return
        self.state = state
        self.error = error if state != "failed" else (error or reason)
        _log.info("stream_state", stream=self.id, state=state, reason=reason)
        message = StateMessage(
            type="state",
            schema_version=SCHEMA_VERSION,
            stream_id=self.id,
            timestamp_s=self._timestamp_s,
            state=state,
            reason=reason,
            stream=self.view(),
            events=[EventView.model_validate(event) for event in kept],
        ).model_dump_json()
        for watcher in self.watchers:
            watcher.tell(message)
            if self.is_over:
                watcher.end()
        if self.is_over:
            self._rate = None
            if self._sink is not None:
                try:
                    self._sink.on_end(self.view())
                except Exception:  # noqa: BLE001  # as for events
                    _log.exception("end_not_kept", stream=self.id)

    def _clean(self, text: str) -> str:
        """A text of the measuring process without credentials and paths."""
        return redact(self.source.clean(text))

    # --- what is told ---------------------------------------------------------------------------
    def view(self) -> StreamView:
        """The stream as it is now."""
        return StreamView(
            id=self.id,
            name=self.name,
            source=self.source.shown,
            kind=self.source.kind,
            exercise=self.exercise,
            state=self.state,
            error=self.error,
            created_at=self._created_at,
            started_at=self._started_at,
            frames=self._frames,
            dropped=self._dropped,
            frames_per_second=self._rate,
            latency_s=latency_view(self._latencies),
            clients=len(self.watchers),
            repetitions=self._repetitions,
            people=self._people,
            gaps=self._gaps,
        )

    def hello(self) -> str:
        """The greeting of a new watcher."""
        return to_json(
            {
                "type": "hello",
                "schema_version": SCHEMA_VERSION,
                "stream_id": self.id,
                "timestamp_s": self._timestamp_s,
                "stream": self.view().model_dump(mode="json"),
                **self._greeting(),
                "history": {"events": [*self.events][-_TOLD_EVENTS:], "series": self._history()},
            }
        )

    def _history(self) -> dict[str, Any]:
        from_s = (self._timestamp_s or 0.0) - _HISTORY_S
        out: dict[str, Any] = {}
        for track_id, samples in self._series.items():
            recent = [(at_s, angles) for at_s, angles in samples if at_s >= from_s]
            names = recent[-1][1] if recent else {}
            out[str(track_id)] = {
                "timestamp_s": [at_s for at_s, _ in recent],
                "angles": {name: [angles.get(name) for _, angles in recent] for name in names},
            }
        return out

    # --- watchers -------------------------------------------------------------------------------
    def join(self, watcher: Watcher) -> None:
        """Somebody watches."""
        self.watchers.add(watcher)
        if self.is_over:
            watcher.end()
        self._wishes_changed.set()

    def leave(self, watcher: Watcher) -> None:
        """Somebody has stopped watching."""
        self.watchers.discard(watcher)
        self._last_watched_s = time.monotonic()
        self._wishes_changed.set()

    async def _grant_wishes(self, worker: WorkerProcess) -> None:
        """Let the process encode the pictures that somebody looks at, and let the demo stand still when nobody does."""
        told: tuple[int, ...] = ()
        is_paused = False
        while True:
            # The smallest: who wants more gets the widest of them, nobody gets more than wanted.
            widths = tuple(sorted({w.width for w in self.watchers if w.width is not None})[:_MOST_WIDTHS])
            if widths != told:
                told = widths
                await worker.send({"type": "watch", "widths": list(widths)})
            alone_s = 0.0 if self.watchers else time.monotonic() - self._last_watched_s
            should_pause = self.source.kind == "demo" and alone_s >= self._idle_s
            if should_pause != is_paused:
                is_paused = should_pause
                await worker.send({"type": "pause" if is_paused else "resume"})
            waits = self.source.kind == "demo" and not self.watchers and not is_paused
            try:
                async with asyncio.timeout(max(self._idle_s - alone_s, 0.1) if waits else None):
                    await self._wishes_changed.wait()
            except TimeoutError:
                continue
            self._wishes_changed.clear()


def latency_view(latencies: Sequence[float]) -> LatencyView:
    """Percentiles of delays in seconds; null without any.

    Example:
        >>> latency_view([0.01, 0.02, 0.03]).p50
        0.02
    """
    ordered = sorted(latencies)

    def at(share: float) -> float | None:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 4) if ordered else None

    return LatencyView(p50=at(0.5), p95=at(0.95), p99=at(0.99))


def _split(payload: bytes, images: Sequence[Mapping[str, int]]) -> dict[int, bytes]:
    """The pictures in a payload, by width."""
    out, at = {}, 0
    for image in images:
        out[image["width"]] = payload[at : at + image["bytes"]]
        at += image["bytes"]
    return out


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {key: _cleaned(item, clean) for key, item in value.items()}
    return [_cleaned(item, clean) for item in value] if isinstance(value, list | tuple) else value
