"""The pose service as a user starts it: a process of its own, on a free port, with a folder of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

_ADDRESS = re.compile(r"https?://[^\s)]+")


class Server:
    """Starts `python -m pose_analyzer.api.main` and keeps its address.

    Args:
        data_dir: What it keeps, across restarts.
        port: 0 takes a free one; the one of an earlier process makes this one its successor.
        settings: Further settings by name, as the environment tells them.
    """

    def __init__(self, data_dir: Path, *, port: int = 0, **settings: Any) -> None:
        self.data_dir = data_dir
        self._settings = settings
        self.process: subprocess.Popen[str] | None = None
        self.address = ""
        self.port = port

    def start(self) -> Self:
        environment = {
            **os.environ,
            "HTTP_API_DATA_DIR": str(self.data_dir),
            **{f"HTTP_API_{key.upper()}": str(value) for key, value in self._settings.items()},
        }
        log = (self.data_dir.parent / f"{self.data_dir.name}.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pose_analyzer.api.main", "--port", str(self.port)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := _ADDRESS.search(line):
                self.address = found[0].rstrip("/")
                break
        else:
            raise AssertionError(f"the service did not start:\n{self.log}")
        self.port = int(self.address.rsplit(":", 1)[1])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.address}/readyz", timeout=5).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the service did not get ready:\n{self.log}")

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return (self.data_dir.parent / f"{self.data_dir.name}.log").read_text()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def memory_bytes(self) -> int:
        """Resident memory of the server process alone."""
        assert self.process is not None
        return psutil.Process(self.process.pid).memory_info().rss

    def children(self) -> list[psutil.Process]:
        """Its measuring processes."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """As a power cut: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As a service manager does it: SIGTERM. The exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.stop()
