"""A repetition beside its reference: the curves of both over the phases of the movement, with the reference's spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.people import ChoiceError
from pose_analyzer.reporting.plot_style import Theme, ThemeName, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_MOST_PANELS = 6
_LEAST_SPREAD_DEG = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedCurves:
    """Repetitions at the common length of a reference.

    Args:
        features: d names, degrees all of them.
        mean: (s, d) of the reference.
        spread: (s, d) standard deviation of good repetitions.
        repetitions: Label -> (s, d) as performed; NaN = not seen.
        chosen: Label of the one to look at.
        phases: (name, number of samples) in order.
        about: One line: which reference, which view.
        main: Features that the exercise is about; they come first.
    """

    features: tuple[str, ...]
    mean: Array
    spread: Array
    repetitions: dict[str, Array]
    chosen: str
    phases: tuple[tuple[str, int], ...]
    about: str = ""
    main: tuple[str, ...] = ()


def plot_reference(curves: ComparedCurves, *, title: str, features: Sequence[str] | None = None, theme: ThemeName = "light") -> Figure:
    """Up to six features, those of the exercise that deviate most first: mean and spread of the reference, the repetition over it.

    Args:
        curves: What to draw.
        title: First line.
        features: Which; default those that deviate most, in spreads.
        theme: "light" or "dark".

    Raises:
        ChoiceError: There is no such feature or repetition, or not one that both have.
    """
    if curves.chosen not in curves.repetitions:
        raise ChoiceError(f"no repetition {curves.chosen}; there are {', '.join(curves.repetitions) or 'none'}")
    unknown = [f for f in features or () if f not in curves.features]
    if unknown:
        raise ChoiceError(f"the reference has no {unknown[0]!r} from this side; it has {', '.join(curves.features)}")
    own = curves.repetitions[curves.chosen]
    off = (own - curves.mean) / np.maximum(curves.spread, _LEAST_SPREAD_DEG)
    seen = np.isfinite(off).all(0)
    wanted = [i for i, f in enumerate(curves.features) if seen[i] and (features is None or f in features)]
    if not wanted:
        raise ChoiceError("nothing that the reference shows was seen in this repetition")
    # Sustained deviations count, not single samples.
    strength = np.abs(np.nan_to_num(off)).mean(0)
    wanted = sorted(wanted, key=lambda i: (curves.features[i] not in curves.main, -strength[i]))[:_MOST_PANELS]
    columns = min(len(wanted), 3)
    lines = -(-len(wanted) // columns)
    figure, look = new_figure(theme, 1.2 + 3.5 * columns, 1.25 + 2.55 * lines, title=title, note=curves.about)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    for ax, i in zip(axes, wanted, strict=False):
        _draw_feature(ax, curves, i, look)
    for ax in axes[len(wanted) :]:
        ax.set_visible(False)
    _legend(figure, curves, look)
    return figure


def _draw_feature(ax: Axes, curves: ComparedCurves, i: int, look: Theme) -> None:
    style_axes(ax, look)
    ax.grid(visible=False, axis="x")
    mean, spread, own = curves.mean[:, i], curves.spread[:, i], curves.repetitions[curves.chosen][:, i]
    at = np.arange(len(mean)) + 0.5
    for times, alpha in ((2, 0.16), (1, 0.28)):
        ax.fill_between(at, mean - times * spread, mean + times * spread, color=look.muted, alpha=alpha, lw=0)
    ax.plot(at, mean, color=look.muted, lw=1.6, ls=(0, (5, 2)))
    for label, values in curves.repetitions.items():
        if label != curves.chosen:
            ax.plot(at, values[:, i], color=look.right, lw=0.8, alpha=0.45)
    ax.plot(at, own, color=look.left, lw=2.4, solid_capstyle="round")
    beyond = np.abs(own - mean) > 2 * np.maximum(spread, _LEAST_SPREAD_DEG)
    edge = np.where(own > mean, mean + 2 * spread, mean - 2 * spread)
    ax.fill_between(at, edge, own, where=beyond, color=look.warn, alpha=0.22, lw=0, interpolate=False)
    _mark_greatest(ax, at, own, mean, spread, look)
    start = 0
    for name, count in curves.phases:
        if start:
            ax.axvline(start, color=look.grid, lw=1.0)
        ax.annotate(name, (start + count / 2, 0), xycoords=("data", "axes fraction"), xytext=(0, -5), textcoords="offset points",
                    ha="center", va="top", fontsize=8.5, color=look.muted)  # fmt: skip
        start += count
    ax.set_xlim(0, start)
    ax.set_xticks([])
    ax.margins(y=0.12)
    ax.set_title(f"{curves.features[i].replace('_', ' ')} (°)", fontsize=10, color=look.ink, loc="left")


def _mark_greatest(ax: Axes, at: Array, own: Array, mean: Array, spread: Array, look: Theme) -> None:
    """The greatest deviation in degrees and spreads, if it lies beyond the bands."""
    off = (own - mean) / np.maximum(spread, _LEAST_SPREAD_DEG)
    most = int(np.abs(off).argmax())
    if abs(off[most]) <= 2:
        return
    ax.plot(at[most], own[most], "o", ms=5.5, color=look.warn, mec=look.panel, mew=1.0, zorder=5)
    # Beside the point and away from the reference, where the curve does not run.
    right, above = at[most] < 0.6 * at[-1], off[most] > 0
    ax.annotate(
        f"{own[most] - mean[most]:+.0f}° ({abs(off[most]):.1f} σ)", (at[most], own[most]), xytext=(6 if right else -6, 9 if above else -9),
        textcoords="offset points", ha="left" if right else "right", va="center", fontsize=8.5, fontweight="bold", color=look.warn,
        bbox={"boxstyle": "round,pad=0.15", "fc": look.panel, "ec": "none", "alpha": 0.8}, zorder=6,
    )  # fmt: skip


def _legend(figure: Figure, curves: ComparedCurves, look: Theme) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[object] = [
        Line2D([], [], color=look.left, lw=2.4, label=f"repetition {curves.chosen}"),
        Line2D([], [], color=look.muted, lw=1.6, ls=(0, (5, 2)), label="reference"),
        Patch(color=look.muted, alpha=0.44, label="± 1 σ"),
        Patch(color=look.muted, alpha=0.16, label="± 2 σ"),
        Patch(color=look.warn, alpha=0.35, label="beyond 2 σ"),
    ]
    if len(curves.repetitions) > 1:
        handles.insert(1, Line2D([], [], color=look.right, lw=0.8, alpha=0.6, label="the others"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5, labelcolor=look.ink)  # type: ignore[arg-type]
