"""Routes of background work: estimates and snapshots share all of them but how they begin."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.requests import ClientDisconnect

from gpu_optimizer.api.jobs import Job, JobManager, JobState
from gpu_optimizer.api.settings import GpuApiSettings
from shared_utils.metrics import safe_label
from shared_utils.service import Problem

Kind = Literal["estimate", "plan", "snapshot"]
_RESERVE_BYTES = 64 << 20
_SILENCE_S = 60.0
_BUFFER_BYTES = 1 << 20
_DEVICE = Query(ge=0, le=1023, description="Number of the device; needed where the snapshot has several.")
_NAME = Query(max_length=200, description="What to call it.")


class JobView(BaseModel):
    """Work in the background."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Kind
    name: str = Field(description="What people call it.")
    state: JobState
    progress: float | None = Field(description="0 to 1; null before it runs.")
    stage: str | None = Field(description="What it does now.")
    error: str | None = Field(description="Why it failed.")
    created_at: datetime
    ended_at: datetime | None
    result: dict[str, Any] | None = Field(default=None, description="What came out; only where one job is asked for.")

    @classmethod
    def of(cls, job: Job, *, whole: bool = False) -> JobView:
        """A job as the API tells it; with its result if `whole`."""
        plain = {name: getattr(job, name) for name in cls.model_fields if name != "result"}
        return cls(**plain, result=job.result if whole else None)


class JobList(BaseModel):
    """Jobs, newest first."""

    items: list[JobView]


class EstimateRequest(BaseModel):
    """A training step of a model from the registry."""

    model_config = ConfigDict(extra="forbid")

    model: str | dict[str, Any] = Field(description="One of GET /v1/models, `torchvision:NAME`, or a configuration in Hugging Face's form.")

    @field_validator("model")
    @classmethod
    def _is_no_path(cls, model: str | dict[str, Any]) -> str | dict[str, Any]:
        # On the command line a path is read as a configuration; over HTTP no file of this machine is.
        if isinstance(model, str) and (not re.fullmatch(r"(torchvision:)?[A-Za-z0-9_.-]{1,80}", model) or model.endswith(".json")):
            raise ValueError("a name of GET /v1/models, torchvision:NAME, or a configuration as an object; paths are not read")
        return model

    batch: int | None = Field(default=None, ge=1, le=65536, description="Examples per micro-batch; null: the model's own.")
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    optimizer: Literal["sgd", "sgd_momentum", "adam", "adamw"] | None = "adamw"
    accumulation: int = Field(default=1, ge=1, le=1024, description="Micro-batches per optimizer step.")
    target: Literal["cpu", "cuda"] = Field(default="cuda", description="Kind of device that it is for.")


class PlanRequest(EstimateRequest):
    """The same within a budget."""

    budget: str | int = Field(description="Memory there is: bytes, or text such as 8GiB.")
    machine: str = Field(min_length=1, max_length=80, description="Short name in config/machines.yml: its figures give times.")


def estimates_router(jobs: JobManager) -> APIRouter:
    """Routes under `/v1/estimates`."""
    router = _jobs_router(jobs, "estimate")

    @router.post("", status_code=202, responses=_REFUSALS)
    async def create_estimate(body: EstimateRequest, request: Request, response: Response) -> JobView:
        """Work out what a training step would need, without running it. Ask for it again until `state` is `done`."""
        return _accepted(jobs, _model_job("estimate", body), request, response)

    return router


def plans_router(jobs: JobManager) -> APIRouter:
    """Routes under `/v1/plans`."""
    router = _jobs_router(jobs, "plan")

    @router.post("", status_code=202, responses=_REFUSALS)
    async def create_plan(body: PlanRequest, request: Request, response: Response) -> JobView:
        """Work out how a model is trained fastest within a budget, with a machine's figures. Nothing runs."""
        return _accepted(jobs, _model_job("plan", body), request, response)

    return router


def snapshots_router(jobs: JobManager, settings: GpuApiSettings) -> APIRouter:
    """Routes under `/v1/snapshots`."""
    router = _jobs_router(jobs, "snapshot")
    body = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    refusals: dict[int | str, dict[str, Any]] = {**_REFUSALS, 413: {"description": "Too large."}, 507: {"description": "The disk is full."}}

    @router.post("", status_code=202, responses=refusals, openapi_extra={"requestBody": body})
    async def create_snapshot(
        request: Request, response: Response, name: Annotated[str, _NAME] = "snapshot", device: Annotated[int | None, _DEVICE] = None
    ) -> JobView:
        """Take in a memory snapshot of torch (`_dump_snapshot`, pickle or JSON), and work out its fragmentation."""
        jobs.require_room()
        path = await _receive(request, settings.max_upload_bytes)
        job = Job(
            kind="snapshot",
            name=safe_label(name) or "snapshot",
            order={"path": str(path), "device": device},
            clean=lambda: path.unlink(missing_ok=True),
        )
        try:
            return _accepted(jobs, job, request, response)
        except Exception:
            job.clean()
            raise

    return router


_REFUSALS: dict[int | str, dict[str, Any]] = {429: {"description": "Too many wait."}}


def _jobs_router(jobs: JobManager, kind: Kind) -> APIRouter:
    router = APIRouter(prefix=f"/v1/{kind}s", tags=[f"{kind}s"])
    unknown: dict[int | str, dict[str, Any]] = {404: {"description": f"There is no such {kind}."}}

    def find(job_id: str) -> Job:
        job = jobs.get(job_id, kind)
        if job is None:
            raise Problem(404, f"there is no {kind} {job_id[:40]!r}; it may have been removed to make room (kept_jobs)")
        return job

    @router.get("", name=f"list_{kind}s")
    async def list_jobs() -> JobList:
        """All of them, newest first, without their results."""
        return JobList(items=[JobView.of(job) for job in jobs.list(kind)])

    @router.get("/{job_id}", responses=unknown, name=f"read_{kind}")
    async def read_job(job_id: str) -> JobView:
        """One of them, with its result when it is done."""
        return JobView.of(find(job_id), whole=True)

    @router.post("/{job_id}/cancel", responses={**unknown, 409: {"description": "It has ended already."}}, name=f"cancel_{kind}")
    async def cancel_job(job_id: str) -> JobView:
        """End one that waits or runs."""
        job = find(job_id)
        if not jobs.cancel(job):
            raise Problem(409, f"the {kind} is {job.state.value} already")
        return JobView.of(job)

    @router.delete("/{job_id}", status_code=204, responses=unknown, name=f"delete_{kind}")
    async def delete_job(job_id: str) -> None:
        """End one if it runs, and forget it."""
        jobs.delete(find(job_id))

    return router


def _model_job(kind: Kind, body: EstimateRequest) -> Job:
    order = body.model_dump()
    own_name = body.model if isinstance(body.model, str) else str(body.model.get("model_type", "configuration"))
    order["name"] = safe_label(own_name[:80])
    return Job(kind=kind, name=order["name"] if body.batch is None else f"{order['name']}, batch {body.batch}", order=order)


def _accepted(jobs: JobManager, job: Job, request: Request, response: Response) -> JobView:
    jobs.submit(job)
    response.headers["Location"] = str(request.app.url_path_for(f"read_{job.kind}", job_id=job.id))
    return JobView.of(job)


# --- uploads ------------------------------------------------------------------------------------------
async def _receive(request: Request, max_bytes: int) -> Path:
    """Write a body to disk while it arrives; the caller removes the file."""
    folder = Path(tempfile.gettempdir())
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and len(stated) < 20 and shutil.disk_usage(folder).free < int(stated) + _RESERVE_BYTES:
        raise Problem(507, f"the disk has no room for {stated} bytes", headers={"Connection": "close"})
    handle, name = tempfile.mkstemp(prefix="gpu-snapshot-", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            size = 0
            async for chunk in _in_pieces(request):
                size += len(chunk)
                if size > max_bytes:
                    raise Problem(413, f"a snapshot has at most {max_bytes} bytes (max_upload_bytes)", headers={"Connection": "close"})
                await asyncio.to_thread(file.write, chunk)
        if not size:
            raise Problem(422, "the body is empty; send the file of _dump_snapshot as it is (application/octet-stream)")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, ClientDisconnect):
            raise Problem(400, "the upload broke off") from error
        if isinstance(error, OSError):
            raise Problem(507, f"the snapshot cannot be kept ({error.strerror or error})", headers={"Connection": "close"}) from error
        raise
    return path


async def _in_pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces worth a write; a client that stops sending does not keep its place."""
    waiting = bytearray()
    async with contextlib.aclosing(request.stream()) as body:
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    chunk = await anext(body, None)
            except TimeoutError:
                raise Problem(408, f"nothing came for {_SILENCE_S:g} s; send it again", headers={"Connection": "close"}) from None
            if chunk is None:
                break
            waiting += chunk
            if len(waiting) >= _BUFFER_BYTES:
                yield bytes(waiting)
                waiting.clear()
    if waiting:
        yield bytes(waiting)
