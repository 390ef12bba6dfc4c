"""The command `gpu-optimizer`: this machine, what a model needs, how it fits, what it costs; and the service.

Results go to standard output, as tables or with --json; what happens meanwhile goes to standard error.
Exit status: 0 done, 1 it failed, 2 what was asked for makes no sense.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gpu_optimizer import __version__
from gpu_optimizer.cli import bench, cost, machine, model, snapshot
from gpu_optimizer.errors import GpuOptimizerError, ModelSpecError, PlanError, SnapshotError, StepError
from shared_utils.errors import ConfigError, SharedUtilsError

app = typer.Typer(
    help="Make models fit the memory they get: see, estimate, plan, price.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _room in (machine, model, snapshot, cost, bench):
    _room.add_to(app)

# Errors of what was asked for, not of doing it.
_WRONG_WORDS = (ModelSpecError, StepError, SnapshotError, PlanError, ConfigError)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Make models fit the memory they get: see, estimate, plan, price."""


def main(words: list[str] | None = None) -> Any:
    """Run the command; an error of ours is one line, exit status 2 where the words were wrong and 1 otherwise."""
    try:
        return app(args=words, prog_name="gpu-optimizer")
    except (GpuOptimizerError, SharedUtilsError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2 if isinstance(error, _WRONG_WORDS) else 1) from None
    except BrokenPipeError:  # `| head` has seen enough
        raise SystemExit(0) from None


__all__ = ["app", "main"]
