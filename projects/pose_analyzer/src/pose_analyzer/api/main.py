"""Serve the API: `python -m pose_analyzer.api.main --port 8001`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pose_analyzer.api.app import create_app
from pose_analyzer.api.settings import PoseApiSettings
from shared_utils.service import serve_command


def main(words: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; see `shared_utils.service.serve_command`.

    Args:
        words: Flags. Default: those of the process.

    Returns:
        Exit status: 0 stopped as asked, 2 wrong settings or the port is taken.
    """
    return serve_command(
        words, program="python -m pose_analyzer.api.main", title="pose API", settings_cls=PoseApiSettings, create_app=create_app, page="/"
    )


if __name__ == "__main__":
    sys.exit(main())
