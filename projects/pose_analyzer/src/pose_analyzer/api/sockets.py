"""Both WebSockets: watching a stream, and sending one's own pictures. What a client sends is limited and never trusted."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from pose_analyzer.api.live_stream import FIRST_WORD_S, SILENCE_S, LiveStream, latency_view
from pose_analyzer.api.messages import (
    SCHEMA_VERSION,
    ErrorMessage,
    PictureMessage,
    StartMessage,
    StreamView,
    client_messages,
)
from pose_analyzer.api.stream_metrics import PUSHED, StreamMetrics
from pose_analyzer.api.watchers import TokenBucket, Watcher
from pose_analyzer.errors import PoseAnalyzerError
from pose_analyzer.pipeline.workers import WorkerPool, WorkerProcess
from pose_analyzer.pipeline.workers.messages import to_json
from shared_utils.logging import get_logger, redact

_log = get_logger(__name__)
NORMAL, GOING_AWAY, POLICY, TOO_BIG, FAILED, TRY_LATER = 1000, 1001, 1008, 1009, 1011, 1013
SEND_S = 10.0
"""A client through which nothing goes for so long is let go, seconds."""
IDLE_S = 60.0
"""A client that sends no picture for so long does not keep a measuring process, seconds."""
MAX_BAD_IN_A_ROW = 20
_MAX_TEXT_BYTES = 2**16
_CLOSE_S = 1.0
_KEPT_EVENTS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class SocketLimits:
    """What a client may send.

    Args:
        max_bytes: Largest message, bytes.
        rate_hz: Messages per second over a few seconds.
    """

    max_bytes: int
    rate_hz: float


class ClosedError(Exception):
    """The connection is to be closed.

    Args:
        code: WebSocket close code.
        reason: Why, a few words.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class ClientSocket:
    """An accepted WebSocket with limits in both directions."""

    def __init__(self, socket: WebSocket, limits: SocketLimits) -> None:
        self._socket, self._limits = socket, limits
        self._bucket = TokenBucket(limits.rate_hz)

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            ClosedError: The client has left, sends too much or too often.
        """
        try:
            message = await self._socket.receive()
        except RuntimeError:
            raise ClosedError(NORMAL) from None
        if message["type"] == "websocket.disconnect":
            raise ClosedError(NORMAL)
        text, data = message.get("text"), message.get("bytes")
        if text is not None:
            if len(text) > min(_MAX_TEXT_BYTES, self._limits.max_bytes):
                raise ClosedError(TOO_BIG, "the text is too large")
        elif len(data or b"") > self._limits.max_bytes:
            raise ClosedError(TOO_BIG, "the message is too large")
        if not self._bucket.take():
            raise ClosedError(POLICY, "too many messages")
        return text if text is not None else (data or b"")

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits until it is on its way.

        Raises:
            ClosedError: The client has left, or takes nothing.
        """
        try:
            async with asyncio.timeout(SEND_S):
                await (self._socket.send_text(message) if isinstance(message, str) else self._socket.send_bytes(message))
        except TimeoutError:
            raise ClosedError(TRY_LATER, "too slow") from None
        except (RuntimeError, WebSocketDisconnect, OSError):
            raise ClosedError(NORMAL) from None

    async def close(self, code: int, reason: str = "") -> None:
        """Say goodbye; does not wait long for a client that does not listen."""
        if self._socket.application_state == WebSocketState.DISCONNECTED:
            return
        with contextlib.suppress(RuntimeError, OSError, TimeoutError, WebSocketDisconnect):
            async with asyncio.timeout(_CLOSE_S):
                await self._socket.close(code, reason[:100])


async def serve(socket: WebSocket, limits: SocketLimits, *parts: Callable[[ClientSocket], Awaitable[None]]) -> None:
    """Accept a client and run the parts side by side until one is done; then close.

    Args:
        socket: Not accepted yet.
        limits: What it may send.
        parts: Each raises `ClosedError` to end with a code; one that returns ends normally.
    """
    await socket.accept()
    client = ClientSocket(socket, limits)
    tasks = [asyncio.ensure_future(part(client)) for part in parts]
    code, reason = NORMAL, ""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for error in (task.exception() for task in done):
            if isinstance(error, ClosedError):
                code, reason = error.code, error.reason
            elif error is not None:
                raise error
    except asyncio.CancelledError:
        code, reason = GOING_AWAY, "the service stops"
        raise
    except Exception:  # noqa: BLE001  # the last place that can still tell the client
        _log.exception("socket_failed")
        code, reason = FAILED, "the service failed"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await client.close(code, reason)


async def watch(client: ClientSocket, stream: LiveStream, watcher: Watcher, stopping: asyncio.Event) -> None:
    """Send everything of a stream to a watcher until it is over."""
    await client.send(stream.hello())
    while True:
        await watcher.wait()
        is_over = watcher.is_over
        for message in watcher.take():
            await client.send(message)
        if is_over:
            raise ClosedError(
                GOING_AWAY if stopping.is_set() else NORMAL, "the service stops" if stopping.is_set() else "the stream is over"
            )


async def ignore_messages(client: ClientSocket) -> None:
    """A watcher has nothing to say; what it says is counted and thrown away."""
    while True:
        if isinstance(await client.receive(), bytes):
            raise ClosedError(POLICY, "watchers send no pictures")


@dataclass(slots=True)
class _Waiting:
    frame_id: int
    timestamp_s: float
    arrived_s: float
    data: bytes


class PushSession:
    """A client that sends its own pictures: newest first in line, one measured at a time.

    Args:
        pool: Where its measuring process comes from.
        order: Further parts of the process' order.
        metrics: Where it is counted.
        greeting: Parts of a hello, by the exercise.
        check_exercise: The exercise's own name; raises `PoseAnalyzerError` for an unknown one.
    """

    def __init__(
        self,
        pool: WorkerPool,
        *,
        order: Mapping[str, Any],
        metrics: StreamMetrics,
        greeting: Callable[[str | None], Mapping[str, Any]],
        check_exercise: Callable[[str | None], str | None],
    ) -> None:
        self.id = f"live-{uuid.uuid4().hex[:12]}"
        self._pool, self._order, self._metrics = pool, dict(order), metrics
        self._greeting, self._check_exercise = greeting, check_exercise
        self._worker: WorkerProcess | None = None
        self._options: dict[str, Any] = {"exercise": None}
        self._starts: deque[dict[str, Any]] = deque(maxlen=1)
        self._announced: PictureMessage | None = None
        self._waiting: _Waiting | None = None
        self._wake = asyncio.Event()
        self._stop_asked = False
        self._next_id = 1
        self._skipped = 0
        self._bad_in_a_row = 0
        self._frames = self._repetitions = self._people = 0
        self._timestamp_s: float | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT_EVENTS)
        self._latencies: deque[float] = deque(maxlen=300)
        self._arrivals: deque[float] = deque(maxlen=60)
        self._created_at = datetime.now(UTC)
        self._heard_s = time.monotonic()

    async def close(self) -> None:
        """Let its measuring process go."""
        if self._worker is not None:
            await self._worker.stop(grace_s=0.5)

    # --- from the client ------------------------------------------------------------------------
    async def read(self, client: ClientSocket) -> None:
        """Take in messages until the client leaves."""
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    message = await client.receive()
            except TimeoutError:
                raise ClosedError(NORMAL, "no picture for a minute") from None
            if isinstance(message, bytes):
                self._take_picture(message)
            elif (problem := self._take_text(message)) is not None:
                await self._complain(client, "bad_message", problem)

    def _take_text(self, text: str) -> str | None:
        """Do what a text message says; what is wrong with it, if anything."""
        try:
            message = client_messages.validate_json(text)
        except (ValidationError, RecursionError) as error:
            return _what_is_wrong(error)
        if isinstance(message, PictureMessage):
            self._announced = message
        elif isinstance(message, StartMessage):
            try:
                exercise = self._check_exercise(message.exercise)
            except PoseAnalyzerError as error:
                return redact(str(error))[:500]
            self._starts.append({"exercise": exercise, "max_people": message.max_people, "mirror": message.mirror})
            self._wake.set()
        else:
            self._stop_asked = True
            self._wake.set()
        return None

    def _take_picture(self, data: bytes) -> None:
        now_s = time.monotonic()
        announced, self._announced = self._announced, None
        frame_id = self._next_id if announced is None else announced.frame_id
        self._next_id = min(frame_id + 1, 2**53 - 1)
        timestamp_s = announced.timestamp_s if announced is not None and announced.timestamp_s is not None else now_s
        if self._waiting is not None:
            self._skipped += 1
        self._waiting = _Waiting(frame_id, timestamp_s, now_s, data)
        self._wake.set()

    async def _complain(self, client: ClientSocket, code: Any, detail: str, frame_id: int | None = None) -> None:
        """Tell the client what cannot be used; who sends nothing else is let go."""
        await client.send(self._error(code, detail, frame_id))
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= MAX_BAD_IN_A_ROW:
            raise ClosedError(POLICY, f"{MAX_BAD_IN_A_ROW} messages in a row could not be used")

    def _error(self, code: Any, detail: str, frame_id: int | None = None) -> str:
        message = ErrorMessage(
            type="error",
            schema_version=SCHEMA_VERSION,
            stream_id=self.id,
            timestamp_s=self._timestamp_s,
            code=code,
            detail=detail,
            frame_id=frame_id,
        )
        return message.model_dump_json()

    # --- to the measuring process and back ------------------------------------------------------
    async def measure(self, client: ClientSocket) -> None:
        """Measure what waits, answer, again; until the client wants a summary."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._starts:
                await self._begin(client, self._starts.popleft())
            if self._waiting is not None:
                waiting, self._waiting = self._waiting, None
                await self._measure(client, waiting)
                if self._waiting is not None or self._starts or self._stop_asked:
                    self._wake.set()
            elif self._stop_asked:
                await self._sum_up(client)
                raise ClosedError(NORMAL, "stopped as asked")

    async def _begin(self, client: ClientSocket, options: dict[str, Any]) -> None:
        """Begin, or begin anew, with these options."""
        restart = self._worker is not None
        self._options = options
        self._events.clear()
        self._frames = self._repetitions = 0
        if restart:
            await self._ask(client, {"type": "restart", "stream_id": self.id, **self._order, **options}, "opened")
        else:
            await self._open(client)
        hello = {
            "type": "hello",
            "schema_version": SCHEMA_VERSION,
            "stream_id": self.id,
            "timestamp_s": self._timestamp_s,
            "stream": self._view().model_dump(mode="json"),
            **self._greeting(options["exercise"]),
            "history": {"events": [], "series": {}},
        }
        await client.send(to_json(hello))

    async def _open(self, client: ClientSocket) -> None:
        try:
            self._worker = await self._pool.take()
        except PoseAnalyzerError as error:
            await client.send(self._error("failed", redact(str(error))))
            raise ClosedError(TRY_LATER, "no measuring process") from None
        await self._ask(client, {"type": "push", "stream_id": self.id, **self._order, **self._options}, "opened", silence_s=FIRST_WORD_S)

    async def _measure(self, client: ClientSocket, waiting: _Waiting) -> None:
        if self._worker is None:
            await self._open(client)
        header = {"type": "picture", "frame_id": waiting.frame_id, "timestamp_s": waiting.timestamp_s}
        answer = await self._ask(client, header, "frame", "bad_picture", payload=waiting.data)
        if answer["type"] == "bad_picture":
            await self._complain(client, "bad_picture", redact(str(answer["detail"])), waiting.frame_id)
            return
        self._bad_in_a_row = 0
        now_s = time.monotonic()
        self._frames += 1
        self._timestamp_s, self._people = answer["timestamp_s"], len(answer["people"])
        self._note_events(answer["events"])
        self._latencies.append(now_s - waiting.arrived_s)
        self._arrivals.append(now_s)
        skipped, self._skipped = self._skipped, 0
        self._metrics.note_frame(PUSHED, answer["timings_s"], now_s - waiting.arrived_s, dropped=skipped)
        keys = ("timestamp_s", "frame_id", "frame_index", "width", "height", "people", "events")
        await client.send(
            to_json(
                {
                    "type": "frame",
                    "schema_version": SCHEMA_VERSION,
                    "stream_id": self.id,
                    **{key: answer[key] for key in keys},
                    "fps": self._rate(),
                    "age_s": round(time.monotonic() - waiting.arrived_s, 4),
                    "skipped": skipped,
                    "image": False,
                }
            )
        )

    async def _sum_up(self, client: ClientSocket) -> None:
        if self._worker is not None:
            answer = await self._ask(client, {"type": "finish"}, "finished")
            self._note_events(answer["events"])
        summary = {
            "type": "summary",
            "schema_version": SCHEMA_VERSION,
            "stream_id": self.id,
            "timestamp_s": self._timestamp_s,
            "repetitions": self._repetitions,
            "frames": self._frames,
            "events": [*self._events],
        }
        await client.send(to_json(summary))

    async def _ask(
        self, client: ClientSocket, header: Mapping[str, Any], *wanted: str, payload: bytes = b"", silence_s: float = SILENCE_S
    ) -> dict[str, Any]:
        """Send something to the measuring process and wait for its answer.

        Raises:
            ClosedError: The process has ended; the client has been told why.
        """
        worker = self._worker
        if worker is not None:
            await worker.send(header, payload)
            while (message := await worker.receive(silence_s=silence_s)) is not None:
                if message[0]["type"] in wanted:
                    return message[0]
        await client.send(
            self._error("failed", redact(worker.end if worker is not None and worker.end else "the measuring process ended early"))
        )
        raise ClosedError(FAILED, "the measuring process ended")

    def _note_events(self, events: list[dict[str, Any]]) -> None:
        self._events.extend(events)
        self._repetitions += sum(event["type"] in ("rep_completed", "hold_completed") for event in events)

    def _rate(self) -> float | None:
        span_s = self._arrivals[-1] - self._arrivals[0]
        return round((len(self._arrivals) - 1) / span_s, 1) if span_s > 0 else None

    def _view(self) -> StreamView:
        return StreamView(
            id=self.id,
            name="own pictures",
            source="pictures of this client",
            kind="push",
            exercise=self._options["exercise"],
            state="live",
            error=None,
            created_at=self._created_at,
            started_at=self._created_at,
            frames=self._frames,
            dropped=0,
            frames_per_second=None,
            latency_s=latency_view(self._latencies),
            clients=1,
            repetitions=self._repetitions,
            people=self._people,
            gaps=0,
        )


def _what_is_wrong(error: ValidationError | RecursionError) -> str:
    """What a client can do about its message, without quoting it."""
    if isinstance(error, RecursionError):
        return "the message is nested too deeply"
    found = error.errors(include_input=False, include_url=False, include_context=False)
    places = "; ".join(f"{'.'.join(str(part)[:40] for part in e['loc']) or 'message'}: {e['msg'][:120]}" for e in found[:5])
    return f"a message is JSON with type start, frame or stop ({places})"
