"""Taking recordings in: a form with a file, or JSON with an address; what is refused is refused here, with a reason."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from pose_analyzer.api.analysis_views import AnalysisRequest
from pose_analyzer.api.jobs import JobManager, QueueFullError, RefusedRecordingError
from pose_analyzer.api.labels import clean_label, label_of_address, label_of_file
from pose_analyzer.api.uploads import check_length, disk_problem, receive_form
from pose_analyzer.errors import ExerciseError, WorkerError
from pose_analyzer.exercise import list_profiles, load_profile
from pose_analyzer.pipeline.stream import AUTO
from pose_analyzer.pipeline.workers.fetching import AddressError, ForeignHostError, check_address
from pose_analyzer.storage import AnalysisRecord, StorageError
from shared_utils.logging import get_logger
from shared_utils.service import Problem

_MAX_JSON_BYTES = 64 * 1024

_log = get_logger(__name__)


async def take_in(request: Request, jobs: JobManager) -> AnalysisRecord:
    """Line up the recording of a request.

    Args:
        request: Its body is not read yet.
        jobs: Where to.

    Raises:
        Problem: It is refused, or cannot be taken in.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/json"):
        raise Problem(415, "send a form (multipart/form-data) with a file, or JSON (application/json) with a url")
    try:
        with jobs.reservation():
            return await (_take_upload(request, jobs) if kind == "multipart/form-data" else _take_address(request, jobs))
    except QueueFullError as error:
        raise Problem(429, str(error), headers={"Retry-After": "30"}) from error
    except (StorageError, WorkerError) as error:
        _log.warning("analysis_not_taken_in", reason=str(error))
        raise Problem(503, "the analysis cannot be taken in just now; the service's log says why", headers={"Retry-After": "30"}) from error
    except ClientDisconnect as error:
        raise Problem(400, "the upload broke off") from error


def request_body() -> dict[str, Any]:
    """The two kinds of body, for the OpenAPI document."""
    exercise = {
        "type": "string",
        "enum": [*list_profiles(), AUTO],
        "description": "Exercise to count, auto to recognise it; without it only angles are measured.",
    }
    form = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "The recording: any video or picture that FFmpeg decodes."},
            "exercise": exercise,
            "name": {"type": "string", "description": "What to call it. Default: the file's name. Shortened to 200 characters."},
        },
    }
    request = AnalysisRequest.model_json_schema()
    request["properties"]["exercise"] = {"anyOf": [exercise, {"type": "null"}], "default": None}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": request}}}


async def _take_upload(request: Request, jobs: JobManager) -> AnalysisRecord:
    limit = jobs.settings.max_upload_bytes
    check_length(request.headers.get("content-length"), jobs.folders.work, max_bytes=limit)
    path = jobs.new_upload()
    try:
        form = await receive_form(
            request.headers["content-type"], request.stream(), path, file_field="file", fields={"exercise", "name"}, max_bytes=limit
        )
        if form.size_bytes is None:
            raise Problem(422, "file: is missing; send the recording as the form's field 'file'")
        if form.size_bytes == 0:
            raise Problem(422, "file: is empty (0 bytes)")
        exercise = await asyncio.to_thread(_exercise, form.fields.get("exercise") or None)
        name = clean_label(form.fields["name"]) if form.fields.get("name") else label_of_file(form.file_name)
        return await jobs.submit_upload(path, name=name, exercise=exercise)
    except RefusedRecordingError as error:
        raise Problem(415 if error.reason == "not_a_video" else 422, str(error), extra={"reason": error.reason}) from error
    except OSError as error:
        raise disk_problem(error) from error
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def _take_address(request: Request, jobs: JobManager) -> AnalysisRecord:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise Problem(413, f"a request for an address has at most {_MAX_JSON_BYTES} bytes", headers={"Connection": "close"})
    try:
        asked = AnalysisRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        errors = [{"location": ".".join(map(str, e["loc"])) or "body", "message": e["msg"]} for e in error.errors(include_url=False)]
        detail = "; ".join(f"{e['location']}: {e['message']}" for e in errors)
        raise Problem(422, detail, title="The request is not valid", extra={"errors": errors}) from None
    try:
        url = check_address(asked.url, jobs.settings.url_hosts)
    except AddressError as error:
        raise Problem(422, f"url: {error}") from error
    except ForeignHostError as error:
        raise Problem(403, str(error)) from error
    exercise = await asyncio.to_thread(_exercise, asked.exercise)
    name = clean_label(asked.name) if asked.name else label_of_address(url)
    return await jobs.submit_url(url, name=name, exercise=exercise)


def _exercise(name: str | None) -> str | None:
    """The profile's own name. Paths, which the library takes too, are none over HTTP."""
    if name in (None, AUTO):
        return name
    try:
        if name.lower().endswith((".yaml", ".yml")):
            raise ExerciseError("a path is no name")
        return load_profile(name).name
    except ExerciseError:
        raise Problem(422, f"exercise: there is no exercise {name[:80]!r}; there are {', '.join(list_profiles())}, and {AUTO}") from None
