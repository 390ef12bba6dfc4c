"""Sessions on disk: `result.json`, `series.parquet`, `series.csv`, `events.csv`.

Files are written beside their final name and renamed, so a reader never meets half a file. Nothing
in them depends on the clock, the machine or the folder: the same session gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pose_analyzer.errors import PoseAnalyzerError, SinkError
from pose_analyzer.reporting.columns import KEYPOINT_SUFFIXES, SIGMA_SUFFIX
from shared_utils.data_models import SCHEMA_VERSION, Event, Series, Session

RESULT_FILE, PARQUET_FILE, CSV_FILE, EVENTS_FILE = "result.json", "series.parquet", "series.csv", "events.csv"
_EVENT_COLUMNS = ("type", "track_id", "start_s", "end_s", "value", "unit", "first_frame", "last_frame", "message")


def save_session(session: Session, folder: str | Path) -> list[Path]:
    """Write a session's result, series and events into `folder` (made if absent).

    Returns:
        The files written.

    Raises:
        SinkError: The folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = save_session(Session(source="clip.mp4"), folder)
        ...     load_session(folder).source
        'clip.mp4'
    """
    folder = Path(folder)
    writers = {
        PARQUET_FILE: lambda: parquet_bytes(session.series),
        CSV_FILE: lambda: series_csv(session.series).encode(),
        EVENTS_FILE: lambda: _events_csv(session.events).encode(),
        # Last, because its presence says that the others are complete.
        RESULT_FILE: lambda: (json.dumps(session_to_dict(session), indent=1, allow_nan=False) + "\n").encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULT_FILE).unlink(missing_ok=True)
        for name, make in writers.items():
            write_atomic(folder / name, make())
    except OSError as error:
        raise SinkError(f"cannot write results to {folder}: {error.strerror or error}; choose another folder with --out") from error
    return [folder / name for name in writers]


def load_session(folder: str | Path) -> Session:
    """Read a session that `save_session` wrote.

    Raises:
        PoseAnalyzerError: The folder holds no result, a damaged one, or one of another schema version.
    """
    folder = Path(folder)
    try:
        data = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        if data["schema_version"].split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise PoseAnalyzerError(
                f"{folder / RESULT_FILE} has schema {data['schema_version']}, this version reads {SCHEMA_VERSION}; analyse the source again"
            )
        return Session(
            source=data["source"]["name"],
            source_info={k: v for k, v in data["source"].items() if k != "name"},
            stream_id=data["stream_id"],
            duration_s=data["duration_s"],
            frames=data["frames"],
            complete=data["complete"],
            settings=data["settings"],
            models=data["models"],
            software_version=data["software"]["version"],
            events=tuple(Event.from_dict(e) for e in data["events"]),
            series=_read_parquet(folder / PARQUET_FILE),
            notes=tuple(data["notes"]),
        )
    except FileNotFoundError as error:
        raise PoseAnalyzerError(f"{folder} holds no finished result ({Path(error.filename or RESULT_FILE).name} is missing)") from error
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise PoseAnalyzerError(f"{folder / RESULT_FILE} is damaged ({error}); analyse the source again") from error


def session_to_dict(session: Session) -> dict[str, Any]:
    """A session without its series, as plain JSON types; the content of `result.json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "software": {"name": "pose-analyzer", "version": session.software_version},
        "source": {"name": session.source, **plain(session.source_info)},
        "stream_id": session.stream_id,
        "complete": session.complete,
        "duration_s": plain(session.duration_s),
        "frames": session.frames,
        "repetition_count": session.repetition_count,
        "people": people_summary(session),
        "events": [plain(e.to_dict()) for e in session.events],
        "settings": plain(session.settings),
        "models": dict(sorted(session.models.items())),
        "notes": list(session.notes),
    }


def people_summary(session: Session) -> list[dict[str, Any]]:
    """One row per track: when it was seen, in how many frames, how many repetitions."""
    if "track_id" not in session.series:
        return []
    rows = []
    for track_id in np.unique(session.series["track_id"]):
        own = session.series.track(int(track_id))
        events = [e for e in session.events if e.track_id == track_id]
        rows.append(
            {
                "track_id": int(track_id),
                "first_s": plain(float(own["timestamp_s"][0])),
                "last_s": plain(float(own["timestamp_s"][-1])),
                "frames": len(own),
                "repetitions": sum(e.type == "rep_completed" for e in events),
                "partial_repetitions": sum(e.type == "rep_partial" for e in events),
                "holds": sum(e.type == "hold_completed" for e in events),
            }
        )
    return rows


def result_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `result.json`."""
    number, text = {"type": "number"}, {"type": "string"}
    event = {
        "type": "object",
        "required": ["type", "stream_id", "track_id", "start_s", "end_s", "value", "frames", "message", "data"],
        "properties": {
            "type": text,
            "stream_id": text,
            "track_id": {"type": "integer"},
            "start_s": number,
            "end_s": number,
            "value": {"type": ["number", "null"]},
            "unit": text,
            "frames": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "message": text,
            "data": {"type": "object"},
        },
        "additionalProperties": False,
    }
    person = {
        "type": "object",
        "required": ["track_id", "first_s", "last_s", "frames", "repetitions"],
        "properties": {"track_id": {"type": "integer"}, "first_s": number, "last_s": number},
    }
    properties = {
        "schema_version": {"type": "string", "pattern": r"^\d+\.\d+$"},
        "software": {"type": "object", "required": ["name", "version"]},
        "source": {"type": "object", "required": ["name"]},
        "stream_id": text,
        "complete": {"type": "boolean"},
        "duration_s": {"type": "number", "minimum": 0},
        "frames": {"type": "integer", "minimum": 0},
        "repetition_count": {"type": "integer", "minimum": 0},
        "people": {"type": "array", "items": person},
        "events": {"type": "array", "items": event},
        "settings": {"type": "object"},
        "models": {"type": "object", "additionalProperties": text},
        "notes": {"type": "array", "items": text},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pose-analyzer result",
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then rename, so that `path` is always whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """Plain JSON types, without loss; NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    return str(value)


def parquet_bytes(series: Series) -> bytes:
    """A series as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    table = pa.table({name: pa.array(column) for name, column in series.columns.items()})
    pq.write_table(table.replace_schema_metadata({"schema_version": SCHEMA_VERSION}), buffer, compression="zstd")
    return buffer.getvalue()


def _read_parquet(path: Path) -> Series:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path.name}: {error}") from error
    return Series({name: table.column(name).to_numpy() for name in table.column_names})


def series_csv(series: Series) -> str:
    """A series as CSV for people and spreadsheets: times, angles and counts; keypoints are in the Parquet file.

    Errors of angles are left out where none was estimated.
    """
    names = [n for n in series if not n.endswith(KEYPOINT_SUFFIXES) and not (n.endswith(SIGMA_SUFFIX) and np.isnan(series[n]).all())]
    columns = [[_cell(v) for v in series[n].tolist()] for n in names]
    return _csv([names, *zip(*columns, strict=True)] if names else [])


def _events_csv(events: tuple[Event, ...]) -> str:
    extra = sorted({key for e in events for key, value in e.data.items() if isinstance(value, int | float | str)})
    rows: list[Any] = [(*_EVENT_COLUMNS, *extra)]
    for e in events:
        ends = (e.frames[0], e.frames[-1]) if e.frames else (None, None)
        fixed = (e.type.value, e.track_id, e.start_s, e.end_s, e.value, e.unit, *ends, e.message)
        rows.append([_cell(v) for v in (*fixed, *(e.data.get(key) for key in extra))])
    return _csv(rows)


def _csv(rows: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, str):
        value = value.replace("\r", " ")  # the csv module does not quote it, readers take it for a line end
        return "'" + value if value[:1] in ("=", "+", "-", "@", "\t") else value  # spreadsheets would run it as a formula
    return "" if value is None else value
