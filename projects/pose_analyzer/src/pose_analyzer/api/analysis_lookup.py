"""What the routes of analyses share: finding one, and telling of files and problems in the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Path

from pose_analyzer.api.jobs import JobManager
from pose_analyzer.storage import AnalysisRecord, AnalysisState
from shared_utils.service import Problem

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

AnalysisId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the analysis.")]


def problems(**texts: str) -> dict[int | str, dict[str, Any]]:
    """Answers that tell a problem, for the OpenAPI document."""
    return {int(status.removeprefix("s")): {"description": text, "content": _PROBLEM} for status, text in texts.items()}


UNKNOWN = problems(s404="There is no such analysis.", s422="The request is not valid.")
UNFINISHED = UNKNOWN | problems(s409="It is not done, or came to nothing; `detail` says which.")
_FILE_HEADERS = {
    "ETag": {"description": "Changes with the content.", "schema": {"type": "string"}},
    "Accept-Ranges": {"description": "bytes", "schema": {"type": "string"}},
}
BINARY = {"schema": {"type": "string", "format": "binary"}}


def file_answers(content: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Answers of a route that gives a file out, for the OpenAPI document."""
    part = {"content": dict.fromkeys([*content, "multipart/byteranges"], BINARY), "headers": _FILE_HEADERS}
    return (
        UNFINISHED
        | {200: {"description": "All of it.", "content": content, "headers": _FILE_HEADERS}}
        | {206: {"description": "The parts that were asked for (Range).", **part}}
        | {304: {"description": "The client's copy is current (If-None-Match)."}}
        | problems(s416="It has none of the parts that were asked for.")
    )


@dataclass(frozen=True, slots=True)
class Done:
    """An analysis whose results are there."""

    record: AnalysisRecord
    folder: FilePath


async def find(jobs: JobManager, analysis_id: str) -> AnalysisRecord:
    """The analysis of that id, else 404."""
    record = await jobs.get(analysis_id)
    if record is None:
        raise Problem(404, f"there is no analysis {analysis_id}")
    return record


async def finished(jobs: JobManager, analysis_id: str) -> Done:
    """The analysis of that id with its results, else 404 or 409."""
    record = await find(jobs, analysis_id)
    folder = jobs.result(record.id) if record.state is AnalysisState.DONE else None
    if folder is not None:
        return Done(record, folder)
    state = AnalysisState.FAILED if record.state is AnalysisState.DONE else record.state
    if state is AnalysisState.FAILED:
        detail = f"the analysis failed: {record.error or 'its results are gone from the data folder'}"
    elif state is AnalysisState.CANCELLED:
        detail = "the analysis was cancelled; there is no result"
    else:
        detail = f"the analysis is {state.value}; its result is there when its state is done"
    raise Problem(409, detail, extra={"state": state.value}, headers={} if state.is_final else {"Retry-After": "2"})
