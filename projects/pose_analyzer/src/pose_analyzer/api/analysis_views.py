"""What the API tells of analyses, and how it wants to be asked for one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pose_analyzer.api.job_progress import JobProgress
from pose_analyzer.storage import AnalysisRecord, AnalysisState
from shared_utils.data_models import Event, EventType


class AnalysisRequest(BaseModel):
    """Analyse a recording that lies on the web."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(
        max_length=4096,
        pattern=r"^[hH][tT][tT][pP][sS]?://[!-~]+$",
        description="http or https address, on a host that the service's settings list (url_hosts).",
        examples=["https://videos.example.org/squat.mp4"],
    )
    exercise: str | None = Field(
        default=None, description="Exercise to count, a name of /v1/exercises, or auto to recognise it; null measures angles only."
    )
    name: str | None = Field(default=None, description="What to call it. Default: the last part of the address.")


class ProgressView(BaseModel):
    """How far an analysis is."""

    model_config = ConfigDict(frozen=True)

    frames: int = Field(ge=0, description="Frames measured.")
    total: int | None = Field(description="Frames expected; null when unknown.")
    fraction: float | None = Field(ge=0, le=1, description="Share that is done; null when unknown.")
    frames_per_second: float | None = Field(description="Frames measured per second of late; null while it does not run.")
    time_left_s: float | None = Field(ge=0, description="Seconds until it is done, at this pace; null when unknown.")
    repetitions: int = Field(ge=0, description="Repetitions completed so far, everybody's.")
    people: int = Field(ge=0, description="People in the newest frame; of one that is done: different people in all.")


class SummaryView(BaseModel):
    """What came of an analysis."""

    model_config = ConfigDict(frozen=True)

    duration_s: float = Field(ge=0, description="Media time from the first to the last frame, s.")
    frames: int = Field(ge=0, description="Frames measured.")
    repetitions: int = Field(ge=0, description="Completed repetitions of everybody.")
    people: int = Field(ge=0, description="Different people seen.")


class LinksView(BaseModel):
    """Where the parts of an analysis are."""

    model_config = ConfigDict(frozen=True)

    self: str = Field(description="This view.")
    result: str = Field(description="The whole result as JSON.")
    video: str = Field(description="The recording with everything drawn onto it, MP4.")
    plot: str = Field(description="Angles over time, PNG.")
    events: str = Field(description="Events, JSON.")
    series: str = Field(description="Measurements per frame and person; JSON, CSV or Parquet.")


class AnalysisView(BaseModel):
    """One analysis."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern="^[0-9a-f]{32}$", description="Made by the service.")
    name: str = Field(max_length=200, description="What people call it.")
    state: AnalysisState = Field(description="How far it is.")
    exercise: str | None = Field(description="What is counted; null: nothing.")
    created_at: datetime = Field(description="When it was asked for, UTC.")
    started_at: datetime | None = Field(description="When its newest attempt began, UTC.")
    finished_at: datetime | None = Field(description="When it was done, failed or was cancelled, UTC.")
    progress: ProgressView = Field(description="How far it is in numbers.")
    error: str | None = Field(description="Why it failed; null otherwise.")
    attempts: int = Field(ge=0, description="How often it was begun; more than once when the service was ended meanwhile.")
    notes: list[str] = Field(description="What a reader of the result should know.")
    complete: bool | None = Field(description="False when the recording was damaged; null until it is done.")
    summary: SummaryView | None = Field(description="What came of it; null until it is done.")
    links: LinksView = Field(description="Where its parts are; result, video, plot, events and series answer 409 until it is done.")

    @classmethod
    def of(cls, record: AnalysisRecord, running: JobProgress | None = None) -> AnalysisView:
        """The job as the API tells it."""
        session = record.session
        summary = None
        if session is not None:
            summary = SummaryView(
                duration_s=session.duration_s or 0.0,
                frames=session.frames or 0,
                repetitions=session.repetitions or 0,
                people=session.people or 0,
            )
        own = f"/v1/analyses/{record.id}"
        return cls(
            id=record.id,
            name=record.name,
            state=record.state,
            exercise=record.exercise,
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            progress=_progress(summary, running),
            error=record.error,
            attempts=record.attempts,
            notes=list(record.notes),
            complete=None if session is None else session.complete,
            summary=summary,
            links=LinksView(self=own, **{part: f"{own}/{part}" for part in ("result", "video", "plot", "events", "series")}),
        )


class AnalysisPage(BaseModel):
    """A part of the list of analyses, newest first."""

    model_config = ConfigDict(frozen=True)

    items: list[AnalysisView] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="Asks for what follows; null at the end.")


class EventView(BaseModel):
    """One thing that happened."""

    model_config = ConfigDict(frozen=True)

    type: EventType = Field(description="What happened.")
    stream_id: str = Field(description="In which stream; of an analysis its id.")
    track_id: int = Field(description="To whom; -1: nobody in particular.")
    start_s: float = Field(description="Media time at its start, s.")
    end_s: float = Field(description="Media time at its end, s.")
    value: float | None = Field(description="The number it carries.")
    unit: str = Field(description="Unit of the value; empty for a count.")
    frames: list[int] = Field(description="Frames that show it.")
    message: str = Field(description="One sentence for people.")
    data: dict[str, Any] = Field(description="Further named facts.")

    @classmethod
    def of(cls, event: Event) -> EventView:
        """The event as the API tells it."""
        return cls(**event.to_dict())


class SeriesView(BaseModel):
    """Measurements by column, one row per person and frame."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(ge=0, description="Length of every column.")
    columns: dict[str, list[float | int | str | None]] = Field(description="Name with unit -> values; null: no reading.")


def _progress(summary: SummaryView | None, running: JobProgress | None) -> ProgressView:
    if summary is not None:
        return ProgressView(
            frames=summary.frames,
            total=summary.frames,
            fraction=1.0,
            frames_per_second=None,
            time_left_s=0.0,
            repetitions=summary.repetitions,
            people=summary.people,
        )
    now = running or JobProgress()
    return ProgressView(
        frames=now.frames,
        total=now.total,
        fraction=None if not now.total else round(now.frames / now.total, 4),
        frames_per_second=now.frames_per_second,
        time_left_s=now.time_left_s,
        repetitions=now.repetitions,
        people=now.people,
    )
