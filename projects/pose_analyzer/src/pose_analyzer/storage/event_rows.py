"""Events as rows and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Row

from pose_analyzer.storage.records import StoredEvent
from shared_utils.data_models import Event


def to_row(event: Event, session_id: str, recorded_at: datetime) -> dict[str, Any]:
    """What is inserted; numbers that are none (NaN, infinity) become null, as in `result.json`."""
    facts = event.to_dict()
    value = facts["value"]
    return {
        **facts,
        "value": None if value is None or not math.isfinite(value) else float(value),
        "data": plain(facts["data"]),
        "session_id": session_id,
        "recorded_at": recorded_at,
    }


def from_row(row: Row[Any]) -> StoredEvent:
    """Inverse of `to_row`."""
    facts = dict(row._mapping)
    number, session_id, recorded_at = facts.pop("id"), facts.pop("session_id"), facts.pop("recorded_at")
    return StoredEvent(number, session_id, recorded_at, Event.from_dict(facts))


def plain(value: Any) -> Any:
    """Plain JSON types; NaN and infinity as None.

    Example:
        >>> plain({"depth_deg": float("nan"), "sides": ("left", "right")})
        {'depth_deg': None, 'sides': ['left', 'right']}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(v) for v in value]
    return str(value)
