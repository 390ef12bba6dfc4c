"""What happens in streams is kept: a session per stream, its events in the store, written off the event loop."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from pose_analyzer.api.messages import StreamView
from pose_analyzer.storage import SessionKind, SessionRecord, StorageError, Store
from shared_utils.data_models import Event
from shared_utils.logging import get_logger

_log = get_logger(__name__)
# The demo is nobody's training.
_NOT_KEPT = {"demo"}
_WAITING = 10_000
_PAGE = 200


class StreamSessions:
    """Takes the events of all streams and writes them in batches.

    What waits is bounded: while the disk does not follow, further events are counted as lost and that is logged.

    Args:
        store: Where they go; the caller closes it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: asyncio.Queue[tuple[StreamView, Event | None]] = asyncio.Queue(_WAITING)
        self._begun: set[str] = set()
        self._lost = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Close what an earlier server left open, and begin to write."""
        await asyncio.to_thread(self._close_open_ones)
        self._task = asyncio.create_task(self._work(), name="stream sessions")

    async def stop(self) -> None:
        """Write what waits, then end."""
        if self._task is None:
            return
        await self._queue.join()
        self._task.cancel()
        self._task = None

    def on_event(self, stream: StreamView, event: Event) -> None:
        """Something happened in a stream."""
        self._put(stream, event)

    def on_end(self, stream: StreamView) -> None:
        """A stream is over."""
        self._put(stream, None)

    def _put(self, stream: StreamView, event: Event | None) -> None:
        if stream.kind in _NOT_KEPT or self._task is None:
            return
        try:
            self._queue.put_nowait((stream, event))
        except asyncio.QueueFull:
            self._lost += 1
            if self._lost == 1 or self._lost % 1000 == 0:
                _log.warning("events_lost", count=self._lost, reason="the database does not follow")

    async def _work(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty() and len(batch) < _PAGE:
                batch.append(self._queue.get_nowait())
            try:
                await asyncio.to_thread(self._write, batch)
            except StorageError as error:
                _log.warning("events_not_kept", count=len(batch), reason=str(error))
            finally:
                for _ in batch:
                    self._queue.task_done()

    def _write(self, batch: list[tuple[StreamView, Event | None]]) -> None:
        by_stream: dict[str, list[tuple[StreamView, Event | None]]] = {}
        for view, event in batch:
            by_stream.setdefault(view.id, []).append((view, event))
        for stream_id, entries in by_stream.items():
            newest = entries[-1][0]
            if stream_id not in self._begun:
                self._begun.add(stream_id)
                self._store.add_session(_record(newest))
            self._store.write([event for _, event in entries if event is not None], session_id=stream_id)
            changes: dict[str, object] = {"frames": newest.frames, "repetitions": newest.repetitions}
            if any(event is None for _, event in entries):
                changes |= {"finished_at": datetime.now(UTC), "complete": newest.state in ("finished", "stopped")}
                self._begun.discard(stream_id)
            self._store.update_session(stream_id, **changes)

    def _close_open_ones(self) -> None:
        cursor = None
        while True:
            page = self._store.sessions(kind=SessionKind.STREAM, limit=_PAGE, cursor=cursor)
            for record in page.items:
                if record.finished_at is None:
                    self._store.update_session(record.id, finished_at=datetime.now(UTC), complete=False)
            if (cursor := page.next_cursor) is None:
                return


def _record(view: StreamView) -> SessionRecord:
    return SessionRecord(
        id=view.id,
        kind=SessionKind.STREAM,
        name=view.name[:200],
        exercise=view.exercise,
        started_at=view.started_at or view.created_at,
        frames=view.frames,
        repetitions=view.repetitions,
        details={"source": view.source, "kind": view.kind},
    )
