"""Plots of a session: joint angles over time with repetition marks.

Colours are those of the overlay: left orange, right blue. Gaps in the line are gaps in the reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import PoseAnalyzerError
from pose_analyzer.reporting.columns import angle_columns, joint_of
from pose_analyzer.reporting.people import main_track
from shared_utils.data_models import Event, EventType, Series, Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"left": "#e8710a", "right": "#1c7ed6", "": "#495057"}
_BANDS = {EventType.REP_COMPLETED: "#2b8a3e", EventType.REP_PARTIAL: "#f08c00", EventType.HOLD_COMPLETED: "#5f3dc4"}
_STAND_INS = ("_fold", "_in_plane", "trunk_rise", "shoulder_over_knee", "arm_raise", "upper_arm_lean")
_JOINT_ORDER = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder", "ankle", "trunk")


def plot_session(session: Session, *, track_id: int | None = None, angles: Sequence[str] | None = None) -> Figure:
    """Angles over time, one strip per joint, repetitions shaded and numbered.

    Args:
        session: What to draw.
        track_id: Whose; default: who has most repetitions, then most frames.
        angles: Joints to draw (`"knee_flexion"`) or full names (`"left_knee_flexion_deg"`). Default: the
            four that moved most.

    Returns:
        A matplotlib figure that belongs to no window; `figure.savefig(...)` writes it.

    Raises:
        PoseAnalyzerError: The session has no such person or angle.
    """
    from matplotlib.figure import Figure

    track_id = main_track(session) if track_id is None else track_id
    if track_id is None:
        return _empty_figure(session)
    own = session.series.track(track_id)
    if len(own) == 0:
        known = np.unique(session.series["track_id"]).tolist()
        raise PoseAnalyzerError(f"nobody has track id {track_id} in this session; there are {known}")
    groups = _groups(own, angles)
    events = [e for e in session.events if e.track_id == track_id]
    figure = Figure(figsize=(11, 1.1 + 1.75 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (joint, names) in zip(axes, groups.items(), strict=True):
        _draw_strip(ax, joint, names, own, events)
    axes[-1].set_xlabel("time (s)")
    exercise = str(session.settings.get("exercise", {}).get("name") or "") if session.settings else ""
    counted = sum(e.type is EventType.REP_COMPLETED for e in events)
    title = f"{session.source} · person {track_id}" + (f" · {exercise.replace('_', ' ')}: {counted} repetitions" if exercise else "")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def save_plot(session: Session, path: str | Path, **options: object) -> Path:
    """Write `plot_session(session, **options)` as PNG (same session, same bytes)."""
    path = Path(path)
    figure = plot_session(session, **options)  # type: ignore[arg-type]
    figure.savefig(path, dpi=110, metadata={"Software": None}, format="png")
    return path


def _groups(own: Series, wanted: Sequence[str] | None) -> dict[str, list[str]]:
    """Joint -> its columns (left, right, or one)."""
    columns = angle_columns(own, space=False)
    groups: dict[str, list[str]] = {}
    for name in columns:
        joint = joint_of(name)
        groups.setdefault(joint, []).append(name)
    if wanted is not None:
        chosen = {}
        for w in wanted:
            joint = joint_of(w)
            names = [w] if w in own else groups.get(w)
            if not names:
                raise PoseAnalyzerError(f"no angle {w!r} in this session; there are {', '.join(groups)}")
            chosen[joint] = names
        return chosen
    # Stand-ins are helpers of the counter and dorsiflexion is noisy in the image plane: drawn on demand only.
    groups = {j: names for j, names in groups.items() if not j.endswith(_STAND_INS) and not j.startswith("ankle")} or groups
    moved = {joint: max(_spread(own[n]) for n in names) for joint, names in groups.items()}
    best = sorted(groups, key=lambda joint: moved[joint], reverse=True)[:4]

    def place(joint: str) -> int:
        return next((i for i, known in enumerate(_JOINT_ORDER) if joint.startswith(known)), len(_JOINT_ORDER))

    return {joint: groups[joint] for joint in sorted(best, key=place)}


def _spread(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(np.subtract(*np.percentile(known, [95, 5]))) if len(known) > 1 else 0.0


def _draw_strip(ax: Axes, joint: str, names: Sequence[str], own: Series, events: Sequence[Event]) -> None:
    time_s = own["timestamp_s"]
    for name in names:
        side = name.split("_", 1)[0] if name.startswith(("left_", "right_")) else ""
        ax.plot(*_with_gaps(time_s, own[name]), color=_COLOURS[side], lw=1.6, label=side or joint.replace("_", " "))
    for event in events:
        if event.type in _BANDS:
            ax.axvspan(event.start_s, event.end_s, color=_BANDS[event.type], alpha=0.10, lw=0)
            ax.axvline(event.end_s, color=_BANDS[event.type], lw=0.8, alpha=0.6)
            label = (
                f"{event.value:.0f}"
                if event.type is EventType.REP_COMPLETED and event.value is not None
                else event.type.value.split("_")[1]
            )
            middle = (event.start_s + event.end_s) / 2
            ax.annotate(
                label, (middle, 1.0), xycoords=("data", "axes fraction"), ha="center", va="top", fontsize=9, color=_BANDS[event.type],
                fontweight="bold", xytext=(0, -2), textcoords="offset points",
            )  # fmt: skip
    ax.set_ylabel(f"{joint.replace('_', ' ')}\n(°)", fontsize=9)
    ax.margins(x=0.01, y=0.18)
    ax.grid(alpha=0.25, lw=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, fontsize=8, frameon=False, ncols=2)


def _with_gaps(time_s: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Insert a NaN where the person was out of sight, so that no line is drawn across the gap."""
    if len(time_s) < 3:
        return time_s, values
    step = np.diff(time_s)
    cuts = np.flatnonzero(step > 3 * np.median(step)) + 1
    return np.insert(time_s, cuts, np.nan), np.insert(values, cuts, np.nan)


def _empty_figure(session: Session) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.2), layout="constrained")
    figure.text(0.5, 0.5, f"{session.source}: no person was found", ha="center", va="center", fontsize=13)
    return figure
