"""A picture of a device's memory: every segment as a row with its blocks, and bytes in use over the history.

Rows are as wide as each other, since segments of 2 MiB and of many GiB lie side by side; their sizes are written out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_optimizer.errors import SnapshotError

if TYPE_CHECKING:
    from gpu_optimizer.profiling.cuda_analyzer import FragmentationReport
    from gpu_optimizer.profiling.snapshots import Segment

MIB = 2**20
ROWS = 60
"""Segments that are drawn; the largest ones."""
_COLOURS = {"active_allocated": "#2f6fab", "active_awaiting_free": "#e0a030", "inactive": "#e9e9e9"}
_LABELS = {"active_allocated": "in use", "active_awaiting_free": "waiting for a stream", "inactive": "free"}


def plot_report(report: FragmentationReport, path: Path) -> Path:
    """Draw a report.

    Raises:
        SnapshotError: The report has no snapshot, or the file cannot be written.
    """
    if report.snapshot is None:
        raise SnapshotError("this report has no snapshot to draw; make one with analyze_snapshot")
    from matplotlib.figure import Figure  # no window system is needed this way

    segments = [segment for segment in report.snapshot.segments if segment.device == report.device]
    shown = sorted(segments, key=lambda segment: (-segment.size_bytes, segment.address))[:ROWS]
    drawn = bool(report.timelines)
    height = 1.2 + 0.22 * max(len(shown), 4) + (2.6 if drawn else 0)
    figure = Figure(figsize=(11, height), layout="constrained")
    ratios = [0.22 * max(len(shown), 4), 2.6] if drawn else [1]
    axes = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
    _draw_segments(axes[0], shown, len(segments) - len(shown))
    axes[0].set_title(
        f"device {report.device}: {report.reserved_bytes / MIB:,.0f} MiB reserved, {report.active_bytes / MIB:,.0f} in use, "
        f"largest free {report.largest_free_bytes / MIB:,.0f}, fragmentation {report.fragmentation_ratio:.0%}",
        fontsize=10,
    )
    if drawn:
        _draw_timelines(axes[1], report)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise SnapshotError(f"cannot draw to {path}: {error}; use a name that ends in .png, .svg or .pdf") from error
    return path


def _draw_segments(axes: Any, segments: list[Segment], left_out: int) -> None:
    from matplotlib.patches import Patch

    for row, segment in enumerate(segments):
        ranges, colours, at = [], [], 0
        for block in segment.blocks:
            ranges.append((100 * at / segment.size_bytes, 100 * block.size_bytes / segment.size_bytes))
            colours.append(_COLOURS[block.state])
            at += block.size_bytes
        edge = 0.7 if len(ranges) < 40 else 0.2
        axes.broken_barh(ranges, (row - 0.4, 0.8), facecolors=colours, edgecolor="white", linewidth=edge)
    axes.set_yticks(range(len(segments)), [_segment_name(segment) for segment in segments], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the segment" + (f" ({left_out} smaller segments are not drawn)" if left_out else ""))
    axes.spines[["top", "right"]].set_visible(False)
    if not segments:
        axes.text(0.5, 0.5, "no segments", ha="center", va="center", transform=axes.transAxes)
        return
    patches = [Patch(color=_COLOURS[state], label=label) for state, label in _LABELS.items()]
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _draw_timelines(axes: Any, report: FragmentationReport) -> None:
    ticks = sorted({tick for line in report.timelines for tick in line.ticks})
    for line in report.timelines:
        levels = [value / MIB for value in (*line.active_bytes, line.active_bytes[-1])]
        axes.step([*line.ticks, ticks[-1]], levels, where="post", label=line.name)
    for each in report.out_of_memory:
        axes.axvline(each.tick, color="#b03030", linewidth=1, linestyle="--")
        axes.annotate("out of memory", (each.tick, 0.97), xycoords=("data", "axes fraction"), fontsize=8, color="#b03030", va="top")
    axes.set_xlabel("event of the history")
    axes.set_ylabel("MiB in use")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="upper left")


def _segment_name(segment: Segment) -> str:
    from gpu_optimizer.profiling.fragmentation import pool_name

    name = pool_name(segment.pool_id, segment.stream, small=segment.small)
    return f"{name}{' (grows)' if segment.expandable else ''}  {segment.size_bytes / MIB:,.0f} MiB"
