"""A finished analysis in the formats of other tools, and as drawings.

Both are made by the command line in a process of its own, one at a time: converting and drawing are work of seconds, which must
not hold up the live streams that this process passes on.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.responses import Response

from pose_analyzer.api import analysis_files as files
from pose_analyzer.api.analysis_lookup import BINARY, AnalysisId, file_answers, finished
from pose_analyzer.api.jobs import JobManager
from pose_analyzer.cli.exit_codes import ExitCode
from shared_utils.logging import get_logger
from shared_utils.service import Problem

_log = get_logger(__name__)
_TIMEOUT_S = 120.0
_MEDIA = {"coco": "application/json", "mot": "text/plain", "trc": "text/tab-separated-values", "opensim-mot": "text/tab-separated-values"}
_SUFFIX = {"coco": "coco.json", "mot": "mot.txt", "trc": "markers.trc", "opensim-mot": "angles.mot"}

Format = Literal["coco", "mot", "trc", "opensim-mot"]
Drawing = Literal["angles", "range", "path", "form", "reference"]
Person = Annotated[int | None, Query(ge=0, description="Track id; default: the only one, or for drawings who has most repetitions.")]


class Tool:
    """Runs `pose-analyzer` on result folders, one call at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def make(self, arguments: list[str], name: str) -> Path:
        """The file that a command writes with `--out`, in a folder of its own that the caller removes.

        Raises:
            Problem: 422 with the command's own words when it cannot be made of this analysis; 503 when it takes too long or breaks.
        """
        folder = Path(tempfile.mkdtemp(prefix="pose-export-"))
        try:
            out = folder / name
            async with self._turn:
                await self._run([*arguments, "--out", str(out)])
            return out
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def _run(self, arguments: list[str]) -> None:
        program = [sys.executable, "-c", "from pose_analyzer.cli.app import entry; entry()", *arguments]
        process = await asyncio.create_subprocess_exec(
            *program,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        )
        try:
            _, told = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
        except (TimeoutError, asyncio.CancelledError) as stop:
            process.kill()
            await process.wait()
            if isinstance(stop, asyncio.CancelledError):
                raise
            raise Problem(503, f"this took longer than {_TIMEOUT_S:.0f} s and was stopped") from None
        if process.returncode == ExitCode.OK:
            return
        text = told.decode(errors="replace").strip().splitlines()
        reason = text[-1].removeprefix("error: ") if text else "no reason was given"
        if process.returncode == ExitCode.USAGE:
            raise Problem(422, reason)
        _log.warning("an export failed", status=process.returncode, reason=reason)
        raise Problem(503, "this cannot be made just now; the service's log says why")


def add_exports(router: APIRouter, jobs: JobManager) -> None:
    """Add the routes to those of the analyses."""
    tool = Tool()

    @router.get("/{analysis_id}/export", response_class=Response, responses=file_answers(dict.fromkeys(_MEDIA.values(), BINARY)))
    async def get_analysis_export(
        analysis_id: AnalysisId,
        format: Annotated[Format, Query(description="COCO keypoints, MOT Challenge, OpenSim markers (trc) or angles (opensim-mot).")],  # noqa: A002  # the query's word
        person: Person = None,
    ) -> Response:
        """Keypoints, tracks or angles for other tools."""
        done = await finished(jobs, analysis_id)
        chosen = [] if person is None else ["--person", str(person)]
        path = await tool.make(["export", str(done.folder), "--format", format, *chosen], _SUFFIX[format])
        return _once(path, media_type=_MEDIA[format], filename=files.download_name(done.record.name, _SUFFIX[format]))

    @router.get("/{analysis_id}/drawings/{kind}", response_class=Response, responses=file_answers({"image/png": BINARY}))
    async def get_analysis_drawing(
        analysis_id: AnalysisId,
        kind: Drawing,
        person: Person = None,
        dark: Annotated[bool, Query(description="Light on dark.")] = False,
    ) -> Response:
        """Angles with their errors, range of motion, the hands' path, form by repetition, or a repetition beside its reference."""
        done = await finished(jobs, analysis_id)
        chosen = [] if person is None else ["--person", str(person)]
        path = await tool.make(["plot", str(done.folder), kind, *chosen, *(["--dark"] if dark else [])], f"{kind}.png")
        return _once(path, media_type="image/png", filename=None)


def _once(path: Path, *, media_type: str, filename: str | None) -> Response:
    """A file that goes with its folder once it was sent."""
    answer = files.StoredFile(path, media_type=media_type, filename=filename)
    answer.background = BackgroundTask(shutil.rmtree, path.parent, ignore_errors=True)
    return answer
