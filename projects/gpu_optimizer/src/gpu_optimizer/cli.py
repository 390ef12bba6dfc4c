"""The command `gpu-optimizer`: what there is, what it is used for, and both over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from gpu_optimizer import __version__
from gpu_optimizer.errors import GpuOptimizerError
from gpu_optimizer.monitoring import Snapshot, SnapshotReader
from gpu_optimizer.monitoring.table import snapshot_table, snapshot_values
from shared_utils.errors import SharedUtilsError

app = typer.Typer(help="See what memory is used for.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """See what memory is used for."""


@app.command()
def detect(as_json: JsonOption = False) -> None:
    """List what can compute here, accelerators first."""
    from rich.table import Table

    from shared_utils.devices import detect_devices, machine_profile

    if as_json:
        typer.echo(json.dumps(machine_profile(), indent=2))
        return
    table = Table()
    for title in ("device", "name", "memory", "number formats"):
        table.add_column(title)
    for device in detect_devices():
        memory = "-" if device.memory_bytes is None else f"{device.memory_bytes / 2**30:.1f} GiB"
        table.add_row(str(device), device.name, memory, " ".join(sorted(map(str, device.precisions))))
    Console().print(table)


@app.command()
def watch(
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between readings.")] = 1.0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many readings.  [default: at Ctrl-C]", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show memory, load, temperature and power of every GPU, and the host's memory, until Ctrl-C.

    With --json one object per reading and line; without a terminal one table per reading.
    """
    console = Console()
    with SnapshotReader() as reader:
        readings = _readings(reader, interval, count)
        try:
            if as_json:
                for snapshot in readings:
                    typer.echo(json.dumps(snapshot_values(snapshot)))
            elif console.is_terminal:
                with Live(console=console, auto_refresh=False) as live:
                    for snapshot in readings:
                        live.update(snapshot_table(snapshot), refresh=True)
            else:
                for snapshot in readings:
                    console.print(snapshot_table(snapshot))
        except KeyboardInterrupt:
            return  # how a watch ends


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to bind to; anything but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.")] = 8002,
) -> None:
    """Serve the HTTP API with /metrics for Prometheus."""
    from gpu_optimizer.api.main import main as serve_main

    raise typer.Exit(serve_main(["--host", host, "--port", str(port)]))


def main(words: list[str] | None = None) -> Any:
    """Run the command; an error of ours is one line and exit status 1."""
    try:
        return app(args=words, prog_name="gpu-optimizer")
    except (GpuOptimizerError, SharedUtilsError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


def _readings(reader: SnapshotReader, interval_s: float, count: int | None) -> Iterator[Snapshot]:
    done = 0
    while True:
        yield reader.read()
        done += 1
        if done == count:
            return
        time.sleep(interval_s)
