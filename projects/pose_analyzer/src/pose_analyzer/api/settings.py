"""Settings of the pose service: what it listens on, keeps, lets in and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field

from shared_utils.service import ServiceSettings


def default_data_dir() -> Path:
    """Where sessions are kept unless told otherwise: the user's data folder, as the system names it."""
    return platformdirs.user_data_path("pose-analyzer", appauthor=False)


class PoseApiSettings(ServiceSettings):
    """How the pose service listens, what it keeps and what it lets in.

    Example:
        >>> PoseApiSettings().port
        8001
    """

    port: int = Field(default=8001, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    data_dir: Path = Field(default_factory=default_data_dir, description="Folder of the database, uploads and results.")
    media_dir: Path | None = Field(default=None, description="Folder whose videos may be played as streams by name; none: no such streams.")
    demo: bool = Field(default=True, description="Offer the built-in athlete as the stream 'demo'.")
    shutdown_timeout_s: float = Field(default=2.0, ge=0, description="Seconds that running requests get to finish when the service stops.")
    max_upload_bytes: int = Field(default=2 * 2**30, ge=1, description="Largest upload, bytes.")
    max_duration_s: float = Field(default=7200.0, gt=0, description="Longest recording that is analysed, s of media time.")
    max_pixels: int = Field(default=3840 * 2160, ge=64 * 64, description="Largest picture that is decoded, px.")
    max_queued_jobs: int = Field(default=100, ge=1, description="Analyses that may wait; one more is refused.")
    concurrent_jobs: int = Field(default=1, ge=1, le=64, description="Analyses that run at the same time.")
    max_streams: int = Field(default=16, ge=1, le=1024, description="Streams that run at the same time.")
    max_clients: int = Field(default=200, ge=1, description="WebSocket clients at the same time, of both kinds.")
    max_message_rate_hz: float = Field(default=120.0, gt=0, description="Messages per second that a client may send over a few seconds.")
    url_hosts: tuple[str, ...] = Field(
        default=(), description="Hosts from which recordings may be fetched: `host` for the scheme's own port, or `host:port`."
    )
    stream_hosts: tuple[str, ...] | None = Field(
        default=None, description="Hosts of cameras that may be opened; none: every host while only this machine can use the service."
    )
    worker_memory_bytes: int = Field(default=6 * 2**30, ge=2**29, description="Address space of each measuring process, bytes.")
    stream_precision: Literal["f32", "bf16"] = Field(
        default="f32",
        description="Arithmetic of the streams' landmark network: f32 as MediaPipe, bf16 half as fast again on processors that have it.",
    )
    preview_width_px: int = Field(default=960, ge=64, le=3840, description="Widest picture sent to watchers, px.")
