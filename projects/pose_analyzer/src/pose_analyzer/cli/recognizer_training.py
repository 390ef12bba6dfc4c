"""Windows of the athlete for the recogniser: every exercise, walks and gestures, from all around, without a picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pose_analyzer.cli.reference_athlete import varied_scene
from pose_analyzer.exercise.features import Array
from pose_analyzer.exercise.recognizer import UNKNOWN, ExerciseModel, quantities, train_model, windows_of
from pose_analyzer.synthetic import Exercise, scene_for
from pose_analyzer.synthetic.observed import landmarks_over_time, observed

NOTHING = (Exercise.WALKING, Exercise.IDLE)
# The pictures of these two differ by the turn of the hand, which the quantities do not see.
SAME = {"hammer_curl": "bicep_curl"}


def label_of(exercise: str) -> str:
    """The label under which an exercise of the athlete, or of a profile, is recognised."""
    return UNKNOWN if exercise in NOTHING else SAME.get(exercise, exercise)


def athlete_windows(exercise: Exercise, *, seed: int, azimuths_deg: Iterable[float]) -> list[Array]:
    """Descriptors of one set, seen from several directions."""
    out: list[Array] = []
    landmarks: Array | None = None
    for azimuth_deg in azimuths_deg:
        if exercise in NOTHING or exercise in (Exercise.PLANK, Exercise.WALL_SIT):
            scene = scene_for(exercise, azimuth_deg=azimuth_deg, seed=seed, fps=15, hold_s=8.0)
        else:
            # Hands on a bench or a wall: the same movement, the body less level.
            roll = float(np.random.default_rng((seed, 79)).uniform(-30, 30)) if exercise is Exercise.PUSH_UP else 0.0
            scene = varied_scene(exercise, azimuth_deg=azimuth_deg, reps=3, seed=seed, roll_deg=roll)
        landmarks = landmarks_over_time(scene) if landmarks is None else landmarks
        seen = observed(scene, seed=seed * 1013 + round(azimuth_deg), landmarks_m=landmarks)
        out += windows_of(quantities(seen.poses), seen.times_s)
    return out


def athlete_model(*, people: int = 10, seed: int = 0) -> ExerciseModel:
    """Train the recogniser on the athlete."""
    return train_model(*training_set(people=people, seed=seed), seed=seed)


def training_set(*, people: int, seed: int = 0) -> tuple[Array, list[str]]:
    """Descriptors (n, 3 q) of every exercise by several people from all around, and their labels."""
    descriptors: list[Array] = []
    labels: list[str] = []
    for exercise in Exercise:
        for person in range(people):
            around = np.random.default_rng((seed, person)).uniform(-20, 20) + np.arange(0.0, 360.0, 60.0)
            found = athlete_windows(exercise, seed=5000 + seed + person, azimuths_deg=(around % 360.0).tolist())
            descriptors += found
            labels += [label_of(exercise.value)] * len(found)
    return np.stack(descriptors), labels
