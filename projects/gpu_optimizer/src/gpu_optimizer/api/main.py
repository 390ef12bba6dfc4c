"""Serve the API: `python -m gpu_optimizer.api.main --port 8002`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gpu_optimizer.api.app import create_app
from gpu_optimizer.api.settings import GpuApiSettings
from shared_utils.service import serve_command

__all__ = ["GpuApiSettings", "main"]


def main(words: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; see `shared_utils.service.serve_command`.

    Args:
        words: Flags. Default: those of the process.

    Returns:
        Exit status: 0 stopped as asked, 2 wrong settings or the port is taken.
    """
    return serve_command(
        words,
        program="python -m gpu_optimizer.api.main",
        title="GPU memory API",
        settings_cls=GpuApiSettings,
        create_app=create_app,
        page="/",
    )


if __name__ == "__main__":
    sys.exit(main())
