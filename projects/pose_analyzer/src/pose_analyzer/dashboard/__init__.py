"""The live page: files that a browser reads, and the routes that hand them out.

`page_router()` serves the page at `/` and its files at `/assets/...`. Only files that lay in the package
when it was imported are ever served, found by their exact name; nothing of a request reaches the file
system. The page has no inline script or style, loads nothing from elsewhere and talks to `/v1` alone.
"""

from __future__ import annotations

from pose_analyzer.dashboard.assets import CONTENT_SECURITY_POLICY, asset_paths, is_page_path
from pose_analyzer.dashboard.router import page_router

__all__ = ["CONTENT_SECURITY_POLICY", "asset_paths", "is_page_path", "page_router"]
