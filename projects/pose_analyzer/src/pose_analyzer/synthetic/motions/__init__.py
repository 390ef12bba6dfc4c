"""Joint-angle programs: one class per exercise that puts a `Figure` into its posture at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pose_analyzer.synthetic.anthropometry import Dimensions
from pose_analyzer.synthetic.exercises import Exercise
from pose_analyzer.synthetic.motion_spec import MotionSpec
from pose_analyzer.synthetic.motions.arms import Curl, HammerCurl, JumpingJack, LateralRaise, OverheadPress
from pose_analyzer.synthetic.motions.base import Moment, Motion, Program
from pose_analyzer.synthetic.motions.floor import Plank, PullUp, PushUp, SitUp
from pose_analyzer.synthetic.motions.gait import Path, Walking
from pose_analyzer.synthetic.motions.gestures import GESTURES, Idle
from pose_analyzer.synthetic.motions.legs import Deadlift, Lunge, Squat, WallSit

_PROGRAMS: Mapping[Exercise, type[Program]] = MappingProxyType(
    {
        Exercise.SQUAT: Squat,
        Exercise.PUSH_UP: PushUp,
        Exercise.BICEP_CURL: Curl,
        Exercise.HAMMER_CURL: HammerCurl,
        Exercise.LUNGE: Lunge,
        Exercise.OVERHEAD_PRESS: OverheadPress,
        Exercise.DEADLIFT: Deadlift,
        Exercise.SIT_UP: SitUp,
        Exercise.JUMPING_JACK: JumpingJack,
        Exercise.LATERAL_RAISE: LateralRaise,
        Exercise.PULL_UP: PullUp,
        Exercise.PLANK: Plank,
        Exercise.WALL_SIT: WallSit,
        Exercise.WALKING: Walking,
        Exercise.IDLE: Idle,
    }
)


def program(lengths: Dimensions, motion: MotionSpec, seed: int) -> Program:
    """The joint-angle program of a motion for a body; `seed` moves heads and draws gestures."""
    return _PROGRAMS[motion.exercise](lengths, motion, seed)


__all__ = ["GESTURES", "Moment", "Motion", "Path", "Program", "Walking", "program"]
