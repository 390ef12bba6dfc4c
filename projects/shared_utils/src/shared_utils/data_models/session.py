"""One source analysed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared_utils.data_models.event import Event, EventType
from shared_utils.data_models.series import Series

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, kw_only=True)
class Session:
    """What one analysis of one source gave.

    Args:
        source: What was analysed: a file's name or an address, credentials removed.
        source_info: Facts about it: size in px, rate, codec, sha256 of a file.
        stream_id: Name of the stream in events.
        duration_s: Media time between the first and the last analysed frame, seconds.
        frames: Number of frames analysed.
        complete: False when it was stopped early or the source was damaged; `notes` says why.
        settings: Every setting in force.
        models: Name -> sha256 of the weights that were used.
        software_version: Version of the package that made it.
        events: In order of their end time.
        series: One row per person and frame.
        notes: Things a reader should know, one sentence each.
    """

    source: str
    source_info: Mapping[str, Any] = field(default_factory=dict)
    stream_id: str = "stream"
    duration_s: float = 0.0
    frames: int = 0
    complete: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    software_version: str = ""
    events: tuple[Event, ...] = ()
    series: Series = field(default_factory=lambda: Series({}))
    notes: tuple[str, ...] = ()

    def events_of(self, *types: EventType) -> tuple[Event, ...]:
        """The events of the given types, in order."""
        return tuple(e for e in self.events if e.type in types)

    @property
    def repetitions(self) -> tuple[Event, ...]:
        """Completed repetitions, in order."""
        return self.events_of(EventType.REP_COMPLETED)

    @property
    def repetition_count(self) -> int:
        """Number of completed repetitions of everybody."""
        return len(self.repetitions)
