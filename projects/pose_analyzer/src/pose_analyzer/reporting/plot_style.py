"""How plots look: two themes, colours that colour-blind readers tell apart, and the marks of repetitions that all plots share.

Left is orange and right is blue, as in the overlay; repetitions are grey, and what went wrong differs in shape, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from shared_utils.data_models import Event, EventType

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ThemeName = Literal["light", "dark"]
REPETITIONS = (EventType.REP_COMPLETED, EventType.REP_PARTIAL, EventType.REP_ABANDONED, EventType.HOLD_COMPLETED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Theme:
    """Colours of a plot.

    Args:
        paper, panel: Behind everything, behind the data.
        ink, muted, grid: Text, secondary text, lines behind the data.
        left, right, middle: Sides of the body, and what has no side.
        shade: Behind repetitions.
        warn: What went wrong.
        ramp: Name of a perceptually even colour map that runs from the panel's side to strong.
    """

    paper: str
    panel: str
    ink: str
    muted: str
    grid: str
    left: str
    right: str
    middle: str
    shade: str
    warn: str
    ramp: str

    def side(self, name: str) -> str:
        """Colour of an angle or keypoint by its side.

        Example:
            >>> THEMES["light"].side("left_knee_flexion_deg") == THEMES["light"].left
            True
        """
        return self.left if name.startswith("left_") else self.right if name.startswith("right_") else self.middle


THEMES: dict[str, Theme] = {
    "light": Theme(
        paper="#ffffff", panel="#ffffff", ink="#1b1f24", muted="#5c6670", grid="#dfe3e8", left="#d9650a", right="#1567b8",
        middle="#3f4750", shade="#eef1f5", warn="#b3124b", ramp="cividis_r",
    ),
    "dark": Theme(
        paper="#14171b", panel="#1b1f25", ink="#f1f3f5", muted="#a3adb8", grid="#323942", left="#ff9a3d", right="#5fb0ff",
        middle="#d5dbe1", shade="#262c34", warn="#ff6f9c", ramp="cividis",
    ),
}  # fmt: skip


def new_figure(theme: ThemeName, width: float, height: float, *, title: str = "", note: str = "") -> tuple[Figure, Theme]:
    """An empty figure that belongs to no window.

    Args:
        theme: "light" or "dark".
        width: Inches.
        height: Inches.
        title: At the top left, bold.
        note: In grey below the title.

    Raises:
        KeyError: There is no such theme.
    """
    from matplotlib.figure import Figure

    chosen = THEMES[theme]
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=chosen.paper)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr]
    # Sizes in inches, so that titles are as far from the edge in a tall plot as in a flat one.
    if title:
        figure.suptitle(title, x=0.12 / width, y=1 - 0.12 / height, ha="left", va="top", fontsize=13, fontweight="bold", color=chosen.ink)
    if note:
        figure.text(0.12 / width, 1 - 0.40 / height, note, ha="left", va="top", fontsize=9.5, color=chosen.muted)
    head = 0.66 if note else 0.42 if title else 0.0
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - head / height))  # type: ignore[union-attr]
    return figure, chosen


def style_axes(ax: Axes, theme: Theme, *, grid: bool = True) -> None:
    """Colours, thin grid, no box."""
    ax.set_facecolor(theme.panel)
    ax.tick_params(colors=theme.muted, labelsize=8.5, length=3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(theme.grid)
    ax.xaxis.label.set_color(theme.muted)
    ax.yaxis.label.set_color(theme.muted)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(color=theme.grid, lw=0.6, alpha=0.9)


def legend(ax: Axes, theme: Theme, **options: object) -> None:
    """A legend without a box, in the theme's ink."""
    usual = {"fontsize": 8.5, "frameon": False, "labelcolor": theme.ink, "handlelength": 1.6, "columnspacing": 1.2}
    ax.legend(**{**usual, **options})  # type: ignore[arg-type]


def shade_repetitions(ax: Axes, events: Sequence[Event], theme: Theme) -> None:
    """Grey behind every repetition, hatched behind those that do not count."""
    for event in events:
        if event.type not in REPETITIONS:
            continue
        counted = event.type in (EventType.REP_COMPLETED, EventType.HOLD_COMPLETED)
        look = {"lw": 0} if counted else {"hatch": "////", "edgecolor": theme.grid, "lw": 0}
        ax.axvspan(event.start_s, event.end_s, facecolor=theme.shade if counted else "none", zorder=0, **look)  # type: ignore[arg-type]


def repetition_ribbon(ax: Axes, events: Sequence[Event], theme: Theme) -> None:
    """A strip of numbered repetitions, with a mark where form deviated."""
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.set_facecolor(theme.paper)
    ax.spines[:].set_visible(False)
    ax.tick_params(bottom=False, labelbottom=False)
    for event in events:
        if event.type not in REPETITIONS:
            continue
        counted = event.type in (EventType.REP_COMPLETED, EventType.HOLD_COMPLETED)
        colour = theme.middle if counted else "none"
        ax.barh(0.3, event.duration_s, left=event.start_s, height=0.5, color=colour, edgecolor=theme.middle, lw=0.8,
                hatch=None if counted else "////")  # fmt: skip
        ax.text((event.start_s + event.end_s) / 2, 0.29, repetition_label(event), ha="center", va="center", fontsize=8.5,
                fontweight="bold", color=theme.paper if counted else theme.ink, clip_on=True)  # fmt: skip
    faults = [e for e in events if e.type == EventType.FORM_DEVIATION]
    if faults:
        at = [(e.start_s + e.end_s) / 2 for e in faults]
        ax.plot(at, [0.8] * len(at), "v", ms=6, color=theme.warn, mec=theme.paper, mew=0.6, clip_on=False, label="form deviates")


def repetition_label(event: Event) -> str:
    """What is written on a repetition: its number, or what became of it.

    Example:
        >>> repetition_label(Event(EventType.REP_PARTIAL, "cam", 1, 0.0, 1.0))
        'partial'
    """
    if event.type == EventType.REP_COMPLETED and event.value is not None:
        return f"{event.value:.0f}"
    return "hold" if event.type == EventType.HOLD_COMPLETED else event.type.value.removeprefix("rep_")


def with_gaps(times_s: NDArray[np.float64], *columns: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
    """Times and columns with a NaN where the person was out of sight, so that no line is drawn across the gap."""
    if len(times_s) < 3:
        return (times_s, *(np.asarray(c, np.float64) for c in columns))
    step = np.diff(times_s)
    cuts = np.flatnonzero(step > 3 * np.median(step)) + 1
    return tuple(np.insert(np.asarray(c, np.float64), cuts, np.nan) for c in (times_s, *columns))


def person_title(source: str, exercise: str, track_id: int, *, several: bool) -> str:
    """First line of a plot."""
    words = [source, exercise.replace("_", " "), f"person {track_id}" if several else ""]
    return " · ".join(w for w in words if w)


def write_png(figure: Figure, path: str | Path) -> Path:
    """The figure as PNG; the same figure gives the same bytes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": None}, format="png", facecolor=figure.get_facecolor())
    return path
