"""Serve the API: `python -m pose_analyzer.api.main --port 8001`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydantic import Field

from pose_analyzer.api.app import create_app
from shared_utils.service import ServiceSettings, serve_command


class PoseApiSettings(ServiceSettings):
    """How this service listens and what it lets in."""

    port: int = Field(default=8001, ge=0, le=65535, description="TCP port; 0 takes a free one.")


def main(words: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; see `shared_utils.service.serve_command`.

    Args:
        words: Flags. Default: those of the process.

    Returns:
        Exit status: 0 stopped as asked, 2 wrong settings or the port is taken.
    """
    return serve_command(
        words, program="python -m pose_analyzer.api.main", title="pose API", settings_cls=PoseApiSettings, create_app=create_app
    )


if __name__ == "__main__":
    sys.exit(main())
