"""Rows of the store as the program sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from shared_utils.data_models import Event

T = TypeVar("T")


class SessionKind(StrEnum):
    """Where a session came from."""

    ANALYSIS = "analysis"
    STREAM = "stream"


class AnalysisState(StrEnum):
    """How far an analysis is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when nothing more will happen to it."""
        return self in (AnalysisState.DONE, AnalysisState.FAILED, AnalysisState.CANCELLED)


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRecord:
    """One source measured once.

    Args:
        id: Made by the program, never by a client; also the name of the session's folder.
        kind: An analysis of a recording, or a live stream.
        name: What people call it, at most 200 characters.
        exercise: Profile it was counted by; None counts nothing.
        started_at: When measuring began.
        finished_at: When it ended; None while it goes on.
        duration_s: Media time, seconds; None while it goes on.
        frames: Frames measured.
        repetitions: Completed by everybody.
        people: Different people seen.
        complete: False when the source was damaged or stopped early.
        details: Further facts, JSON-serialisable.
    """

    id: str
    kind: SessionKind
    name: str
    started_at: datetime
    exercise: str | None = None
    finished_at: datetime | None = None
    duration_s: float | None = None
    frames: int | None = None
    repetitions: int | None = None
    people: int | None = None
    complete: bool | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisRecord:
    """One analysis as a job.

    Args:
        id: Made by the program.
        name: What people call it.
        exercise: Profile to count by; None counts nothing.
        state: How far it is.
        url: Where the recording is fetched from, credentials included, until it is here; None for uploads.
        size_bytes: Size of the recording; None until it is here.
        created_at: When it was asked for.
        started_at: When its newest attempt began.
        finished_at: When it came into a final state.
        attempts: How often it was begun.
        error: Why it failed, for people.
        notes: Things a reader of the result should know.
        session: What came of it; None until it is done.
    """

    id: str
    name: str
    created_at: datetime
    exercise: str | None = None
    state: AnalysisState = AnalysisState.QUEUED
    url: str | None = None
    size_bytes: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    error: str | None = None
    notes: tuple[str, ...] = ()
    session: SessionRecord | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its place in the store.

    Args:
        id: Rises with the time of writing.
        session_id: Its session.
        recorded_at: When it was written.
        event: The event.
    """

    id: int
    session_id: str
    recorded_at: datetime
    event: Event


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Args:
        items: In the order of the list.
        next_cursor: Asks for what follows; None when nothing does.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None
