"""The page: no inline script or style, nothing loaded from elsewhere, talks to `/v1` alone."""

from __future__ import annotations

from pathlib import Path

from shared_utils.service.page import WebPage

PAGE = WebPage(Path(__file__).parent / "static")
"""`PAGE.router()` are its routes; `PAGE.owns(path)` says which paths may be read without a token."""
