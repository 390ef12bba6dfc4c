"""A page that a service hands out: its files as they lay in the package at import, and the routes they come by.

`WebPage` takes a folder with an `index.html`; the scripts and styles that all our pages share come with it under
`/assets/shared/`. Nothing of a request reaches the file system: a file is found by its exact name or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from fastapi import APIRouter, Request, Response

SHARED = Path(__file__).parent / "static"
"""Folder of the scripts and styles that all pages share."""
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
# Own files are asked for anew each time and mostly answered with 304, so that an update shows at once.
_REVALIDATE = "no-cache"
# A year. The address holds the version, so other content has another address.
_FOREVER = "public, max-age=31536000, immutable"


def content_security_policy(*, style: Iterable[str] = (), img: Iterable[str] = (), media: Iterable[str] = ()) -> str:
    """A policy that lets nothing in from elsewhere: no inline script or style, no frames, talk to the service alone.

    Args:
        style: What styles may come from besides the service, for example a hash.
        img: Likewise pictures; `data:` is among them.
        media: What sound and video may come from; nothing without it.

    Example:
        >>> content_security_policy().split("; ")[:3]
        ["default-src 'none'", "script-src 'self'", "style-src 'self'"]
    """
    parts = {
        "default-src": ("'none'",),
        "script-src": ("'self'",),
        "style-src": ("'self'", *style),
        "img-src": ("'self'", "data:", *img),
        "media-src": tuple(media),
        "connect-src": ("'self'",),
        "base-uri": ("'none'",),
        "form-action": ("'none'",),
        "frame-ancestors": ("'none'",),
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in parts.items() if sources)


def permissions_policy(*, camera: bool = False) -> str:
    """Which devices of the visitor the page may ask for: the camera or none.

    Example:
        >>> permissions_policy()
        'camera=(), microphone=(), geolocation=(), display-capture=()'
    """
    return f"camera=({'self' if camera else ''}), microphone=(), geolocation=(), display-capture=()"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of a page.

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

    @classmethod
    def of(cls, content: bytes, suffix: str, *, pack: bool = False) -> Asset:
        """A file with the type of its suffix and the tag of its content."""
        # Level 6 takes 0.2 s for five megabytes of script, once.
        packed = gzip.compress(content, 6, mtime=0) if pack else None
        return cls(content, _TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"', packed)


class WheelFile:
    """A large file out of an installed wheel; it is read when it is first asked for, and travels gzipped.

    Args:
        package: Name of the package and of its distribution. It is found without being imported.
        path: Where the file lies in it.

    Example:
        >>> WheelFile("no_such_package", "x.js").version
        ''
    """

    def __init__(self, package: str, path: str) -> None:
        self.name = PurePosixPath(path).name
        self._package, self._path = package, path

    @cached_property
    def version(self) -> str:
        """Version of the wheel; empty when it is not installed, or has no such file."""
        try:
            return version(self._package) if self._file else ""
        except PackageNotFoundError:
            return ""

    @cached_property
    def asset(self) -> Asset | None:
        """The file, or None where it is not installed."""
        return Asset.of(self._file.read_bytes(), self._file.suffix, pack=True) if self._file and self.version else None

    @cached_property
    def _file(self) -> Path | None:
        found = find_spec(self._package)
        files = [Path(folder) / self._path for folder in (found.submodule_search_locations or ())] if found else []
        return next((file for file in files if file.is_file()), None)


class WebPage:
    """A page: its document at `/`, its files under `/assets/`, what all pages share under `/assets/shared/`.

    Args:
        folder: Where its files lie, `index.html` among them; they are read now.
        policy: Content security policy that the document is sent with.
        permissions: Permissions policy likewise.
        wheel_files: Files of installed wheels that it loads from `/assets/NAME?v=VERSION`.
        fill: Words in braces of the document -> what stands there instead.

    Raises:
        FileNotFoundError: The folder has no `index.html`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        policy: str | None = None,
        permissions: str | None = None,
        wheel_files: Iterable[WheelFile] = (),
        fill: Mapping[str, str] | None = None,
    ) -> None:
        index = (folder / _INDEX).read_bytes()
        for word, value in (fill or {}).items():
            index = index.replace(f"{{{word}}}".encode(), value.encode())
        self.document = Asset.of(index, ".html")
        self.headers = MappingProxyType(
            {
                "Content-Security-Policy": policy or content_security_policy(),
                "Permissions-Policy": permissions or permissions_policy(),
            }
        )
        own = {name: asset for name, asset in _read(folder).items() if name != _INDEX}
        self._files = {**own, **{f"shared/{name}": asset for name, asset in _read(SHARED).items()}}
        self._wheel_files = {file.name: file for file in wheel_files}

    def asset_paths(self) -> tuple[str, ...]:
        """Names under `/assets/` of all files, sorted; those of wheels are among them if they are installed."""
        return tuple(sorted([*self._files, *(name for name, file in self._wheel_files.items() if file.version)]))

    def owns(self, path: str) -> bool:
        """Whether the path of a request belongs to the page, which may be read without a token (it asks for one)."""
        name = path.removeprefix("/assets/")
        if name == path:
            return path == "/"
        return name in self._files or (name in self._wheel_files and bool(self._wheel_files[name].version))

    def find(self, name: str) -> Asset | None:
        """The file of that exact name under `/assets/`, or None.

        Args:
            name: As in the address, for example `js/main.js`.
        """
        return self._wheel_files[name].asset if name in self._wheel_files else self._files.get(name)

    def router(self) -> APIRouter:
        """Routes `/` and `/assets/{path}`; include them without a prefix, and let `owns` open their paths."""
        router = APIRouter(include_in_schema=False)

        @router.api_route("/", methods=["GET", "HEAD"])
        def index(request: Request) -> Response:
            return _answer(request, self.document, _REVALIDATE, self.headers)

        @router.api_route("/assets/{path:path}", methods=["GET", "HEAD"])
        def asset(request: Request, path: str) -> Response:
            found = self.find(path)
            if found is None:
                return Response("There is no such file.\n", status_code=404, media_type="text/plain")
            wheel = self._wheel_files.get(path)
            is_versioned = wheel is not None and request.query_params.get("v") == wheel.version
            return _answer(request, found, _FOREVER if is_versioned else _REVALIDATE, {})

        return router


def _read(folder: Path) -> dict[str, Asset]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix in _TYPES)
    return {file.relative_to(folder).as_posix(): Asset.of(file.read_bytes(), file.suffix) for file in files}


def _answer(request: Request, asset: Asset, caching: str, headers: Mapping[str, str]) -> Response:
    headers = {**headers, "ETag": asset.etag, "Cache-Control": caching, "Cross-Origin-Resource-Policy": "same-origin"}
    if asset.packed is not None:
        headers["Vary"] = "Accept-Encoding"
    asked = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if asset.etag in asked or asked == ["*"]:
        return Response(status_code=304, headers=headers)
    content = asset.content
    if asset.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content = asset.packed
        # Two forms of one file need two tags to be told apart by caches in between; weak says "same meaning".
        headers |= {"Content-Encoding": "gzip", "ETag": f"W/{asset.etag}"}
    return Response(content, media_type=asset.media_type, headers=headers)
