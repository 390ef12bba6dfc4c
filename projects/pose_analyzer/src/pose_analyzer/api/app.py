"""The application: routes of `pose_analyzer` on the service that both APIs share, and what works behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from pose_analyzer import __version__
from pose_analyzer.api.analyses import analyses_router
from pose_analyzer.api.jobs import JobManager
from pose_analyzer.api.sessions import sessions_router
from pose_analyzer.api.settings import PoseApiSettings
from pose_analyzer.api.stream_sessions import StreamSessions
from pose_analyzer.api.streams import StreamManager, streams_router
from pose_analyzer.api.views import DeviceView, ExerciseView, FilePage, FileView, ModelView
from pose_analyzer.dashboard import PAGE
from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import ExerciseProfile, list_profiles, load_profile
from pose_analyzer.pipeline.workers import WorkerLimits, WorkerPool
from pose_analyzer.resources import VIDEO_SUFFIXES
from pose_analyzer.storage import DATABASE_FILE, StorageError, Store
from shared_utils.devices import detect_devices
from shared_utils.errors import ConfigError
from shared_utils.metrics import create_registry
from shared_utils.models import ModelTask, find_model, list_models
from shared_utils.service import Problem, create_service

# What the default detector reads.
_DEFAULT_WEIGHTS = ("blazepose_detector", "blazepose_landmark_full")
# A form is a little larger than the file in it.
_FORM_BYTES = 64 * 2**10


def create_app(settings: PoseApiSettings | None = None, *, registry: CollectorRegistry | None = None) -> FastAPI:
    """Make the application. Its database is opened at once; processes start with its lifespan.

    Args:
        settings: How it listens, what it keeps and lets in. Default: this machine only, the user's data folder.
        registry: Where metrics go. Default: a new one.

    Raises:
        ConfigError: The settings listen for others without a token, or the data folder cannot be used.

    Example:
        >>> import tempfile
        >>> app = create_app(PoseApiSettings(data_dir=Path(tempfile.mkdtemp())))
        >>> sorted({path.split("/")[2] for path in app.openapi()["paths"] if path.startswith("/v1")})
        ['analyses', 'devices', 'exercises', 'files', 'models', 'sessions', 'streams']
    """
    settings = settings or PoseApiSettings()
    settings.check()
    registry = registry if registry is not None else create_registry()
    store = _open_store(settings.data_dir)
    jobs = JobManager(settings, store, registry)
    sessions = StreamSessions(store)
    pool = WorkerPool(limits=WorkerLimits(memory_bytes=settings.worker_memory_bytes))
    streams = StreamManager(
        settings, registry, pool, media=jobs.recording, sessions=sessions, order={"precision": settings.stream_precision}
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await jobs.start()
        await sessions.start()
        await streams.start()
        try:
            yield
        finally:
            await asyncio.gather(streams.stop(), jobs.stop())
            await sessions.stop()
            store.close()

    profiles = cache(_load_profiles)  # read once per application; a restart shows changed files
    return create_service(
        "Pose analyzer",
        __version__,
        settings=settings,
        routers=[PAGE.router(), _router(profiles, settings), analyses_router(jobs), streams_router(streams), sessions_router(store)],
        readiness={
            "weights": _weights_are_here,
            "exercises": lambda: _require_some(profiles()),
            "database": lambda: _must_answer(store),
        },
        registry=registry,
        metrics_prefix="pose",
        error_statuses={ExerciseError: 500, StorageError: 503},
        description="Recordings and streams in; people measured, repetitions counted, events told.",
        lifespan=lifespan,
        open_paths=PAGE.owns,
        larger_bodies={("POST", "/v1/analyses"): settings.max_upload_bytes + _FORM_BYTES},
    )


def _open_store(folder: Path) -> Store:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Store(folder / DATABASE_FILE)
    except OSError as error:
        raise ConfigError(f"data_dir {folder} cannot be used: {error.strerror or error}; choose a folder that can be written") from error
    except StorageError as error:
        raise ConfigError(f"data_dir {folder}: {error}") from error


def _must_answer(store: Store) -> None:
    store.sessions(limit=1)


def _weights_are_here() -> None:
    for name in _DEFAULT_WEIGHTS:
        find_model(name)


def _load_profiles() -> Mapping[str, ExerciseProfile]:
    return {name: load_profile(name) for name in list_profiles()}


def _require_some(profiles: Mapping[str, ExerciseProfile]) -> None:
    if not profiles:
        raise ExerciseError("there is no exercise profile; reinstall the package or set POSE_CONFIG_DIR")


def _router(profiles: Callable[[], Mapping[str, ExerciseProfile]], settings: PoseApiSettings) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["knowledge"])

    @router.get("/devices")
    def devices() -> list[DeviceView]:
        """What can compute here, accelerators first."""
        return [DeviceView.of(device) for device in detect_devices()]

    @router.get("/models")
    def models(task: ModelTask | None = None) -> list[ModelView]:
        """Every known model, its licence and whether it is here; `task` keeps those of one task."""
        return [ModelView.of(entry) for entry in list_models(task)]

    @router.get("/exercises")
    def exercises() -> list[ExerciseView]:
        """Every exercise that can be counted or timed."""
        return [ExerciseView.of(profile) for profile in profiles().values()]

    @router.get("/exercises/{name}")
    def exercise(name: str) -> ExerciseProfile:
        """One exercise with its thresholds, by its name in the list."""
        known = profiles()  # load_profile also takes paths; over HTTP only what the list names is given out
        if name not in known:
            raise Problem(404, f"there is no exercise {name[:80]!r}; there are {', '.join(known)}")
        return known[name]

    @router.get("/files")
    def files() -> FilePage:
        """Recordings of the service's folder `media_dir` that may be played as streams, by name."""
        return FilePage(items=[FileView(name=name) for name in _media_names(settings.media_dir)])

    return router


def _media_names(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    try:
        entries = [e for e in folder.iterdir() if e.suffix.lower() in VIDEO_SUFFIXES and not e.name.startswith(".") and e.is_file()]
        return sorted(e.name for e in entries)
    except OSError:
        return []
