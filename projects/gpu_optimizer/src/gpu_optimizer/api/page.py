"""The page: its files as they lay in the package at import, and the routes that hand them out.

Nothing of a request reaches the file system. The page has no inline script or style, loads nothing from
elsewhere and talks to `/v1` alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def _read(folder: Path) -> dict[str, _File]:
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in _TYPES:
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[file.relative_to(folder).as_posix()] = _File(content, f"{_TYPES[file.suffix]}; charset=utf-8", tag)
    return found


_FILES = _read(Path(__file__).parent / "static")


def is_page_path(path: str) -> bool:
    """Whether a path belongs to the page, which may be read without a token (it asks for one).

    Example:
        >>> is_page_path("/"), is_page_path("/assets/js/main.js"), is_page_path("/v1/memory")
        (True, True, False)
    """
    return path == "/" or (path.startswith("/assets/") and path.removeprefix("/assets/") in _FILES)


def page_router() -> APIRouter:
    """Routes `/` and `/assets/...`."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    def index(request: Request) -> Response:
        return _answer(request, _FILES[_INDEX])

    @router.api_route("/assets/{path:path}", methods=["GET", "HEAD"])
    def asset(request: Request, path: str) -> Response:
        file = _FILES.get(path)
        if file is None or path == _INDEX:
            return Response("There is no such file.\n", status_code=404, media_type="text/plain")
        return _answer(request, file)

    return router


def _answer(request: Request, file: _File) -> Response:
    # Asked for anew each time and mostly answered with 304, so that an update shows at once.
    headers = {"ETag": file.etag, "Cache-Control": "no-cache", "Content-Security-Policy": CONTENT_SECURITY_POLICY}
    if request.headers.get("if-none-match", "").removeprefix("W/") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
