"""Commands about this machine: report, detect, watch, serve."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from gpu_optimizer.cli.common import JsonOption, gib, print_json, show, working
from gpu_optimizer.monitoring import Snapshot, SnapshotReader
from gpu_optimizer.monitoring.table import snapshot_table, snapshot_values


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(report)
    app.command()(detect)
    app.command()(watch)
    app.command()(serve)


def report(as_json: JsonOption = False) -> None:
    """This machine: devices, memory, driver, torch, and what would make it better."""
    from shared_utils.devices import machine_profile

    with working("looking"), SnapshotReader() as reader:
        machine, snapshot, torch = machine_profile(), reader.read(), torch_facts()
    advice = advise(machine, snapshot, torch)
    if as_json:
        print_json({"machine": machine, "memory": snapshot_values(snapshot), "torch": torch, "advice": advice})
        return
    facts = Table(show_header=False, box=None)
    for name, value in _facts(machine, torch):
        facts.add_row(f"[bold]{name}[/bold]", value)
    show(facts, snapshot_table(snapshot), *(f"- {sentence}" for sentence in advice))


def detect(as_json: JsonOption = False) -> None:
    """List what can compute here, accelerators first."""
    from shared_utils.devices import detect_devices, machine_profile

    if as_json:
        print_json(machine_profile())
        return
    table = Table()
    for title in ("device", "name", "memory", "number formats"):
        table.add_column(title)
    for device in detect_devices():
        table.add_row(str(device), device.name, gib(device.memory_bytes), " ".join(sorted(map(str, device.precisions))))
    show(table)


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


def serve(
    host: Annotated[str, typer.Option(help="Address to bind to; anything but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.")] = 8002,
) -> None:
    """Serve the page and the HTTP API, with /metrics for Prometheus."""
    from gpu_optimizer.api.main import main as serve_main

    raise typer.Exit(serve_main(["--host", host, "--port", str(port)]))


def torch_facts() -> dict[str, Any]:
    """Which torch is installed and what it was built for; loads it."""
    try:
        import torch
    except ImportError as error:  # a broken installation is worth a report, too
        return {"version": None, "problem": str(error)}
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "cuda_usable": torch.cuda.is_available(),
        "threads": torch.get_num_threads(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "nvidia_ml_py": _installed("nvidia-ml-py"),
    }


def advise(machine: dict[str, Any], snapshot: Snapshot, torch: dict[str, Any]) -> list[str]:
    """What would make this machine better for models, most important first; each sentence with its reason.

    Example:
        >>> from gpu_optimizer.monitoring import read_snapshot
        >>> advise({"cpu": {"cores_usable": 2, "flags": []}}, read_snapshot(), {"version": None, "problem": "gone"})[0]
        'torch cannot be loaded (gone); run `make setup`.'
    """
    found = []
    if torch["version"] is None:
        return [f"torch cannot be loaded ({torch['problem']}); run `make setup`."]
    if snapshot.gpus and torch["cuda"] is None:
        found.append("There is a GPU, but this torch was built without CUDA; install the cuda environment (`scripts/switch_env.sh cuda`).")
    if snapshot.gpus and torch["cuda"] and not torch["cuda_usable"]:
        found.append("torch cannot use the GPU although both are here; its driver may be older than CUDA " + str(torch["cuda"]) + ".")
    found += [f"{problem}; look at the driver (`nvidia-smi`)." for problem in snapshot.unreadable]
    for gpu in snapshot.gpus:
        held, total = gpu.memory_used_bytes, gpu.memory_total_bytes
        if held and total and held > 0.5 * total:
            found.append(f"GPU {gpu.index}: {gib(held)} of {gib(total)} are held already; `gpu-optimizer plan` needs what is left.")
        if gpu.ecc is not None and gpu.ecc.uncorrected:
            found.append(f"GPU {gpu.index}: {gpu.ecc.uncorrected} uncorrected memory errors; results may be wrong.")
        if set(gpu.clock_limits or ()) & {"thermal_hardware", "thermal_software", "hardware_slowdown"}:
            found.append(f"GPU {gpu.index} is slowed down to cool it; improve its cooling.")
    if not snapshot.gpus:
        found.append(f"No GPU: {snapshot.gpu_problem}. Estimates and plans for other machines work without one.")
    if snapshot.host.memory_available_bytes < 0.1 * snapshot.host.memory_total_bytes:
        found.append(f"Only {gib(snapshot.host.memory_available_bytes)} of the host's memory are available; offloading would swap.")
    return found


def _facts(machine: dict[str, Any], torch: dict[str, Any]) -> Iterator[tuple[str, str]]:
    cpu = machine["cpu"]
    yield "system", f"{machine['os']['system']} {machine['os']['release']}, Python {platform.python_version()}"
    yield "processor", f"{cpu['model']}, {cpu['cores_usable']} cores"
    yield "driver", machine["nvidia_driver"] or "no NVIDIA driver"
    if torch["version"] is None:
        yield "torch", f"cannot be loaded: {torch['problem']}"
    else:
        built = f"CUDA {torch['cuda']}" if torch["cuda"] else "CPU only"
        yield "torch", f"{torch['version']} ({built}), {torch['threads']} threads"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _readings(reader: SnapshotReader, interval_s: float, count: int | None) -> Iterator[Snapshot]:
    done = 0
    while True:
        yield reader.read()
        done += 1
        if done == count:
            return
        time.sleep(interval_s)
