"""What the page consists of: every file with its type and tag, and plotly.js out of the installed wheel."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from types import MappingProxyType

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
PLOTLY = "plotly.min.js"

# plotly.js adds one empty <style> element and fills it through the CSS object model, which needs the hash of "".
_EMPTY_STYLE = "sha256-" + base64.b64encode(hashlib.sha256(b"").digest()).decode()
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' '{_EMPTY_STYLE}'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Sent with the page: nothing from elsewhere, no inline script or style, no frames."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page.

    Args:
        content: Its bytes.
        media_type: For `Content-Type`.
        etag: Strong entity tag with its quotes.
        packed: The same bytes gzipped; None where that is not worth it.
    """

    content: bytes
    media_type: str
    etag: str
    packed: bytes | None = None


def asset_paths() -> tuple[str, ...]:
    """Names under `/assets/` of all files of the page, sorted; plotly.js is among them if its wheel is installed.

    Example:
        >>> "js/main.js" in asset_paths()
        True
    """
    return tuple(sorted(_names()))


def is_page_path(path: str) -> bool:
    """Whether a request path belongs to the page, which may be read without a token (it asks for one).

    Example:
        >>> is_page_path("/"), is_page_path("/assets/js/main.js"), is_page_path("/v1/streams")
        (True, True, False)
    """
    return path == "/" or (path.startswith("/assets/") and path.removeprefix("/assets/") in _names())


@cache
def _names() -> frozenset[str]:
    return frozenset(name for name in (*_FILES, *([PLOTLY] if plotly_version() else [])) if name != _INDEX)


def page() -> Asset:
    """The HTML document."""
    return _FILES[_INDEX]


def find_asset(name: str) -> Asset | None:
    """The file of that exact name under `/assets/`, or None.

    Args:
        name: As in the address, for example `js/main.js`.
    """
    if name == PLOTLY:
        return _plotly()
    return None if name == _INDEX else _FILES.get(name)


@cache
def plotly_version() -> str:
    """Version of the installed plotly wheel; empty when there is none with plotly.js in it."""
    try:
        return version("plotly") if _plotly_file() else ""
    except PackageNotFoundError:
        return ""


@cache
def _plotly_file() -> Path | None:
    found = find_spec("plotly")  # finds the wheel without importing it
    folders = list(found.submodule_search_locations or ()) if found else []
    files = [Path(folder) / "package_data" / PLOTLY for folder in folders]
    return next((file for file in files if file.is_file()), None)


@cache
def _plotly() -> Asset | None:
    file = _plotly_file()
    if file is None or not plotly_version():
        return None
    # Five megabytes, of which a phone in the gym should load one and a half. Level 6 takes 0.2 s, once.
    content = file.read_bytes()
    return Asset(content, _TYPES[".js"], _tag(content), gzip.compress(content, 6, mtime=0))


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _read() -> Mapping[str, Asset]:
    files: dict[str, Asset] = {}
    for file in sorted(_STATIC.rglob("*")):
        if file.is_file() and file.suffix in _TYPES:
            content = file.read_bytes()
            name = str(PurePosixPath(*file.relative_to(_STATIC).parts))
            if name == _INDEX:
                content = content.replace(b"{plotly_version}", plotly_version().encode())
            files[name] = Asset(content, _TYPES[file.suffix], _tag(content))
    return MappingProxyType(files)


_FILES = _read()
