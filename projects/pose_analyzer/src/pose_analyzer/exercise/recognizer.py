"""Which exercise somebody does, live: `ExerciseRecognizer`, a small network over what the last seconds looked like.

A description (`descriptor`) of up to five seconds of landmarks gives a probability per exercise (`network`), four times a second; the
label is the exercise whose mean probability over the last seconds is clear. Everything else is "unknown", and so are walking, talking,
dancing, standing about and exercises that are not listed, which the network was trained to call so. It was trained on stick figures
in many styles (`pose-analyzer reference train`), never on pictures.

Exercises that differ in what a picture hardly shows (`FAMILIES`) are judged together first: it is clear that somebody squats or lunges
before it is clear which. A curl with the thumbs up is a `bicep_curl`, and a squat with a bar a `squat`.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from pose_analyzer.exercise.descriptor import Window, describe, landmarks_of
from pose_analyzer.exercise.network import MODEL_FILE, UNKNOWN, Array, ExerciseModel, load_model, train_model
from shared_utils.data_models import Poses
from shared_utils.errors import ValidationError

__all__ = ["FAMILIES", "MODEL_FILE", "UNKNOWN", "ExerciseModel", "ExerciseRecognizer", "load_model", "train_model"]

FAMILIES: tuple[tuple[str, ...], ...] = (("squat", "lunge"), ("push_up", "push_up_incline"))
"""Exercises that one evidence speaks for, the usual one first: another one's name needs `_CLEAR_SHARE` of that evidence."""

KEPT_S = 20.0
"""How far back `ExerciseRecognizer.since` knows."""
_CLEAR_SHARE = 0.7
_MEMORY_S = 3.0
_RESTART_S = 1.0
# The share of a whole recording that the best exercise needs to be its label; rests and walks to the camera do not speak against it.
_OVERALL_SHARE = 0.3


class ExerciseRecognizer:
    """Tells what everybody in one stream is doing.

    Args:
        model: Trained network; default the one that lies with the references.
        least_probability: Mean probability that a label (with its family) needs, 0..1. Default 0.6.

    Raises:
        ExerciseError: There is no model.
        ValidationError: `least_probability` lies outside 0..1.

    Example:
        >>> from shared_utils.skeletons import BLAZEPOSE_33
        >>> recognizer = ExerciseRecognizer()
        >>> recognizer.update(Poses.empty(BLAZEPOSE_33), timestamp_s=0.0), recognizer.label(1)
        ({}, 'unknown')
    """

    def __init__(self, model: ExerciseModel | None = None, *, least_probability: float = 0.6) -> None:
        if not 0 <= least_probability <= 1:
            raise ValidationError(f"least_probability must lie in 0..1, got {least_probability}")
        self.model = model if model is not None else load_model()
        self._least = least_probability
        self._people: dict[int, _Person] = {}
        labels = self.model.labels
        together = [next((f for f in FAMILIES if a in f), (a,)) for a in labels]
        self._family = np.array([[b in f for b in labels] for f in together], np.float64)
        self._usual = [labels.index(f[0]) if f[0] in labels else i for i, f in enumerate(together)]
        self._unknown = labels.index(UNKNOWN)
        self._last_s = -math.inf

    def update(self, poses: Poses, *, timestamp_s: float) -> dict[int, str]:
        """Take in a frame; track id -> what that person is doing now, or "unknown".

        Args:
            poses: Tracked, smoothed people; rows of track -1 are ignored.
            timestamp_s: Media clock. A frame not later than the last changes nothing; one a second or more back starts anew.

        Raises:
            ValidationError: `timestamp_s` is not finite.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        tracks = poses.track_ids.tolist()
        if timestamp_s < self._last_s - _RESTART_S:
            self._people.clear()
            self._last_s = -math.inf
        if timestamp_s > self._last_s:
            self._last_s = timestamp_s
            for track_id, landmarks in zip(tracks, landmarks_of(poses) if tracks else (), strict=True):
                if track_id >= 0:
                    self._look(track_id, landmarks, timestamp_s)
        return {t: self.label(t) for t in tracks if t >= 0}

    def label(self, track_id: int) -> str:
        """What a person is doing now."""
        mean = self.probabilities(track_id)
        return UNKNOWN if mean is None else self.clear(mean)

    def probabilities(self, track_id: int) -> Array | None:
        """(labels,) mean probabilities of the last seconds, in the order of `model.labels`; None before there was time to look."""
        person = self._people.get(track_id)
        return None if person is None or not person.kept else self.since(track_id, person.kept[-1][0] - _MEMORY_S)

    def since(self, track_id: int, time_s: float) -> Array | None:
        """(labels,) mean probabilities from that time on, as far back as they are kept (`KEPT_S`); None without any."""
        person = self._people.get(track_id)
        found = [] if person is None else [p for at_s, p in person.kept if at_s >= time_s]
        return np.mean(found, axis=0) if found else None

    def overall(self, track_id: int) -> str:
        """What a person has mostly been doing since the beginning: the label for a whole clip."""
        person = self._people.get(track_id)
        if person is None or not person.described:
            return UNKNOWN
        total = person.total / person.described
        return self.clear(total, least=_OVERALL_SHARE)

    def clear(self, probabilities: Array, *, least: float | None = None) -> str:
        """The best exercise of the best family, if that family has the probability it needs."""
        known = probabilities.copy()
        known[self._unknown] = 0.0
        family = self._family @ known
        best = int((family + 1e-3 * known).argmax())
        if family[best] < (self._least if least is None else least):
            return UNKNOWN
        member = int((known * self._family[best]).argmax())
        return self.model.labels[member if known[member] >= _CLEAR_SHARE * family[best] else self._usual[best]]

    def support(self, probabilities: Array, label: str) -> float:
        """Probability of an exercise with its family."""
        return float(self._family[self.model.labels.index(label)] @ probabilities)

    def described(self, track_id: int) -> int:
        """How many windows of a person have been judged."""
        person = self._people.get(track_id)
        return 0 if person is None else person.described

    def mean(self, track_id: int) -> Array | None:
        """(labels,) mean probabilities since the person was first seen."""
        person = self._people.get(track_id)
        return None if person is None or not person.described else person.total / person.described

    def forget(self, track_id: int) -> None:
        """Drop what is known of a person."""
        self._people.pop(track_id, None)

    def _look(self, track_id: int, landmarks: Array, time_s: float) -> None:
        person = self._people.setdefault(track_id, _Person(len(self.model.labels)))
        if not person.window.add(time_s, landmarks):
            return
        p = self.model.probabilities(describe(person.window.resampled())[None])[0]
        person.kept.append((time_s, p))
        while person.kept[0][0] < time_s - KEPT_S:
            person.kept.popleft()
        person.total += p
        person.described += 1


class _Person:
    """What is remembered of one person."""

    __slots__ = ("described", "kept", "total", "window")

    def __init__(self, labels: int) -> None:
        self.window = Window()
        self.kept: deque[tuple[float, Array]] = deque()
        self.total = np.zeros(labels)
        self.described = 0
