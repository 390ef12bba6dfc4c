"""Form feedback within the walk: a scorer for every exercise that is counted and has a reference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import islice

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise import ExerciseProfile, FormScorer, list_references, load_profile, load_reference
from shared_utils.data_models import Event, EventType, Poses
from shared_utils.logging import get_logger

_log = get_logger(__name__)


class FormFeedback:
    """Judges repetitions as they are told.

    Args:
        profile: What is counted; None = whatever is recognised, from then on.
        stream_id: Name of the stream in events.
        reference: Name or file of how it is done well; default that of the exercise, where there is one.

    Raises:
        ExerciseError: There is no such reference, or it is not of this exercise.

    Example:
        >>> from pose_analyzer.exercise import load_profile
        >>> FormFeedback(load_profile("plank"), "cam").flush([])  # a hold has no repetitions to judge
        []
    """

    def __init__(self, profile: ExerciseProfile | None, stream_id: str, *, reference: str | None = None) -> None:
        self._stream_id = stream_id
        self._is_open = profile is None
        self._scorers: dict[str, FormScorer] = {}
        if profile is not None and reference is not None:
            chosen = load_reference(reference)
            if chosen.exercise != profile.name:
                raise ExerciseError(f"the reference {reference} is of {chosen.exercise}, not of {profile.name}")
            self._scorers[profile.name] = FormScorer(chosen, profile=profile, stream_id=stream_id)
        elif profile is not None:
            self._add(profile)

    def update(self, people: Poses, counted: Sequence[Event], *, timestamp_s: float, frame_index: int) -> list[Event]:
        """Take in a frame.

        Args:
            people: Tracked, smoothed people.
            counted: What the counter told at this frame.
            timestamp_s: Media clock, seconds.
            frame_index: Index of the frame.

        Returns:
            What the counter told, repetitions with their `form_score` where they were judged, and the `form_deviation` events.
        """
        self._note(counted)
        deviations: list[Event] = []
        for name, scorer in self._scorers.items():
            deviations += scorer.update(people, self._own(name, counted), timestamp_s=timestamp_s, frame_index=frame_index)
        return self._with_scores(counted) + deviations

    def flush(self, counted: Sequence[Event]) -> list[Event]:
        """End of the stream: as `update`, of what the counter's own flush told."""
        self._note(counted)
        deviations = [event for name, scorer in self._scorers.items() for event in scorer.flush(self._own(name, counted))]
        return self._with_scores(counted) + deviations

    def _note(self, counted: Sequence[Event]) -> None:
        if self._is_open:
            for event in counted:
                if event.type == EventType.EXERCISE_RECOGNIZED and event.data["exercise"] not in self._scorers:
                    self._add(load_profile(event.data["exercise"]))

    def _add(self, profile: ExerciseProfile) -> None:
        if profile.is_hold or profile.name not in list_references():
            return
        try:
            self._scorers[profile.name] = FormScorer(load_reference(profile.name), profile=profile, stream_id=self._stream_id)
        except ExerciseError as error:  # counting does without
            _log.warning("form is not judged", reason=str(error))

    def _own(self, name: str, counted: Sequence[Event]) -> list[Event]:
        return [event for event in counted if event.data.get("exercise", name) == name]

    def _with_scores(self, counted: Sequence[Event]) -> list[Event]:
        if not any(event.type == EventType.REP_COMPLETED for event in counted):
            return list(counted)
        # Each scorer keeps what it judged in order, and it judged nothing later than these.
        scores = {
            (name, score.track_id, score.number): score.score
            for name, scorer in self._scorers.items()
            for score in islice(reversed(scorer.scores), len(counted))
        }
        told = []
        for event in counted:
            names = [event.data["exercise"]] if "exercise" in event.data else list(self._scorers)
            found = [scores.get((name, event.track_id, int(event.value or 0)), math.nan) for name in names]
            known = [round(s, 1) for s in found if math.isfinite(s)]  # NaN: there is no reference of this view
            judged = known and event.type == EventType.REP_COMPLETED
            told.append(dataclasses.replace(event, data={**event.data, "form_score": known[0]}) if judged else event)
        return told
