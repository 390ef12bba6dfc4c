"""A real server around the streams' routes, on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from pose_analyzer.api.settings import PoseApiSettings
from pose_analyzer.api.streams import StreamManager, streams_router
from pose_analyzer.pipeline.workers import WorkerLimits, WorkerPool
from shared_utils.metrics import create_registry
from shared_utils.service import create_service


@dataclass
class Served:
    """What a test talks to."""

    address: str
    manager: StreamManager
    registry: Any
    loop: asyncio.AbstractEventLoop
    events: list[Any] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)

    @property
    def sockets(self) -> str:
        return self.address.replace("http", "ws", 1)

    def call(self, work: Callable[[], Any]) -> Any:
        """Run a coroutine function in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(60)


class _Sink:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.ended: list[Any] = []

    def on_event(self, stream: Any, event: Any) -> None:
        self.events.append((stream.id, event))

    def on_end(self, stream: Any) -> None:
        self.ended.append(stream)


@contextlib.contextmanager
def serve_streams(folder: Path, *, media: Callable[[str], Path | None] | None = None, spares: int = 1, **settings: Any) -> Iterator[Served]:
    """A service of streams alone.

    Args:
        folder: Its data folder.
        media: The recording of an analysis by id.
        spares: Measuring processes kept ready.
        settings: Fields of `PoseApiSettings`, and `demo_idle_s` and `order` of the manager.
    """
    extra = {key: settings.pop(key) for key in ("demo_idle_s", "order") if key in settings}
    chosen = PoseApiSettings(data_dir=folder, **{"demo": False, **settings})
    registry, sink = create_registry(process=False), _Sink()
    held: dict[str, Any] = {}
    up = threading.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = held["pool"]
        await pool.start()
        await held["manager"].start()
        held["loop"] = asyncio.get_running_loop()
        up.set()
        yield
        await held["manager"].stop()
        await pool.stop()

    def run() -> None:
        async def main() -> None:
            held["pool"] = WorkerPool(spares=spares, limits=WorkerLimits(memory_bytes=chosen.worker_memory_bytes))
            held["manager"] = StreamManager(chosen, registry, held["pool"], media=media, sessions=sink, **extra)
            app = create_service(
                "Streams", "1", settings=chosen, routers=[streams_router(held["manager"])], registry=registry, lifespan=lifespan
            )
            config = uvicorn.Config(
                app, log_config=None, access_log=False, ws_max_size=chosen.max_message_bytes, timeout_graceful_shutdown=3
            )
            held["server"] = uvicorn.Server(config)
            await held["server"].serve(sockets=[listener])

        asyncio.run(main())

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert up.wait(60), "the service did not start"
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Served(address, held["manager"], registry, held["loop"], sink.events, sink.ended)
    finally:
        if "server" in held:
            held["server"].should_exit = True
        thread.join(20)
        listener.close()
