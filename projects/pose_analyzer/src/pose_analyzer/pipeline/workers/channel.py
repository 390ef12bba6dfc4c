"""The child's end of the line to the service: messages in on standard input, out on standard output.

`Channel.of_this_process` takes both away from everybody else, so that a library that prints cannot break a message.
When the service closes the line (or dies), `stop_requested` is set, and a process that does not end by itself soon after is
ended: no measuring process outlives its service.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from pose_analyzer.errors import WorkerError
from pose_analyzer.pipeline.workers.messages import LENGTHS, decode_header, decode_lengths, encode

ORPHAN_PATIENCE_S = 10.0
"""How long a process may go on, to keep what it has, after its service has gone."""
EXIT_ORPHANED = 74

Message = tuple[dict[str, Any], bytes]
_WAITING = 16


class Channel:
    """Messages from and to the service. `send` may be called by any thread.

    Args:
        source: Where messages come from; read in a thread.
        sink: Where messages go.
        on_orphaned: Called in the reading thread when the source has ended (not after a stop message).

    Example:
        >>> import io
        >>> out = io.BytesIO()
        >>> channel = Channel(io.BytesIO(encode({"type": "analyze"}) + encode({"type": "stop"})), out)
        >>> channel.receive(), channel.receive()
        (({'type': 'analyze'}, b''), None)
        >>> channel.stop_requested.is_set()
        True
    """

    def __init__(self, source: IO[bytes], sink: IO[bytes], *, on_orphaned: Callable[[], None] = lambda: None) -> None:
        self.stop_requested = threading.Event()
        self._source, self._sink = source, sink
        self._on_orphaned = on_orphaned
        self._inbox: queue.Queue[Message | None] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._ended = False
        threading.Thread(target=self._read, name="messages", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> Channel:
        """The channel on standard input and output; whatever else prints goes to standard error from now on."""
        source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        sys.stdout.flush()
        os.dup2(2, 1)
        return cls(source, sink, on_orphaned=_end_soon)

    def receive(self) -> Message | None:
        """The next message; waits for it. None once the service wants an end, or has gone."""
        if self._ended:
            return None
        message = self._inbox.get()
        self._ended = message is None
        return message

    def poll(self) -> Message | None:
        """The next message if there is one already, else None."""
        if self._ended:
            return None
        try:
            message = self._inbox.get_nowait()
        except queue.Empty:
            return None
        self._ended = message is None
        return message

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send a message; waits while the service does not read. Nothing happens when it has gone.

        Raises:
            WorkerError: It is too large, or holds what JSON does not.
        """
        data = memoryview(encode(header, payload))
        with self._lock:
            try:
                while data:
                    data = data[self._sink.write(data) or 0 :]
                self._sink.flush()
            except (OSError, ValueError):
                self.stop_requested.set()

    def _read(self) -> None:
        orphaned = True
        try:
            while (message := self._next()) is not None:
                if message[0]["type"] == "stop":
                    orphaned = False
                    return
                self._inbox.put(message)
        except (WorkerError, OSError, ValueError):
            return
        finally:
            self.stop_requested.set()
            if orphaned:
                self._on_orphaned()
            self._inbox.put(None)

    def _next(self) -> Message | None:
        lengths = self._exactly(LENGTHS.size)
        if lengths is None:
            return None
        sizes = decode_lengths(lengths)
        header, payload = self._exactly(sizes[0]), self._exactly(sizes[1])
        return None if header is None or payload is None else (decode_header(header), payload)

    def _exactly(self, count: int) -> bytes | None:
        data = self._source.read(count)
        return data if len(data) == count else None


def _end_soon() -> None:
    """End this process for good in a while; its work may be stuck, its service is gone."""
    timer = threading.Timer(ORPHAN_PATIENCE_S, os._exit, (EXIT_ORPHANED,))
    timer.daemon = True
    timer.start()
