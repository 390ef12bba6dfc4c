"""The command about money: cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpu_optimizer.cli.common import JsonOption, print_json, show


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cost)


def cost(
    memory: Annotated[str | None, typer.Option(help="What the job needs on one device, such as 20GiB.")] = None,
    plan: Annotated[Path | None, typer.Option(help="A plan that `gpu-optimizer plan --save` wrote: its memory and batch.")] = None,
    time_s: Annotated[float | None, typer.Option("--time", min=0, help="Seconds of a step on --on.")] = None,
    on: Annotated[str | None, typer.Option(help="Machine that --time holds for, such as l4.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Examples per step, for the cost of a million and of an epoch.")] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Examples of an epoch.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    region: Annotated[str | None, typer.Option(help="Only this region.")] = None,
    spot: Annotated[bool | None, typer.Option(help="Only machines that can be taken away, or only others.  [default: both]")] = None,
    per_gpu: Annotated[bool, typer.Option(help="Count one GPU's share of the price.")] = False,
    prices: Annotated[Path | None, typer.Option(help="Price list (CSV) or folder.  [default: config/prices]")] = None,
    allow_old: Annotated[bool, typer.Option(help="Use prices that are older than 90 days.")] = False,
    top: Annotated[int, typer.Option(min=1, max=200, help="Rows.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """The cheapest machines on which a job fits; with a time, what a step, an epoch and a million examples cost there."""
    from gpu_optimizer.costing import PriceBook, cheapest
    from gpu_optimizer.planning import Plan, parse_bytes

    if memory is not None and plan is None:
        needed, bytes_needed = None, parse_bytes(memory, name="memory")
    elif plan is not None and memory is None:
        needed = Plan.load(plan)
        bytes_needed = needed.guarded_peak_bytes
    else:
        raise typer.BadParameter("give --memory, or --plan with a file, and not both")
    found = cheapest(
        PriceBook.load(prices, allow_old=allow_old),
        bytes_needed,
        time_s=time_s,
        source=on,
        batch_size=batch if batch is not None or needed is None else needed.batch_size,
        examples=examples,
        provider=provider,
        region=region,
        spot=spot,
        per_gpu=per_gpu,
        top=top,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        show(found.table())
