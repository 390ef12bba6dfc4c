"""How much evidence good repetitions of strangers give for each fault: the limits that a reference tells faults by.

Every person is judged by a reference that was built without them; what that finds in good repetitions is the noise of bodies,
cameras and detector together, measured and not assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.build import build_reference
from pose_analyzer.exercise.features import FORM_FEATURES
from pose_analyzer.exercise.findings import FormScore
from pose_analyzer.exercise.judgement import judge
from pose_analyzer.exercise.profile import ExerciseProfile
from pose_analyzer.exercise.recording import Repetition
from pose_analyzer.exercise.reference import Reference, ReferenceView

_FOLDS = 5
_LEAST_LIMIT = 2.6
_DEVIATIONS = 2.4
# Of good repetitions, the share that a limit lies beyond; a detector that has lost somebody makes no limit.
_SHARE = 0.95
# Cameras that far apart see about the same.
_NEAR_DEG = 25.0
_LEAST_SCORES = 4


def calibrated(reference: Reference, people: Sequence[Sequence[Repetition]], profile: ExerciseProfile) -> Reference:
    """The same with limits from held-out people.

    Args:
        reference: Built from all of them, with its signatures.
        people: Good repetitions, by person.
        profile: The exercise.
    """
    scores = held_out_scores(reference, people, profile)
    views = tuple(
        # How long something takes does not depend on from where it is seen.
        replace(v, limits=_limits([s for s in scores if abs(s.azimuth_deg - v.azimuth_deg) <= _NEAR_DEG], leave_out="rushed_tempo"))
        for v in reference.views
    )
    return replace(reference, views=views, limits=_limits(scores))


def _limits(scores: Sequence[FormScore], *, leave_out: str = "") -> dict[str, float]:
    seen: dict[str, list[float]] = {}
    for score in scores:
        for fault, value in score.evidence.items():
            if fault != leave_out:
                seen.setdefault(fault, []).append(value)
    return {fault: limit_of_evidence(values) for fault, values in seen.items() if len(values) >= _LEAST_SCORES}


def held_out_scores(reference: Reference, people: Sequence[Sequence[Repetition]], profile: ExerciseProfile) -> list[FormScore]:
    """Of every repetition, by a reference without its person."""
    out: list[FormScore] = []
    known = {name for v in reference.views for name in v.features}
    leave_out = [name for name in FORM_FEATURES if name not in known]
    for fold in range(min(_FOLDS, len(people))):
        others = [r for i, rows in enumerate(people) if i % _FOLDS != fold for r in rows]
        try:
            without = build_reference(others, profile, source="others", leave_out=leave_out)
        except ExerciseError:
            continue
        without = replace(without, views=tuple(_grafted(v, reference) for v in without.views))
        out += [judge(r, without, profile) for i, rows in enumerate(people) if i % _FOLDS == fold for r in rows]
    return out


def limit_of_evidence(values: Sequence[float]) -> float:
    """What hardly any good repetition reaches: nineteen in twenty of those seen, and what their spread lets expect.

    Example:
        >>> limit_of_evidence([0.1, -0.4, 0.3]), limit_of_evidence([0.1, 3.0, 3.1, 3.3]) > 3.2
        (2.6, True)
    """
    x = np.asarray(values, np.float64)
    # The opposite of a fault is none, but its size tells how much of this evidence is noise.
    usual = np.sort(np.abs(x))[: max(math.floor(_SHARE * len(x)), 1)]
    return float(max(_LEAST_LIMIT, np.quantile(x, _SHARE), _DEVIATIONS * np.sqrt(np.mean(np.square(usual)))))


def _grafted(view: ReferenceView, reference: Reference) -> ReferenceView:
    """A view with the signatures that a reference has there; 0 for features that it does not show."""
    of = next((v for v in reference.views if v.azimuth_deg == view.azimuth_deg), None)
    if of is None:
        return view
    column = {name: i for i, name in enumerate(of.features)}
    rows = {k: np.array([s[column[n]] if n in column else 0.0 for n in view.features]) for k, s in of.signatures.items()}
    return replace(view, signatures=rows)
