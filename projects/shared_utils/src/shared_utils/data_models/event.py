"""Facts about the past: a repetition was completed, a stream was lost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np

from shared_utils.errors import ValidationError


class EventType(StrEnum):
    """Names of events, past facts all of them."""

    REP_COMPLETED = "rep_completed"
    REP_PARTIAL = "rep_partial"
    REP_ABANDONED = "rep_abandoned"
    HOLD_COMPLETED = "hold_completed"
    EXERCISE_RECOGNIZED = "exercise_recognized"
    PHASE_ENTERED = "phase_entered"
    FORM_DEVIATION = "form_deviation"
    PERSON_ENTERED = "person_entered"
    PERSON_LEFT = "person_left"
    ZONE_ENTERED = "zone_entered"
    ZONE_LEFT = "zone_left"
    MEMBER_SEEN = "member_seen"
    VIOLENCE_SUSPECTED = "violence_suspected"
    CAMERA_MISPLACED = "camera_misplaced"
    STREAM_LOST = "stream_lost"
    STREAM_RESUMED = "stream_resumed"
    SOURCE_DAMAGED = "source_damaged"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Args:
        type: What happened.
        stream_id: In which stream.
        track_id: To whom; -1 when it concerns nobody in particular.
        start_s: Media clock at its start, seconds.
        end_s: Media clock at its end, seconds; not before `start_s`.
        value: The number it carries (a repetition's ordinal, degrees of deviation); None if none.
        unit: Unit of `value`, empty when there is no value or it is a count.
        frames: Indices of the frames that show it.
        message: One sentence for a person.
        data: Further named numbers and words, JSON-serialisable.

    Raises:
        ValidationError: Times are not finite or run backwards.

    Example:
        >>> event = Event(EventType.REP_COMPLETED, "cam", 1, 0.5, 2.5, value=1, message="Repetition 1 in 2.0 s")
        >>> event.duration_s
        2.0
    """

    type: EventType
    stream_id: str
    track_id: int
    start_s: float
    end_s: float
    value: float | None = None
    unit: str = ""
    frames: tuple[int, ...] = ()
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)):
            raise ValidationError(f"Event times must be finite seconds, got {self.start_s} to {self.end_s}")
        if self.end_s < self.start_s:
            raise ValidationError(f"Event.end_s ({self.end_s}) lies before start_s ({self.start_s})")
        # Measurements come as numpy numbers, which JSON does not take.
        object.__setattr__(self, "type", EventType(self.type))
        object.__setattr__(self, "track_id", int(self.track_id))
        object.__setattr__(self, "start_s", float(self.start_s))
        object.__setattr__(self, "end_s", float(self.end_s))
        object.__setattr__(self, "value", self.value.item() if isinstance(self.value, np.generic) else self.value)
        object.__setattr__(self, "frames", tuple(map(int, self.frames)))
        object.__setattr__(self, "data", MappingProxyType(dict(self.data)))

    def __hash__(self) -> int:
        return hash((self.type, self.stream_id, self.track_id, self.start_s, self.end_s, self.value))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Event.from_dict, (self.to_dict(),))

    @property
    def duration_s(self) -> float:
        """How long it took, seconds."""
        return self.end_s - self.start_s

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; `from_dict` is its inverse."""
        return {
            "type": self.type.value,
            "stream_id": self.stream_id,
            "track_id": self.track_id,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "value": self.value,
            "unit": self.unit,
            "frames": list(self.frames),
            "message": self.message,
            "data": dict(self.data),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Event:
        """Inverse of `to_dict`.

        Raises:
            ValidationError: A field is missing or unknown.
        """
        try:
            return cls(**{**data, "type": EventType(data["type"]), "frames": tuple(data.get("frames", ()))})
        except (TypeError, KeyError, ValueError) as error:
            raise ValidationError(f"not an event: {error}") from error
