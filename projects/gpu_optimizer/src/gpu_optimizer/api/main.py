"""Serve the API: `python -m gpu_optimizer.api.main --port 8002`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydantic import Field

from gpu_optimizer.api.app import create_app
from shared_utils.service import ServiceSettings, serve_command


class GpuApiSettings(ServiceSettings):
    """How this service listens and what it lets in."""

    port: int = Field(default=8002, ge=0, le=65535, description="TCP port; 0 takes a free one.")


def main(words: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; see `shared_utils.service.serve_command`.

    Args:
        words: Flags. Default: those of the process.

    Returns:
        Exit status: 0 stopped as asked, 2 wrong settings or the port is taken.
    """
    return serve_command(
        words, program="python -m gpu_optimizer.api.main", title="GPU memory API", settings_cls=GpuApiSettings, create_app=create_app
    )


if __name__ == "__main__":
    sys.exit(main())
