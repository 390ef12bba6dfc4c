"""The service's end of the line to a measuring process, and a pool that keeps one ready.

Whatever such a process does - crash, hang, fill its memory, write garbage - is told by `WorkerProcess.receive` as an end,
with a reason for people in `WorkerProcess.end`. Nothing here raises because of what a child does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pose_analyzer.errors import WorkerError
from pose_analyzer.pipeline.workers.limits import WorkerLimits
from pose_analyzer.pipeline.workers.messages import LENGTHS, decode_header, decode_lengths, encode
from shared_utils.logging import get_logger, redact
from shared_utils.redaction import is_secret_key

_log = get_logger(__name__)
_MODULE = "pose_analyzer.pipeline.workers.child"
_BUFFER_BYTES = 2**20
_TAIL_LINES = 40
_LINE_BYTES = 2000
_SEND_S = 10.0
_TERMINATE_S = 0.5
# The order or its source was wrong, and a message has said so.
_EXPECTED = {65}


class WorkerProcess:
    """One measuring process. Belongs to the event loop that started it; one task receives.

    Attributes:
        pid: Its process id.
        end: Why it ended, a sentence for people; None while it runs, and after an end that was asked for or whose work was done.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.end: str | None = None
        self._process = process
        self._ready = asyncio.Event()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._logs = asyncio.create_task(self._keep_logs())
        self._receiving = False
        self._stopping = False
        self._held: deque[tuple[dict[str, Any], bytes]] = deque()

    @classmethod
    async def start(cls, *, limits: WorkerLimits | None = None, warm: bool = False, command: Sequence[str] | None = None) -> Self:
        """Start a process.

        Args:
            limits: What it may use.
            warm: Build the default detector before its order comes.
            command: Another program in its place, for tests.

        Raises:
            WorkerError: The system does not start any.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(command or _command(limits or WorkerLimits(), warm)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_BUFFER_BYTES,
                env=_environment(),
                # Ctrl-C at the terminal is for the service, which then ends its processes in order.
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerError(f"no measuring process could be started: {error.strerror or error}; are there too many?") from error
        return cls(process)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it waits for its order."""
        return self._ready.is_set()

    @property
    def stderr_tail(self) -> str:
        """The last lines of its log, without credentials."""
        return "\n".join(self._tail)

    async def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send a message. A process that has ended gets none; one that does not read for 10 s is ended.

        Raises:
            WorkerError: The message is too large, or holds what JSON does not.
        """
        data = encode(header, payload)
        pipe = self._process.stdin
        if pipe is None or pipe.is_closing() or not self.is_running:
            return
        try:
            pipe.write(data)
            async with asyncio.timeout(_SEND_S):
                await pipe.drain()
        except TimeoutError:
            self._kill("it did not take a message for 10 s")
        except OSError:
            return  # it has ended; `receive` says so

    async def receive(self, *, silence_s: float | None = None) -> tuple[dict[str, Any], bytes] | None:
        """The next message; None: the process has ended, and `end` says why.

        Args:
            silence_s: A process that says nothing for so long is ended, seconds; None waits for ever.
        """
        if self._held:
            return self._held.popleft()
        self._receiving = True
        try:
            async with asyncio.timeout(silence_s):
                while (message := await self._next()) is not None and message[0]["type"] == "ready":
                    self._ready.set()
            if message is not None:
                if message[0]["type"] == "error":
                    self.end = redact(str(message[0].get("detail", "measuring failed")))
                return message
        except TimeoutError:
            self._kill(f"it was silent for {silence_s:g} s")
        except WorkerError as error:
            self._kill(f"it wrote garbage ({error})")
        except (OSError, asyncio.IncompleteReadError):
            pass  # it ended in the middle of a message
        finally:
            self._receiving = False
        await self._note_end()
        return None

    async def wait_ready(self) -> bool:
        """Wait until it waits for its order; False if it ended instead."""
        if not self._ready.is_set():
            self._receiving = True
            try:
                message = await self._next()
                if message is not None and message[0]["type"] == "ready":
                    self._ready.set()
                elif message is not None:
                    self._held.append(message)
            except (WorkerError, OSError, asyncio.IncompleteReadError) as error:
                self._kill(f"it wrote garbage ({error})")
            finally:
                self._receiving = False
        return self._ready.is_set() and self.is_running

    async def stop(self, *, grace_s: float = 3.0) -> int:
        """End it: by asking, then by SIGTERM, then by SIGKILL.

        Args:
            grace_s: How long it may go on after it has been asked, seconds.

        Returns:
            Its exit status; negative: the signal that ended it.
        """
        self._stopping = True
        drain = None if self._receiving else asyncio.create_task(self._drain())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.send({"type": "stop"})
                    await self._process.wait()
            for end in (self._process.terminate, self._process.kill):
                if self.is_running:
                    with contextlib.suppress(ProcessLookupError):
                        end()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._process.wait(), _TERMINATE_S)
            return await self._process.wait()
        finally:
            if drain is not None:
                drain.cancel()
            await self._let_go()

    def kill(self) -> None:
        """End it at once; `receive` then tells of it."""
        self._kill(None)

    async def _next(self) -> tuple[dict[str, Any], bytes] | None:
        stdout = self._process.stdout
        if stdout is None:
            return None
        try:
            lengths = await stdout.readexactly(LENGTHS.size)
        except asyncio.IncompleteReadError as error:
            if error.partial and not self._stopping:
                raise WorkerError(f"no message: {len(error.partial)} bytes") from None
            return None
        header, payload = decode_lengths(lengths)
        # One after the other, so that a large payload does not copy the header again.
        return decode_header(await stdout.readexactly(header)), await stdout.readexactly(payload) if payload else b""

    async def _drain(self) -> None:
        """Read what nobody wants, so that a process that still writes can go on to its end."""
        stdout = self._process.stdout
        while stdout is not None and await stdout.read(_BUFFER_BYTES):
            pass

    def _kill(self, why: str | None) -> None:
        if self.end is None and why is not None:
            self.end = f"the measuring process was ended: {why}"
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _note_end(self) -> None:
        """Wait for the exit (a process that only closed its output gets a moment) and put it into a sentence."""
        try:
            status = await asyncio.wait_for(self._process.wait(), _TERMINATE_S + 1.0)
        except TimeoutError:
            self._kill("it closed its line without ending")
            status = await self._process.wait()
        await self._let_go()
        if self._stopping or status == 0:
            return
        self.end = self.end or _describe_exit(status)
        if status not in _EXPECTED:
            _log.warning("worker_ended", pid=self.pid, status=status, reason=self.end, log=self.stderr_tail[-1500:])

    async def _let_go(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._logs), 0.5)
        self._logs.cancel()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _keep_logs(self) -> None:
        stderr = self._process.stderr
        rest = b""
        while stderr is not None and (data := await stderr.read(2**16)):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-_LINE_BYTES:]
            self._tail.extend(redact(line[-_LINE_BYTES:].decode("utf-8", "replace")) for line in lines[-_TAIL_LINES:])
        if rest:
            self._tail.append(redact(rest.decode("utf-8", "replace")))


class WorkerPool:
    """Keeps measuring processes ready, so that a stream's first frame does not wait for libraries to load.

    Args:
        spares: How many wait, warm.
        limits: What each may use.
        refill_after_s: How long after one was taken the next is started, seconds: not while the first is busy to begin.

    Example:
        >>> async def first_message():
        ...     pool = WorkerPool(spares=0)
        ...     worker = await pool.take()
        ...     await worker.send({"type": "dance"})
        ...     message = await worker.receive()
        ...     await worker.stop()
        ...     await pool.stop()
        ...     return message[0]["detail"]
        >>> asyncio.run(first_message())
        "there is no order 'dance'; there are analyze, stream and push"
    """

    def __init__(self, *, spares: int = 1, limits: WorkerLimits | None = None, refill_after_s: float = 2.0) -> None:
        if spares < 0:
            raise ValueError(f"spares must be 0 or more, got {spares}")
        self._spares = spares
        self._limits = limits or WorkerLimits()
        self._refill_after_s = refill_after_s
        self._waiting: deque[WorkerProcess] = deque()
        self._taken = asyncio.Event()
        self._refill: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the spares; does not wait until they are warm."""
        if self._spares and self._refill is None:
            await self._fill()
            self._refill = asyncio.create_task(self._keep_filled())

    async def take(self, *, warm: bool = True) -> WorkerProcess:
        """A process of one's own: a spare if there is one, else a new one.

        Args:
            warm: A new one builds the default detector before it takes its order; an analysis, which builds its own, does not
                want that.

        Raises:
            WorkerError: The system does not start any.
        """
        while self._waiting:
            worker = self._waiting.popleft()
            self._taken.set()
            if worker.is_running:
                return worker
            await worker.stop(grace_s=0)
        return await WorkerProcess.start(limits=self._limits, warm=warm)

    async def stop(self) -> None:
        """End the spares. Processes that were taken belong to their takers."""
        refill, self._refill = self._refill, None
        if refill is not None:
            refill.cancel()
            await asyncio.wait([refill])
        spares = [*self._waiting]
        self._waiting.clear()
        # A spare holds nothing worth a farewell.
        await asyncio.gather(*(spare.stop(grace_s=0) for spare in spares))

    async def _keep_filled(self) -> None:
        while True:
            await self._taken.wait()
            await asyncio.sleep(self._refill_after_s)
            self._taken.clear()
            try:
                await self._fill()
            except WorkerError as error:
                _log.warning("no_spare_worker", reason=str(error))

    async def _fill(self) -> None:
        while len(self._waiting) < self._spares:
            self._waiting.append(await WorkerProcess.start(limits=self._limits, warm=True))


def _command(limits: WorkerLimits, warm: bool) -> list[str]:
    # -P: the folder that the service was started in is no place to import from.
    words = [sys.executable, "-P", "-m", _MODULE, "--parent", str(os.getpid()), "--memory-bytes", str(limits.memory_bytes)]
    words += ["--niceness", str(limits.niceness), *(["--cpu-s", str(limits.cpu_s)] if limits.cpu_s else [])]
    return [*words, *(["--warm"] if warm else [])]


def _environment() -> dict[str, str]:
    """The service's environment without its secrets: what decodes foreign bytes needs no token."""
    return {key: value for key, value in os.environ.items() if not is_secret_key(key)}


def _describe_exit(status: int) -> str:
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        hint = {"SIGKILL": "; the system may be out of memory", "SIGXCPU": "; its processor time was used up"}.get(name, "")
        return f"the measuring process crashed ({name}{hint})"
    return f"the measuring process ended with status {status}"
