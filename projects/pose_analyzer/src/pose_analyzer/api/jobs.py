"""`JobManager`: analyses as jobs that outlive the server.

A job is a row of the store, a recording and later a folder of results; what happens in between is in a
process of its own. Whatever end the server comes to, its next start finds each job waiting, finished or
failed with a reason: a result is there when its folder is, and the row follows it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from pose_analyzer.api.job_folders import JobFolders
from pose_analyzer.api.job_progress import JobProgress, ProgressMeter
from pose_analyzer.api.job_results import read_result
from pose_analyzer.api.settings import PoseApiSettings
from pose_analyzer.errors import PoseAnalyzerError, WorkerError
from pose_analyzer.pipeline.workers import WorkerLimits, WorkerProcess
from pose_analyzer.pipeline.workers.analysis import Order
from pose_analyzer.storage import AnalysisRecord, AnalysisState, StorageError, Store
from shared_utils.errors import ConfigError
from shared_utils.logging import get_logger, redact
from shared_utils.metrics import gauge

MAX_ATTEMPTS = 3
_NICENESS = 5
_PROBES = 2
_PROBE_SILENCE_S = 60.0
# Saving the results of hours takes minutes, in which nothing is said.
_SILENCE_S = 900.0
_CANCEL_GRACE_S = 2.0
_STOP_GRACE_S = 0.3

_log = get_logger(__name__)


class QueueFullError(PoseAnalyzerError):
    """As many analyses wait as may."""


class RefusedRecordingError(PoseAnalyzerError):
    """An upload cannot be analysed.

    Args:
        reason: The kind of reason, a word such as `not_a_video`.
        detail: The same for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(slots=True)
class _Job:
    """A job that runs."""

    meter: ProgressMeter = field(default_factory=ProgressMeter)
    worker: WorkerProcess | None = None
    cancelled: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class JobManager:
    """Runs analyses, a few at a time, in the order they came.

    Args:
        settings: Where things lie and what is allowed.
        store: Where jobs are kept; the caller closes it.
        registry: Where the metric `pose_jobs` goes.
        clock: Says what time it is.
    """

    def __init__(
        self,
        settings: PoseApiSettings,
        store: Store,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings, self.store = settings, store
        self.folders = JobFolders(Path(settings.data_dir).absolute())
        self._clock = clock
        self._jobs = gauge("pose_jobs", "Analyses by state.", ["state"], registry=registry)
        self._limits = WorkerLimits(memory_bytes=settings.worker_memory_bytes, niceness=_NICENESS)
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Condition()
        self._running: dict[str, _Job] = {}
        self._reserved = 0
        self._probes = asyncio.Semaphore(_PROBES)
        self._runners: list[asyncio.Task[None]] = []
        self._stopping = False
        self._lock: int | None = None

    # --- life ---------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Claim the data folder, take up what an earlier server left, and begin to work.

        Raises:
            ConfigError: The data folder cannot be used, or another server works in it.
        """
        try:
            self._lock = await asyncio.to_thread(self._claim)
            self._waiting.extend(await asyncio.to_thread(self._recover))
        except StorageError as error:
            self._unlock()
            raise ConfigError(str(error)) from error
        self._stopping = False
        await self._tally()
        self._runners = [asyncio.create_task(self._work()) for _ in range(self.settings.concurrent_jobs)]

    async def stop(self) -> None:
        """End within seconds: running jobs wait again, and cost no attempt."""
        self._stopping = True
        async with self._wake:
            self._wake.notify_all()
        workers = [job.worker for job in self._running.values() if job.worker is not None]
        await asyncio.gather(*(worker.stop(grace_s=_STOP_GRACE_S) for worker in workers))
        if self._runners:
            _, late = await asyncio.wait(self._runners, timeout=3.0)
            for task in late:
                task.cancel()
        self._runners = []
        self._waiting.clear()
        self._unlock()

    # --- orders -------------------------------------------------------------------------------------
    @contextmanager
    def reservation(self) -> Iterator[None]:
        """Keep a place in the queue while a recording arrives.

        Raises:
            QueueFullError: There is none.
        """
        if len(self._waiting) + self._reserved >= self.settings.max_queued_jobs:
            raise QueueFullError(f"{self.settings.max_queued_jobs} analyses wait already (max_queued_jobs); come back later")
        self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    def new_upload(self) -> Path:
        """Where the next upload is to be written; the caller removes it if it comes to nothing."""
        return self.folders.work / f"{uuid.uuid4().hex}.upload"

    async def submit_upload(self, path: Path, *, name: str, exercise: str | None) -> AnalysisRecord:
        """Take an upload in: look whether it can be decoded, keep it, line it up.

        Args:
            path: From `new_upload`, whole; it is moved away.
            name: What people call it.
            exercise: A profile's name, checked by the caller; None counts nothing.

        Raises:
            RefusedRecordingError: It cannot be decoded, or is larger or longer than allowed.
            StorageError: The store or the disk refuses.
            WorkerError: It could not be looked at.
        """
        await self._probe(path, name)
        analysis_id = uuid.uuid4().hex
        size = path.stat().st_size
        await asyncio.to_thread(path.replace, self.folders.sources / analysis_id)
        return await self._line_up(AnalysisRecord(id=analysis_id, name=name, exercise=exercise, created_at=self._clock(), size_bytes=size))

    async def submit_url(self, url: str, *, name: str, exercise: str | None) -> AnalysisRecord:
        """Line up a recording that will be fetched.

        Args:
            url: An address that `check_address` let pass.
            name: What people call it.
            exercise: A profile's name, checked by the caller; None counts nothing.

        Raises:
            StorageError: The store refuses.
        """
        return await self._line_up(AnalysisRecord(id=uuid.uuid4().hex, name=name, exercise=exercise, created_at=self._clock(), url=url))

    async def cancel(self, analysis_id: str) -> bool:
        """End a job that waits or runs. False if it is in a final state already, or is none."""
        job = self._running.get(analysis_id)
        if job is None:
            if analysis_id in self._waiting:
                self._waiting.remove(analysis_id)
            cancelled = await asyncio.to_thread(self.store.analyses.cancel, analysis_id, self._clock())
        else:
            job.cancelled = True
            if job.worker is not None:
                await job.worker.stop(grace_s=_CANCEL_GRACE_S)
            await job.ended.wait()
            record = await self.get(analysis_id)
            cancelled = record is not None and record.state is AnalysisState.CANCELLED
        await self._tally()
        return cancelled

    async def delete(self, analysis_id: str) -> bool:
        """End a job and forget everything of it, files included. False if there is none of that id."""
        await self.cancel(analysis_id)
        # Rows first: files without a row are swept up at the next start, a row without files would be a broken promise.
        existed = await asyncio.to_thread(self.store.analyses.delete, analysis_id)
        if existed:
            await asyncio.to_thread(self.folders.remove, analysis_id)
            await self._tally()
        return existed

    # --- questions ----------------------------------------------------------------------------------
    async def get(self, analysis_id: str) -> AnalysisRecord | None:
        """A job; None if there is none of that id."""
        return await asyncio.to_thread(self.store.analyses.get, analysis_id)

    def progress(self, analysis_id: str) -> JobProgress | None:
        """How far a running job is; None if it does not run."""
        job = self._running.get(analysis_id)
        return None if job is None else job.meter.progress

    def recording(self, analysis_id: str) -> Path | None:
        """The recording of an analysis, for playing it; None if it is not (or no longer) here."""
        return self.folders.recording(analysis_id)

    def result(self, analysis_id: str) -> Path | None:
        """The folder of an analysis' results; None unless it is whole."""
        return self.folders.result(analysis_id)

    # --- work ---------------------------------------------------------------------------------------
    async def _line_up(self, record: AnalysisRecord) -> AnalysisRecord:
        await asyncio.to_thread(self.store.analyses.add, record)
        async with self._wake:
            self._waiting.append(record.id)
            self._wake.notify()
        await self._tally()
        return record

    async def _work(self) -> None:
        while True:
            async with self._wake:
                await self._wake.wait_for(lambda: self._stopping or self._waiting)
                if self._stopping:
                    return
                analysis_id = self._waiting.popleft()
                job = self._running[analysis_id] = _Job()
            try:
                await self._run(analysis_id, job)
            except Exception:  # noqa: BLE001  # one job's trouble is not the next one's
                _log.exception("analysis_broke", analysis=analysis_id)
                await self._settle(analysis_id, "the service failed; its log says why")
            finally:
                del self._running[analysis_id]
                job.ended.set()
                await self._tally()

    async def _run(self, analysis_id: str, job: _Job) -> None:
        record = await self.get(analysis_id)
        if record is None or not await asyncio.to_thread(self.store.analyses.begin, analysis_id, self._clock()):
            return
        await self._tally()
        _log.info("analysis_started", analysis=analysis_id, attempt=record.attempts + 1)
        work = self.folders.work / f"{analysis_id}-{record.attempts + 1}"
        try:
            refusal = await self._measure(record, job, work)
        except WorkerError as error:
            refusal = str(error)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        if self.result(analysis_id) is not None and not job.cancelled:
            await asyncio.to_thread(self._adopt, record)
        elif job.cancelled:
            await asyncio.to_thread(self.folders.remove_result, analysis_id)
            await asyncio.to_thread(self.store.analyses.cancel, analysis_id, self._clock())
        elif self._stopping:
            await asyncio.to_thread(self.store.analyses.requeue, analysis_id, count_attempt=False)
        else:
            await self._settle(analysis_id, refusal or "the measuring process ended without a word")

    async def _measure(self, record: AnalysisRecord, job: _Job, work: Path) -> str | None:
        """Let a process do it; afterwards the results are in place, or this says why not."""
        order = Order(
            task="measure",
            source=str(self.folders.sources / record.id),
            label=record.name,
            stream_id=record.id,
            exercise=record.exercise,
            work=str(work),
            out=str(self.folders.sessions / record.id),
            url=record.url,
            url_hosts=tuple(self.settings.url_hosts),
            max_bytes=self.settings.max_upload_bytes,
            max_duration_s=self.settings.max_duration_s,
            max_pixels=self.settings.max_pixels,
        )
        worker = job.worker = await WorkerProcess.start(limits=self._limits)
        try:
            if job.cancelled or self._stopping:
                return None
            await worker.send(order.message())
            while (message := await worker.receive(silence_s=_SILENCE_S)) is not None:
                header = message[0]
                match header["type"]:
                    case "progress":
                        job.meter.note(header)
                    case "fetched":
                        await asyncio.to_thread(self.store.analyses.note_arrival, record.id, int(header["size_bytes"]))
                    case "refused":
                        return str(header["detail"])
                    case "done" | "stopped":
                        break
            return worker.end
        finally:
            # Everything that is to last lies in place; there is nothing to wait for.
            await worker.stop(grace_s=0)

    async def _probe(self, path: Path, name: str) -> None:
        order = Order(
            task="probe", source=str(path), label=name, max_duration_s=self.settings.max_duration_s, max_pixels=self.settings.max_pixels
        )
        async with self._probes:
            worker = await WorkerProcess.start(limits=self._limits)
            try:
                await worker.send(order.message())
                message = await worker.receive(silence_s=_PROBE_SILENCE_S)
            finally:
                await worker.stop(grace_s=0)
        if message is None or message[0]["type"] == "error":
            # What brings a decoder down is as little a recording as what it refuses.
            _log.warning("probe_failed", reason=worker.end)
            raise RefusedRecordingError("damaged", f"{name}: cannot be decoded ({worker.end or 'the decoder ended'})")
        if message[0]["type"] == "refused":
            raise RefusedRecordingError(str(message[0]["reason"]), str(message[0]["detail"]))

    async def _settle(self, analysis_id: str, error: str) -> None:
        """A job failed."""
        _log.info("analysis_failed", analysis=analysis_id, reason=redact(error))
        try:
            await asyncio.to_thread(self.store.analyses.fail, analysis_id, redact(error), self._clock())
        except StorageError:
            _log.exception("analysis_not_noted", analysis=analysis_id)

    def _adopt(self, record: AnalysisRecord) -> None:
        """Results are in place: the row follows."""
        now = self._clock()
        try:
            result = read_result(self.folders.sessions / record.id, record, now)
        except PoseAnalyzerError as error:
            self.folders.remove_result(record.id)
            self.store.analyses.fail(record.id, str(error), now)
            return
        self.store.finish_analysis(result.session, result.events, notes=result.notes, at=now)
        _log.info("analysis_done", analysis=record.id, frames=result.session.frames, repetitions=result.session.repetitions)

    # --- start --------------------------------------------------------------------------------------
    def _claim(self) -> int:
        self.folders.make()
        return self.folders.lock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _recover(self) -> list[str]:
        """Bring rows and files together; the ids of the jobs that wait."""
        waiting = []
        for record in self.store.analyses.unfinished():
            if record.state is AnalysisState.RUNNING and self.folders.result(record.id) is not None:
                self._adopt(record)
            elif record.state is AnalysisState.RUNNING and record.attempts >= MAX_ATTEMPTS:
                self.store.analyses.fail(
                    record.id,
                    f"the service was ended {record.attempts} times while this was analysed; the recording may be why",
                    self._clock(),
                )
            elif record.url is None and self.recording(record.id) is None:
                self.store.analyses.fail(record.id, "the recording is gone from the data folder; upload it again", self._clock())
            else:
                if record.state is AnalysisState.RUNNING:
                    self.store.analyses.requeue(record.id)
                waiting.append(record.id)
        removed = self.folders.sweep(recordings=self.store.analyses.ids(), results=self.store.session_ids())
        if waiting or removed:
            _log.info("analyses_taken_up", waiting=len(waiting), orphans_removed=removed)
        return waiting

    async def _tally(self) -> None:
        for state, count in (await asyncio.to_thread(self.store.analyses.counts)).items():
            self._jobs.labels(state.value).set(count)
