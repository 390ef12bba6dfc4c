"""Serve an application until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from shared_utils.errors import ConfigError
from shared_utils.logging import get_logger
from shared_utils.service.settings import ServiceSettings

_log = get_logger(__name__)
_UNSENT_BYTES = 64 * 2**10


def run_service(app: FastAPI, settings: ServiceSettings | None = None, *, on_listening: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; running requests get `shutdown_timeout_s` to finish.

    Args:
        app: From `create_service`.
        settings: Default: the ones the application was made with.
        on_listening: Called with the address, for example `http://127.0.0.1:8000`, once clients can connect.

    Raises:
        ConfigError: It would listen for others without a token, or cannot listen there.
    """
    chosen: ServiceSettings = settings or app.state.settings
    chosen.check()
    with _listen(chosen.host, chosen.port) as listener:
        address = _address(listener, chosen.host)
        config = uvicorn.Config(
            app,
            log_config=None,  # our logging has them already
            access_log=False,  # ours leaves credentials out
            server_header=False,
            proxy_headers=False,
            ws_max_size=chosen.max_message_bytes,
            timeout_graceful_shutdown=round(chosen.shutdown_timeout_s),
        )
        server = uvicorn.Server(config)
        _log.info("service_starting", address=address, token=chosen.needs_token)
        if on_listening is not None:
            on_listening(address)
        try:
            with _quiet_end():
                server.run(sockets=[listener])
        except SystemExit as error:  # uvicorn's word for a lifespan that fails
            raise ConfigError("the service did not start; the log says why") from error
        _log.info("service_stopped", address=address)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; from here on clients queue until the application is up."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {host}: no such address on this machine ({error})") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _keep_little_unsent(listener)
        listener.bind(where)
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; choose another port or stop what uses it") from error
    return listener


def _keep_little_unsent(listener: socket.socket) -> None:
    """Let a write wait once 64 KiB have not gone out; connections inherit it.

    Else the kernel holds megabytes for a slow client: what is skipped for it in favour of newer messages would still
    come seconds too late. Linux and macOS know the option; Python does not name it on both.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", {"linux": 25, "darwin": 0x201}.get(sys.platform))
    if option is not None:
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)


def _address(listener: socket.socket, host: str) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def _quiet_end() -> Iterator[None]:
    """Uvicorn raises the signals it took again after it has stopped; by then they are dealt with."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
