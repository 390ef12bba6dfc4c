"""Routes of sessions: everything measured so far, recordings and streams alike, and what happened in it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from pose_analyzer.api.analysis_views import EventView
from pose_analyzer.storage import CursorError, SessionKind, SessionRecord, Store
from shared_utils.data_models import EventType
from shared_utils.service import Problem

SessionId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the session.")]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,17}\.[0-9a-f]{32}$", description="`next_cursor` of the page before.")]
EventCursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,17}$", description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows a page.")]
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such session.", "content": _PROBLEM},
    422: {"description": "The request is not valid.", "content": _PROBLEM},
}


class SessionView(BaseModel):
    """One source measured once."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Its id; that of the analysis or of the stream.")
    kind: Literal["analysis", "stream"] = Field(description="A recording, or a stream.")
    name: str = Field(description="What people call it.")
    exercise: str | None = Field(description="What was counted; null: nothing.")
    started_at: datetime = Field(description="When measuring began, UTC.")
    finished_at: datetime | None = Field(description="When it ended; null while it goes on.")
    duration_s: float | None = Field(description="Media time, seconds; null while it goes on, and for streams.")
    frames: int | None = Field(description="Frames measured.")
    repetitions: int | None = Field(description="Completed, everybody's.")
    people: int | None = Field(description="Different people seen; null if not known.")
    complete: bool | None = Field(description="False when it ended early; null while it goes on.")

    @classmethod
    def of(cls, record: SessionRecord) -> SessionView:
        """The record as the API tells it."""
        names = [name for name in cls.model_fields if name != "kind"]
        return cls(kind=record.kind.value, **{name: getattr(record, name) for name in names})


class SessionPage(BaseModel):
    """Some sessions, newest first."""

    items: list[SessionView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


class EventPage(BaseModel):
    """Some events, in order."""

    items: list[EventView]
    next_cursor: str | None = Field(description="For the next page; null: this is the last.")


def sessions_router(store: Store) -> APIRouter:
    """The routes under `/v1/sessions`.

    Args:
        store: Where sessions are kept.
    """
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

    @router.get("", responses={422: _RESPONSES[422]})
    async def sessions(kind: Literal["analysis", "stream"] | None = None, limit: Limit = 50, cursor: Cursor = None) -> SessionPage:
        """Everything measured so far, newest first."""
        wanted = None if kind is None else SessionKind(kind)
        try:
            page = await asyncio.to_thread(store.sessions, kind=wanted, limit=limit, cursor=cursor)
        except CursorError as error:
            raise Problem(422, str(error)) from error
        return SessionPage(items=[SessionView.of(record) for record in page.items], next_cursor=page.next_cursor)

    @router.get("/{session_id}", responses=_RESPONSES)
    async def session(session_id: SessionId) -> SessionView:
        """One session."""
        return SessionView.of(await _find(store, session_id))

    @router.get("/{session_id}/events", responses=_RESPONSES)
    async def session_events(
        session_id: SessionId,
        limit: Limit = 100,
        cursor: EventCursor = None,
        type: Annotated[EventType | None, Query(description="Only this kind.")] = None,  # noqa: A002  # its name in the query
    ) -> EventPage:
        """What happened in a session, in order; `type` keeps one kind."""
        await _find(store, session_id)
        types = () if type is None else (type,)
        try:
            page = await asyncio.to_thread(store.query, session_id=session_id, types=types, limit=limit, cursor=cursor)
        except CursorError as error:
            raise Problem(422, str(error)) from error
        return EventPage(items=[EventView.of(s.event) for s in page.items], next_cursor=page.next_cursor)

    @router.delete(
        "/{session_id}",
        status_code=204,
        responses=_RESPONSES | {409: {"description": "It is not a stream's, or goes on.", "content": _PROBLEM}},
    )
    async def forget_session(session_id: SessionId) -> None:
        """Erase a stream's session and its events; an analysis is erased under `/v1/analyses`."""
        record = await _find(store, session_id)
        if record.kind is not SessionKind.STREAM:
            raise Problem(409, f"it belongs to an analysis; delete /v1/analyses/{session_id}")
        if record.finished_at is None:
            raise Problem(409, f"the stream goes on; delete /v1/streams/{session_id} first")
        await asyncio.to_thread(store.delete_session, session_id)

    return router


async def _find(store: Store, session_id: str) -> SessionRecord:
    record = await asyncio.to_thread(store.session, session_id)
    if record is None:
        raise Problem(404, f"there is no session {session_id}")
    return record
