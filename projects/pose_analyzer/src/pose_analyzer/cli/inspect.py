"""`pose-analyzer models`, `config`, `exercises` and `bench`: what is there and how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pose_analyzer.cli.common import ConfigOption, JsonOption, SetOption, console, console_err, print_json, settings_from
from pose_analyzer.cli.exit_codes import ExitCode

models_app = typer.Typer(help="Weights: list, fetch, find.", no_args_is_help=True)
config_app = typer.Typer(help="Settings: show what is in force and why, print the schema.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.add_typer(models_app, name="models")
    app.add_typer(config_app, name="config")
    app.command("exercises")(exercises_command)
    app.command("bench")(bench_command)


# --- models -----------------------------------------------------------------------------------------
@models_app.command("list")
def models_list(as_json: JsonOption = False) -> int:
    """Every known set of weights, its licence, and whether it is here."""
    from rich.table import Table

    from shared_utils.errors import ModelError
    from shared_utils.models import find_model, list_models

    rows: list[dict[str, Any]] = []
    for entry in list_models():
        try:
            path: str | None = str(find_model(entry.name))
        except ModelError:
            path = None
        rows.append({"name": entry.name, "task": entry.task, "licence": entry.licence, "size_bytes": entry.size_bytes, "path": path})
    if as_json:
        print_json(rows)
        return ExitCode.OK
    table = Table()
    for name in ("name", "task", "licence", "MB", "here"):
        table.add_column(name, justify="right" if name == "MB" else "left", overflow="fold")
    for row in rows:
        size = "" if row["size_bytes"] is None else f"{row['size_bytes'] / 1e6:.1f}"
        table.add_row(row["name"], row["task"], row["licence"], size, "yes" if row["path"] else "-")
    console().print(table)
    return ExitCode.OK


@models_app.command("fetch")
def models_fetch(names: Annotated[list[str], typer.Argument(help="Names from 'models list'.", metavar="NAME...")]) -> int:
    """Fetch weights into the cache, resuming what was begun; a wrong checksum is refused."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from shared_utils.models import fetch, get_model

    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console_err()) as bar:
        for name in names:
            entry = get_model(name)
            task = bar.add_task(entry.name, total=entry.size_bytes)
            path = fetch(entry.name, progress=lambda done, total, task=task: bar.update(task, completed=done, total=total))
            console().print(f"{entry.name}: {path} (licence {entry.licence})", soft_wrap=True)
    return ExitCode.OK


@models_app.command("path")
def models_path(name: Annotated[str, typer.Argument(help="A name from 'models list'.")]) -> int:
    """Print where the weights lie."""
    from shared_utils.models import find_model

    typer.echo(find_model(name))
    return ExitCode.OK


# --- config -----------------------------------------------------------------------------------------
@config_app.command("show")
def config_show(
    config: ConfigOption = None,
    pairs: SetOption = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="As a commented file for --config.")] = False,
    as_json: JsonOption = False,
) -> int:
    """The settings in force, each with where it comes from."""
    from rich.table import Table

    from shared_utils.config import dump_yaml, explain

    settings = settings_from(config, pairs)
    if as_yaml:
        typer.echo(dump_yaml(settings, comments=True), nl=False)
        return ExitCode.OK
    if as_json:
        print_json(settings.model_dump(mode="json"))
        return ExitCode.OK
    table = Table()
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    for item in explain(settings):
        table.add_row(item.key, str(item.value), str(item.source))
    console().print(table)
    return ExitCode.OK


@config_app.command("schema")
def config_schema(
    result: Annotated[bool, typer.Option("--result", help="The schema of result.json instead.")] = False,
) -> int:
    """Print the JSON Schema of the settings (or of result.json)."""
    from pose_analyzer.reporting import result_schema
    from pose_analyzer.settings import PoseSettings
    from shared_utils.config import settings_schema

    print_json(result_schema() if result else settings_schema(PoseSettings))
    return ExitCode.OK


# --- exercises --------------------------------------------------------------------------------------
def exercises_command(as_json: JsonOption = False) -> int:
    """The exercises that can be counted."""
    from rich.table import Table

    from pose_analyzer.exercise import list_profiles, load_profile

    profiles = [load_profile(name) for name in list_profiles()]
    if as_json:
        print_json([{"name": p.name, "aliases": list(p.aliases), "description": p.description} for p in profiles])
        return ExitCode.OK
    table = Table()
    for name in ("exercise", "also known as", "what is counted"):
        table.add_column(name, overflow="fold")
    for p in profiles:
        table.add_row(p.name, ", ".join(p.aliases), p.description)
    console().print(table)
    return ExitCode.OK


# --- bench ------------------------------------------------------------------------------------------
def bench_command(
    clip: Annotated[Path | None, typer.Argument(help="Clip to measure on. (default: the built-in athlete)", show_default=False)] = None,
    frames: Annotated[int, typer.Option(min=30, help="Frames per round.")] = 240,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median is reported.")] = 3,
    as_json: JsonOption = False,
) -> int:
    """How fast this machine measures: decode, detector, whole pipeline, memory."""
    from rich.table import Table

    from pose_analyzer.pipeline.bench import bench_pipeline

    with console_err().status("measuring"):
        result = bench_pipeline(clip, frames=frames, rounds=rounds)
    if as_json:
        print_json(result)
        return ExitCode.OK
    table = Table(title=f"{result['clip']}, {result['width']}x{result['height']}, {result['frames']} frames, {result['machine']}")
    for name in ("stage", "ms a frame", "frames/s"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, ms in result["stages_ms"].items():
        table.add_row(stage, f"{ms:.2f}", f"{1000 / ms:.0f}" if ms else "-")
    console().print(table)
    console().print(f"overhead over decode + raw inference: {result['overhead_percent']:.0f} %, peak memory {result['peak_rss_mb']:.0f} MB")
    return ExitCode.OK
