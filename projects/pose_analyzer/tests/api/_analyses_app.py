"""The routes of analyses as a service of their own: in a thread of the test, or as a process that can be killed."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from pose_analyzer.api.analyses import analyses_router
from pose_analyzer.api.jobs import JobManager
from pose_analyzer.api.settings import PoseApiSettings
from pose_analyzer.storage import DATABASE_FILE, Store
from shared_utils.metrics import create_registry
from shared_utils.service import create_service

PATIENCE_S = 120.0


def make_app(settings: PoseApiSettings) -> FastAPI:
    store = Store(settings.data_dir / DATABASE_FILE)
    registry = create_registry(process=False)
    jobs = JobManager(settings, store, registry)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await jobs.start()
        try:
            yield
        finally:
            await jobs.stop()
            store.close()

    app = create_service("Analyses", "1.0", settings=settings, routers=[analyses_router(jobs)], registry=registry, lifespan=lifespan)
    app.state.jobs = jobs
    return app


class Service(httpx.Client):
    """A client of a service, with the folder that it keeps."""

    def __init__(self, address: str, data_dir: Path) -> None:
        super().__init__(base_url=address, timeout=PATIENCE_S)
        self.address, self.data_dir = address, data_dir

    def upload(self, content: bytes, name: str = "squat.mp4", **fields: str) -> httpx.Response:
        return self.post("/v1/analyses", files={"file": (name, content)}, data=fields)

    def wait(self, path: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask until the answer is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            view = self.get(path).json()
            if until(view):
                return view
            time.sleep(0.02)
        raise AssertionError(f"in vain: {view}")

    def until_files_are(self, wanted: set[str]) -> set[str]:
        """What lies in the data folder, once it is as wanted or patience ends."""
        deadline = time.monotonic() + PATIENCE_S
        while self.files() != wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.files()

    def finish(self, path: str) -> dict[str, Any]:
        return self.wait(path, lambda view: view["state"] not in ("queued", "running"))

    def files(self) -> set[str]:
        """What lies in the data folder besides the database, the lock and empty folders."""
        found = {str(p.relative_to(self.data_dir)) for p in self.data_dir.rglob("*") if p.is_file()}
        return {name for name in found if not name.startswith("pose.")}


@contextlib.contextmanager
def serving(data_dir: Path, **settings: Any) -> Iterator[Service]:
    """A service in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = make_app(PoseApiSettings(data_dir=data_dir, **settings))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with Service(f"http://127.0.0.1:{listener.getsockname()[1]}", data_dir) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def own_process(data_dir: Path, **settings: Any) -> Iterator[tuple[Service, subprocess.Popen[str]]]:
    """A service as a process of its own; killed at the end if it still runs."""
    command = [sys.executable, __file__, str(data_dir), json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with Service(process.stdout.readline().strip(), data_dir) as client:
                yield client, process
        finally:
            process.kill()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as own:
        sys.stdout.write(f"http://127.0.0.1:{own.getsockname()[1]}\n")
        sys.stdout.flush()
        application = make_app(PoseApiSettings(data_dir=Path(sys.argv[1]), **json.loads(sys.argv[2])))
        uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=2)).run(sockets=[own])
