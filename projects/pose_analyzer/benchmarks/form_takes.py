"""Sets of the athlete that no reference has seen: other bodies, rooms and cameras than those they were learnt from.

There are several of every kind: the limits of the code were chosen while looking at some (`CHOSEN_ON`), the figures that are told are
those of others (`JUDGED_ON`), which nobody had looked at when the code was finished.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

import numpy as np

from pose_analyzer.pipeline.references import EXERCISES
from pose_analyzer.pipeline.takes import SINGLE_SIDED, Take

CHOSEN_ON, JUDGED_ON = 900_000, 1_000_000
"""First seeds of the sets on which limits were chosen, and of those that judge."""
FRONTAL = frozenset({"lateral_raise", "jumping_jack", "overhead_press"})
"""Exercises whose range is seen from the front."""
GRADES: Mapping[str, tuple[float, ...]] = {
    "knee_valgus_deg": (6, 10, 14, 18),
    "forward_lean_deg": (8, 12, 16),
    "elbow_drift_deg": (12, 20, 30),
    "asymmetry_deg": (8, 14, 20),
    "depth_loss_deg": (12, 20, 30),
    "half_range": (0.35, 0.5),
    "rushed_tempo": (0.35, 0.5, 0.6),
    "rounded_back_deg": (40,),
}
"""Fault -> degrees (shares for range and tempo), the last one clear to anybody who looks."""
SHOWN_BY: Mapping[str, tuple[str, ...]] = {
    "knee_valgus_deg": ("squat", "lunge", "deadlift"),
    "forward_lean_deg": ("squat", "lunge"),
    "elbow_drift_deg": ("bicep_curl", "hammer_curl"),
    "asymmetry_deg": ("squat", "bicep_curl", "hammer_curl", "overhead_press", "lateral_raise", "jumping_jack"),
    "rounded_back_deg": ("squat", "deadlift", "push_up"),
}
"""Fault -> exercises; those not named here are tried in all."""
_SEEN_FROM = {
    "knee_valgus_deg": (0, 30),
    "forward_lean_deg": (45, 90),
    "elbow_drift_deg": (45, 90),
    "asymmetry_deg": (0, 20),
    "rounded_back_deg": (60, 90),
    "rushed_tempo": (0, 90),
}
_TAKES = {"knee_valgus_deg": 5, "forward_lean_deg": 6, "elbow_drift_deg": 6, "asymmetry_deg": 3, "depth_loss_deg": 3, "half_range": 3}
_GOOD_SETS = 14


def seen_from(fault: str, exercise: str) -> tuple[float, float]:
    """Directions from which people see a fault: degrees from the front."""
    return _SEEN_FROM.get(fault, (0, 30) if exercise in FRONTAL else (50, 90))


def faulty_takes(*, clear_only: bool = False, first_seed: int = JUDGED_ON) -> list[Take]:
    """One repetition each, with one fault, from a direction that shows it.

    Args:
        clear_only: Only the last degree of each fault.
        first_seed: `JUDGED_ON` or `CHOSEN_ON`.
    """
    out = []
    for fault, degrees in GRADES.items():
        for exercise in SHOWN_BY.get(fault, EXERCISES):
            for degree in degrees[-1:] if clear_only else degrees:
                for i in range(_TAKES.get(fault, 2)):
                    seed = first_seed + _number(fault, exercise, degree, i)
                    random_ = np.random.default_rng((seed, 5))
                    azimuth = float(random_.uniform(*seen_from(fault, exercise)))
                    side = 1.0 if exercise in SINGLE_SIDED or random_.random() < 0.5 else -1.0
                    out.append(Take(exercise=exercise, azimuth_deg=round(side * azimuth, 2), seed=seed, faults={fault: degree}))
    return out


def good_takes(*, first_seed: int = JUDGED_ON) -> list[Take]:
    """Sets of two good repetitions, from all directions in turn.

    Args:
        first_seed: `JUDGED_ON` or `CHOSEN_ON`.
    """
    out = []
    for exercise in EXERCISES:
        for i in range(_GOOD_SETS):
            seed = first_seed + _number("good", exercise, i)
            random_ = np.random.default_rng((seed, 5))
            azimuth = (i + float(random_.random())) / _GOOD_SETS * 90.0
            side = 1.0 if random_.random() < 0.5 else -1.0
            out.append(Take(exercise=exercise, azimuth_deg=round(side * azimuth, 2), seed=seed, reps=2))
    return out


def sample(takes: list[Take], count: int) -> list[Take]:
    """Some of them, drawn evenly; the same ones each time."""
    return takes if count >= len(takes) else random.Random(1).sample(takes, count)


def _number(*what: object) -> int:
    return int(hashlib.sha1(repr(what).encode(), usedforsecurity=False).hexdigest()[:6], 16) % 90_000
