"""Every message of the two WebSockets, and the view of a stream: what programs may rely on, as models and as JSON Schema.

Schema version 1.0: fields may be added within 1.x, none is removed or changes its meaning. Pixels are those of the source
picture, times are seconds of the stream's own (media) clock, angles are degrees; null is "no reading".
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shared_utils.data_models import EventType

SCHEMA_VERSION = "1.0"

StreamState = Literal["starting", "live", "lost", "finished", "failed", "stopped"]
FINAL_STATES: frozenset[StreamState] = frozenset({"finished", "failed", "stopped"})
Keypoint = Annotated[
    tuple[float, float, float] | None, Field(description="x, y in px of the source and confidence 0 to 1; null: not found.")
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- a stream and what happens in it ------------------------------------------------------------
class LatencyView(_Model):
    """From the capture of a frame to its result, seconds, over the last 30 s or so."""

    p50: float | None = Field(description="Median.")
    p95: float | None = Field(description="95 of 100 are faster.")
    p99: float | None = Field(description="99 of 100 are faster.")


class StreamView(_Model):
    """One stream as it is now."""

    id: str = Field(description="What to address it by.")
    name: str = Field(description="What people call it.")
    source: str = Field(description="Where pictures come from; without credentials.")
    kind: Literal["demo", "rtsp", "webcam", "file", "push"] = Field(description="Kind of source; push: a client's own pictures.")
    exercise: str | None = Field(description="What is counted; null: nothing.")
    state: StreamState = Field(description="starting, live, lost (it comes back by itself), finished, failed or stopped.")
    error: str | None = Field(description="Why it failed or was lost; null when all is well.")
    created_at: datetime = Field(description="When it was asked for, UTC.")
    started_at: datetime | None = Field(description="When its first frame was measured, UTC.")
    frames: int = Field(description="Frames measured.")
    dropped: int = Field(description="Frames captured and never measured: the machine was too slow.")
    frames_per_second: float | None = Field(description="Measured frames per second over the last two seconds.")
    latency_s: LatencyView = Field(description="From the capture of a frame to its result.")
    clients: int = Field(description="Who watches.")
    repetitions: int = Field(description="Completed so far, everybody's; holds for exercises that are timed.")
    people: int = Field(description="People in the last frame.")
    gaps: int = Field(description="Times the camera was lost.")


class EventView(_Model):
    """A fact about the past."""

    type: EventType = Field(description="What happened.")
    stream_id: str = Field(description="In which stream.")
    track_id: int = Field(description="To whom; -1: nobody in particular.")
    start_s: float = Field(description="Media clock at its start, s.")
    end_s: float = Field(description="Media clock at its end, s.")
    value: float | None = Field(description="The number it carries, such as a repetition's ordinal.")
    unit: str = Field(description="Unit of the value; empty: a count, or none.")
    frames: list[int] = Field(description="Frames that show it.")
    message: str = Field(description="One sentence for a person.")
    data: dict[str, Any] = Field(description="Further named numbers and words.")


class Repetition(_Model):
    """Where an athlete is in the exercise."""

    count: int = Field(description="Repetitions (or holds) so far.")
    phase: str = Field(description="top, down, bottom or up; hold or rest for exercises that are timed.")
    progress: float | None = Field(description="Way from rest to the turning point, 0 to 1.")
    signal_deg: float | None = Field(description="The angle that is judged, degrees.")


class Person(_Model):
    """One person in a frame."""

    track_id: int = Field(description="Stays with the person while in sight; -1: not confirmed yet.")
    box: tuple[float | None, float | None, float | None, float | None] = Field(description="x1, y1, x2, y2 in px.")
    score: float | None = Field(description="How sure the detector is, 0 to 1.")
    keypoints: list[Keypoint] = Field(description="In the order of the skeleton's keypoints.")
    angles: dict[str, float | None] = Field(description="Angles of the image plane by name, degrees; empty: not confirmed yet.")
    angle_sigma: dict[str, float] = Field(description="Their standard deviations by the same names, degrees; those that are known.")
    repetition: Repetition | None = Field(description="Null without an exercise, or before one is seen.")


class SkeletonView(_Model):
    """The keypoint set that people are measured with."""

    name: str = Field(description="Its name.")
    keypoints: list[str] = Field(description="Names, in the order of every person's keypoints.")
    edges: list[tuple[str, str]] = Field(description="Pairs of names to draw as bones.")
    left: list[str] = Field(description="Names of the left side.")
    right: list[str] = Field(description="Names of the right side.")


class ExerciseBrief(_Model):
    """What is counted, as far as a picture of it needs to know."""

    name: str = Field(description="Its name.")
    description: str = Field(description="What is counted.")
    kind: Literal["repetitions", "hold"] = Field(description="Counted or timed.")
    signal_angle: str | None = Field(description="Name without side of the angle that shows it, such as knee_flexion; null for holds.")
    rest_deg: float | None = Field(description="Where a repetition starts, degrees.")
    work_deg: float | None = Field(description="Where it turns, degrees.")


class TrackSeries(_Model):
    """Angles of one person over time."""

    timestamp_s: list[float] = Field(description="Media clock of the samples, s.")
    angles: dict[str, list[float | None]] = Field(description="Name -> degrees at these times.")


class History(_Model):
    """What a new watcher has missed."""

    events: list[EventView] = Field(description="The last 200, oldest first.")
    series: dict[str, TrackSeries] = Field(description="Track id -> the last 20 s, at most 15 samples a second.")


# --- server to client ---------------------------------------------------------------------------
class _Message(_Model):
    schema_version: Literal["1.0"] = Field(description="Version of these messages.")
    stream_id: str = Field(description="Which stream; of a client's own pictures an id that lasts as long as the connection.")
    timestamp_s: float | None = Field(description="Media clock, s; null before the first frame.")


class HelloMessage(_Message):
    """The first message to a watcher; the answer to `start` for a client that sends pictures."""

    type: Literal["hello"]
    stream: StreamView = Field(description="The stream as it is now.")
    skeleton: SkeletonView = Field(description="What people are measured with.")
    angle_names: list[str] = Field(description="Names of the angles that frames may carry.")
    exercise: ExerciseBrief | None = Field(description="What is counted.")
    history: History = Field(description="What was missed.")


class FrameMessage(_Message):
    """One measured frame."""

    type: Literal["frame"]
    frame_index: int = Field(description="Number of the frame in its source.")
    frame_id: int | None = Field(default=None, description="Of a client's own pictures: the one that this answers.")
    width: int = Field(description="Of the source picture, px.")
    height: int = Field(description="Of the source picture, px.")
    age_s: float = Field(description="From capture (for own pictures: arrival) to sending this, s.")
    fps: float | None = Field(description="Measured frames per second.")
    people: list[Person] = Field(description="Everybody in the frame.")
    events: list[EventView] = Field(description="What happened since the last frame message.")
    events_lost: int | None = Field(default=None, description="Events left out, oldest first, as the client was too slow for 500 of them.")
    skipped: int = Field(description="Measured frames (own pictures: pictures) left out since the last frame message.")
    image: bool = Field(description="Whether the next message is binary: the JPEG of exactly this frame.")


class StateMessage(_Message):
    """The stream has changed its state."""

    type: Literal["state"]
    state: StreamState = Field(description="The new state.")
    reason: str | None = Field(description="Why, a sentence.")
    stream: StreamView = Field(description="The stream as it is now.")
    events: list[EventView] = Field(description="What happened with it, such as stream_lost.")


class SummaryMessage(_Message):
    """The last message to a client that sent pictures and stopped."""

    type: Literal["summary"]
    repetitions: int = Field(description="Completed, everybody's.")
    frames: int = Field(description="Pictures measured.")
    events: list[EventView] = Field(description="All that happened, the last 1000.")


class ErrorMessage(_Message):
    """Something of the client's could not be used, or the service cannot go on."""

    type: Literal["error"]
    code: Literal["bad_message", "bad_picture", "busy", "failed"] = Field(description="What kind of error.")
    detail: str = Field(description="What was wrong and what would be right.")
    frame_id: int | None = Field(default=None, description="The picture that it is about.")


ServerMessage = Annotated[HelloMessage | FrameMessage | StateMessage | SummaryMessage | ErrorMessage, Field(discriminator="type")]


# --- client to server (own pictures only) -------------------------------------------------------
class _ClientModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class StartMessage(_ClientModel):
    """Begin, or begin anew with another exercise. Optional: without one, angles are measured and nothing is counted."""

    type: Literal["start"]
    exercise: str | None = Field(default=None, max_length=100, description="What to count; null: nothing.")
    max_people: int = Field(default=6, ge=1, le=16, description="Most people measured.")
    mirror: bool = Field(default=False, description="The pictures are mirrored, as by a front camera; left and right are set right.")


class PictureMessage(_ClientModel):
    """Announces a picture: the next message is binary, JPEG or WebP. Optional: without it pictures are numbered 1, 2, 3, ..."""

    type: Literal["frame"]
    frame_id: int = Field(ge=0, le=2**53 - 1, description="What the answer will carry.")
    timestamp_s: float | None = Field(
        default=None, ge=0, le=1e10, allow_inf_nan=False, description="When it was taken, s of any clock; null: on arrival."
    )


class StopMessage(_ClientModel):
    """No more pictures: the answer is a summary, then the connection is closed."""

    type: Literal["stop"]


ClientMessage = Annotated[StartMessage | PictureMessage | StopMessage, Field(discriminator="type")]

server_messages: TypeAdapter[ServerMessage] = TypeAdapter(ServerMessage)
client_messages: TypeAdapter[ClientMessage] = TypeAdapter(ClientMessage)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of all messages: `$defs` holds each, `properties` names the two directions.

    Example:
        >>> schema = json_schema()
        >>> sorted(schema["properties"]), "FrameMessage" in schema["$defs"]
        (['client_to_server', 'server_to_client'], True)
    """
    _, schema = TypeAdapter.json_schemas(
        [("server", "serialization", server_messages), ("client", "validation", client_messages)], ref_template="#/$defs/{model}"
    )
    definitions = schema["$defs"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"WebSocket messages of the pose API, version {SCHEMA_VERSION}",
        "type": "object",
        "properties": {
            "server_to_client": {"oneOf": [{"$ref": f"#/$defs/{m.__name__}"} for m in _SERVER_KINDS]},
            "client_to_server": {"oneOf": [{"$ref": f"#/$defs/{m.__name__}"} for m in _CLIENT_KINDS]},
        },
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


_SERVER_KINDS = (HelloMessage, FrameMessage, StateMessage, SummaryMessage, ErrorMessage)
_CLIENT_KINDS = (StartMessage, PictureMessage, StopMessage)
