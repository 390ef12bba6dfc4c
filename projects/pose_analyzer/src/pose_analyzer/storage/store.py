"""`Store`: sessions and their events in a database, their series in files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pose_analyzer.storage import event_rows, session_rows
from pose_analyzer.storage.analyses import AnalysisTable, change
from pose_analyzer.storage.engine import open_engine, reading, writing
from pose_analyzer.storage.errors import NoSuchSessionError, StorageError
from pose_analyzer.storage.migrations import migrate
from pose_analyzer.storage.paging import check_limit, cut, decode_cursor, is_before, microseconds_of
from pose_analyzer.storage.records import AnalysisState, Page, SessionKind, SessionRecord, StoredEvent
from pose_analyzer.storage.schema import events as events_table
from pose_analyzer.storage.schema import sessions as sessions_table
from pose_analyzer.storage.series_files import read_series, write_series
from shared_utils.data_models import Event, EventType, Series

DATABASE_FILE = "pose.sqlite3"
_CHUNK = 500


class Store:
    """Everything that is kept: use it from any thread, from several processes at once.

    What was written is there after the process was killed; what was being written is not there at all.

    Args:
        path: The database file, made if absent and brought to the newest version.
        series_folder: Where sessions have their folders, by id. Default: `sessions` beside the database.

    Raises:
        NewerDatabaseError: A newer release wrote the database.
        StorageError: It cannot be opened.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / DATABASE_FILE) as store:
        ...     store.add_session(SessionRecord(id="s1", kind=SessionKind.STREAM, name="door", started_at=datetime.now(UTC)))
        ...     store.write([Event(EventType.PERSON_ENTERED, "door", 1, 2.0, 2.0)], session_id="s1")
        ...     [stored.event.type.value for stored in store.query(session_id="s1").items]
        1
        ['person_entered']
    """

    def __init__(self, path: str | Path, *, series_folder: str | Path | None = None) -> None:
        self.path = Path(path)
        self.series_folder = self.path.parent / "sessions" if series_folder is None else Path(series_folder)
        self._engine = open_engine(self.path)
        try:
            migrate(self._engine)
        except BaseException:
            self._engine.dispose()
            raise
        self.analyses = AnalysisTable(self._engine)

    def close(self) -> None:
        """Close the database; safe to call twice."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def session_ids(self) -> frozenset[str]:
        """Ids of all sessions: whose folders are wanted."""
        with reading(self._engine) as connection:
            return frozenset(connection.scalars(select(sessions_table.c.id)))

    # --- sessions -----------------------------------------------------------------------------------
    def add_session(self, record: SessionRecord) -> None:
        """Begin a session.

        Raises:
            StorageError: There is one of that id already.
        """
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(sessions_table).values(session_rows.to_row(record)))
        except StorageError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise StorageError(f"there is a session {record.id!r} already") from error
            raise

    def update_session(self, session_id: str, **changes: Any) -> bool:
        """Change fields of a session, named as in `SessionRecord`. False if there is none of that id.

        Raises:
            StorageError: There is no such field.
        """
        unknown = set(changes) - (set(SessionRecord.__dataclass_fields__) - {"id", "kind"})
        if unknown:
            raise StorageError(f"a session has no field {sorted(unknown)[0]!r} that could be changed")
        if "details" in changes:
            changes["details"] = event_rows.plain(changes["details"])
        if not changes:
            return self.session(session_id) is not None
        with writing(self._engine) as connection:
            return connection.execute(update(sessions_table).where(sessions_table.c.id == session_id).values(changes)).rowcount > 0

    def session(self, session_id: str) -> SessionRecord | None:
        """One session; None if there is none of that id."""
        with reading(self._engine) as connection:
            row = connection.execute(select(sessions_table).where(sessions_table.c.id == session_id)).one_or_none()
        return None if row is None else session_rows.from_row(row._asdict())

    def sessions(self, *, kind: SessionKind | None = None, limit: int = 50, cursor: str | None = None) -> Page[SessionRecord]:
        """Sessions, newest first.

        Args:
            kind: Only those of this kind.
            limit: At most so many, 1 to 1000.
            cursor: `next_cursor` of the page before.

        Raises:
            CursorError: The cursor is not of this list.
            StorageError: The limit is out of range.
        """
        wanted = (
            select(sessions_table).order_by(sessions_table.c.started_at.desc(), sessions_table.c.id.desc()).limit(check_limit(limit) + 1)
        )
        if kind is not None:
            wanted = wanted.where(sessions_table.c.kind == kind.value)
        if cursor is not None:
            microseconds, session_id = decode_cursor(cursor, int, str)
            wanted = wanted.where(is_before(sessions_table.c.started_at, sessions_table.c.id, microseconds, session_id))
        with reading(self._engine) as connection:
            records = [session_rows.from_row(row._asdict()) for row in connection.execute(wanted)]
        return cut(records, limit, lambda r: (microseconds_of(r.started_at), r.id))

    def delete_session(self, session_id: str) -> bool:
        """Forget a session and its events; its folder is the caller's. False if there was none."""
        with writing(self._engine) as connection:
            return connection.execute(delete(sessions_table).where(sessions_table.c.id == session_id)).rowcount > 0

    # --- events and series --------------------------------------------------------------------------
    def write(
        self, events: Iterable[Event] = (), series: Series | None = None, *, session_id: str, recorded_at: datetime | None = None
    ) -> int:
        """Add events to a session, all or none of them, and write its series.

        Args:
            events: In the order in which `query` gives them back.
            series: Replaces the session's series file; None leaves it.
            session_id: An existing session.
            recorded_at: When they were seen. Default: now.

        Returns:
            How many events were added.

        Raises:
            NoSuchSessionError: There is no such session.
            StorageError: Database or disk cannot be written.
        """
        rows = [event_rows.to_row(e, session_id, recorded_at or datetime.now(UTC)) for e in events]
        if series is not None:
            if self.session(session_id) is None:
                raise NoSuchSessionError(f"there is no session {session_id!r}")
            write_series(self.series_folder / session_id, series)
        if not rows:
            return 0
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(events_table), rows)
        except StorageError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise NoSuchSessionError(f"there is no session {session_id!r}") from error
            raise
        return len(rows)

    def query(
        self,
        *,
        session_id: str | None = None,
        types: Sequence[EventType] = (),
        track_id: int | None = None,
        from_s: float | None = None,
        until_s: float | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[StoredEvent]:
        """Events in the order they were written.

        Args:
            session_id: Only those of this session.
            types: Only those of these types; empty takes all.
            track_id: Only those of this person.
            from_s: Only those that end at this media time or later, seconds.
            until_s: Only those that begin before this media time, seconds.
            since: Only those written then or later.
            before: Only those written before.
            limit: At most so many, 1 to 1000.
            cursor: `next_cursor` of the page before.

        Raises:
            CursorError: The cursor is not of this list.
            StorageError: The limit is out of range, or the database cannot be read.
        """
        c = events_table.c
        wanted = select(events_table).order_by(c.id).limit(check_limit(limit) + 1)
        conditions = [
            None if session_id is None else c.session_id == session_id,
            None if not types else c.type.in_([EventType(t).value for t in types]),
            None if track_id is None else c.track_id == track_id,
            None if from_s is None else c.end_s >= from_s,
            None if until_s is None else c.start_s < until_s,
            None if since is None else c.recorded_at >= since,
            None if before is None else c.recorded_at < before,
            None if cursor is None else c.id > decode_cursor(cursor, int)[0],
        ]
        stored = self._events(wanted.where(*(condition for condition in conditions if condition is not None)))
        return cut(stored, limit, lambda s: (s.id,))

    def events_of(self, session_id: str, *, types: Sequence[EventType] = ()) -> Iterator[Event]:
        """Every event of a session, in the order they were written, read in parts."""
        cursor = None
        while True:
            page = self.query(session_id=session_id, types=types, limit=_CHUNK, cursor=cursor)
            yield from (stored.event for stored in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    def series(self, session_id: str, columns: Sequence[str] | None = None) -> Series:
        """The series of a session.

        Raises:
            StorageError: It has none, a damaged one, or lacks a column.
        """
        return read_series(self.series_folder / session_id, columns)

    def finish_analysis(self, session: SessionRecord, events: Iterable[Event], *, notes: Sequence[str] = (), at: datetime) -> bool:
        """A running analysis is done: its session and events appear, its state changes, all at once.

        Args:
            session: What came of it; its id is the analysis'.
            events: In order.
            notes: What a reader should know.
            at: When.

        Returns:
            False if the analysis does not run any more; nothing is changed then.

        Raises:
            StorageError: The database cannot be written.
        """
        rows = [event_rows.to_row(e, session.id, at) for e in events]
        values = {"state": AnalysisState.DONE.value, "finished_at": at, "notes": list(notes), "url": None, "error": None}
        with writing(self._engine) as connection:
            if not change(connection, session.id, (AnalysisState.RUNNING,), values):
                return False
            connection.execute(insert(sessions_table).values(session_rows.to_row(session)))
            if rows:
                connection.execute(insert(events_table), rows)
        return True

    def _events(self, wanted: Select[Any]) -> list[StoredEvent]:
        with reading(self._engine) as connection:
            return [event_rows.from_row(row) for row in connection.execute(wanted)]
