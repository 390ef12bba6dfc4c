"""Serve the API: `python -m pose_analyzer.api.main --port 8001`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from pydantic import Field

from pose_analyzer.api.app import create_app
from shared_utils.config import load_settings
from shared_utils.errors import ConfigError
from shared_utils.logging import setup_logging
from shared_utils.service import ServiceSettings, run_service

ENV_PREFIX = "HTTP_API_"


class PoseApiSettings(ServiceSettings):
    """How this service listens and what it lets in."""

    port: int = Field(8001, ge=0, le=65535, description="TCP port; 0 takes a free one.")


def main(words: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Settings come from a YAML file, then the environment (`HTTP_API_TOKEN`, `HTTP_API_HOST`, ...), then
    the flags.

    Args:
        words: Flags. Default: those of the process.

    Returns:
        Exit status: 0 stopped as asked, 2 wrong settings or the port is taken.
    """
    parser = argparse.ArgumentParser(prog="python -m pose_analyzer.api.main", description="Serve the pose API.")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, help="TCP port (default 8001); 0 takes a free one")
    parser.add_argument("--config", type=Path, help="YAML file with settings of the service")
    parser.add_argument("--log-level", default="INFO", help="least severe level to log (default %(default)s)")
    flags = parser.parse_args(words)
    wanted = {"host": flags.host, "port": flags.port}
    try:
        setup_logging(flags.log_level)
        settings = load_settings(PoseApiSettings, config_file=flags.config, env_prefix=ENV_PREFIX, overrides=wanted)
        run_service(create_app(settings), settings, on_listening=_tell)
    except ConfigError as error:
        typer.echo(f"error: {error}", err=True)
        return 2
    return 0


def _tell(address: str) -> None:
    typer.echo(f"pose API on {address} (for people: {address}/docs)")


if __name__ == "__main__":
    sys.exit(main())
