"""A reference as a picture: the body through the repetition, and the curve of each feature with the spread of good repetitions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.faults import phase_words
from pose_analyzer.exercise.features import BODY_LINES, BODY_POINTS
from pose_analyzer.exercise.profile import load_profile
from pose_analyzer.exercise.recording import PHASE_SAMPLES, SAMPLES
from pose_analyzer.exercise.reference import POSE_SAMPLES, Reference, ReferenceView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"left": "#e8710a", "right": "#1c7ed6", "": "#495057"}
_MOST_PANELS = 8
_COLUMNS = 4


def plot_reference(reference: Reference, *, view_deg: float | None = None) -> Figure:
    """One view of a reference: its body from rest to rest, and its most telling curves with one and two spreads.

    Args:
        reference: What to draw.
        view_deg: Which view, degrees; default the one that knows most repetitions' curves best (least spread).

    Returns:
        A matplotlib figure that belongs to no window; `figure.savefig(...)` writes it.

    Raises:
        ExerciseError: The reference has no such view.
    """
    from matplotlib.figure import Figure

    view = _chosen(reference, view_deg)
    names = _telling(view)
    rows = (len(names) + _COLUMNS - 1) // _COLUMNS
    has_body = len(view.pose) > 0
    figure = Figure(figsize=(13, 2.2 * has_body + 2.5 * rows + 0.7), layout="constrained")
    grid = figure.add_gridspec(rows + has_body, _COLUMNS, height_ratios=[1.0] * has_body + [1.15] * rows)
    if has_body:
        _draw_bodies(figure.add_subplot(grid[0, :]), view, reference.exercise)
    for i, name in enumerate(names):
        _draw_curve(figure.add_subplot(grid[i // _COLUMNS + has_body, i % _COLUMNS]), view, name, reference.exercise)
    views = ", ".join(f"{v.azimuth_deg:g}°" for v in reference.views)
    figure.suptitle(
        f"{reference.exercise.replace('_', ' ')} seen from {view.azimuth_deg:g}° ({view.repetitions} repetitions; views {views})\n"
        f"{reference.source}; line: mean, bands: one and two spreads of good repetitions",
        fontsize=10,
    )
    return figure


def save_reference_plot(reference: Reference, path: str | Path, *, view_deg: float | None = None) -> Path:
    """Write `plot_reference` as PNG (same reference, same bytes)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    plot_reference(reference, view_deg=view_deg).savefig(path, dpi=110, metadata={"Software": None}, format="png")
    return path


def _chosen(reference: Reference, view_deg: float | None) -> ReferenceView:
    if view_deg is None:
        return min(reference.views, key=lambda v: float(np.median(v.phase_spread["turn"])))
    view = reference.view(view_deg)
    if view is None:
        known = ", ".join(f"{v.azimuth_deg:g}" for v in reference.views)
        raise ExerciseError(f"the reference of {reference.exercise} has no view at {view_deg:g} degrees; it has {known}")
    return view


def _telling(view: ReferenceView) -> list[str]:
    """The features whose movement stands out most from their spread, in the order of the reference."""
    moved = np.ptp(view.mean, axis=0) / view.phase_spread["turn"]
    kept = sorted(np.argsort(-moved)[:_MOST_PANELS].tolist())
    return [view.features[i] for i in kept]


def _bounds() -> list[float]:
    """Samples at which phases begin and end."""
    return [-0.5, *(np.cumsum(list(PHASE_SAMPLES.values())) - 0.5).tolist()]


def _draw_bodies(ax: Axes, view: ReferenceView, exercise: str) -> None:
    words = phase_words(load_profile(exercise))
    width = max(float(np.nanmax(np.ptp(np.nan_to_num(view.pose[..., 0]), axis=1))), 0.5) * 1.15
    for i, pose in enumerate(view.pose):
        at = i * width
        for a, b in BODY_LINES:
            ends = pose[[BODY_POINTS.index(a), BODY_POINTS.index(b)]]
            if np.isfinite(ends).all():
                side = a.split("_")[0] if a.split("_")[0] == b.split("_")[0] else ""
                ax.plot(ends[:, 0] + at, ends[:, 1], color=_COLOURS[side], linewidth=2.2, solid_capstyle="round")
        phase = next(name for name, end in zip(PHASE_SAMPLES, _bounds()[1:], strict=True) if POSE_SAMPLES[i] < end)
        ax.text(at, float(np.nanmax(view.pose[..., 1])) + 0.12, words[phase], ha="center", va="top", fontsize=8, color="#495057")
    ax.invert_yaxis()
    ax.set_aspect("equal")
    ax.axis("off")


def _draw_curve(ax: Axes, view: ReferenceView, name: str, exercise: str) -> None:
    column, x = view.features.index(name), np.arange(SAMPLES)
    mean, spread = view.mean[:, column], view.spread[:, column]
    side = name.split("_")[0] if name.startswith(("left_", "right_")) else ""
    for k, alpha in ((2.0, 0.15), (1.0, 0.28)):
        ax.fill_between(x, mean - k * spread, mean + k * spread, color=_COLOURS[side], alpha=alpha, linewidth=0)
    ax.plot(x, mean, color=_COLOURS[side], linewidth=2.0)
    bounds = _bounds()
    ax.axvspan(bounds[1], bounds[2], color="#868e96", alpha=0.14, linewidth=0)
    phases = load_profile(exercise).phases
    ax.set_xticks([(a + b) / 2 for a, b in itertools.pairwise(bounds)], [phases[p] for p in PHASE_SAMPLES], fontsize=8)
    turn = float(view.phase_spread["turn"][column])
    ax.set_title(f"{name.replace('_', ' ')} (±{turn:.0f}° at the turn)", fontsize=9, loc="left")
    ax.set_xlim(bounds[0], bounds[-1])
    ax.tick_params(axis="y", labelsize=8)
    ax.yaxis.set_major_formatter("{x:.0f}°")
    for edge in ("top", "right"):
        ax.spines[edge].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
