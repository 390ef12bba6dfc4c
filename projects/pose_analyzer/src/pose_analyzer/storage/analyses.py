"""Analyses as jobs: rows that say what was asked for, how far it is and what came of it.

Every change names the states it may start from, so that a job which was cancelled meanwhile is not
brought back to life.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from pose_analyzer.storage.engine import reading, writing
from pose_analyzer.storage.paging import check_limit, cut, decode_cursor, is_before, microseconds_of
from pose_analyzer.storage.records import AnalysisRecord, AnalysisState, Page
from pose_analyzer.storage.schema import analyses, sessions
from pose_analyzer.storage.session_rows import from_row as session_from_row

_SESSION = tuple(column.label(f"session_{column.name}") for column in sessions.c)
_SELECT = select(analyses, *_SESSION).select_from(analyses.outerjoin(sessions, sessions.c.id == analyses.c.id))


class AnalysisTable:
    """The jobs of a store; reached as `store.analyses`.

    Args:
        engine: From `open_engine`, migrated.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, record: AnalysisRecord) -> None:
        """Keep a new job."""
        values = {c.name: getattr(record, c.name) for c in analyses.c}
        with writing(self._engine) as connection:
            connection.execute(insert(analyses).values({**values, "state": record.state.value, "notes": list(record.notes)}))

    def get(self, analysis_id: str) -> AnalysisRecord | None:
        """One job; None if there is none of that id."""
        with reading(self._engine) as connection:
            row = connection.execute(_SELECT.where(analyses.c.id == analysis_id)).one_or_none()
        return None if row is None else _from_row(row)

    def page(self, *, state: AnalysisState | None = None, limit: int = 50, cursor: str | None = None) -> Page[AnalysisRecord]:
        """Jobs, newest first.

        Args:
            state: Only those in this state.
            limit: At most so many, 1 to 1000.
            cursor: `next_cursor` of the page before.

        Raises:
            CursorError: The cursor is not of this list.
            StorageError: The limit is out of range.
        """
        wanted = _SELECT.order_by(analyses.c.created_at.desc(), analyses.c.id.desc()).limit(check_limit(limit) + 1)
        if state is not None:
            wanted = wanted.where(analyses.c.state == state.value)
        if cursor is not None:
            microseconds, analysis_id = decode_cursor(cursor, int, str)
            wanted = wanted.where(is_before(analyses.c.created_at, analyses.c.id, microseconds, analysis_id))
        with reading(self._engine) as connection:
            records = [_from_row(row) for row in connection.execute(wanted)]
        return cut(records, limit, lambda r: (microseconds_of(r.created_at), r.id))

    def unfinished(self) -> tuple[AnalysisRecord, ...]:
        """Jobs that wait or run, in the order they were asked for."""
        states = (AnalysisState.QUEUED.value, AnalysisState.RUNNING.value)
        wanted = _SELECT.where(analyses.c.state.in_(states)).order_by(analyses.c.created_at, analyses.c.id)
        with reading(self._engine) as connection:
            return tuple(_from_row(row) for row in connection.execute(wanted))

    def counts(self) -> dict[AnalysisState, int]:
        """How many jobs are in each state."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(analyses.c.state, func.count()).group_by(analyses.c.state)).all()
        found = {AnalysisState(state): count for state, count in rows}
        return {state: found.get(state, 0) for state in AnalysisState}

    def ids(self) -> frozenset[str]:
        """Ids of all jobs."""
        with reading(self._engine) as connection:
            return frozenset(connection.scalars(select(analyses.c.id)))

    def begin(self, analysis_id: str, at: datetime) -> bool:
        """A waiting job runs now, and has one attempt more. False if it did not wait."""
        values = {"state": AnalysisState.RUNNING.value, "started_at": at, "attempts": analyses.c.attempts + 1}
        return self._change(analysis_id, (AnalysisState.QUEUED,), values)

    def requeue(self, analysis_id: str, *, count_attempt: bool = True) -> bool:
        """A running job waits again. False if it did not run.

        Args:
            analysis_id: The job.
            count_attempt: False when the interruption was no fault of the job, such as a restart that was asked for.
        """
        values: dict[str, Any] = {"state": AnalysisState.QUEUED.value, "started_at": None}
        if not count_attempt:
            values["attempts"] = analyses.c.attempts - 1
        return self._change(analysis_id, (AnalysisState.RUNNING,), values)

    def fail(self, analysis_id: str, error: str, at: datetime) -> bool:
        """A job cannot be done. False if it was in a final state."""
        return self._end(analysis_id, AnalysisState.FAILED, at, error)

    def cancel(self, analysis_id: str, at: datetime) -> bool:
        """Nobody wants a job any more. False if it was in a final state."""
        return self._end(analysis_id, AnalysisState.CANCELLED, at, None)

    def note_arrival(self, analysis_id: str, size_bytes: int) -> bool:
        """The recording is here; its address, which may hold credentials, is forgotten."""
        return self._change(analysis_id, tuple(AnalysisState), {"size_bytes": size_bytes, "url": None})

    def delete(self, analysis_id: str) -> bool:
        """Forget a job, its session and its events. False if there was none."""
        with writing(self._engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.id == analysis_id))
            return connection.execute(delete(analyses).where(analyses.c.id == analysis_id)).rowcount > 0

    def _end(self, analysis_id: str, state: AnalysisState, at: datetime, error: str | None) -> bool:
        values = {"state": state.value, "finished_at": at, "error": error, "url": None}
        return self._change(analysis_id, (AnalysisState.QUEUED, AnalysisState.RUNNING), values)

    def _change(self, analysis_id: str, states: Sequence[AnalysisState], values: dict[str, Any]) -> bool:
        with writing(self._engine) as connection:
            return change(connection, analysis_id, states, values)


def change(connection: Connection, analysis_id: str, states: Sequence[AnalysisState], values: dict[str, Any]) -> bool:
    """Change a job that is in one of the states; False if it is not."""
    chosen = update(analyses).where(analyses.c.id == analysis_id, analyses.c.state.in_([s.value for s in states]))
    return connection.execute(chosen.values(values)).rowcount > 0


def _from_row(row: Row[Any]) -> AnalysisRecord:
    facts = dict(row._mapping)
    session = {name: facts.pop(f"session_{name}") for name in sessions.c.keys()}  # noqa: SIM118  # columns, not a dict
    return AnalysisRecord(
        **{**facts, "state": AnalysisState(facts["state"]), "notes": tuple(facts["notes"])},
        session=None if session["id"] is None else session_from_row(session),
    )
