"""The command's tree of sub-commands and its handling of errors."""

from __future__ import annotations

import os
import sys
import traceback

import typer
from typer.exceptions import TyperException

from pose_analyzer import __version__
from pose_analyzer.cli import analyze, audit, compare, export, inspect, live, make, measures, plot, reference, smooth_sweep, track_eval
from pose_analyzer.cli.common import console_err
from pose_analyzer.cli.exit_codes import MEANING, ExitCode, code_of
from pose_analyzer.errors import PoseAnalyzerError
from shared_utils.errors import SharedUtilsError
from shared_utils.logging import redact, setup_logging

_EPILOG = "Exit status: " + "; ".join(f"{code.value} {text}" for code, text in MEANING.items()) + "."

app = typer.Typer(
    name="pose-analyzer",
    help="Video in, people measured, events out.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pose-analyzer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True, callback=_print_version),
    log_level: str = typer.Option("warning", "--log-level", help="debug, info, warning or error; logs go to stderr."),
) -> None:
    setup_logging(log_level)


analyze.register(app)
live.register(app)
export.register(app)
plot.register(app)
compare.register(app)
make.register(app)
inspect.register(app)
measures.register(app)
reference.register(app)
audit.register(app)
track_eval.register(app)
smooth_sweep.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status and never shows a traceback unless POSE_DEBUG=1.

    Example:
        >>> main(["--version"])
        pose-analyzer 0.1.0
        0
    """
    try:
        status = app(arguments, standalone_mode=False)
        return int(status) if isinstance(status, int) else ExitCode.OK
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except TyperException as error:
        sys.stderr.write(f"error: {redact(error.format_message())} (--help lists what there is)\n")
        return ExitCode.USAGE
    except KeyboardInterrupt:
        console_err().print("stopped", style="yellow")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing is left to say to it.
        sys.stderr.close()
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 - the last stop before the user: every error becomes one sentence
        return _report(error)


def _report(error: Exception) -> int:
    if os.environ.get("POSE_DEBUG") == "1":
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    known = isinstance(error, PoseAnalyzerError | SharedUtilsError)
    text = str(error) if known else f"unexpected {type(error).__name__}: {error} (POSE_DEBUG=1 shows where)"
    console_err().print(f"error: {redact(text)}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    return code_of(error)


def entry() -> None:
    """Entry point of the installed command."""
    sys.exit(main())
