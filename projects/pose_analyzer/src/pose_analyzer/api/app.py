"""The application: routes of `pose_analyzer` on the service that both APIs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from pose_analyzer import __version__
from pose_analyzer.api.views import DeviceView, ExerciseView, ModelView
from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import ExerciseProfile, list_profiles, load_profile
from shared_utils.devices import detect_devices
from shared_utils.models import ModelTask, find_model, list_models
from shared_utils.service import Problem, ServiceSettings, create_service

# What the default detector reads.
_DEFAULT_WEIGHTS = ("blazepose_detector", "blazepose_landmark_full")


def create_app(settings: ServiceSettings | None = None, *, registry: CollectorRegistry | None = None) -> FastAPI:
    """Make the application.

    Args:
        settings: How it listens. Default: this machine only.
        registry: Where metrics go. Default: a new one.

    Raises:
        ConfigError: The settings listen for others without a token.

    Example:
        >>> app = create_app()
        >>> sorted(path for path in app.openapi()["paths"] if path.startswith("/v1"))
        ['/v1/devices', '/v1/exercises', '/v1/exercises/{name}', '/v1/models']
    """
    profiles = cache(_load_profiles)  # read once per application; a restart shows changed files
    return create_service(
        "Pose analyzer",
        __version__,
        settings=settings,
        routers=[_router(profiles)],
        readiness={"weights": _weights_are_here, "exercises": lambda: _require_some(profiles())},
        registry=registry,
        metrics_prefix="pose",
        error_statuses={ExerciseError: 500},
        description="What can be measured, with which models, on which device.",
    )


def _weights_are_here() -> None:
    for name in _DEFAULT_WEIGHTS:
        find_model(name)


def _load_profiles() -> Mapping[str, ExerciseProfile]:
    return {name: load_profile(name) for name in list_profiles()}


def _require_some(profiles: Mapping[str, ExerciseProfile]) -> None:
    if not profiles:
        raise ExerciseError("there is no exercise profile; reinstall the package or set POSE_CONFIG_DIR")


def _router(profiles: Callable[[], Mapping[str, ExerciseProfile]]) -> APIRouter:
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

    return router
