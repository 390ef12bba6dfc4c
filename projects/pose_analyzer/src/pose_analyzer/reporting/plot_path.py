"""The way of the bar or of a joint through the picture: its shape and its height over time, in body heights or metres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.reporting.people import ChoiceError, main_track, person_rows, skeleton_of
from pose_analyzer.reporting.plot_style import (
    REPETITIONS,
    Theme,
    ThemeName,
    legend,
    new_figure,
    repetition_label,
    repetition_ribbon,
    shade_repetitions,
    style_axes,
    with_gaps,
)
from pose_analyzer.reporting.plots import empty_figure, title_of
from shared_utils.data_models import Event, EventType, Series, Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
ColourBy = Literal["speed", "repetition"]

_LEAST_CONFIDENCE = 0.5
# Of the film within repetitions, as a share: speeds above are single frames gone wrong and would flatten the scale.
_TOP_SPEED = 99.0


def plot_path(
    session: Session,
    *,
    stature_px: float,
    height_m: float | None = None,
    track_id: int | None = None,
    point: str = "bar",
    colour_by: ColourBy = "speed",
    theme: ThemeName = "light",
) -> Figure:
    """The way of a point: side by side its shape in the picture, and its height over time.

    Args:
        session: With keypoints.
        stature_px: Height of the person in the picture if stretched out, px: the unit of length.
        height_m: The person's height; lengths are in metres then, else in body heights.
        track_id: Whose; default: who has most repetitions, then most frames.
        point: "bar" for the middle between the wrists, or a keypoint, for example "left_wrist".
        colour_by: "speed", or "repetition" to tell them apart.
        theme: "light" or "dark".

    Raises:
        ChoiceError: There are no keypoints, no such keypoint or person, or the point was never seen.
    """
    if main_track(session) is None:
        return empty_figure(session, theme)
    track_id, own = person_rows(session, track_id, guess=True)
    xy = point_path(own, point)
    if not np.isfinite(xy).any() or not stature_px > 0:
        raise ChoiceError(f"{point.replace('_', ' ')} of person {track_id} was never seen well enough for a path")
    times_s, scale, unit = own["timestamp_s"], (height_m or 1.0) / stature_px, "m" if height_m else "body heights"
    events = [e for e in session.events if e.track_id == track_id]
    moves = [e for e in events if e.type in REPETITIONS]
    within = np.any([(times_s >= e.start_s) & (times_s <= e.end_s) for e in moves], axis=0) if moves else np.ones(len(xy), bool)
    kept = within & np.isfinite(xy).all(1)
    chosen = kept if kept.any() else np.isfinite(xy).all(1)
    middle, low = float(np.median(xy[chosen, 0])), float(xy[chosen, 1].max())
    place = (xy - (middle, low)) * (scale, -scale)

    note = f"{'bar (middle between the wrists)' if point == 'bar' else point.replace('_', ' ')}, {_measures(place, moves, times_s, unit)}"
    figure, look = new_figure(theme, 11, 5.6, title=title_of(session, track_id), note=note)
    grid = figure.add_gridspec(2, 2, width_ratios=[1.0, 1.55], height_ratios=[0.09, 1.0])
    shape, ribbon = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[0, 1])
    height = figure.add_subplot(grid[1, 1], sharex=ribbon)
    for ax in (shape, height):
        style_axes(ax, look)
    repetition_ribbon(ribbon, [e for e in events if e.type != EventType.FORM_DEVIATION], look)
    shade_repetitions(height, events, look)
    drawn = _by_repetition if colour_by == "repetition" and moves else _by_speed
    drawn(figure, (shape, height), times_s, place, moves, within, unit, look)
    _label(shape, height, unit)
    return figure


def point_path(own: Series, point: str) -> Array:
    """(t, 2) px of a point; NaN where it was not seen.

    Args:
        own: Rows of one person.
        point: "bar" or a keypoint's name.

    Raises:
        ChoiceError: There are no keypoints, or none of that name.
    """
    skeleton = skeleton_of(own)
    if skeleton is None:
        raise ChoiceError("the session holds no keypoints; analyse the source again with output.keypoints=true")
    if point != "bar" and point not in skeleton:
        raise ChoiceError(f"no point {point!r}; there are bar, {', '.join(skeleton.keypoints)}")
    names = ("left_wrist", "right_wrist") if point == "bar" else (point,)
    places = np.stack([np.stack([own[f"{n}_{a}_px"] for a in "xy"], axis=-1).astype(np.float64) for n in names])
    sure = np.stack([own[f"{n}_confidence"] >= _LEAST_CONFIDENCE for n in names])[..., None] & np.isfinite(places)
    # One wrist stands for the bar where the other is hidden: in a side view they cover each other.
    count = sure.sum(0)
    return np.where(count > 0, np.where(sure, places, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def speeds(times_s: Array, place: Array) -> Array:
    """(t,) length of the velocity, units per second; NaN beside gaps."""
    if len(times_s) < 3:
        return np.full(len(times_s), np.nan)
    return np.hypot(*np.gradient(place, times_s, axis=0).T)


def _by_speed(
    figure: Figure,
    axes: tuple[Any, Any],
    times_s: Array,
    place: Array,
    _: Sequence[Event],
    within: NDArray[np.bool_],
    unit: str,
    look: Theme,
) -> None:
    from matplotlib.collections import LineCollection

    speed = speeds(times_s, place)
    known = speed[within & np.isfinite(speed)]
    top = float(np.percentile(known, _TOP_SPEED)) if len(known) else 1.0
    gone_t, gone_x, gone_y, gone_v, shown = with_gaps(times_s, place[:, 0], place[:, 1], speed, within.astype(np.float64))
    lines = None
    for ax, x, only in ((axes[0], gone_x, True), (axes[1], gone_t, False)):
        ends = np.stack([np.stack([x[:-1], gone_y[:-1]], 1), np.stack([x[1:], gone_y[1:]], 1)], axis=1)
        value = (gone_v[1:] + gone_v[:-1]) / 2
        keep = np.isfinite(ends).all((1, 2)) & np.isfinite(value) & ((shown[1:] > 0) | (not only))
        lines = LineCollection(list(ends[keep]), cmap=look.ramp, lw=2.2, capstyle="round")
        lines.set_array(value[keep])
        lines.set_clim(0, top or 1.0)
        ax.add_collection(lines)
        ax.autoscale_view()
    if lines is not None:
        bar = figure.colorbar(lines, ax=list(axes), location="right", shrink=0.7, aspect=26, pad=0.02, extend="max")
        bar.set_label(f"speed ({unit}/s)", fontsize=9, color=look.muted)
        bar.ax.tick_params(colors=look.muted, labelsize=8.5)
        bar.outline.set_visible(False)  # type: ignore[operator]


def _by_repetition(
    _: Figure, axes: tuple[Any, Any], times_s: Array, place: Array, moves: Sequence[Event], __: NDArray[np.bool_], ___: str, look: Theme
) -> None:
    from matplotlib import colormaps

    ramp = colormaps[look.ramp]
    apart_s, apart_y = with_gaps(times_s, place[:, 1])
    axes[1].plot(apart_s, apart_y, color=look.muted, lw=1.0, alpha=0.6)
    for i, event in enumerate(moves):
        rows = (times_s >= event.start_s) & (times_s <= event.end_s)
        colour = ramp(0.35 + 0.65 * i / max(len(moves) - 1, 1))
        label = repetition_label(event)
        axes[0].plot(*place[rows].T, color=colour, lw=2.0, label=label if label.isdecimal() else f"{label} ({event.start_s:.1f} s)")
        axes[1].plot(times_s[rows], place[rows, 1], color=colour, lw=2.2)
    legend(axes[0], look, title="repetition", title_fontproperties={"size": 8.5}, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    title = axes[0].get_legend().get_title()
    title.set_color(look.muted)


def _label(shape: Any, height: Any, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    shape.set_aspect("equal", adjustable="datalim")
    shape.margins(0.08)
    shape.xaxis.set_major_locator(MaxNLocator(4))
    shape.set_xlabel(f"across ({unit})", fontsize=9.5)
    shape.set_ylabel(f"height above the lowest place ({unit})", fontsize=9.5)
    height.set_xlabel("time (s)", fontsize=9.5)
    height.set_ylabel(f"height ({unit})", fontsize=9.5)
    height.margins(x=0.01, y=0.06)


def _measures(place: Array, moves: Sequence[Event], times_s: Array, unit: str) -> str:
    """Rise and drift of the repetitions in words."""
    found = []
    for event in moves:
        rows = place[(times_s >= event.start_s) & (times_s <= event.end_s)]
        rows = rows[np.isfinite(rows).all(1)]
        if len(rows) > 1:
            found.append(np.ptp(rows, axis=0))
    if not found:
        return "no repetition was seen from beginning to end"
    drift, rise = np.median(np.stack(found), axis=0)
    return f"median of {len(found)} repetitions: rise {rise:.2f}, drift {drift:.2f} {unit}"
