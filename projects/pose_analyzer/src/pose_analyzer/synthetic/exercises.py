"""The exercises an athlete knows: names, the range of the joint that leads each, the faults each can show."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pose_analyzer.errors import SceneError


class Exercise(StrEnum):
    """What an athlete can do."""

    SQUAT = "squat"
    PUSH_UP = "push_up"
    BICEP_CURL = "bicep_curl"
    HAMMER_CURL = "hammer_curl"
    LUNGE = "lunge"
    OVERHEAD_PRESS = "overhead_press"
    DEADLIFT = "deadlift"
    SIT_UP = "sit_up"
    JUMPING_JACK = "jumping_jack"
    LATERAL_RAISE = "lateral_raise"
    PULL_UP = "pull_up"
    PLANK = "plank"
    WALL_SIT = "wall_sit"
    WALKING = "walking"
    IDLE = "idle"

    @classmethod
    def named(cls, name: str) -> Exercise:
        """The exercise of that name; `pushup`, `push-up` and `push_up` are the same.

        Raises:
            SceneError: There is none; the text names the nearest.

        Example:
            >>> Exercise.named("Push-Up")
            <Exercise.PUSH_UP: 'push_up'>
        """
        key = re.sub(r"[\s_-]", "", str(name).lower())
        by_key = {e.value.replace("_", ""): e for e in cls} | {"curl": cls.BICEP_CURL, "standing": cls.IDLE, "walk": cls.WALKING}
        if key not in by_key:
            near = difflib.get_close_matches(key, by_key, n=1)
            hint = f"; did you mean {by_key[near[0]].value!r}?" if near else ""
            raise SceneError(f"unknown exercise {name!r}{hint} There are {', '.join(e.value for e in cls)}")
        return by_key[key]


# The angle at rest, and at the turning point, of the joint that leads each exercise; see `motions`.
DEPTHS_DEG: Mapping[Exercise, tuple[float, float]] = MappingProxyType(
    {
        Exercise.SQUAT: (5.0, 110.0),
        Exercise.PUSH_UP: (8.0, 95.0),
        Exercise.BICEP_CURL: (10.0, 138.0),
        Exercise.HAMMER_CURL: (10.0, 134.0),
        Exercise.LUNGE: (24.0, 95.0),
        Exercise.OVERHEAD_PRESS: (118.0, 10.0),
        Exercise.DEADLIFT: (16.0, 105.0),
        Exercise.SIT_UP: (52.0, 118.0),
        Exercise.JUMPING_JACK: (18.0, 160.0),
        Exercise.LATERAL_RAISE: (18.0, 95.0),
        Exercise.PULL_UP: (10.0, 132.0),
        Exercise.PLANK: (75.0, 90.0),
        Exercise.WALL_SIT: (10.0, 90.0),
    }
)

# Faults that each exercise can show, beside depth_loss_deg, half_range and rushed_tempo, which all repetitions can.
FAULTS: Mapping[Exercise, frozenset[str]] = MappingProxyType(
    {
        Exercise.SQUAT: frozenset({"knee_valgus_deg", "forward_lean_deg", "rounded_back_deg", "asymmetry_deg"}),
        Exercise.PUSH_UP: frozenset({"rounded_back_deg"}),
        Exercise.BICEP_CURL: frozenset({"elbow_drift_deg", "asymmetry_deg"}),
        Exercise.HAMMER_CURL: frozenset({"elbow_drift_deg", "asymmetry_deg"}),
        Exercise.LUNGE: frozenset({"knee_valgus_deg", "forward_lean_deg", "rounded_back_deg"}),
        Exercise.OVERHEAD_PRESS: frozenset({"asymmetry_deg"}),
        Exercise.DEADLIFT: frozenset({"knee_valgus_deg", "rounded_back_deg"}),
        Exercise.SIT_UP: frozenset({"rounded_back_deg"}),
        Exercise.JUMPING_JACK: frozenset({"asymmetry_deg"}),
        Exercise.LATERAL_RAISE: frozenset({"asymmetry_deg"}),
        Exercise.PULL_UP: frozenset(),
        Exercise.PLANK: frozenset({"rounded_back_deg"}),
        Exercise.WALL_SIT: frozenset({"knee_valgus_deg", "rounded_back_deg", "depth_loss_deg"}),
    }
)

ONE_ARM = (Exercise.BICEP_CURL, Exercise.HAMMER_CURL, Exercise.LATERAL_RAISE, Exercise.OVERHEAD_PRESS)
HELD = (Exercise.PLANK, Exercise.WALL_SIT)
UNCOUNTED = (*HELD, Exercise.WALKING, Exercise.IDLE)

# What depth_deg may be set to.
DEPTH_LIMITS_DEG: Mapping[Exercise, tuple[float, float]] = MappingProxyType(
    {
        Exercise.SQUAT: (20.0, 130.0),
        Exercise.PUSH_UP: (20.0, 120.0),
        Exercise.BICEP_CURL: (30.0, 150.0),
        Exercise.HAMMER_CURL: (30.0, 150.0),
        Exercise.LUNGE: (35.0, 115.0),
        Exercise.OVERHEAD_PRESS: (5.0, 90.0),
        Exercise.DEADLIFT: (30.0, 120.0),
        Exercise.SIT_UP: (70.0, 130.0),
        Exercise.JUMPING_JACK: (40.0, 170.0),
        Exercise.LATERAL_RAISE: (40.0, 130.0),
        Exercise.PULL_UP: (40.0, 145.0),
        Exercise.PLANK: (80.0, 100.0),
        Exercise.WALL_SIT: (40.0, 110.0),
    }
)
