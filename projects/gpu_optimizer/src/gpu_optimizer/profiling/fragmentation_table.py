"""A fragmentation report for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gpu_optimizer.profiling.fragmentation import mib_text

if TYPE_CHECKING:
    from gpu_optimizer.profiling.cuda_analyzer import FragmentationReport


def report_table(report: FragmentationReport, *, lines: int = 10) -> RenderableType:
    """Sums, pools, the largest holders, advice and what happened when memory ran out."""
    share = report.free_bytes / report.reserved_bytes if report.reserved_bytes else 0.0
    head = Text(
        f"device {report.device}: {mib_text(report.reserved_bytes)} reserved, {mib_text(report.active_bytes)} in use, "
        f"{mib_text(report.free_bytes)} free ({share:.0%}), largest free block {mib_text(report.largest_free_bytes)}, "
        f"fragmentation {report.fragmentation_ratio:.0%}; settings: {report.settings or 'default'}"
    )
    parts: list[RenderableType] = [head, _pools(report), _segments(report, lines // 2), _holders(report, lines)]
    if report.advice:
        parts.append(_advice(report))
    parts += [
        Text(f"out of memory at event {each.tick}: {mib_text(each.requested_bytes)} for {each.where}. {each.reading}", style="red")
        for each in report.out_of_memory
    ]
    return Group(*parts)


def _pools(report: FragmentationReport) -> Table:
    table = Table(
        title="pools", pad_edge=False, caption="stuck: free beside a block in use, so it cannot be given back; frag.: 1 - largest / free"
    )
    table.add_column("pool", no_wrap=True)
    for title in ("segs", "reserved", "in use", "free", "stuck", "largest", "frag."):
        table.add_column(title, justify="right", no_wrap=True)
    for pool in report.pools:
        amounts = (pool.reserved_bytes, pool.active_bytes, pool.free_bytes, pool.inactive_split_bytes, pool.largest_free_bytes)
        table.add_row(pool.name, str(pool.segments), *map(mib_text, amounts), f"{pool.fragmentation_ratio:.0%}")
    return table


def _segments(report: FragmentationReport, lines: int) -> Table:
    table = Table(title=f"segments with most free memory, of {len(report.segments)}")
    table.add_column("address")
    table.add_column("pool")
    for title in ("size", "in use", "largest free", "blocks"):
        table.add_column(title, justify="right")
    for row in report.segments[:lines]:
        amounts = (row.size_bytes, row.active_bytes, row.largest_free_bytes)
        table.add_row(f"{row.address:#x}", row.pool + (" (grows)" if row.expandable else ""), *map(mib_text, amounts), str(row.blocks))
    return table


def _holders(report: FragmentationReport, lines: int) -> Table:
    table = Table(title="who holds it")
    table.add_column("line")
    for title in ("in use", "blocks", "largest"):
        table.add_column(title, justify="right")
    for row in report.holders[:lines]:
        table.add_row(row.where, mib_text(row.size_bytes), str(row.blocks), mib_text(row.largest_bytes))
    return table


def _advice(report: FragmentationReport) -> Table:
    table = Table(title="advice")
    table.add_column("what")
    table.add_column("PYTORCH_ALLOC_CONF", overflow="fold")
    table.add_column("saves", justify="right")
    table.add_column("why")
    for advice in report.advice:
        gain = "not known" if advice.gain_bytes is None else mib_text(advice.gain_bytes)
        table.add_row(advice.title, advice.setting or "-", gain, advice.reason)
    remarks = ["settings are read once, before CUDA is first used: set them in the environment"] if _settings(report) else []
    check = report.replay_check
    if check is not None and check.recorded_bytes:
        error = check.predicted_bytes / check.recorded_bytes - 1
        remarks.append(f"the replay of {check.requests} requests reserves {error:+.1%} of what the history shows")
    table.caption = "; ".join(remarks)
    return table


def _settings(report: FragmentationReport) -> bool:
    return any(advice.setting for advice in report.advice)
