"""Errors as Problem Details (RFC 9457): one form for all of them, without a traceback."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.websockets import WebSocket

from shared_utils.redaction import redact

MEDIA_TYPE = "application/problem+json"

# Schema of the body, for the OpenAPI document.
SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "Problem Details, RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "What kind of problem; about:blank where the status says it."},
        "title": {"type": "string", "description": "The kind in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What was wrong this time and what to do."},
        "instance": {"type": "string", "description": "Path of the request."},
        "request_id": {"type": "string", "description": "Stands in the log lines of the request."},
        "errors": {
            "type": "array",
            "description": "For 422: each wrong part of the request.",
            "items": {
                "type": "object",
                "required": ["location", "message"],
                "properties": {"location": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


class Problem(HTTPException):
    """An error to be told to the client.

    Args:
        status: HTTP status, 400 to 599.
        detail: What was wrong and what to do, for a person.
        title: The kind of problem in words. Default: the status' own.
        type: URI of the kind of problem. Default: about:blank.
        headers: Further headers of the answer.
        extra: Further members of the body.

    Example:
        >>> Problem(409, "the stream runs already").title
        'Conflict'
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str | None = None,
        type: str = "about:blank",  # noqa: A002  # the RFC's word
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.title = title or phrase(status)
        self.type = type
        self.extra = dict(extra or {})


def install(app: FastAPI, statuses: Mapping[type[Exception], int]) -> None:
    """Make every error of the application a problem.

    Args:
        app: The application.
        statuses: For exceptions whose text is meant for users: the status each is told with.
    """
    app.add_exception_handler(HTTPException, cast("Any", _of_http_error))  # Starlette's type omits WebSockets
    app.add_exception_handler(RequestValidationError, _of_invalid_request)
    for kind, status in statuses.items():

        async def tell(request: Request, error: Exception, status: int = status) -> Response:
            return problem_response(request.scope, Problem(status, str(error)))

        app.add_exception_handler(kind, tell)


def problem_response(scope: Mapping[str, Any], problem: HTTPException) -> Response:
    """The answer that tells a problem."""
    status = problem.status_code
    body: dict[str, Any] = {
        "type": getattr(problem, "type", "about:blank"),
        "title": getattr(problem, "title", phrase(status)),
        "status": status,
        "instance": redact(scope.get("path", "/")),
        "request_id": scope.get("state", {}).get("request_id", ""),
    }
    detail = problem.detail if isinstance(problem.detail, str) else json.dumps(problem.detail)
    if detail and detail != body["title"]:
        body["detail"] = redact(detail)
    body |= {key: value for key, value in getattr(problem, "extra", {}).items() if key not in body}
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(content, status, headers=dict(problem.headers or {}), media_type=MEDIA_TYPE)


def phrase(status: int) -> str:
    """A status in words.

    Example:
        >>> phrase(413), phrase(599)
        ('Request Entity Too Large', 'Error 599')
    """
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Error {status}"


async def _of_http_error(request: Request | WebSocket, error: Exception) -> Response | None:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class
    if isinstance(request, WebSocket):
        await request.close(1008, str(error.detail)[:120])
        return None
    return problem_response(request.scope, error)


async def _of_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this class
    errors = [{"location": _location(e["loc"]), "message": redact(str(e["msg"]))} for e in error.errors()]
    detail = "; ".join(f"{e['location']}: {e['message']}" for e in errors)
    return problem_response(request.scope, Problem(422, detail, title="The request is not valid", extra={"errors": errors}))


def _location(parts: Sequence[Any]) -> str:
    return ".".join(map(str, parts))
