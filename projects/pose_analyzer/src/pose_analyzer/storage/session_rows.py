"""Sessions as rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pose_analyzer.storage.event_rows import plain
from pose_analyzer.storage.records import SessionKind, SessionRecord
from pose_analyzer.storage.schema import sessions


def to_row(record: SessionRecord) -> dict[str, Any]:
    """What is inserted."""
    values = {column.name: getattr(record, column.name) for column in sessions.c}
    return {**values, "kind": record.kind.value, "details": plain(record.details)}


def from_row(facts: Mapping[str, Any]) -> SessionRecord:
    """Inverse of `to_row`."""
    return SessionRecord(**{**facts, "kind": SessionKind(facts["kind"])})
