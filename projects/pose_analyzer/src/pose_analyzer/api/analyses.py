"""Routes of analyses: give a recording, watch it being measured, fetch what came of it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from pose_analyzer import reporting
from pose_analyzer.api import analysis_files as files
from pose_analyzer.api.analysis_exports import add_exports
from pose_analyzer.api.analysis_intake import request_body, take_in
from pose_analyzer.api.analysis_lookup import BINARY, UNFINISHED, UNKNOWN, AnalysisId, file_answers, find, finished, problems
from pose_analyzer.api.analysis_views import AnalysisPage, AnalysisView, EventView, SeriesView
from pose_analyzer.api.job_folders import CSV_FILE, PARQUET_FILE, PLOT_FILE, RESULT_FILE, VIDEO_FILE
from pose_analyzer.api.jobs import JobManager
from pose_analyzer.storage import AnalysisState, CursorError
from shared_utils.data_models import EventType
from shared_utils.service import Problem

_MAX_COLUMNS = 8192
_CURSOR = r"^[0-9]{1,17}\.[0-9a-f]{32}$"
_PARQUET = "application/vnd.apache.parquet"


def analyses_router(jobs: JobManager) -> APIRouter:
    """The routes under `/v1/analyses`.

    Args:
        jobs: Runs the analyses; the application starts and stops it.
    """
    router = APIRouter(prefix="/v1/analyses", tags=["analyses"])
    _add_creation(router, jobs)
    _add_orders(router, jobs)
    _add_files(router, jobs)
    _add_measurements(router, jobs)
    add_exports(router, jobs)
    return router


# --- orders -------------------------------------------------------------------------------------------
_CREATED = {
    202: {"description": "Taken in.", "headers": {"Location": {"description": "Its address.", "schema": {"type": "string"}}}},
    **problems(
        s400="The upload broke off.",
        s403="The address is on a host that is not listed (url_hosts).",
        s408="The upload stood still.",
        s413="Larger than allowed (max_upload_bytes).",
        s415="Neither a form nor JSON, or the file is no video.",
        s422="The request is not valid, or the recording cannot be decoded.",
        s429="As many analyses wait as may (max_queued_jobs).",
        s503="The recording cannot be looked at or kept just now.",
        s507="The disk is full.",
    ),
}


def _add_creation(router: APIRouter, jobs: JobManager) -> None:
    @router.post("", status_code=202, response_model=AnalysisView, openapi_extra={"requestBody": request_body()}, responses=_CREATED)
    async def create_analysis(request: Request) -> Response:
        """Analyse a recording: upload a file as a form, or name an address as JSON.

        The file is judged by decoding it, whatever its name; its name is a label and nothing else.
        The answer comes as soon as the recording is taken in; follow `links.self` for the rest.
        """
        record = await take_in(request, jobs)
        view = AnalysisView.of(record)
        return JSONResponse(view.model_dump(mode="json"), 202, {"Location": view.links.self})


def _add_orders(router: APIRouter, jobs: JobManager) -> None:
    @router.get("", responses=problems(s422="The request is not valid."))
    async def list_analyses(
        state: Annotated[AnalysisState | None, Query(description="Only those in this state.")] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
        cursor: Annotated[str | None, Query(pattern=_CURSOR, description="`next_cursor` of the page before.")] = None,
    ) -> AnalysisPage:
        """Every analysis, newest first."""
        try:
            page = await asyncio.to_thread(jobs.store.analyses.page, state=state, limit=limit, cursor=cursor)
        except CursorError as error:
            raise Problem(422, f"cursor: {error}") from error
        return AnalysisPage(items=[AnalysisView.of(r, jobs.progress(r.id)) for r in page.items], next_cursor=page.next_cursor)

    @router.get("/{analysis_id}", responses=UNKNOWN)
    async def get_analysis(analysis_id: AnalysisId) -> AnalysisView:
        """One analysis: its state, how far it is and how long it will take."""
        record = await find(jobs, analysis_id)
        return AnalysisView.of(record, jobs.progress(record.id))

    @router.post("/{analysis_id}/cancel", responses=UNKNOWN | problems(s409="It has ended already."))
    async def cancel_analysis(analysis_id: AnalysisId) -> AnalysisView:
        """End an analysis that waits or runs, and keep it in the list."""
        record = await find(jobs, analysis_id)
        if not await jobs.cancel(analysis_id):
            raise Problem(409, f"the analysis is {record.state.value} already")
        return AnalysisView.of(await find(jobs, analysis_id))

    @router.delete("/{analysis_id}", status_code=204, responses=UNKNOWN)
    async def delete_analysis(analysis_id: AnalysisId) -> None:
        """End an analysis if it runs, and remove its recording, its results and its rows."""
        if not await jobs.delete(analysis_id):
            raise Problem(404, f"there is no analysis {analysis_id}")


# --- results ------------------------------------------------------------------------------------------
def _add_files(router: APIRouter, jobs: JobManager) -> None:
    result_schema = {k: v for k, v in reporting.result_schema().items() if k != "$schema"}

    @router.get(
        "/{analysis_id}/result",
        response_class=Response,
        responses=file_answers({"application/json": {"schema": result_schema}}),
    )
    async def get_analysis_result(analysis_id: AnalysisId) -> Response:
        """The whole result: people, events, settings, models and their hashes."""
        done = await finished(jobs, analysis_id)
        return files.StoredFile(done.folder / RESULT_FILE, media_type="application/json")

    async def get_analysis_video(analysis_id: AnalysisId) -> Response:
        """The recording with everything drawn onto it, as MP4; in parts if asked for (`Range`), not again if known (`If-None-Match`)."""
        done = await finished(jobs, analysis_id)
        return files.StoredFile(done.folder / VIDEO_FILE, media_type="video/mp4")

    router.add_api_route(
        "/{analysis_id}/video",
        get_analysis_video,
        methods=["GET"],
        response_class=Response,
        responses=file_answers({"video/mp4": BINARY}),
    )
    # Players look before they fetch.
    router.add_api_route("/{analysis_id}/video", get_analysis_video, methods=["HEAD"], include_in_schema=False)

    @router.get(
        "/{analysis_id}/plot",
        response_class=Response,
        responses=file_answers({"image/png": BINARY}),
    )
    async def get_analysis_plot(analysis_id: AnalysisId) -> Response:
        """Angles over time with repetition marks."""
        done = await finished(jobs, analysis_id)
        return files.StoredFile(done.folder / PLOT_FILE, media_type="image/png")


def _add_measurements(router: APIRouter, jobs: JobManager) -> None:
    @router.get("/{analysis_id}/events", responses=UNFINISHED)
    async def list_analysis_events(
        analysis_id: AnalysisId,
        types: Annotated[list[EventType] | None, Query(alias="type", description="Only these types, one or several.")] = None,
    ) -> list[EventView]:
        """Everything that happened, in order."""
        await finished(jobs, analysis_id)

        def read() -> list[EventView]:
            return [EventView.of(event) for event in jobs.store.events_of(analysis_id, types=types or ())]

        return await asyncio.to_thread(read)

    @router.get(
        "/{analysis_id}/series",
        response_class=Response,
        responses=file_answers(
            {"application/json": {"schema": SeriesView.model_json_schema()}, "text/csv": {"schema": {"type": "string"}}, _PARQUET: BINARY}
        ),
    )
    async def get_analysis_series(
        analysis_id: AnalysisId,
        format: Annotated[Literal["json", "csv", "parquet"], Query(description="Kind of file.")] = "json",  # noqa: A002  # the query's word
        columns: Annotated[
            str | None,
            Query(
                max_length=_MAX_COLUMNS,
                description="Names of columns, separated by commas. Default: all; no keypoints as JSON or CSV, no errors as JSON.",
            ),
        ] = None,
    ) -> Response:
        """Measurements, one row per person and frame."""
        done = await finished(jobs, analysis_id)
        record, folder = done.record, done.folder
        path = folder / PARQUET_FILE
        wanted = None if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
        name = files.download_name(record.name, f"series.{format}")
        if not wanted and format == "parquet":
            return files.StoredFile(path, media_type=_PARQUET, filename=name)
        if not wanted and format == "csv":
            return files.StoredFile(folder / CSV_FILE, media_type="text/csv", filename=name)
        try:
            chosen = await asyncio.to_thread(files.choose_columns, path, wanted or None)
            if format == "json":
                return StreamingResponse(files.series_as_json(path, chosen), media_type="application/json")
            attached = {"Content-Disposition": files.StoredFile(path, media_type=_PARQUET, filename=name).headers["content-disposition"]}
            if format == "csv":
                return StreamingResponse(files.series_as_csv(path, chosen), media_type="text/csv", headers=attached)
            return Response(await asyncio.to_thread(files.series_as_parquet, path, chosen), media_type=_PARQUET, headers=attached)
        except FileNotFoundError:
            raise Problem(404, "the analysis has no series any more; it is being deleted") from None
