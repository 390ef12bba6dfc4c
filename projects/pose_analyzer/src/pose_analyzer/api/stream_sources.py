"""What a client may ask a stream to be made of, and what becomes of it: an order for a measuring process."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pose_analyzer.api.labels import clean_label
from pose_analyzer.api.settings import PoseApiSettings
from pose_analyzer.video import Address
from shared_utils.addresses import is_loopback
from shared_utils.service import Problem


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DemoRequest(_Source):
    """The built-in athlete."""

    kind: Literal["demo"]


class RtspRequest(_Source):
    """A network camera."""

    kind: Literal["rtsp"]
    url: str = Field(
        max_length=2000, pattern=r"^[rR][tT][sS][pP][sS]?://[!-~]+$", description="rtsp:// or rtsps:// address, credentials included."
    )


class WebcamRequest(_Source):
    """A camera of the service's own machine."""

    kind: Literal["webcam"]
    index: int = Field(ge=0, le=63, strict=True, description="Its number.")


class FileRequest(_Source):
    """A recording at its natural pace: one of the service's media folder, or that of an analysis."""

    kind: Literal["file"]
    name: str | None = Field(default=None, min_length=1, max_length=255, description="A name in the media folder.")
    analysis_id: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$", description="An analysis whose recording is played.")
    loop: bool = Field(default=False, description="Play for ever.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.name is None) == (self.analysis_id is None):
            raise ValueError("a file is named by either name or analysis_id")
        return self


class StreamRequest(BaseModel):
    """A stream to be started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[DemoRequest | RtspRequest | WebcamRequest | FileRequest, Field(discriminator="kind")]
    exercise: str | None = Field(default=None, max_length=100, description="What to count; null: nothing.")
    name: str | None = Field(default=None, max_length=200, description="What people call it.")


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSource:
    """A source that may be opened.

    Args:
        kind: As clients name it.
        shown: What may be shown of it: no credentials, no path of this machine.
        order: The `source` of a measuring process' order.
        clean: Takes out of a text what must not be shown.
    """

    kind: Literal["demo", "rtsp", "webcam", "file"]
    shown: str
    order: dict[str, Any]
    clean: Callable[[str], str] = str


def resolve_source(
    request: DemoRequest | RtspRequest | WebcamRequest | FileRequest, settings: PoseApiSettings, recording_of: Callable[[str], Path | None]
) -> StreamSource:
    """What to open for a request. Looks into folders: call it in a thread.

    Args:
        request: What the client wants.
        settings: What the service lets in.
        recording_of: The recording of an analysis by its id.

    Raises:
        Problem: 403 the camera's host is not let in, 404 there is no such recording.
    """
    if isinstance(request, DemoRequest):
        return StreamSource(kind="demo", shown="demo", order={"kind": "demo"})
    if isinstance(request, WebcamRequest):
        return StreamSource(kind="webcam", shown=f"webcam {request.index}", order={"kind": "camera", "address": request.index})
    if isinstance(request, RtspRequest):
        _check_host(request.url, settings)
        address = Address.parse(request.url)
        return StreamSource(kind="rtsp", shown=address.shown, order={"kind": "camera", "address": request.url}, clean=address.clean)
    path = _find_recording(request, settings, recording_of)
    shown = clean_label(request.name) if request.name is not None else f"analysis {request.analysis_id}"
    return StreamSource(
        kind="file",
        shown=shown,
        order={"kind": "file", "path": str(path), "loop": request.loop},
        clean=lambda text: text.replace(str(path), shown).replace(path.name, shown),
    )


def camera_host(url: str) -> tuple[str, int | None]:
    """Host and port of an address, as FFmpeg reads it (libavformat's av_url_split): the authority ends at the first of / ? #, its
    user part at the last @ in it.

    Example:
        >>> camera_host("rtsp://user:p@ss@10.0.0.7:554/ch1"), camera_host("rtsp://[fe80::1]/x")
        (('10.0.0.7', 554), ('fe80::1', None))
    """
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", authority)
    if match is None:
        raise Problem(422, "the address names no host; write rtsp://host/path or rtsp://user:password@host:port/path")
    return (match[1] or match[2]).lower(), int(match[3]) if match[3] else None


def _check_host(url: str, settings: PoseApiSettings) -> None:
    host, port = camera_host(url)
    if settings.stream_hosts is None:
        if is_loopback(settings.host):
            return
        raise Problem(403, "others can reach this service, so it opens listed cameras only; its settings list none (stream_hosts)")
    known = {name.lower().strip("[]") for name in settings.stream_hosts}
    if host not in known and f"{host}:{port}" not in known:
        raise Problem(403, f"cameras on {clean_label(host)} are not opened; the service's settings list the hosts (stream_hosts)")


def _find_recording(request: FileRequest, settings: PoseApiSettings, recording_of: Callable[[str], Path | None]) -> Path:
    if request.analysis_id is not None:
        path = recording_of(request.analysis_id)
        if path is None:
            raise Problem(404, "there is no recording of an analysis of that id")
        return path
    if settings.media_dir is None:
        raise Problem(404, "this service plays no files by name: its settings name no folder (media_dir)")
    # What the client sent is compared with what is there; it never becomes part of a path.
    try:
        with os.scandir(settings.media_dir) as entries:
            for entry in entries:
                if entry.name == request.name and not entry.name.startswith(".") and entry.is_file():
                    return Path(entry.path)
    except OSError:
        raise Problem(404, "the folder of recordings (media_dir) cannot be read") from None
    raise Problem(404, f"there is no recording {clean_label(request.name)!r} in the media folder")
