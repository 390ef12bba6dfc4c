"""The command line of a service: flags, settings, serve until told to stop."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fastapi import FastAPI

from shared_utils.config import load_settings
from shared_utils.errors import ConfigError
from shared_utils.logging import setup_logging
from shared_utils.service.run import run_service
from shared_utils.service.settings import ServiceSettings

ENV_PREFIX = "HTTP_API_"

Settings = TypeVar("Settings", bound=ServiceSettings)


def serve_command(
    words: Sequence[str] | None,
    *,
    program: str,
    title: str,
    settings_cls: type[Settings],
    create_app: Callable[[Settings], FastAPI],
    page: str = "/docs",
) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Settings come from a YAML file, then the environment (`HTTP_API_TOKEN`, `HTTP_API_HOST`, ...), then
    the flags.

    Args:
        words: Flags; None takes those of the process.
        program: How the command is called, for `--help`.
        title: What it serves, for people.
        settings_cls: Its settings; their default port is the one that `--help` names.
        create_app: Makes the application from the settings.
        page: Path that people open in a browser.

    Returns:
        Exit status: 0 stopped as asked, 2 wrong settings or the port is taken.
    """
    port = settings_cls.model_fields["port"].default
    parser = argparse.ArgumentParser(prog=program, description=f"Serve the {title}.")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, help=f"TCP port (default {port}); 0 takes a free one")
    parser.add_argument("--config", type=Path, help="YAML file with settings of the service")
    parser.add_argument("--log-level", default="INFO", help="least severe level to log (default %(default)s)")
    flags = parser.parse_args(words)

    def tell(address: str) -> None:
        sys.stdout.write(f"{title} on {address} (open {address}{page} in a browser)\n")
        sys.stdout.flush()

    try:
        setup_logging(flags.log_level)
        wanted = {"host": flags.host, "port": flags.port}
        settings = load_settings(settings_cls, config_file=flags.config, env_prefix=ENV_PREFIX, overrides=wanted)
        run_service(create_app(settings), settings, on_listening=tell)
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0
