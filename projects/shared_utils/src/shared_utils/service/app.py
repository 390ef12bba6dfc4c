"""The application factory."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import HTMLResponse, JSONResponse, Response

from shared_utils.errors import DeviceError, ModelError, ValidationError
from shared_utils.logging import get_logger
from shared_utils.metrics import create_registry
from shared_utils.service import problems
from shared_utils.service.docs import CONTENT_SECURITY_POLICY, render_docs
from shared_utils.service.lingering import LingerMiddleware
from shared_utils.service.middleware import BodyLimitMiddleware, GuardMiddleware, OriginMiddleware, RequestMiddleware
from shared_utils.service.problems import Problem
from shared_utils.service.settings import ServiceSettings

# Returns (or awaits) when the part is ready to work, raises when it is not.
ReadinessCheck = Callable[[], Awaitable[None] | None]

_log = get_logger(__name__)
# Errors whose text is written for users, and what they mean over HTTP.
_STATUSES: dict[type[Exception], int] = {ValidationError: 422, ModelError: 503, DeviceError: 503}


def create_service(
    title: str,
    version: str,
    *,
    settings: ServiceSettings | None = None,
    readiness: Mapping[str, ReadinessCheck] | None = None,
    routers: Sequence[APIRouter] = (),
    registry: CollectorRegistry | None = None,
    metrics_prefix: str = "pose",
    error_statuses: Mapping[type[Exception], int] | None = None,
    description: str = "",
    lifespan: Any = None,
    open_paths: Callable[[str], bool] = lambda _: False,
    larger_bodies: Mapping[tuple[str, str], int] | None = None,
) -> FastAPI:
    """Make an application with everything a service needs around the given routers.

    It serves `/healthz` (the process lives), `/readyz` (every check passes), `/metrics` (Prometheus),
    `/openapi.json` and `/docs` (a page of our own that loads nothing from elsewhere).

    Args:
        title: Name of the service.
        version: Version of the software.
        settings: How it listens and what it lets in. Default: this machine only, no token.
        readiness: Name -> check. Checks that block run in a thread.
        routers: The caller's routes.
        registry: Where metrics go. Default: a new one; it is `app.state.registry`.
        metrics_prefix: First word of the HTTP metrics, `pose` or `gpu`.
        error_statuses: For exceptions whose text is written for users: the status each is told with.
        description: A few sentences for `/docs`, Markdown.
        lifespan: FastAPI's lifespan context manager.
        open_paths: Tells of a path whether it may be read (GET, HEAD) without the token: a page that asks for it.
        larger_bodies: (method, path) -> largest request body there in bytes, for uploads.

    Returns:
        An ASGI application. A request that reaches it over another address than loopback is refused
        when there is no token, whatever server it was started with.

    Raises:
        ConfigError: The settings listen for others without a token.

    Example:
        >>> app = create_service("Demo", "1.0")
        >>> sorted(route.path for route in app.routes)
        ['/docs', '/healthz', '/metrics', '/openapi.json', '/readyz']
    """
    settings = settings or ServiceSettings()
    settings.check()
    app = FastAPI(
        title=title,
        version=version,
        description=description,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        responses={"default": {"description": "Problem Details (RFC 9457).", "content": {problems.MEDIA_TYPE: {"schema": _REFERENCE}}}},
    )
    app.state.registry = registry if registry is not None else create_registry()
    app.state.settings = settings
    problems.install(app, {**_STATUSES, **(error_statuses or {})})
    _add_own_routes(app, dict(readiness or {}), settings)
    for router in routers:
        app.include_router(router)
    _add_problem_schema(app, needs_token=settings.needs_token)
    # The last added is the outermost.
    app.add_middleware(BodyLimitMiddleware, max_body_bytes=settings.max_body_bytes, larger=larger_bodies)
    app.add_middleware(GuardMiddleware, settings=settings, open_paths=open_paths)
    if settings.cors_origins:
        app.add_middleware(
            OriginMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID"],
        )
    app.add_middleware(RequestMiddleware, registry=app.state.registry, prefix=metrics_prefix)
    app.add_middleware(LingerMiddleware)
    return app


_REFERENCE = {"$ref": "#/components/schemas/Problem"}


def _add_own_routes(app: FastAPI, readiness: Mapping[str, ReadinessCheck], settings: ServiceSettings) -> None:
    async def healthz() -> dict[str, str]:
        """Answers as long as the process lives."""
        return {"status": "ok"}

    async def readyz() -> dict[str, Any]:
        """Answers 200 when every part is ready to work, else 503 with the ones that are not."""
        checks = {name: await _passes(name, check, settings.readiness_timeout_s) for name, check in readiness.items()}
        states = {name: "ok" if passed else "failed" for name, passed in checks.items()}
        if not all(checks.values()):
            failed = ", ".join(name for name, passed in checks.items() if not passed)
            raise Problem(503, f"not ready: {failed}", title="Not ready", extra={"checks": states}, headers={"Retry-After": "5"})
        return {"status": "ready", "checks": states}

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(await anyio.to_thread.run_sync(encode, app.state.registry), headers={"Content-Type": content_type})

    async def docs() -> Response:
        return HTMLResponse(render_docs(app.openapi()), headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    app.add_api_route("/healthz", healthz, tags=["service"], response_class=JSONResponse)
    app.add_api_route("/readyz", readyz, tags=["service"], response_class=JSONResponse)
    app.add_api_route("/metrics", metrics, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)


async def _passes(name: str, check: ReadinessCheck, timeout_s: float) -> bool:
    try:
        with anyio.fail_after(timeout_s):
            outcome = (
                check() if inspect.iscoroutinefunction(check) else await anyio.to_thread.run_sync(check, abandon_on_cancel=True)  # pyright: ignore[reportArgumentType]
            )
            if inspect.isawaitable(outcome):
                await outcome
    except Exception as error:  # noqa: BLE001  # whatever a check raises means "not ready"
        _log.warning("not_ready", check=name, reason=str(error) or type(error).__name__)
        return False
    return True


def _operation_id(route: APIRoute) -> str:
    """The function's name: stable for generated clients."""
    return route.name


def _add_problem_schema(app: FastAPI, *, needs_token: bool) -> None:
    """Describe errors, and the token if there is one, in the OpenAPI document."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            components = document.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = problems.SCHEMA
            if needs_token:
                components.setdefault("securitySchemes", {})["token"] = {"type": "http", "scheme": "bearer"}
                document["security"] = [{"token": []}]
                for path in ("/healthz", "/readyz"):
                    document["paths"][path]["get"]["security"] = []
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi
