"""Commands about a model: models, estimate, profile, batch-size, plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer
from rich.table import Table

from gpu_optimizer.cli.common import (
    AccumulationOption,
    BatchOption,
    DeviceOption,
    JsonOption,
    ModelArgument,
    OptimizerOption,
    PrecisionOption,
    check_writable,
    gib,
    load_step,
    print_json,
    show,
    working,
)
from gpu_optimizer.errors import ModelSpecError

if TYPE_CHECKING:
    from gpu_optimizer.profiling import DeviceNeed, MemoryProfile
    from gpu_optimizer.steps import TrainingStep

SaveOption = Annotated[Path | None, typer.Option(help="Write the whole profile as JSON.")]
PlotOption = Annotated[Path | None, typer.Option(help="Draw memory over time into this picture (PNG).")]
HtmlOption = Annotated[Path | None, typer.Option(help="Write everything as a page of its own.")]
_EXACT = "checkpoint,offload,accumulation"


class _Files(NamedTuple):
    save: Path | None
    plot: Path | None
    html: Path | None


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(models)
    app.command()(estimate)
    app.command()(profile)
    app.command("batch-size")(batch_size)
    app.command()(plan)


def models(as_json: JsonOption = False) -> None:
    """Names of models that every command takes."""
    from gpu_optimizer.models import list_models

    known = list_models()
    if as_json:
        print_json(known)
        return
    table = Table(show_header=False, box=None)
    for name, summary in known.items():
        table.add_row(name, summary)
    show(table)


def estimate(
    model: ModelArgument,
    batch: BatchOption = None,
    precision: PrecisionOption = "fp32",
    optimizer: OptimizerOption = "adamw",
    accumulation: AccumulationOption = 1,
    target: Annotated[Literal["cpu", "cuda"], typer.Option("--for", help="Kind of device that it is for.")] = "cuda",
    memory: Annotated[str | None, typer.Option(help="Free memory of a GPU, such as 12GiB: does it fit? Exit code 1 if not.")] = None,
    save: SaveOption = None,
    plot: PlotOption = None,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a training step would need: nothing runs, no memory is taken, no weights are loaded."""
    from gpu_optimizer.planning import parse_bytes

    if memory is not None and target != "cuda":
        raise ModelSpecError("--memory: the allowances are those of a GPU; leave out --for cpu, or compare with the peak yourself")
    there = None if memory is None else parse_bytes(memory, name="memory")
    check_writable(save, html, pictures=(plot,))
    with working(f"following a step of {model}"):
        step = load_step(model, batch=batch, precision=precision, optimizer=optimizer, accumulation=accumulation)
        from gpu_optimizer.profiling import device_need, estimate_step

        found = estimate_step(step, target=target)
        need = device_need(found) if target == "cuda" else None
    _tell(found, step, model, _Files(save, plot, html), as_json, need=need, memory_bytes=there)
    if need is not None and there is not None and not need.fits(there):
        raise typer.Exit(1)


def profile(
    model: ModelArgument,
    batch: BatchOption = None,
    precision: PrecisionOption = "fp32",
    optimizer: OptimizerOption = "adamw",
    accumulation: AccumulationOption = 1,
    device: DeviceOption = "cpu",
    save: SaveOption = None,
    plot: PlotOption = None,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run two training steps and measure where memory goes."""
    _require_device(device)
    check_writable(save, html, pictures=(plot,))
    with working(f"running two steps of {model}"):
        step = load_step(model, batch=batch, precision=precision, optimizer=optimizer, accumulation=accumulation, device=device)
        from gpu_optimizer.profiling.measure import measure_step

        found = measure_step(step)
    _tell(found, step, model, _Files(save, plot, html), as_json)


def batch_size(
    model: ModelArgument,
    budget: Annotated[str | None, typer.Option(help="Memory there is, such as 8GiB.  [default: 90 % of the GPU's]")] = None,
    precision: PrecisionOption = "fp32",
    optimizer: OptimizerOption = "adamw",
    device: DeviceOption = "cpu",
    maximum: Annotated[int | None, typer.Option(min=1, help="Largest batch to look at.")] = None,
    confirm: Annotated[bool, typer.Option(help="Run three real steps at the size that was found.")] = True,
    as_json: JsonOption = False,
) -> None:
    """The largest batch that fits, estimated and then confirmed by three real steps."""
    _require_device(device)
    from gpu_optimizer.planning import parse_bytes

    size = None if budget is None else parse_bytes(budget)
    if size is None and device == "cpu":
        raise ModelSpecError("on a CPU there is no limit to take 90 % of; pass --budget, for example --budget 4GiB")
    with working(f"looking for the largest batch of {model}"):
        step = load_step(model, precision=precision, optimizer=optimizer, device=device)
        from gpu_optimizer.training import find_batch_size

        found = find_batch_size(step, budget=size, maximum=maximum, confirm=confirm)
    if as_json:
        print_json(found.to_dict())
        return
    table = Table()
    for title in ("batch", "predicted", "measured", "fits"):
        table.add_column(title, justify="right")
    for trial in found.trials:
        table.add_row(str(trial.batch_size), gib(trial.predicted_bytes), gib(trial.measured_bytes), "yes" if trial.fits else "no")
    if not found.trials:
        table.add_row(str(found.batch_size), gib(found.predicted_peak_bytes), "-", "estimated")
    headline = f"[bold]{model}: batch {found.batch_size} fits into {gib(found.budget_bytes)}[/bold]"
    show(headline, table, f"estimated at {len(found.estimates)} sizes, {found.oom_count} out of memory")


def plan(
    model: ModelArgument,
    budget: Annotated[str, typer.Option(help="Memory there is, such as 8GiB, or 90%.")],
    batch: BatchOption = None,
    precision: PrecisionOption = "fp32",
    optimizer: OptimizerOption = "adamw",
    machine: Annotated[str | None, typer.Option(help="Plan for a known machine, such as l4.  [default: this one]")] = None,
    device: DeviceOption = "cpu",
    search: Annotated[str, typer.Option(help="What may be done, of checkpoint, offload, accumulation, precision, batch.")] = _EXACT,
    save: Annotated[Path | None, typer.Option(help="Write the plan as JSON.")] = None,
    as_json: JsonOption = False,
) -> None:
    """How a model is trained fastest within a budget: what to recompute, to move, to split."""
    from gpu_optimizer.api.machines import machine_profile_of

    check_writable(save)
    if machine is None:
        _require_device(device)
    profile_of = None if machine is None else machine_profile_of(machine)
    with working(f"planning {model}"):
        step = load_step(model, batch=batch, precision=precision, optimizer=optimizer, device=device if machine is None else "meta")
        from gpu_optimizer.planning import BudgetError
        from gpu_optimizer.planning import plan as make_plan

        words = tuple(word.strip() for word in search.split(",") if word.strip())
        try:
            made = make_plan(step, budget=budget, device=profile_of, search=words)
        except BudgetError as error:  # an answer, and not the one that was hoped for
            if as_json:
                print_json({"error": str(error), "budget_bytes": error.budget_bytes, "smallest_bytes": error.smallest_bytes})
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
    if save is not None:
        made.save(save)
    if as_json:
        print_json(made.to_dict())
    else:
        show(made.table(), *made.notes)


def _require_device(device: str) -> None:
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ModelSpecError("--device cuda: torch sees no GPU here (`gpu-optimizer report` says why); use cpu, or `estimate`")


def _tell(
    found: MemoryProfile,
    step: TrainingStep,
    name: str,
    files: _Files,
    as_json: bool,
    *,
    need: DeviceNeed | None = None,
    memory_bytes: int | None = None,
) -> None:
    from gpu_optimizer.api.summaries import profile_summary

    if as_json:
        fits = {} if need is None or memory_bytes is None else {"fits": need.fits(memory_bytes)}
        print_json(profile_summary(found, step, name=name) | ({} if need is None else {"device_need": need.to_dict() | fits}))
    else:
        show(f"[bold]{name}[/bold]", found.table())
        if need is not None:
            show(str(need))
        if need is not None and memory_bytes is not None:
            show(f"it {'fits' if need.fits(memory_bytes) else 'does not fit'} into {gib(memory_bytes)}")
    for path, write in ((files.save, found.save), (files.plot, found.plot), (files.html, found.html)):
        if path is not None:
            write(path)
