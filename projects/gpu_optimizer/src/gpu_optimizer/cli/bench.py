"""The command that measures this package: bench."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from gpu_optimizer.cli.common import JsonOption, print_json, show
from gpu_optimizer.errors import ModelSpecError

# cli -> gpu_optimizer -> src -> projects/gpu_optimizer
_FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Which one.  [default: list them]", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure this package on this machine; words after the name go to the benchmark (--help shows them).

    The benchmarks lie in a checkout of the repository; --json lists them for machines.
    """
    known = benchmarks()
    if as_json:
        print_json({name: str(path) for name, path in known.items()})
    elif name is None:
        show(*(known or ["There are none beside this installation; use a checkout of the repository."]))
    elif name not in known:
        raise ModelSpecError(f"there is no benchmark {name!r}; there are {', '.join(known) or 'none: use a checkout of the repository'}")
    else:
        done = subprocess.run([sys.executable, str(known[name]), *context.args], check=False)
        raise typer.Exit(1 if done.returncode else 0)


def benchmarks(folder: Path = _FOLDER) -> dict[str, Path]:
    """Name -> file of every benchmark that is a program; empty in an installed package.

    Example:
        >>> "exporter" in benchmarks()
        True
    """
    return {path.stem: path for path in sorted(folder.glob("*.py")) if "__main__" in path.read_text("utf-8")}
