"""Tables of a session for the terminal."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from pose_analyzer.reporting.files import people_summary
from pose_analyzer.reporting.people import exercise_of
from shared_utils.data_models import Event, EventType, Session

if TYPE_CHECKING:
    from rich.console import RenderableType

_REPETITIONS = (EventType.REP_COMPLETED, EventType.REP_PARTIAL, EventType.REP_ABANDONED, EventType.HOLD_COMPLETED)

_LOW_SCORE = 60.0
_OTHER_STYLE = (
    "form {score:.0f} of 100 without a fault: these repetitions differ from the reference that comes with the package, a drawn athlete's; "
    "`pose-analyzer reference build {exercise} --from CLIP` makes one of your own"
)


def summary_table(session: Session) -> RenderableType:
    """What a coach reads first: every repetition with its times and range, then the people.

    Example:
        >>> from rich.console import Console
        >>> Console(width=80).print(summary_table(Session(source="clip.mp4", frames=30, duration_s=1.0)))
        clip.mp4: 30 frames, 1.0 s; nobody was found
    """
    from rich.console import Group
    from rich.text import Text

    people = people_summary(session)
    head = f"{session.source}: {session.frames} frames, {session.duration_s:.1f} s"
    parts: list[RenderableType] = [Text(head if people else f"{head}; nobody was found", style="bold")]
    repetitions = session.events_of(*_REPETITIONS)
    if repetitions:
        parts.append(_repetition_table(session, repetitions))
    if advice := session.events_of(EventType.FORM_DEVIATION, EventType.CAMERA_MISPLACED):
        parts.append(_advice_table(advice))
    if (scores := _unexplained(session, repetitions)) is not None:
        parts.append(Text(_OTHER_STYLE.format(score=scores, exercise=exercise_of(session) or "NAME"), style="dim"))
    if people and (len(people) > 1 or not repetitions):
        parts.append(_people_table(people))
    parts.extend(Text(f"note: {note}", style="yellow") for note in session.notes)
    return Group(*parts)


def _unexplained(session: Session, repetitions: tuple[Event, ...]) -> float | None:
    """The median score if it is low, nothing was found fault with, and the reference is not the user's own."""
    given = [e.data.get("form_score") for e in repetitions]
    scores = [float(v) for v in given if isinstance(v, int | float) and math.isfinite(v)]
    own = session.settings.get("exercise", {}).get("reference") is not None
    if not scores or own or session.events_of(EventType.FORM_DEVIATION) or median(scores) >= _LOW_SCORE:
        return None
    return median(scores)


def _repetition_table(session: Session, events: tuple[Event, ...]) -> RenderableType:
    from rich.table import Table

    exercise = (exercise_of(session) or "exercise").replace("_", " ")
    several = len({e.track_id for e in events}) > 1
    table = Table(title=f"{exercise}: {session.repetition_count} repetitions", title_justify="left", title_style="bold green")
    judged = any("form_score" in e.data for e in events)
    for name in (["person"] if several else []) + [
        "#",
        "start s",
        "length s",
        "down s",
        "up s",
        "range °",
        *(["form"] if judged else []),
        "result",
    ]:
        table.add_column(name, justify="left" if name == "result" else "right")
    for event in events:
        number = "-" if event.type is not EventType.REP_COMPLETED or event.value is None else f"{event.value:.0f}"
        row = [number, f"{event.start_s:.2f}", f"{event.duration_s:.2f}"]
        row += [_number(event, key, digits) for key, digits in (("eccentric_s", 2), ("concentric_s", 2), ("range_deg", 0))]
        row += [_number(event, "form_score", 0)] if judged else []
        table.add_row(*([str(event.track_id)] if several else []), *row, event.type.value.split("_", 1)[1])
    return table


def _advice_table(events: tuple[Event, ...]) -> RenderableType:
    from rich.table import Table

    several = len({e.track_id for e in events}) > 1
    table = Table(title="what could be better", title_justify="left", title_style="bold yellow")
    for name in [*(["person"] if several else []), "at s", "what"]:
        table.add_column(name, justify="left" if name == "what" else "right")
    for event in events:
        table.add_row(*([str(event.track_id)] if several else []), f"{event.end_s:.1f}", event.message)
    return table


def _people_table(people: list[dict[str, float]]) -> RenderableType:
    from rich.table import Table

    table = Table(title="people", title_justify="left", title_style="bold")
    for name in ("person", "from s", "to s", "frames", "repetitions"):
        table.add_column(name, justify="right")
    for p in people:
        table.add_row(str(p["track_id"]), f"{p['first_s']:.2f}", f"{p['last_s']:.2f}", str(p["frames"]), str(p["repetitions"]))
    return table


def _number(event: Event, key: str, digits: int) -> str:
    value = event.data.get(key)
    return f"{value:.{digits}f}" if isinstance(value, int | float) and math.isfinite(value) else "-"
