"""What the recogniser is trained on: stick figures in many styles from all around. Not pictures, nor the athlete that judges it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pose_analyzer.cli.recognizer_figures import RATE_HZ, Array, Random, filmed, performed
from pose_analyzer.cli.recognizer_movements import EXERCISES
from pose_analyzer.cli.recognizer_negatives import nothing_to_learn
from pose_analyzer.exercise.descriptor import LEAST_S, WINDOW_S, describe
from pose_analyzer.exercise.network import UNKNOWN, ExerciseModel, train_model
from pose_analyzer.synthetic import Exercise

NOTHING = (Exercise.WALKING, Exercise.IDLE)
# What the picture does not tell apart: the turn of the hand, a bar on the shoulders.
SAME = {"hammer_curl": "bicep_curl", "barbell_squat": "squat"}

_SECONDS = 12.0
# A window in which less of it is under way is no example; one in which nearly nothing is shows somebody who is about to begin.
_MOVING, _RESTING = 0.6, 0.1
# Of these the rest is another exercise's hold.
_REST_IS_NOT_NOTHING = frozenset({"push_up", "push_up_incline"})
# There are more ways to do nothing than to do a squat.
_NOTHING_SHARE = 10


def label_of(exercise: str) -> str:
    """The label under which an exercise of the athlete, or of a profile, is recognised."""
    return UNKNOWN if exercise in NOTHING else SAME.get(exercise, exercise)


def figure_model(*, people: int = 450, seed: int = 0) -> ExerciseModel:
    """Train the recogniser on stick figures.

    Args:
        people: Performances of each exercise, each by another body in another style, seen by three cameras.
        seed: Of everything random.
    """
    return train_model(*training_set(performances=people, seed=seed), seed=seed)


def training_set(*, performances: int, seed: int = 0) -> tuple[Array, list[str]]:
    """Descriptions (n, d) of windows of every exercise and of what is none, and their labels."""
    found = [pair for name in (*EXERCISES, UNKNOWN) for pair in windows(name, performances=performances, seed=seed)]
    return np.stack([d for d, _ in found]), [label for _, label in found]


def windows(label: str, *, performances: int, seed: int) -> Iterator[tuple[Array, str]]:
    """Descriptions of windows of one label, each with its label ("unknown" for windows in which it has not begun)."""
    random = np.random.default_rng((seed, [*EXERCISES, UNKNOWN].index(label)))
    for _ in range(performances * (_NOTHING_SHARE if label == UNKNOWN else 1)):
        if label == UNKNOWN:
            joints, active = nothing_to_learn(random, seconds=_SECONDS), np.ones(round(_SECONDS * RATE_HZ))
        else:
            joints, active = performed(EXERCISES[label](random), random, seconds=_SECONDS)
        for _ in range(3):
            seen = filmed(joints, random)
            for part in _parts(len(seen), random):
                share = float(active[part].mean())
                description = describe(seen[part])
                if np.isfinite(description[:-1]).sum() < 20:
                    continue
                if share >= _MOVING:
                    yield description, label
                elif share <= _RESTING and label not in _REST_IS_NOT_NOTHING:
                    yield description, UNKNOWN


def _parts(n: int, random: Random) -> Iterator[slice]:
    """Two windows of a performance, most of them whole."""
    for _ in range(2):
        seconds = WINDOW_S if random.random() < 0.5 else random.uniform(LEAST_S, WINDOW_S)
        samples = round(seconds * RATE_HZ) + 1
        start = int(random.integers(n - samples + 1))
        yield slice(start, start + samples)
