"""Form by repetition: a strip of faults against repetitions, from a session's `form_deviation` events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pose_analyzer.reporting.people import ChoiceError, main_track, people_in
from pose_analyzer.reporting.plot_style import Theme, ThemeName, new_figure, repetition_label, style_axes
from pose_analyzer.reporting.plots import empty_figure, title_of
from shared_utils.data_models import Event, EventType, Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COUNTED = (EventType.REP_COMPLETED, EventType.REP_PARTIAL)
# Least end of the colour scale, in spreads of the reference, and the most it is stretched to.
_STRONG, _STRONGEST = 10.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FormCell:
    """One fault of one repetition.

    Args:
        end_s: When the repetition ended, media clock.
        fault: Name, for example "knee_valgus".
        side: "left", "right", "both" or "".
        amount: Deviation from the reference.
        unit: Of the amount: "deg" or "s".
        evidence: Deviation in spreads of the reference.
    """

    end_s: float
    fault: str
    side: str
    amount: float
    unit: str
    evidence: float


def form_cells(events: Iterable[Event]) -> list[FormCell]:
    """The faults that `form_deviation` events tell of.

    Example:
        >>> event = Event(EventType.FORM_DEVIATION, "cam", 1, 0.0, 2.0, value=11.0, data={"fault": "knee_valgus", "evidence": 4.2})
        >>> form_cells([event])[0].fault
        'knee_valgus'
    """
    return [
        FormCell(
            end_s=e.end_s,
            fault=str(e.data.get("fault", "deviation")),
            side=str(e.data.get("side", "")),
            amount=float(e.value or 0.0),
            unit=e.unit or "deg",
            evidence=_number(e.data.get("evidence")),
        )
        for e in events
        if e.type == EventType.FORM_DEVIATION
    ]


def plot_form(
    session: Session,
    *,
    track_id: int | None = None,
    cells: Sequence[FormCell] | None = None,
    scores: Sequence[tuple[float, float]] = (),
    cooldown_s: float = 6.0,
    theme: ThemeName = "light",
) -> Figure:
    """Heat strip of form: a row per fault, a column per repetition, colour by strength, the amount written in.

    Args:
        session: With events.
        track_id: Whose; default: who has most repetitions, then most frames.
        cells: Every fault of every repetition, where a scorer's own scores are at hand. Default: what the events tell, and they
            tell a fault again only after `cooldown_s`; what could not be told is dotted.
        scores: (end of a repetition in s, 0..100) of the form, written above; default from the events.
        cooldown_s: See above.
        theme: "light" or "dark".

    Raises:
        ChoiceError: There is no such person.
    """
    track_id = main_track(session) if track_id is None else track_id
    if track_id is None:
        return empty_figure(session, theme)
    if track_id not in people_in(session):
        raise ChoiceError(f"nobody has track id {track_id} in this session; there are {people_in(session)}")
    own = [e for e in session.events if e.track_id == track_id]
    repetitions = [e for e in own if e.type in _COUNTED]
    if not repetitions:
        return empty_figure(session, theme, f"no repetition of person {track_id} was counted")
    told = cells is None
    cells = form_cells(own) if cells is None else cells
    scores = scores or [(e.end_s, _number(e.data.get("score", e.data.get("form_score")))) for e in own]
    rows = sorted({(c.fault, c.side) for c in cells}, key=lambda row: min(c.end_s for c in cells if (c.fault, c.side) == row))
    wrong = len({_column(c.end_s, repetitions) for c in cells})
    note = (
        f"{len(repetitions)} repetitions, {wrong} with remarks on form" if cells else f"{len(repetitions)} repetitions, no remark on form"
    )
    width = float(np.clip(3.4 + 0.62 * len(repetitions), 7.5, 14.0))
    figure, look = new_figure(theme, width, 2.15 + 0.5 * max(len(rows), 1), title=title_of(session, track_id), note=note)
    ax = figure.subplots()
    known = [c.evidence for c in cells if np.isfinite(c.evidence)]
    top = float(np.clip(5.0 * np.ceil(max(known, default=0.0) / 5.0), _STRONG, _STRONGEST))
    _draw_cells(ax, repetitions, rows, cells, cooldown_s if told else 0.0, top, look)
    _draw_scores(ax, repetitions, scores, look)
    if cells:
        _colour_scale(figure, ax, top, look)
    return figure


def _number(value: object) -> float:
    """A number of an event, which JSON has made null where it was unknown."""
    return float(value) if isinstance(value, int | float) else float("nan")


def _column(end_s: float, repetitions: Sequence[Event]) -> int:
    """The repetition that ended nearest to a time."""
    return int(np.abs(np.array([e.end_s for e in repetitions]) - end_s).argmin())


def _draw_cells(
    ax: Axes,
    repetitions: Sequence[Event],
    rows: Sequence[tuple[str, str]],
    cells: Sequence[FormCell],
    cooldown_s: float,
    top: float,
    look: Theme,
) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    ramp = colormaps[look.ramp]
    found = {((c.fault, c.side), _column(c.end_s, repetitions)): c for c in cells}
    for y, row in enumerate(rows or [("", "")]):
        for x, event in enumerate(repetitions):
            cell = found.get((row, x))
            silent = any(0 < event.end_s - c.end_s < cooldown_s for (r, _), c in found.items() if r == row)
            strength = 0.0 if cell is None else _strength(cell, top)
            look_of = {"facecolor": look.shade, "edgecolor": look.muted, "hatch": "...", "lw": 0} if silent and cell is None else {}
            box = Rectangle((x - 0.46, y - 0.42), 0.92, 0.84, **({"facecolor": look.shade, "lw": 0} | look_of))  # type: ignore[arg-type]
            if cell is not None:
                box.set_facecolor(ramp(0.2 + 0.8 * strength))
                dark = float(np.dot(ramp(0.2 + 0.8 * strength)[:3], (0.299, 0.587, 0.114))) < 0.55
                text = f"{cell.amount:.1f} s" if cell.unit == "s" else f"{cell.amount:.0f}°"
                ax.text(x, y, text, ha="center", va="center", fontsize=9.5, fontweight="bold", color="#ffffff" if dark else "#14171b")
            ax.add_patch(box)
    style_axes(ax, look, grid=False)
    ax.set_facecolor(look.paper)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xlim(-0.6, len(repetitions) - 0.4)
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    names = [" ".join(w for w in (side if side != "both" else "", fault.replace("_", " ")) if w) for fault, side in rows]
    ax.set_yticks(range(max(len(rows), 1)), names or ["no remark"], color=look.ink, fontsize=10)
    labels = [repetition_label(e) for e in repetitions]
    ax.set_xticks(range(len(labels)), labels, color=look.ink, fontsize=9.5)
    ax.set_xlabel("repetition", fontsize=9.5)
    if any(p.get_hatch() for p in ax.patches):
        dotted = Rectangle((0, 0), 1, 1, facecolor=look.shade, edgecolor=look.muted, hatch="....", lw=0)
        figure = ax.get_figure(root=True)
        figure.legend([dotted], ["not told again so soon"], loc="outside lower left", frameon=False, fontsize=8.5, labelcolor=look.ink)  # type: ignore[union-attr,call-overload]


def _strength(cell: FormCell, top: float) -> float:
    return float(np.clip(np.nan_to_num(cell.evidence, nan=top / 2) / top, 0.0, 1.0))


def _draw_scores(ax: Axes, repetitions: Sequence[Event], scores: Sequence[tuple[float, float]], look: Theme) -> None:
    best = {_column(end_s, repetitions): score for end_s, score in scores if np.isfinite(score)}
    for x, score in best.items():
        ax.text(x, -0.52, f"{score:.0f}", ha="center", va="bottom", fontsize=9, color=look.ink)
    if best:
        ax.annotate("score", (0, 0), xytext=(-0.62, -0.52), textcoords="data", ha="right", va="bottom", fontsize=9, color=look.muted)
        ax.set_ylim(ax.get_ylim()[0], -0.95)


def _colour_scale(figure: Figure, ax: Axes, top: float, look: Theme) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    part = LinearSegmentedColormap.from_list("strength", colormaps[look.ramp](np.linspace(0.2, 1.0, 64)))
    bar = figure.colorbar(ScalarMappable(Normalize(0, top), part), ax=ax, aspect=12, pad=0.015, extend="max")
    bar.set_label("strength\n(spreads of the reference)", fontsize=8.5, color=look.muted)
    bar.ax.tick_params(colors=look.muted, labelsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]
