"""A snapshot as a table for the terminal and as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gpu_optimizer.monitoring.samples import HostSample, Snapshot


def snapshot_values(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as dictionaries, lists and numbers.

    Example:
        >>> from gpu_optimizer.monitoring import read_snapshot
        >>> sorted(snapshot_values(read_snapshot()))
        ['gpu_problem', 'gpus', 'host', 'unreadable']
    """
    return asdict(snapshot)


def snapshot_table(snapshot: Snapshot) -> RenderableType:
    """One row per GPU and one for the host's memory; without a GPU, the reason."""
    table = Table(expand=False)
    for title in ("device", "memory"):
        table.add_column(title)
    for title in ("used", "of", "busy", "°C", "W"):
        table.add_column(title, justify="right")
    for gpu in snapshot.gpus:
        watts = _number(gpu.power_w, "{:.0f}")
        table.add_row(
            f"GPU {gpu.index}  {gpu.name}",
            _bar(gpu.memory_used_bytes, gpu.memory_total_bytes),
            _gib(gpu.memory_used_bytes),
            _gib(gpu.memory_total_bytes),
            _number(gpu.utilization_ratio, "{:.0%}"),
            _number(gpu.temperature_c, "{:.0f}"),
            watts if gpu.power_limit_w is None else f"{watts}/{gpu.power_limit_w:.0f}",
        )
        for part in gpu.mig:
            used, total = part.memory_used_bytes, part.memory_total_bytes
            table.add_row(f"  {part.name}", _bar(used, total), _gib(used), _gib(total), "", "", "")
    table.add_row("host", *_host_cells(snapshot.host))
    notes = snapshot.unreadable if snapshot.gpu_problem is None else (snapshot.gpu_problem,)
    return Group(table, *(Text(note, style="yellow") for note in notes)) if notes else table


def _host_cells(host: HostSample) -> tuple[RenderableType, ...]:
    used = host.memory_total_bytes - host.memory_available_bytes
    return _bar(used, host.memory_total_bytes), _gib(used), _gib(host.memory_total_bytes), "", "", ""


def _bar(used: int | None, total: int | None) -> RenderableType:
    if used is None or total is None:
        return Text("not reported", style="dim")
    return ProgressBar(total=max(total, 1), completed=used, width=20)


def _gib(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**30:.1f} GiB"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
