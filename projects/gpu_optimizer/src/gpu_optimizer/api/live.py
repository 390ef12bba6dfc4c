"""The live view: one reading per interval for everybody, a history for who comes later, a WebSocket.

Each watcher has room for one message, the newest: a slow client costs itself readings, nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from gpu_optimizer.monitoring import GpuSample, HostSample, Snapshot, SnapshotReader
from shared_utils.logging import get_logger
from shared_utils.service import Problem
from shared_utils.service.problems import problem_response

SCHEMA_VERSION = 1
SEND_S = 10.0
"""A client through which nothing goes for so long is let go, seconds."""
_NORMAL, _GOING_AWAY, _POLICY, _TOO_BIG, _TRY_LATER = 1000, 1001, 1008, 1009, 1013
_MAX_TEXT = 1024
_MESSAGES_PER_S = 20

_log = get_logger(__name__)


class GpuHistory(BaseModel):
    """One GPU over time."""

    model_config = ConfigDict(frozen=True)

    uuid: str = Field(description="Which GPU.")
    index: int = Field(description="Number by which the driver knows it.")
    name: str = Field(description="As the maker calls it.")
    memory_total_bytes: int | None = Field(description="All of its memory.")
    memory_used_bytes: list[int | None] = Field(description="At the times of the history; null: it did not answer.")
    utilization_ratio: list[float | None] = Field(description="Likewise.")


class History(BaseModel):
    """Readings before this client came."""

    model_config = ConfigDict(frozen=True)

    time_s: list[float] = Field(description="When, Unix time.")
    host_used_bytes: list[int] = Field(description="Memory of the host that is not available, at these times.")
    gpus: list[GpuHistory] = Field(description="Every GPU that answered at one of them.")


class HelloMessage(BaseModel):
    """The first message of the service."""

    type: Literal["hello"] = "hello"
    schema_version: int = SCHEMA_VERSION
    interval_s: float = Field(description="Between two readings.")
    history: History


class ReadingMessage(BaseModel):
    """Memory at one moment; the newest one, if the client could not take all."""

    type: Literal["reading"] = "reading"
    time_s: float = Field(description="When, Unix time.")
    gpus: list[GpuSample] = Field(description="Every NVIDIA GPU that answers.")
    host: HostSample
    gpu_problem: str | None = Field(description="Why no GPU could be read; null when at least one was.")
    unreadable: list[str] = Field(description="One sentence for each GPU that did not answer.")
    skipped: int = Field(description="Readings that this client was too slow for.")


class PongMessage(BaseModel):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"
    id: str | int | None = Field(description="That of the ping.")


class PingMessage(BaseModel):
    """Asks whether the service is there."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["ping"]
    id: str | int | None = Field(default=None, description="Comes back in the answer.")


class Watcher:
    """What waits to be sent to one client: the newest reading, and answers."""

    def __init__(self) -> None:
        self._reading: tuple[int, Snapshot, float] | None = None
        self._answers: deque[str] = deque(maxlen=_MESSAGES_PER_S)
        self._last: int | None = None
        self._ready = asyncio.Event()

    def offer(self, number: int, snapshot: Snapshot, time_s: float) -> None:
        """A new reading; replaces one that was not sent yet."""
        self._reading = (number, snapshot, time_s)
        self._ready.set()

    def answer(self, text: str) -> None:
        """A message that is not left out."""
        self._answers.append(text)
        self._ready.set()

    async def take(self) -> list[str]:
        """Wait for something, and give all there is."""
        await self._ready.wait()
        self._ready.clear()
        out = list(self._answers)
        self._answers.clear()
        if self._reading is not None:
            number, snapshot, time_s = self._reading
            skipped = 0 if self._last is None else number - self._last - 1
            self._reading, self._last = None, number
            message = {"type": "reading", "time_s": time_s, **asdict(snapshot), "skipped": skipped}
            out.append(json.dumps(message, separators=(",", ":")))
        return out


class LiveFeed:
    """Takes readings as long as it runs.

    Args:
        reader: Takes one.
        interval_s: Between two of them.
        history_s: How far back they are kept.
        max_clients: WebSocket clients at the same time.
        clock: Unix time.
    """

    def __init__(
        self,
        reader: SnapshotReader,
        *,
        interval_s: float,
        history_s: float,
        max_clients: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reader, self._interval_s, self._max_clients, self._clock = reader, interval_s, max_clients, clock
        self._kept: deque[tuple[float, Snapshot]] = deque(maxlen=max(2, round(history_s / interval_s)))
        self._watchers: set[Watcher] = set()
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def clients(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    async def start(self) -> None:
        """Begin to read."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """End, and let every client go."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def history(self) -> History:
        """Everything that is kept, by columns."""
        found: dict[str, GpuSample] = {}
        for _, snapshot in self._kept:
            found.update({gpu.uuid: gpu for gpu in snapshot.gpus})
        rows = [{gpu.uuid: gpu for gpu in snapshot.gpus} for _, snapshot in self._kept]
        return History(
            time_s=[round(moment, 3) for moment, _ in self._kept],
            host_used_bytes=[s.host.memory_total_bytes - s.host.memory_available_bytes for _, s in self._kept],
            gpus=[
                GpuHistory(
                    uuid=uuid,
                    index=gpu.index,
                    name=gpu.name,
                    memory_total_bytes=gpu.memory_total_bytes,
                    memory_used_bytes=[row[uuid].memory_used_bytes if uuid in row else None for row in rows],
                    utilization_ratio=[row[uuid].utilization_ratio if uuid in row else None for row in rows],
                )
                for uuid, gpu in sorted(found.items(), key=lambda item: item[1].index)
            ],
        )

    async def serve(self, socket: WebSocket) -> None:
        """Accept a client and send it everything until it leaves."""
        if self.clients >= self._max_clients:
            problem = Problem(429, f"{self._max_clients} clients watch already (max_clients)", headers={"Retry-After": "10"})
            await socket.send_denial_response(problem_response(socket.scope, problem))
            return
        watcher = Watcher()
        self._watchers.add(watcher)
        code, reason = _NORMAL, ""
        parts: list[asyncio.Task[tuple[int, str]]] = []
        try:
            await socket.accept()
            hello = HelloMessage(interval_s=self._interval_s, history=self.history())
            parts = [
                asyncio.create_task(part) for part in (self._send(socket, watcher, hello), _listen(socket, watcher), self._until_end())
            ]
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            code, reason = done.pop().result()
        finally:
            self._watchers.discard(watcher)
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            with contextlib.suppress(RuntimeError, OSError, TimeoutError, WebSocketDisconnect):
                async with asyncio.timeout(1):
                    await socket.close(code, reason)

    async def _read(self) -> None:
        while True:
            started = time.monotonic()
            try:
                snapshot = await asyncio.to_thread(self._reader.read)
            except Exception:  # noqa: BLE001  # a reading that fails costs that reading
                _log.exception("reading_failed")
            else:
                self._count += 1
                moment = self._clock()
                self._kept.append((moment, snapshot))
                for watcher in self._watchers:
                    watcher.offer(self._count, snapshot, round(moment, 3))
            await asyncio.sleep(max(self._interval_s - (time.monotonic() - started), 0.01))

    async def _send(self, socket: WebSocket, watcher: Watcher, hello: HelloMessage) -> tuple[int, str]:
        texts = [hello.model_dump_json()]
        try:
            while True:
                for text in texts:
                    async with asyncio.timeout(SEND_S):
                        await socket.send_text(text)
                texts = await watcher.take()
        except TimeoutError:
            return _TRY_LATER, "too slow"
        except (RuntimeError, WebSocketDisconnect, OSError):
            return _NORMAL, ""

    async def _until_end(self) -> tuple[int, str]:
        await self._stopping.wait()
        return _GOING_AWAY, "the service stops"


async def _listen(socket: WebSocket, watcher: Watcher) -> tuple[int, str]:
    """Answer pings; whoever says anything else, or too much, is let go."""
    recent: deque[float] = deque(maxlen=_MESSAGES_PER_S)
    while True:
        try:
            message = await socket.receive()
        except RuntimeError:
            return _NORMAL, ""
        if message["type"] == "websocket.disconnect":
            return _NORMAL, ""
        text = message.get("text") or ""
        if len(text) > _MAX_TEXT or len(message.get("bytes") or b"") > _MAX_TEXT:
            return _TOO_BIG, "the message is too large"
        now = time.monotonic()
        if len(recent) == recent.maxlen and now - recent[0] < 1:
            return _POLICY, "too many messages"
        recent.append(now)
        try:
            ping = PingMessage.model_validate_json(text)
        except ValidationError:
            return _POLICY, 'clients send {"type": "ping"} and nothing else'
        watcher.answer(PongMessage(id=ping.id).model_dump_json())


def json_schema() -> dict[str, Any]:
    """JSON Schema of both directions, for docs/API.md.

    Example:
        >>> sorted(json_schema()["properties"])
        ['client_to_server', 'server_to_client']
    """
    from pydantic.json_schema import models_json_schema

    directions = {"server_to_client": (HelloMessage, ReadingMessage, PongMessage), "client_to_server": (PingMessage,)}
    models = [(model, "validation") for group in directions.values() for model in group]
    references, schema = models_json_schema(models, ref_template="#/$defs/{model}")  # pyright: ignore[reportArgumentType]
    properties = {name: {"oneOf": [references[model, "validation"] for model in group]} for name, group in directions.items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": properties, **schema}
