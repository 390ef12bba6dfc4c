"""What every request passes through: identity, log, metrics, safety headers, guard, size limit.

Plain ASGI, so that streaming and WebSockets work as without them.
"""

from __future__ import annotations

import hmac
import re
import time
import uuid
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared_utils.addresses import is_loopback
from shared_utils.logging import get_logger, redact
from shared_utils.metrics import counter, gauge, histogram
from shared_utils.service.problems import Problem, problem_response
from shared_utils.service.settings import ServiceSettings

_log = get_logger(__name__)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_CLIENT_LEFT = 499  # nginx' number for a client that went away before the answer
_QUIET_PATHS = {"/healthz", "/readyz", "/metrics"}
_OPEN_PATHS = {"/healthz", "/readyz"}
_SAFETY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class RequestMiddleware:
    """Gives each request its id, logs and counts it, and turns an unforeseen error into a problem.

    Args:
        app: The application inside.
        registry: Where the HTTP metrics go.
        prefix: First word of their names, `pose` or `gpu`.
        clock: Seconds that only grow.
    """

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry, prefix: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app, self._clock = app, clock
        labels = ["method", "route", "status"]
        self._requests = counter(f"{prefix}_http_requests_total", "HTTP requests answered.", labels, registry=registry)
        self._durations = histogram(
            f"{prefix}_http_request_duration_seconds", "Time until the answer was complete.", labels[:2], registry=registry
        )
        self._running = gauge(f"{prefix}_http_requests_running", "HTTP requests being answered.", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, with everything around it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get("x-request-id", ""))
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if scope["type"] == "http":
                await self._http(scope, receive, send, request_id)
            else:
                await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _SAFETY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        started = self._clock()
        try:
            with self._running.track_inprogress():
                await self._app(scope, receive, send_marked)
        except Exception:
            _log.exception("request_failed", method=scope["method"], path=scope["path"])
            if status:  # the head is sent; only breaking the connection tells that the rest is missing
                status = 500
                raise
            problem = Problem(500, "The service failed. The log line with this request_id says why.")
            await problem_response(scope, problem)(scope, receive, send_marked)
        finally:
            self._note(scope, status, self._clock() - started)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._clock()
        try:
            await self._app(scope, receive, send)
        except Exception:
            _log.exception("websocket_failed", path=scope["path"])
            raise
        finally:
            _log.info("websocket_closed", path=scope["path"], duration_s=round(self._clock() - started, 3))

    def _note(self, scope: Scope, status: int, duration_s: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = status or _CLIENT_LEFT
        route = getattr(scope.get("route"), "path", "") or "unmatched"
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(method, route).observe(max(duration_s, 0.0))
        query = scope.get("query_string", b"").decode("latin-1")
        path = redact(scope["path"] + ("?" + query if query else ""))
        log = _log.debug if scope["path"] in _QUIET_PATHS and status < 400 else _log.info
        log("request", method=scope["method"], path=path, status=status, duration_ms=round(duration_s * 1000, 2))


class GuardMiddleware:
    """Lets in who may come in.

    - With a token: who sends it in the `Authorization` header (WebSockets of browsers, which cannot,
      in `Sec-WebSocket-Protocol: bearer, TOKEN`). Health and readiness are open to all.
    - Without: requests that arrived over this machine's loopback under one of its names; a page of
      another site that makes the browser call here (DNS rebinding) names another host.
    - With a token, paths that the application calls open (its page, which holds nothing secret and asks
      for the token) are read without one.
    - Requests that a page of another origin made a browser send are refused unless it is listed, where
      they could change something.
    """

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings, open_paths: Callable[[str], bool] = lambda _: False) -> None:
        self._app = app
        self._is_open = open_paths
        self._token = settings.token.get_secret_value().encode("ascii") if settings.token else None
        self._origins = set(settings.cors_origins)
        self._hosts = {host.lower() for host in settings.allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the connection on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._objection(scope, headers)
        if problem is None:
            await self._app(scope, receive, _choosing_protocol(headers, send) if scope["type"] == "websocket" else send)
        elif scope["type"] == "http":
            await problem_response(scope, problem)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": problem.detail[:120]})

    def _objection(self, scope: Scope, headers: Headers) -> Problem | None:
        origin = headers.get("origin")
        unsafe = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if origin is not None and unsafe and not self._is_own_origin(origin, headers):
            return Problem(403, f"pages of {origin[:100]} may not use this service; its settings name the origins that may (cors_origins)")
        if self._token is not None:
            if self._needs_no_token(scope) or self._has_token(headers, scope["type"]):
                return None
            detail = "send the service's token in the header `Authorization: Bearer TOKEN`, never in the address"
            return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="service"'})
        server = scope.get("server")
        if server is not None and server[1] is not None and not is_loopback(server[0]) and server[0] not in self._hosts:
            return Problem(403, "the service has no token, so it answers only over this machine's loopback address")
        host = _host_name(headers.get("host", ""))
        if not is_loopback(host) and host not in self._hosts:
            return Problem(
                403, f"the service does not go by the name {host[:100]!r}; use localhost or 127.0.0.1, or list it in allowed_hosts"
            )
        return None

    def _needs_no_token(self, scope: Scope) -> bool:
        if scope["path"] in _OPEN_PATHS:
            return True
        return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and self._is_open(scope["path"])

    def _has_token(self, headers: Headers, kind: str) -> bool:
        given = headers.getlist("authorization")
        if len(given) == 1:
            scheme, _, sent = given[0].partition(" ")
            return scheme.lower() == "bearer" and self._equals(sent.strip())
        protocols = [p.strip() for p in headers.get("sec-websocket-protocol", "").split(",")]
        return not given and kind == "websocket" and len(protocols) == 2 and protocols[0] == "bearer" and self._equals(protocols[1])

    def _equals(self, sent: str) -> bool:
        return hmac.compare_digest(sent.encode("utf-8", "replace"), self._token or b"")

    def _is_own_origin(self, origin: str, headers: Headers) -> bool:
        try:
            return origin in self._origins or urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
        except ValueError:
            return False


class BodyLimitMiddleware:
    """Refuses request bodies above a size, whether their length is stated or they come in chunks.

    Args:
        app: The application inside.
        max_body_bytes: Largest body.
        larger: (method, path) -> largest body there, for uploads.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, larger: Mapping[tuple[str, str], int] | None = None) -> None:
        self._app, self._limit, self._larger = app, max_body_bytes, dict(larger or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._larger.get((scope["method"], scope["path"]), self._limit)
        stated = Headers(scope=scope).get("content-length", "")
        if stated.isdigit() and int(stated) > limit:
            await problem_response(scope, _too_large(limit))(scope, receive, send)
            return
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, receive_counted, send)


def _too_large(limit: int) -> Problem:
    return Problem(413, f"a request body has at most {limit} bytes", headers={"Connection": "close"})


class OriginMiddleware(CORSMiddleware):
    """Starlette's CORS, with refusals told as problems."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks before it calls."""
        response = super().preflight_response(request_headers)
        return response if response.status_code < 400 else _Refusal(bytes(response.body).decode(), headers=_vary(response))


class _Refusal(Response):
    """A problem that learns at sending time which request it answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = Problem(400, bytes(self.body).decode(), headers={"Vary": self.headers.get("vary", "Origin")})
        await problem_response(scope, problem)(scope, receive, send)


def _vary(response: Response) -> dict[str, str]:
    return {"vary": response.headers.get("vary", "Origin")}


def _request_id(given: str) -> str:
    """The client's id where it is one that cannot disturb a log, else a new one."""
    return given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else uuid.uuid4().hex


def _host_name(host: str) -> str:
    """A Host header without its port."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]/@\s]*)(?::\d*)?", host)
    return match[1].strip("[]").lower() if match else host


def _choosing_protocol(headers: Headers, send: Send) -> Send:
    """Browsers that offer protocols insist on one being chosen; never choose the token."""
    offered = [p.strip() for p in headers.get("sec-websocket-protocol", "").split(",")]
    if offered[0] != "bearer":
        return send

    async def send_chosen(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": "bearer"}
        await send(message)

    return send_chosen
