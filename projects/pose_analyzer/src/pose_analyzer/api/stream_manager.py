"""All streams of the service: started, listed, stopped; and the clients' places."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.websockets import WebSocket

from pose_analyzer.api.labels import clean_label
from pose_analyzer.api.live_stream import LiveStream, SessionSink
from pose_analyzer.api.messages import ExerciseBrief
from pose_analyzer.api.settings import PoseApiSettings
from pose_analyzer.api.sockets import (
    GOING_AWAY,
    TRY_LATER,
    ClientSocket,
    ClosedError,
    PushSession,
    SocketLimits,
    ignore_messages,
    serve,
    watch,
)
from pose_analyzer.api.stream_metrics import PUSHED, StreamMetrics
from pose_analyzer.api.stream_sources import DemoRequest, StreamRequest, resolve_source
from pose_analyzer.api.watchers import Watcher
from pose_analyzer.biomechanics.angles import ANGLE_NAMES
from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import ExerciseProfile, list_profiles, load_profile
from pose_analyzer.pipeline.stream import AUTO
from pose_analyzer.pipeline.workers import WorkerPool
from pose_analyzer.pipeline.workers.describe import describe_skeleton, image_plane
from pose_analyzer.settings import load_pose_settings
from shared_utils.service import Problem
from shared_utils.skeletons import BLAZEPOSE_33, COCO_17

DEMO_ID, DEMO_EXERCISE = "demo", "squat"
KEPT_ENDED = 20
"""Streams that have ended and can still be read; older ones go."""
_SKELETONS = {"blazepose": BLAZEPOSE_33, "mediapipe": BLAZEPOSE_33, "yolo": COCO_17}


class StreamManager:
    """The streams of a service.

    Args:
        settings: What it lets in.
        registry: Where metrics go.
        pool: Where measuring processes come from; started and stopped by its owner.
        media: The recording of an analysis by its id; None plays none of them.
        sessions: Where events of streams are kept; None: in memory only.
        demo_idle_s: The demo stands still after nobody has watched for so long, seconds.
        order: Further parts of every measuring process' order, such as `{"precision": "bf16"}`.
    """

    def __init__(
        self,
        settings: PoseApiSettings,
        registry: CollectorRegistry,
        pool: WorkerPool,
        *,
        media: Callable[[str], Path | None] | None = None,
        sessions: SessionSink | None = None,
        demo_idle_s: float = 30.0,
        order: Mapping[str, Any] | None = None,
    ) -> None:
        self._settings, self._pool = settings, pool
        self._media = media or (lambda _: None)
        self._sessions = sessions
        self._demo_idle_s = demo_idle_s
        self._order = {"max_pixels": settings.max_pixels, **(order or {})}
        self._streams: dict[str, LiveStream] = {}
        self._pushing: set[asyncio.Task[Any]] = set()
        self._clients: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._skeleton = describe_skeleton(_SKELETONS[load_pose_settings().detection.name])
        self._profiles = cache(load_profile)
        self._metrics = StreamMetrics(registry, count_states=self._count_states, count_clients=lambda: self._clients)
        self._metrics.begin(PUSHED)

    # --- life -----------------------------------------------------------------------------------
    async def start(self) -> None:
        """Start the demo, if there is to be one."""
        if self._settings.demo:
            source = resolve_source(DemoRequest(kind="demo"), self._settings, self._media)
            self._add(DEMO_ID, source, DEMO_EXERCISE, "Demo athlete")

    async def stop(self) -> None:
        """End all streams and connections, within about four seconds."""
        self._stopping.set()
        for task in self._pushing:
            task.cancel()
        for stream in self._streams.values():
            for watcher in stream.watchers:
                watcher.end()
        await asyncio.gather(*(stream.stop() for stream in self._streams.values() if not stream.is_over))
        if self._pushing:
            await asyncio.wait(self._pushing, timeout=2.0)

    # --- streams --------------------------------------------------------------------------------
    async def create(self, request: StreamRequest) -> LiveStream:
        """Start a stream.

        Raises:
            Problem: 403 or 404 for the source, 422 there is no such exercise, 429 too many run.
        """
        exercise = self._known_exercise(request.exercise)
        source = await asyncio.to_thread(resolve_source, request.source, self._settings, self._media)
        self._check_capacity()
        return self._add(uuid.uuid4().hex, source, exercise, clean_label(request.name, default=source.shown))

    def streams(self) -> list[LiveStream]:
        """All of them, newest first; the demo first of all."""
        rest = [stream for stream in self._streams.values() if stream.id != DEMO_ID]
        return [stream for stream in self._streams.values() if stream.id == DEMO_ID] + rest[::-1]

    def get(self, stream_id: str) -> LiveStream:
        """One stream.

        Raises:
            Problem: 404 there is none of that id.
        """
        if stream_id not in self._streams:
            raise Problem(404, "there is no stream of that id; GET /v1/streams lists them")
        return self._streams[stream_id]

    async def delete(self, stream_id: str) -> None:
        """Stop a stream and forget it.

        Raises:
            Problem: 404 there is none of that id.
        """
        stream = self.get(stream_id)
        await stream.stop()
        self._forget(stream)

    def _add(self, stream_id: str, source: Any, exercise: str | None, name: str) -> LiveStream:
        ended = [stream for stream in self._streams.values() if stream.is_over and not stream.watchers]
        for stream in ended[: max(len(ended) - KEPT_ENDED + 1, 0)]:
            self._forget(stream)
        stream = LiveStream(
            stream_id,
            name=name,
            source=source,
            exercise=exercise,
            order=self._order,
            metrics=self._metrics,
            sink=self._sessions,
            greeting=lambda: self._greeting(exercise),
            idle_s=self._demo_idle_s,
        )
        self._streams[stream_id] = stream
        stream.start(self._pool)
        return stream

    def _forget(self, stream: LiveStream) -> None:
        self._streams.pop(stream.id, None)
        self._metrics.forget(stream.id)

    def _check_capacity(self) -> None:
        """Refuse one measuring process more than the settings allow; clients' own pictures count as streams."""
        running = sum(not stream.is_over for stream in self._streams.values()) + len(self._pushing)
        if self._stopping.is_set() or running >= self._settings.max_streams:
            raise Problem(429, f"{running} streams run, no more are allowed (max_streams); stop one first", headers={"Retry-After": "10"})

    def _known_exercise(self, name: str | None) -> str | None:
        """The exercise's own name; only what the list names, or an alias of it: never a path."""
        if name in (None, AUTO):
            return name
        known = list_profiles()
        if name in known:
            return name
        wanted = name.casefold().replace("-", "_").replace(" ", "_")
        for candidate in known:
            profile = self._profiles(candidate)
            if wanted in {candidate, *(alias.casefold().replace("-", "_").replace(" ", "_") for alias in profile.aliases)}:
                return candidate
        raise Problem(422, f"there is no exercise {clean_label(name)!r}; there are {', '.join(known)}, and {AUTO}")

    def _checked_exercise(self, name: str | None) -> str | None:
        try:
            return self._known_exercise(name)
        except Problem as problem:
            raise ExerciseError(str(problem.detail)) from None

    def _greeting(self, exercise: str | None) -> dict[str, Any]:
        return {
            "skeleton": self._skeleton,
            "angle_names": [ANGLE_NAMES[i] for i in image_plane(ANGLE_NAMES)],
            "exercise": None if exercise is None else self._brief(exercise).model_dump(mode="json"),
        }

    def _brief(self, exercise: str) -> ExerciseBrief:
        return RECOGNISED if exercise == AUTO else brief(self._profiles(exercise))

    def _count_states(self) -> Mapping[str, int]:
        return Counter(stream.state for stream in self._streams.values())

    # --- clients --------------------------------------------------------------------------------
    @property
    def _limits(self) -> SocketLimits:
        return SocketLimits(max_bytes=self._settings.max_message_bytes, rate_hz=self._settings.max_message_rate_hz)

    async def serve_watcher(self, socket: WebSocket, stream_id: str, *, images: bool, width: int | None) -> None:
        """Show a stream to a client until either has enough.

        Raises:
            Problem: 404 there is no such stream.
        """
        stream = self.get(stream_id)
        with self._place("watch") as is_free:
            if not is_free:
                await self._turn_away(socket)
                return
            widest = min(width or self._settings.preview_width_px, self._settings.preview_width_px)
            watcher = Watcher(width=widest if images else None)
            stream.join(watcher)
            try:
                await serve(socket, self._limits, lambda client: watch(client, stream, watcher, self._stopping), ignore_messages)
            finally:
                stream.leave(watcher)

    async def serve_pusher(self, socket: WebSocket) -> None:
        """Measure a client's own pictures until it has enough."""
        with self._place("push") as is_free:
            try:
                self._check_capacity()
            except Problem:
                is_free = False
            if not is_free:
                await self._turn_away(socket)
                return
            session = PushSession(
                self._pool, order=self._order, metrics=self._metrics, greeting=self._greeting, check_exercise=self._checked_exercise
            )
            task = asyncio.ensure_future(serve(socket, self._limits, session.read, session.measure))
            self._pushing.add(task)
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
                await session.close()
                self._pushing.discard(task)

    @contextlib.contextmanager
    def _place(self, kind: str) -> Iterator[bool]:
        """A place among the clients; False: all are taken."""
        if self._stopping.is_set() or self._clients.total() >= self._settings.max_clients:
            yield False
            return
        self._clients[kind] += 1
        try:
            yield True
        finally:
            self._clients[kind] -= 1

    async def _turn_away(self, socket: WebSocket) -> None:
        async def refuse(_: ClientSocket) -> None:
            if self._stopping.is_set():
                raise ClosedError(GOING_AWAY, "the service stops")
            raise ClosedError(TRY_LATER, "too many clients or streams, try again later")

        await serve(socket, self._limits, refuse)


RECOGNISED = ExerciseBrief(
    name=AUTO,
    description="Whatever is recognised; an exercise_recognized event tells what.",
    kind="repetitions",
    signal_angle=None,
    rest_deg=None,
    work_deg=None,
)
"""An exercise that is not chosen but recognised."""


def brief(profile: ExerciseProfile) -> ExerciseBrief:
    """An exercise as far as a picture of it needs to know.

    Example:
        >>> brief(load_profile("squat")).signal_angle
        'knee_flexion'
    """
    cue = profile.cues[0] if profile.cues else None
    return ExerciseBrief(
        name=profile.name,
        description=profile.description,
        kind="hold" if profile.is_hold else "repetitions",
        signal_angle=None if cue is None else cue.angle,
        rest_deg=None if cue is None else cue.rest_deg,
        work_deg=None if cue is None else cue.work_deg,
    )
