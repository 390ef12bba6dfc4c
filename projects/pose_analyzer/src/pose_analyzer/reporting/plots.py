"""Plots of a session over time: joint angles with their error and repetition marks; what each joint's range was.

Gaps in a line are gaps in the reading. Bands are one and two standard deviations, where they were estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.columns import angle_columns, joint_of, sigma_name
from pose_analyzer.reporting.people import ChoiceError, exercise_of, main_track, people_in, person_rows
from pose_analyzer.reporting.plot_style import (
    REPETITIONS,
    Theme,
    ThemeName,
    legend,
    new_figure,
    person_title,
    repetition_ribbon,
    shade_repetitions,
    style_axes,
    with_gaps,
    write_png,
)
from shared_utils.data_models import Event, EventType, Series, Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STAND_INS = ("_fold", "_in_plane", "trunk_rise", "shoulder_over_knee", "arm_raise", "upper_arm_lean")
_PLANES = ("shoulder_flexion", "shoulder_abduction", "hip_abduction")
# Readings that a side must have within the repetitions, as a share, for its range to mean anything.
_LEAST_SEEN = 0.6
_JOINT_ORDER = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder", "ankle", "trunk")
_RANGE_JOINTS = ("knee_flexion", "hip_flexion", "ankle_dorsiflexion", "elbow_flexion", "shoulder_elevation", "wrist_flexion")
_TRIM = (1, 99)


def plot_session(
    session: Session, *, track_id: int | None = None, angles: Sequence[str] | None = None, theme: ThemeName = "light"
) -> Figure:
    """Angles over time, one strip per joint, with their error bands; repetitions are shaded and numbered.

    Args:
        session: What to draw.
        track_id: Whose; default: who has most repetitions, then most frames.
        angles: Joints to draw (`"knee_flexion"`) or full names (`"left_knee_flexion_deg"`). Default: the
            four that moved most.
        theme: "light" or "dark".

    Returns:
        A matplotlib figure that belongs to no window; `figure.savefig(...)` writes it.

    Raises:
        ChoiceError: The session has no such person or angle.
    """
    if main_track(session) is None:
        return empty_figure(session, theme)
    track_id, own = person_rows(session, track_id, guess=True)
    groups = _groups(own, angles)
    events = [e for e in session.events if e.track_id == track_id]
    height = 1.45 + 1.65 * max(len(groups), 1)
    figure, look = new_figure(theme, 11, height, title=title_of(session, track_id), note=_note(events))
    ratios = [0.22, *[1.0] * len(groups)]
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios})[:, 0]
    repetition_ribbon(axes[0], events, look)
    for ax, (joint, names) in zip(axes[1:], groups.items(), strict=True):
        _draw_strip(ax, joint, names, own, events, look)
    axes[-1].set_xlabel("time (s)", fontsize=9.5)
    axes[-1].margins(x=0.01)
    _legend(axes[0], groups, own, look)
    return figure


def plot_range(session: Session, *, track_id: int | None = None, theme: ThemeName = "light") -> Figure:
    """Range of motion of each joint, left beside right, with their difference.

    Bars run from the 1st to the 99th percentile within the repetitions, or of the whole film where nothing was counted; a side
    that was seen in less than 60 % of it has none.

    Args:
        session: What to draw.
        track_id: Whose; default: who has most repetitions, then most frames.
        theme: "light" or "dark".

    Raises:
        ChoiceError: The session has no such person.
    """
    if main_track(session) is None:
        return empty_figure(session, theme)
    track_id, own = person_rows(session, track_id, guess=True)
    moves = [e for e in session.events if e.track_id == track_id and e.type in REPETITIONS]
    at = own["timestamp_s"]
    within = np.any([(at >= e.start_s) & (at <= e.end_s) for e in moves], axis=0) if moves else np.ones(len(at), bool)
    rows = [(joint, *(_percentiles(own, f"{side}_{joint}_deg", within) for side in ("left", "right"))) for joint in _RANGE_JOINTS]
    rows = [r for r in rows if r[1] is not None or r[2] is not None]
    note = f"range of motion within {len(moves)} repetitions" if moves else "range of motion over the whole film"
    figure, look = new_figure(theme, 9, 1.75 + 0.62 * max(len(rows), 1), title=title_of(session, track_id), note=note)
    ax = figure.subplots()
    style_axes(ax, look)
    ax.grid(visible=False, axis="y")
    for y, (_, left, right) in enumerate(rows):
        for span, colour, offset in ((left, look.left, -0.17), (right, look.right, 0.17)):
            if span is None:
                continue
            ax.barh(y + offset, span[1] - span[0], left=span[0], height=0.27, color=colour)
            ax.annotate(f"{span[1] - span[0]:.0f}°", (span[1], y + offset), xytext=(4, 0), textcoords="offset points",
                        va="center", fontsize=8.5, color=look.ink)  # fmt: skip
        text = "one side" if left is None or right is None else f"{round(_difference(left, right)):+d}°"
        ax.annotate(text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=9.5, color=look.muted)
    ax.annotate("left − right", (1.01, -0.62), xycoords=("axes fraction", "data"), va="center", fontsize=8.5, color=look.muted)
    ax.set_yticks(range(len(rows)), [r[0].replace("_", " ") for r in rows], color=look.ink, fontsize=9.5)
    ax.set_ylim(len(rows) - 0.45, -0.8)
    ax.margins(x=0.09)
    ax.set_xlabel("angle (°), 0 = straight", fontsize=9.5)
    ax.barh([np.nan], [np.nan], color=look.left, label="left")
    ax.barh([np.nan], [np.nan], color=look.right, label="right")
    legend(ax, look, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)
    return figure


def save_plot(session: Session, path: str | Path, **options: object) -> Path:
    """Write `plot_session(session, **options)` as PNG (same session, same bytes)."""
    return write_png(plot_session(session, **options), path)  # type: ignore[arg-type]


def title_of(session: Session, track_id: int) -> str:
    """First line of a plot of one person."""
    return person_title(session.source, exercise_of(session, track_id), track_id, several=len(people_in(session)) > 1)


def empty_figure(session: Session, theme: ThemeName, text: str = "no person was found") -> Figure:
    """A figure that says why there is nothing to see."""
    figure, look = new_figure(theme, 11, 2.2)
    figure.text(0.5, 0.5, f"{session.source}: {text}", ha="center", va="center", fontsize=13, color=look.ink)
    return figure


def _note(events: Sequence[Event]) -> str:
    counts = {
        "repetitions": sum(e.type == EventType.REP_COMPLETED for e in events),
        "partial": sum(e.type == EventType.REP_PARTIAL for e in events),
        "abandoned": sum(e.type == EventType.REP_ABANDONED for e in events),
        "holds": sum(e.type == EventType.HOLD_COMPLETED for e in events),
    }
    words = [f"{n} {name.removesuffix('s') if n == 1 else name}" for name, n in counts.items() if n]
    faults = sum(e.type == EventType.FORM_DEVIATION for e in events)
    return " · ".join([*(words or ["nothing counted"]), *([f"{faults} remark{'s' * (faults > 1)} on form"] if faults else [])])


def _groups(own: Series, wanted: Sequence[str] | None) -> dict[str, list[str]]:
    """Joint -> its columns (left, right, or one)."""
    groups: dict[str, list[str]] = {}
    for name in angle_columns(own, space="image"):
        groups.setdefault(joint_of(name), []).append(name)
    if wanted is not None:
        chosen = {}
        for w in wanted:
            names = [w] if w in own else groups.get(w)
            if not names:
                raise ChoiceError(f"no angle {w!r} in this session; there are {', '.join(groups)}")
            chosen[joint_of(w)] = names
        return chosen
    # Stand-ins are helpers of the counter, planes repeat what elevation shows, and dorsiflexion is noisy in the image plane:
    # drawn on demand only.
    usual = {j: n for j, n in groups.items() if not j.endswith(_STAND_INS) and j not in _PLANES and not j.startswith("ankle")}
    groups = usual or groups
    moved = {joint: max(_spread(own[n]) for n in names) for joint, names in groups.items()}
    best = sorted(groups, key=lambda joint: moved[joint], reverse=True)[:4]

    def place(joint: str) -> int:
        return next((i for i, known in enumerate(_JOINT_ORDER) if joint.startswith(known)), len(_JOINT_ORDER))

    return {joint: groups[joint] for joint in sorted(best, key=place)}


def _spread(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(np.subtract(*np.percentile(known, [95, 5]))) if len(known) > 1 else 0.0


def _draw_strip(ax: Axes, joint: str, names: Sequence[str], own: Series, events: Sequence[Event], look: Theme) -> None:
    style_axes(ax, look)
    shade_repetitions(ax, events, look)
    for name in names:
        sigma = own[sigma_name(name)] if sigma_name(name) in own else np.full(len(own), np.nan)
        times_s, values, sigma = with_gaps(own["timestamp_s"], own[name], sigma)
        for times, alpha in ((2, 0.13), (1, 0.24)):
            ax.fill_between(times_s, values - times * sigma, values + times * sigma, color=look.side(name), alpha=alpha, lw=0)
        ax.plot(times_s, values, color=look.side(name), lw=1.5)
    ax.set_ylabel(f"{joint.replace('_', ' ')}\n(°)", fontsize=9)
    ax.margins(x=0.01, y=0.1)


def _legend(ax: Axes, groups: dict[str, list[str]], own: Series, look: Theme) -> None:
    """What is what, once for all strips, above them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names = [n for group in groups.values() for n in group]
    sides = {n.split("_", 1)[0]: look.side(n) for n in names if n.startswith(("left_", "right_"))}
    handles: list[object] = [Line2D([], [], color=colour, lw=2, label=side) for side, colour in sorted(sides.items())]
    if any(sigma_name(n) in own and np.isfinite(own[sigma_name(n)]).any() for n in names):
        handles += [Patch(color=look.muted, alpha=0.45, label="± 1 σ"), Patch(color=look.muted, alpha=0.2, label="± 2 σ")]
    handles += ax.get_legend_handles_labels()[0]
    if handles:
        legend(ax, look, handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), borderaxespad=0.0)


def _percentiles(own: Series, name: str, within: NDArray[np.bool_]) -> tuple[float, float] | None:
    if name not in own:
        return None
    values = own[name][within]
    seen = np.isfinite(values)
    if seen.sum() < 5 or seen.mean() < _LEAST_SEEN:
        return None
    values = values[seen]
    low, high = np.percentile(values, _TRIM)
    return float(low), float(high)


def _difference(left: tuple[float, float], right: tuple[float, float]) -> float:
    return (left[1] - left[0]) - (right[1] - right[0])
