"""Faults by name: what shows each, in which direction, in which exercises, and how it is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pose_analyzer.exercise.profile import ExerciseProfile

Words = Mapping[str, str]

_SQUATS = frozenset({"squat", "barbell_squat"})
_CURLS = frozenset({"bicep_curl", "hammer_curl"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """How one fault shows.

    Args:
        name: Of the fault.
        joint: Whose points it costs.
        features: What shows it; the one that a view shows most surely is taken for single features, each side by itself
            for paired ones (names without side).
        sign: +1 when more is worse, -1 when less is, 0 for both.
        exercises: Where it is looked for.
        least_deg: Smaller deviations are not told, however sure.
        sentence: With {side} and {degrees}.
    """

    name: str
    joint: str
    features: tuple[str, ...]
    sign: int
    exercises: frozenset[str]
    least_deg: float
    sentence: str


RULES: tuple[FaultRule, ...] = (
    FaultRule(
        name="knee_valgus",
        joint="knee",
        features=("knee_valgus", "knees_in"),
        sign=1,
        exercises=_SQUATS | {"lunge", "deadlift"},
        least_deg=4.0,
        sentence="{side} knee caves in {degrees:.0f} degrees",
    ),
    FaultRule(
        name="forward_lean",
        joint="trunk",
        features=("trunk_lean",),
        sign=1,
        exercises=_SQUATS | {"lunge"},
        least_deg=5.0,
        sentence="the trunk leans {degrees:.0f} degrees too far forward",
    ),
    FaultRule(
        name="rounded_back",
        joint="back",
        features=("neck_flexion",),
        sign=1,
        exercises=_SQUATS | {"lunge", "deadlift", "push_up"},
        least_deg=5.0,
        sentence="the back rounds: the head leaves the trunk's line by {degrees:.0f} degrees",
    ),
    FaultRule(
        name="elbow_drift",
        joint="shoulder",
        features=("shoulder_elevation", "shoulder_elevation_3d"),
        sign=1,
        exercises=_CURLS,
        least_deg=5.0,
        sentence="{side} elbow drifts away from the trunk by {degrees:.0f} degrees",
    ),
    FaultRule(
        name="asymmetry",
        joint="symmetry",
        features=("hip_tilt", "shoulder_tilt", "knee_difference"),
        sign=0,
        exercises=_SQUATS,
        least_deg=2.0,
        sentence="the {side} side stays {degrees:.0f} degrees behind",
    ),
    FaultRule(
        name="asymmetry",
        joint="symmetry",
        features=("elbow_difference", "shoulder_difference", "wrist_tilt"),
        sign=0,
        exercises=_CURLS | {"overhead_press", "lateral_raise", "jumping_jack"},
        least_deg=4.0,
        sentence="the {side} side stays {degrees:.0f} degrees behind",
    ),
)
"""Faults of posture; range (`depth_loss`, `half_range`) and tempo (`rushed_tempo`) follow from every profile."""

JOINT_OF: Mapping[str, str] = {
    "knee_flexion": "knee",
    "knee_valgus": "knee",
    "knees_in": "knee",
    "shank_lean": "ankle",
    "hip_flexion": "hip",
    "elbow_flexion": "elbow",
    "shoulder_elevation": "shoulder",
    "trunk_lean": "trunk",
    "neck_flexion": "back",
    "knee_flexion_3d": "knee",
    "hip_flexion_3d": "hip",
    "elbow_flexion_3d": "elbow",
    "shoulder_elevation_3d": "shoulder",
}
"""Feature without side -> the joint that loses points; what is not named here belongs to `symmetry`."""

GENERIC: Mapping[str, tuple[str, str]] = {
    "knee_flexion": ("{side} knee {degrees:.0f} degrees too bent", "{side} knee {degrees:.0f} degrees too straight"),
    "hip_flexion": ("{side} hip {degrees:.0f} degrees too bent", "{side} hip {degrees:.0f} degrees too straight"),
    "elbow_flexion": ("{side} elbow {degrees:.0f} degrees too bent", "{side} elbow {degrees:.0f} degrees too straight"),
    "shoulder_elevation": ("{side} upper arm {degrees:.0f} degrees too high", "{side} upper arm {degrees:.0f} degrees too low"),
    "trunk_lean": ("the trunk leans {degrees:.0f} degrees more than it should", "the trunk is {degrees:.0f} degrees too upright"),
    "shank_lean": ("{side} shank leans {degrees:.0f} degrees more than it should", "{side} shank is {degrees:.0f} degrees too upright"),
}
"""Sentences for deviations that are none of the named faults: too much, too little."""


def phase_words(profile: ExerciseProfile) -> Words:
    """How each phase of a profile is said.

    Example:
        >>> from pose_analyzer.exercise.profile import load_profile
        >>> phase_words(load_profile("squat"))["turn"]
        'at the bottom'
    """
    if profile.rest == "top":
        return {"out": "on the way down", "turn": "at the bottom", "back": "on the way up", "rest": "at the top"}
    return {"out": "on the way up", "turn": "at the top", "back": "on the way down", "rest": "at the bottom"}


def range_features(profile: ExerciseProfile) -> dict[str, int]:
    """Feature (without side) that shows how far a repetition goes -> +1 when it grows on the way.

    Example:
        >>> from pose_analyzer.exercise.profile import load_profile
        >>> range_features(load_profile("overhead_press"))
        {'elbow_flexion': -1, 'shoulder_elevation': 1, 'elbow_flexion_3d': -1, 'shoulder_elevation_3d': 1}
    """
    known = set(JOINT_OF) - {"knee_valgus", "knees_in", "shank_lean"}
    out = {c.angle: (1 if c.work_deg > c.rest_deg else -1) for c in profile.cues if c.angle in known}
    if profile.name == "overhead_press":
        out.setdefault("shoulder_elevation", 1)
    return out | {f"{name}_3d": sign for name, sign in out.items() if f"{name}_3d" in known}
