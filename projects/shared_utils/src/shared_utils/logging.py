"""Structured logs: one call sets them up, credentials never reach them.

Everything goes through structlog's processors, whether it was logged with `get_logger` or with the
standard library by somebody else's code. A terminal gets coloured lines, anything else one JSON
object per line.
"""

from __future__ import annotations

import logging
import sys
from typing import IO, Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared_utils.errors import ConfigError
from shared_utils.redaction import MASK, is_secret_key, redact, redact_value

__all__ = ["MASK", "get_logger", "is_secret_key", "redact", "redact_event", "redact_value", "setup_logging"]

# They log every request at INFO, which is noise at that level of ours.
_CHATTY = ("httpx", "httpcore", "urllib3", "asyncio", "matplotlib", "PIL", "numba")


def setup_logging(level: str | int = "INFO", json: bool | None = None, stream: IO[str] | None = None) -> None:
    """Send all logs of this process to one stream. May be called again; the last call counts.

    Args:
        level: Least severe level to show: a name ("DEBUG", "info") or a number of `logging`.
        json: One JSON object per line (True) or lines for people (False). Default: lines for people
            exactly when the stream is a terminal.
        stream: Where to. Default: standard error, so that standard output stays free for results.

    Raises:
        ConfigError: There is no such level.

    Example:
        >>> import io
        >>> out = io.StringIO()
        >>> setup_logging("INFO", json=True, stream=out)
        >>> get_logger("demo").info("stream_opened", source="rtsp://user:secret@cam/1")
        >>> "secret" in out.getvalue(), "rtsp://***@cam/1" in out.getvalue()
        (False, True)
        >>> setup_logging()
    """
    number = _level(level)
    out: IO[str] = sys.stderr if stream is None else stream
    if json is None:
        json = not out.isatty()
    handler = _Handler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_context(), structlog.stdlib.ExtraAdder(), _drop_copies],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_clean(), _renderer(json, out)],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING) if number > logging.DEBUG else number)
    logging.captureWarnings(True)
    _configure_structlog()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose first argument is what happened and whose keywords are the facts.

    Works before `setup_logging` as the standard library's loggers do: warnings and errors reach
    standard error, the rest nobody; credentials are taken out either way.

    Args:
        name: Usually `__name__`.
    """
    if not structlog.is_configured():
        _configure_structlog()
    return structlog.stdlib.get_logger(name)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Processor for structlog: the event without credentials, in plain types."""
    return {key: MASK if is_secret_key(key) and value is not None else redact_value(value) for key, value in event.items()}


class _Logger(structlog.stdlib.BoundLogger):
    """The standard `exception` hands the traceback to other handlers as well, past the redaction."""

    def exception(self, event: str | None = None, *args: Any, **kw: Any) -> None:
        kw.setdefault("exc_info", True)
        self.error(event, *args, **kw)


class _Handler(logging.StreamHandler[IO[str]]):
    """Marks the handler that `setup_logging` put in place, so that it replaces only its own."""

    def handleError(self, record: logging.LogRecord) -> None:
        """A closed pipe ends the logs, not the work; the default would print the unredacted record."""


def _level(level: str | int) -> int:
    known = logging.getLevelNamesMapping()
    if isinstance(level, str):
        if level.upper() not in known:
            raise ConfigError(f"unknown log level {level!r}; there are {', '.join(sorted(known, key=lambda n: known[n]))}")
        return known[level.upper()]
    return level


def _configure_structlog() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_context(),
            *_clean(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=_Logger,
        cache_logger_on_first_use=False,
    )


def _context() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _drop_copies(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Other handlers and uvicorn leave further copies of the message on a record."""
    for key in ("message", "asctime", "color_message"):
        event.pop(key, None)
    return event


def _clean() -> list[Processor]:
    """Turn stacks and exceptions into text, then take the credentials out of all text."""
    return [structlog.processors.StackInfoRenderer(), structlog.processors.format_exc_info, redact_event]


def _renderer(json: bool, stream: IO[str]) -> Processor:
    if json:
        return structlog.processors.JSONRenderer(default=_as_text, ensure_ascii=False)

    def render(logger: Any, method: str, event: EventDict) -> str:
        return str(console(logger, method, event))

    console = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return render


def _as_text(value: Any) -> str:
    return redact(repr(value))
