"""A memory profile as a picture and as a page: what is allocated over time by category, phases and the peak marked."""

from __future__ import annotations

from html import escape
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_optimizer.profiling.profile import CATEGORIES
from gpu_optimizer.profiling.profile_table import (
    MODULE_TITLES,
    OWNER_TITLES,
    headline,
    module_cells,
    owner_cells,
    words,
)

if TYPE_CHECKING:
    from gpu_optimizer.profiling.profile import MemoryProfile, Moment

COLOURS = {
    "parameters": "#4c72b0",
    "buffers": "#8172b3",
    "inputs": "#937860",
    "gradients": "#dd8452",
    "optimizer_state": "#64b5cd",
    "activations": "#55a868",
    "temporaries": "#c44e52",
}
_SHADES = {"forward": "#ffffff", "backward": "#eeeeee", "optimizer": "#dddddd"}
_MOST_POINTS = 800
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:72em;color:#222}table{border-collapse:collapse;margin:1em 0}"
    "td,th{border-bottom:1px solid #ccc;padding:.25em .7em;text-align:left}.n{text-align:right}svg{width:100%;height:auto}"
)


def plot_profile(profile: MemoryProfile, path: Path) -> Path:
    """Draw the timeline into a file; its ending says which format (png, svg, pdf).

    Args:
        profile: What to draw.
        path: Where to; its folder must be there.
    """
    _figure(profile).savefig(path, dpi=120)
    return path


def page(profile: MemoryProfile, *, depth: int = 3, lines: int = 25) -> str:
    """The profile as one HTML page that needs nothing else: timeline, owners of the peak, modules.

    Args:
        profile: What to show.
        depth: Modules deeper than this are left out.
        lines: Owners of the peak to show.
    """
    drawing = StringIO()
    _figure(profile).savefig(drawing, format="svg")
    picture = drawing.getvalue()
    owners = [owner_cells(life) for life in profile.owners_at_peak[:lines]]
    modules = [module_cells(cost) for cost in profile.modules if cost.depth <= depth and (cost.calls or cost.parameter_bytes)]
    sizes = [(name.replace("_", " "), words(size)) for name, size in profile.by_category_at_peak.items() if size]
    notes = "".join(f"<p>{escape(note)}</p>" for note in profile.notes)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Memory profile</title><style>{_STYLE}</style></head><body>'
        f"<h1>Memory profile</h1><p>{escape(headline(profile))}</p>{notes}{picture[picture.index('<svg') :]}"
        f"<h2>At the peak</h2>{_table(('category', 'bytes'), sizes)}"
        f"<h2>Largest owners of the peak</h2>{_table(OWNER_TITLES, owners)}"
        f"<h2>Modules</h2>{_table(MODULE_TITLES, modules)}</body></html>\n"
    )


def thinned(moments: tuple[Moment, ...], most: int = _MOST_POINTS) -> list[Moment]:
    """At most so many moments, of each group of neighbours the one with most bytes, so that no peak is lost."""
    if len(moments) <= most:
        return list(moments)
    edges = np.linspace(0, len(moments), most + 1).astype(int)
    return [max(moments[a:b], key=lambda moment: moment.total_bytes) for a, b in pairwise(edges)]


def _figure(profile: MemoryProfile) -> Any:
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # no window system is needed this way

    with rc_context({"svg.hashsalt": "profile"}):
        figure = Figure(figsize=(11, 5), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, profile)
    return figure


def _draw(axes: Any, profile: MemoryProfile) -> None:
    moments = thinned(profile.timeline)
    size, unit = (2**30, "GiB") if profile.peak_bytes >= 2**31 else (2**20, "MiB")
    ticks = [moment.tick for moment in moments]
    present = [name for name in CATEGORIES if any(moment.by_category.get(name) for moment in moments)]
    layers = [[moment.by_category.get(name, 0) / size for moment in moments] for name in present]
    axes.stackplot(
        ticks, layers, labels=[name.replace("_", " ") for name in present], colors=[COLOURS[name] for name in present], step="post"
    )
    top = max(moment.total_bytes for moment in moments) / size
    _draw_phases(axes, profile, ticks[-1], top)
    tensors = (profile.peak_bytes - profile.scratch_bytes) / size
    axes.plot([profile.peak_tick], [tensors], "v", color="black", markersize=7)
    extra = f" with {words(profile.scratch_bytes)} inside kernels" if profile.scratch_bytes else ""
    late = profile.peak_tick > ticks[-1] / 2
    axes.annotate(
        f"peak {words(profile.peak_bytes)}{extra}",
        (profile.peak_tick, tensors),
        xytext=(-8 if late else 8, 7),
        textcoords="offset points",
        ha="right" if late else "left",
        weight="bold",
    )
    axes.set(xlim=(0, ticks[-1]), ylim=(0, top * 1.18), xlabel="allocations and releases, in order", ylabel=f"allocated [{unit}]")
    axes.set_title(f"{profile.method} on {profile.device}, batch {profile.batch_size}", loc="left", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), reverse=True, frameon=False)


def _draw_phases(axes: Any, profile: MemoryProfile, end: int, top: float) -> None:
    """Shade phases behind the layers, and name those that are wide enough."""
    spans = [span for span in profile.spans if span.start <= end]
    for span, following in zip(spans, [*[span.start for span in spans[1:]], end], strict=True):
        axes.axvspan(span.start, following, color=_SHADES[span.phase], zorder=0, linewidth=0)
        if following - span.start > end / 16:
            axes.text((span.start + following) / 2, top * 1.14, f"{span.phase} {span.step + 1}", ha="center", va="center", fontsize=8)


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    numbers = [_numeric(cell) for cell in rows[0]] if rows else [""] * len(titles)
    head = "".join(f"<th{number}>{escape(title)}</th>" for title, number in zip(titles, numbers, strict=True))
    body = "".join("<tr>" + "".join(f"<td{_numeric(cell)}>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _numeric(cell: str) -> str:
    return ' class="n"' if cell[:1].isdigit() and (cell.endswith("B") or "." in cell) else ""
