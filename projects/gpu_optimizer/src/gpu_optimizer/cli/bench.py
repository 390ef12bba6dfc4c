"""The command that measures this package: bench."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from gpu_optimizer.cli.common import JsonOption, print_json, show, working
from gpu_optimizer.errors import ModelSpecError

# cli -> gpu_optimizer -> src -> projects/gpu_optimizer
_FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    name: Annotated[str | None, typer.Argument(help="Which one.  [default: list them]", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure this package on this machine: estimates, batch finder, exporter, ... They lie in a checkout of the repository."""
    known = benchmarks()
    if name is None:
        if as_json:
            print_json(list(known))
        else:
            show(*(known or ["There are none beside this installation; use a checkout of the repository."]))
        return
    if name not in known:
        raise ModelSpecError(f"there is no benchmark {name!r}; there are {', '.join(known) or 'none: use a checkout of the repository'}")
    module = _load(known[name])
    with working(f"measuring {name}"):
        rows = list(module.rows())
    if as_json:
        print_json(rows)
    else:
        typer.echo(module.markdown(rows))


def benchmarks(folder: Path = _FOLDER) -> dict[str, Path]:
    """Name -> file of every benchmark that gives rows; empty in an installed package."""
    return {path.stem: path for path in sorted(folder.glob("*.py")) if "\ndef rows(" in path.read_text("utf-8")}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelSpecError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
