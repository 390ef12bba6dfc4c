"""The application: routes of `gpu_optimizer` on the service that both APIs share, and what works behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from gpu_optimizer import __version__
from gpu_optimizer.api.job_routes import estimates_router, plans_router, snapshots_router
from gpu_optimizer.api.jobs import JobManager, QueueFullError
from gpu_optimizer.api.knowledge import knowledge_router
from gpu_optimizer.api.live import LiveFeed
from gpu_optimizer.api.machine import machine_router
from gpu_optimizer.api.page import PAGE
from gpu_optimizer.api.settings import GpuApiSettings
from gpu_optimizer.errors import GpuOptimizerError
from gpu_optimizer.monitoring import MemoryCollector, SnapshotReader, TorchCollector, WorkloadMetrics
from shared_utils.metrics import create_registry, gauge
from shared_utils.service import create_service


def create_app(
    settings: GpuApiSettings | None = None, *, registry: CollectorRegistry | None = None, reader: SnapshotReader | None = None
) -> FastAPI:
    """Make the application; readings for the live view and workers start with its lifespan.

    Args:
        settings: How it listens, what it watches and lets in. Default: this machine only.
        registry: Where metrics go. Default: a new one.
        reader: Takes the readings. Default: one of its own.

    Raises:
        ConfigError: The settings listen for others without a token.

    Example:
        >>> app = create_app()
        >>> sorted({path.split("/")[2] for path in app.openapi()["paths"] if path.startswith("/v1")})
        ['devices', 'estimates', 'machines', 'memory', 'models', 'plans', 'prices', 'processes', 'snapshots']
    """
    settings = settings or GpuApiSettings()
    settings.check()
    registry = registry if registry is not None else create_registry()
    parts = _Parts(settings, registry, reader or SnapshotReader(pcie=settings.pcie))
    app = create_service(
        "GPU optimizer",
        __version__,
        settings=settings,
        routers=parts.routers(settings),
        registry=registry,
        metrics_prefix="gpu",
        error_statuses={QueueFullError: 429, GpuOptimizerError: 422},
        description="What can compute here, what its memory is used for, and what a model would need.",
        lifespan=parts.lifespan,
        open_paths=PAGE.owns,
        larger_bodies={("POST", "/v1/snapshots"): settings.max_upload_bytes},
    )
    app.state.work = WorkloadMetrics(registry)
    return app


class _Parts:
    """What works behind the routes: readings for the live view, and jobs.

    Args:
        settings: Of the application.
        registry: Where their metrics go.
        reader: Takes the readings; closed when the application ends.
    """

    def __init__(self, settings: GpuApiSettings, registry: CollectorRegistry, reader: SnapshotReader) -> None:
        self.reader = reader
        registry.register(MemoryCollector(reader, processes=settings.processes))
        registry.register(TorchCollector())
        feed = LiveFeed(reader, interval_s=settings.live_interval_s, history_s=settings.history_s, max_clients=settings.max_clients)
        gauge("gpu_clients", "WebSocket clients of the live view.", registry=registry).set_function(lambda: feed.clients)
        self.feed = feed
        self.jobs = JobManager(
            registry,
            max_queued=settings.max_queued_jobs,
            kept=settings.kept_jobs,
            concurrent=settings.concurrent_jobs,
            timeout_s=settings.job_timeout_s,
            memory_bytes=settings.worker_memory_bytes,
        )

    def routers(self, settings: GpuApiSettings) -> list[APIRouter]:
        """All routes, the page's first."""
        return [
            PAGE.router(),
            machine_router(self.reader, self.feed, processes=settings.processes),
            estimates_router(self.jobs),
            plans_router(self.jobs),
            snapshots_router(self.jobs, settings),
            knowledge_router(settings.price_file),
        ]

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Work as long as the application runs."""
        await asyncio.gather(self.feed.start(), self.jobs.start())
        try:
            yield
        finally:
            await asyncio.gather(self.feed.stop(), self.jobs.stop())
            self.reader.close()
