"""Settings of the service: what it listens on, watches, lets in and refuses."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shared_utils.service import ServiceSettings


class GpuApiSettings(ServiceSettings):
    """How this service listens, what it watches and what it lets in.

    Example:
        >>> GpuApiSettings().port
        8002
    """

    port: int = Field(default=8002, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    processes: bool = Field(default=False, description="Tell which programs hold memory of the GPUs.")
    pcie: bool = Field(default=False, description="Measure the bus of every GPU, which takes 40 ms each time.")
    live_interval_s: float = Field(default=1.0, ge=0.1, le=60, description="Between two readings of the live view, s.")
    history_s: float = Field(default=600.0, ge=10, le=86400, description="How far back a new watcher sees, s.")
    max_clients: int = Field(default=100, ge=1, description="WebSocket clients at the same time.")
    max_upload_bytes: int = Field(default=2**29, ge=1, description="Largest memory snapshot, bytes.")
    max_queued_jobs: int = Field(default=20, ge=1, description="Estimates, plans and analyses that may wait; one more is refused.")
    kept_jobs: int = Field(default=50, ge=1, description="Finished ones that are kept; the oldest go first.")
    concurrent_jobs: int = Field(default=1, ge=1, le=64, description="Of them that run at the same time.")
    job_timeout_s: float = Field(default=600.0, gt=0, description="After which one is ended, s.")
    worker_memory_bytes: int = Field(default=8 * 2**30, ge=2**30, description="Memory that one may take, bytes.")
    price_file: Path | None = Field(default=None, description="Price book to use instead of the one that comes along.")
