"""The routes of the page."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from pose_analyzer.dashboard.assets import CONTENT_SECURITY_POLICY, PLOTLY, Asset, find_asset, page, plotly_version

# Own files are asked for anew each time and mostly answered with 304, so that an update shows at once.
_REVALIDATE = "no-cache"
# A year. The address holds the version, so other content has another address.
_FOREVER = "public, max-age=31536000, immutable"


def page_router() -> APIRouter:
    """Routes `/` and `/assets/{path}`.

    Include it without a prefix, and let its paths be read without a token (`is_page_path`): the page asks
    for the token itself.

    Example:
        >>> [route.path for route in page_router().routes]
        ['/', '/assets/{path:path}']
    """
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    def index(request: Request) -> Response:
        return _answer(
            request, page(), _REVALIDATE, {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Permissions-Policy": _PERMISSIONS}
        )

    @router.api_route("/assets/{path:path}", methods=["GET", "HEAD"])
    def asset(request: Request, path: str) -> Response:
        found = find_asset(path)
        if found is None:
            return Response("There is no such file.\n", status_code=404, media_type="text/plain")
        is_versioned = path == PLOTLY and request.query_params.get("v") == plotly_version()
        return _answer(request, found, _FOREVER if is_versioned else _REVALIDATE, {})

    return router


_PERMISSIONS = "camera=(self), microphone=(), geolocation=(), display-capture=()"


def _answer(request: Request, asset: Asset, caching: str, headers: dict[str, str]) -> Response:
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
