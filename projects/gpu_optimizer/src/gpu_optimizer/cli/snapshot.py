"""The command about torch's memory snapshots: fragmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpu_optimizer.cli.common import JsonOption, check_writable, print_json, show, working


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fragmentation)


def fragmentation(
    file: Annotated[Path, typer.Argument(help="Snapshot: pickle of torch.cuda.memory._dump_snapshot, or JSON.")],
    device: Annotated[int | None, typer.Option(min=0, help="Number of the device, where the snapshot has several.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the segments into this picture (PNG).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Where reserved memory is lost, who holds the rest, and what to change. The file is read as data: nothing in it runs."""
    from gpu_optimizer.profiling.cuda_analyzer import analyze_snapshot

    check_writable(pictures=(plot,))
    with working(f"reading {file.name}"):
        report = analyze_snapshot(file, device=device)
    if as_json:
        print_json(report.to_dict())
    else:
        show(report.table())
    if plot is not None:
        report.plot(plot)
