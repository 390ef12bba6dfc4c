"""The terminal's summary tells form and advice where there is some, and nothing of it elsewhere."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from pose_analyzer.reporting import summary_table
from shared_utils import Event, EventType, Session


def shown(*events: Event, reference: str | None = None) -> str:
    out = StringIO()
    settings = {"exercise": {"name": "squat", "reference": reference}}
    session = Session(source="clip.mp4", frames=30, duration_s=4.0, events=events, settings=settings)
    Console(file=out, width=120, no_color=True).print(summary_table(session))
    return out.getvalue()


def rep(number: int, **data) -> Event:
    return Event(EventType.REP_COMPLETED, "s", 1, number, number + 1, value=number, data=data)


def test_scores_and_sentences_stand_beside_the_repetitions():
    told = Event(EventType.FORM_DEVIATION, "s", 1, 1, 2, value=11, message="Left knee caves in 11 degrees")
    text = shown(rep(1, form_score=62.4), rep(2), told)
    assert "form" in text
    assert " 62 " in text
    assert "Left knee caves in 11 degrees" in text


def test_without_form_there_is_no_word_of_it():
    text = shown(rep(1), rep(2))
    assert "form" not in text
    assert "better" not in text


def test_low_scores_without_a_fault_are_explained_by_the_reference():
    low = [rep(1, form_score=38.0), rep(2, form_score=36.0), rep(3, form_score=None)]
    assert "form 37 of 100 without a fault" in shown(*low)
    assert "without a fault" not in shown(*low, reference="coach.json")
    assert "without a fault" not in shown(*low, Event(EventType.FORM_DEVIATION, "s", 1, 1, 2, value=11, message="Left knee caves in"))
    assert "without a fault" not in shown(rep(1, form_score=80.0))
