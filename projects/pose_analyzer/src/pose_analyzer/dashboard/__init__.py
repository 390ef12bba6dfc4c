"""The live page: files that a browser reads, and what may be loaded with them.

`PAGE` serves it at `/` and its files at `/assets/...`: `PAGE.router()` are the routes, `PAGE.owns(path)` says which
paths may be read without a token. It has no inline script or style, loads nothing from elsewhere and talks to `/v1` alone.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from shared_utils.service.page import WebPage, WheelFile, content_security_policy, permissions_policy

__all__ = ["PAGE", "PLOTLY"]

PLOTLY = WheelFile("plotly", "package_data/plotly.min.js")
# plotly.js adds one empty <style> element and fills it through the CSS object model, which needs the hash of "".
_EMPTY_STYLE = "'sha256-" + base64.b64encode(hashlib.sha256(b"").digest()).decode() + "'"

PAGE = WebPage(
    Path(__file__).parent / "static",
    policy=content_security_policy(style=(_EMPTY_STYLE,), img=("blob:",), media=("'self'", "blob:")),
    permissions=permissions_policy(camera=True),
    wheel_files=(PLOTLY,),
    fill={"plotly_version": PLOTLY.version},
)
