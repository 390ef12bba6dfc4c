"""Long work in the background: each job in a process of its own, with progress, an end in time, and a way to stop it.

A process, because models and strangers' files meet torch and unpicklers there and not in the service, which
stays small and answers; because what it takes is limited; and because it can be killed at any moment.
Jobs live as long as the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from prometheus_client import CollectorRegistry

from gpu_optimizer.errors import GpuOptimizerError
from shared_utils.logging import get_logger, redact
from shared_utils.metrics import gauge
from shared_utils.service import ENV_PREFIX

_MAX_LINE_BYTES = 64 * 2**20
_KEPT_ERRORS_BYTES = 4000
_WORKER = (sys.executable, "-m", "gpu_optimizer.api.worker")

_log = get_logger(__name__)


class QueueFullError(GpuOptimizerError):
    """As many jobs wait as may."""


class JobState(StrEnum):
    """What became of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Nothing will happen to it any more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(slots=True)
class Job:
    """One job.

    Args:
        kind: "estimate", "snapshot" or "plan".
        name: What people call it.
        order: What the worker is told, plain values.
        clean: Called once when it has ended, whichever way.
    """

    kind: str
    name: str
    order: Mapping[str, Any]
    clean: Callable[[], None] = lambda: None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: JobState = JobState.QUEUED
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    progress: float | None = None
    stage: str | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    process: asyncio.subprocess.Process | None = None


class JobManager:
    """Runs jobs, a few at a time, in the order they came.

    Args:
        registry: Where the metric `gpu_jobs` goes.
        max_queued: Jobs that may wait.
        kept: Ended jobs that are kept.
        concurrent: Jobs that run at the same time.
        timeout_s: After which a job is ended.
        memory_bytes: What a worker may take.
        command: Starts a worker.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        max_queued: int,
        kept: int,
        concurrent: int,
        timeout_s: float,
        memory_bytes: int,
        command: Sequence[str] = _WORKER,
    ) -> None:
        self._max_queued, self._kept, self._concurrent = max_queued, kept, concurrent
        self._timeout_s, self._memory_bytes, self._command = timeout_s, memory_bytes, command
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._runners: list[asyncio.Task[None]] = []
        states = gauge("gpu_jobs", "Estimates, plans and analyses by state.", ["state"], registry=registry)
        for state in JobState:
            states.labels(state.value).set_function(lambda state=state: sum(job.state is state for job in self._jobs.values()))

    async def start(self) -> None:
        """Begin to work."""
        self._runners = [asyncio.create_task(self._work()) for _ in range(self._concurrent)]

    async def stop(self) -> None:
        """End everything at once."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._runners = []
        while self._waiting:
            self._end(self._waiting.popleft(), JobState.CANCELLED)

    def require_room(self) -> None:
        """Refuse early what would be refused by `submit`.

        Raises:
            QueueFullError: As many wait as may.
        """
        if len(self._waiting) >= self._max_queued:
            raise QueueFullError(f"{self._max_queued} jobs wait already (max_queued_jobs); come back later")

    def submit(self, job: Job) -> Job:
        """Line a job up.

        Raises:
            QueueFullError: As many wait as may.
        """
        self.require_room()
        self._jobs[job.id] = job
        self._waiting.append(job)
        self._wake.set()
        return job

    def get(self, job_id: str, kind: str) -> Job | None:
        """A job of a kind; None if there is none of that id."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.kind == kind else None

    def list(self, kind: str) -> list[Job]:
        """The jobs of a kind, newest first."""
        return [job for job in reversed(self._jobs.values()) if job.kind == kind]

    def cancel(self, job: Job) -> bool:
        """End a job that waits or runs; False if it has ended already."""
        if job.state.is_final:
            return False
        if job in self._waiting:
            self._waiting.remove(job)
            self._end(job, JobState.CANCELLED)
            return True
        job.state = JobState.CANCELLED
        _kill(job)
        return True

    def delete(self, job: Job) -> None:
        """End a job and forget it."""
        self.cancel(job)
        self._jobs.pop(job.id, None)

    # --- work ---------------------------------------------------------------------------------------
    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            job = self._waiting.popleft()
            job.state = JobState.RUNNING
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._run(job)
            except TimeoutError:
                job.error = f"it took longer than {self._timeout_s:g} s (job_timeout_s) and was ended"
            except asyncio.CancelledError:
                job.state = JobState.CANCELLED
                raise
            except Exception:  # noqa: BLE001  # one job's trouble is not the next one's
                _log.exception("job_broke", job=job.id)
                job.error = "the service failed; its log says why"
            finally:
                await _finish(job)
                state = JobState.CANCELLED if job.state is JobState.CANCELLED else JobState.FAILED if job.error else JobState.DONE
                self._end(job, state)

    async def _run(self, job: Job) -> None:
        process = job.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
            env=_worker_env(),
        )
        assert process.stdin is not None  # noqa: S101  # asked for above
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        if job.state is JobState.CANCELLED:
            return
        errors = asyncio.create_task(_tail(process.stderr))
        order = {"task": job.kind, "memory_bytes": self._memory_bytes, **job.order}
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            await process.stdin.drain()
        while line := await process.stdout.readline():
            _note(job, json.loads(line))
        code = await process.wait()
        said = await errors
        if job.result is None and job.error is None and job.state is not JobState.CANCELLED:
            _log.warning("worker_died", job=job.id, code=code, stderr=redact(said))
            job.error = _epitaph(code, said)

    def _end(self, job: Job, state: JobState) -> None:
        job.state, job.ended_at, job.process = state, datetime.now(UTC), None
        if state is not JobState.DONE:
            job.result = None
        job.clean()
        ended = [other for other in self._jobs.values() if other.state.is_final]
        for old in ended[: max(len(ended) - self._kept, 0)]:
            del self._jobs[old.id]


def _worker_env() -> dict[str, str]:
    # The service's token has no business in a process that reads strangers' files. And without GPUs the answer is
    # the same on every machine, and no memory is taken that others use.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return {**kept, "CUDA_VISIBLE_DEVICES": ""}


def _note(job: Job, message: Mapping[str, Any]) -> None:
    if "result" in message:
        job.result, job.progress, job.stage = message["result"], 1.0, None
    elif "error" in message:
        job.error = redact(str(message["error"]))
    else:
        job.progress, job.stage = message.get("progress", job.progress), message.get("stage", job.stage)


def _kill(job: Job) -> None:
    if job.process is not None and job.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            job.process.kill()


async def _finish(job: Job) -> None:
    _kill(job)
    if job.process is not None:
        await job.process.wait()


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = b""
    while chunk := await stream.read(65536):
        kept = (kept + chunk)[-_KEPT_ERRORS_BYTES:]
    return kept.decode("utf-8", "replace")


def _epitaph(code: int, said: str) -> str:
    if "MemoryError" in said or "can't allocate memory" in said or code == -9:
        return "it needed more memory than it may take (worker_memory_bytes)"
    return f"the measuring process ended with status {code}; the service's log says more"
