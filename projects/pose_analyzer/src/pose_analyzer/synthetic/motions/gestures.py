"""Standing with gestures: what people do with their arms between exercises."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import SceneError
from pose_analyzer.synthetic.anthropometry import SIDES, SIGN, Dimensions, Segment
from pose_analyzer.synthetic.kinematics import Figure
from pose_analyzer.synthetic.motion_spec import MotionSpec
from pose_analyzer.synthetic.motions.base import Moment, Program, stand_relaxed
from pose_analyzer.synthetic.rotations import unit
from pose_analyzer.synthetic.tempo import ease

Array = NDArray[np.float64]

# Where a wrist is and where its elbow points: in the thorax's frame for a left arm (y outwards), the wrist from the shoulder
# joint in units of the arm's length.
_Arm = tuple[tuple[float, float, float], tuple[float, float, float]]
_HANGING: _Arm = ((0.10, 0.14, -0.94), (-1.0, 0.35, 0.0))
_ON_HIP: _Arm = ((0.06, 0.10, -0.66), (-0.55, 1.0, 0.0))


def _still(left: _Arm, right: _Arm) -> Callable[[float], tuple[_Arm, _Arm]]:
    return lambda _: (left, right)


def _wave(t: float) -> tuple[_Arm, _Arm]:
    swing = 0.16 * math.sin(2.0 * math.pi * 1.7 * t)
    return _HANGING, ((0.22, 0.36 + swing, 0.50), (0.0, 1.0, -0.75))


def _shrug(t: float) -> tuple[_Arm, _Arm]:
    arm: _Arm = ((0.42, 0.40, -0.42 + 0.03 * math.sin(2 * math.pi * 0.8 * t)), (-1.0, 0.3, -0.3))
    return arm, arm


GESTURES: Mapping[str, Callable[[float], tuple[_Arm, _Arm]]] = MappingProxyType(
    {
        "rest": _still(_HANGING, _HANGING),
        "wave": _wave,
        "hands_on_hips": _still(_ON_HIP, _ON_HIP),
        "point": _still(_HANGING, ((0.95, 0.05, -0.05), (0.0, 0.4, -1.0))),
        "scratch_head": _still(_HANGING, ((0.12, -0.20, 0.44), (0.35, 1.0, -0.35))),
        "stretch_overhead": _still(((0.08, 0.05, 0.96), (0.3, 1.0, 0.0)), ((0.08, 0.05, 0.96), (0.3, 1.0, 0.0))),
        "cross_arms": _still(((0.36, -0.42, -0.34), (-0.1, 0.6, -1.0)), ((0.44, -0.38, -0.24), (-0.1, 0.6, -1.0))),
        "check_watch": _still(((0.52, -0.22, -0.22), (0.0, 0.8, -1.0)), _HANGING),
        "shrug": _shrug,
    }
)
"""What an idle athlete can do, by name."""

_HOLD_S, _BLEND_S = 2.0, 0.7


class Idle(Program):
    """Stands, one gesture after the other; without a list the seed draws them, never the same twice in a row."""

    def __init__(self, lengths: Dimensions, motion: MotionSpec, seed: int) -> None:
        super().__init__(lengths, motion, seed)
        unknown = [g for g in motion.gestures if g not in GESTURES]
        if unknown:
            raise SceneError(f"unknown gesture {unknown[0]!r}; there are {', '.join(GESTURES)}")
        self.order = list(motion.gestures) or self._drawn(seed)

    @staticmethod
    def _drawn(seed: int) -> list[str]:
        random = np.random.default_rng((seed, 3))
        order = ["rest"]
        while len(order) < 24:
            name = str(random.choice(list(GESTURES)))
            if name != order[-1]:
                order.append(name)
        return order

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        t = moment.time_s
        stand_relaxed(self, figure, t, knee_deg=4.0 + 1.5 * (1.0 + self.drift(t, 2)), lean_deg=1.0 + 0.8 * self.drift(t, 3))
        span = _HOLD_S + _BLEND_S
        number, within = int(t // span), t % span
        now = GESTURES[self.order[number % len(self.order)]](t)
        following = GESTURES[self.order[(number + 1) % len(self.order)]](t)
        share = ease((within - _HOLD_S) / _BLEND_S)
        thorax = figure.rotation[Segment.THORAX]
        for side in SIDES:
            wrist, pole = ((1.0 - share) * np.array(a) + share * np.array(b) for a, b in zip(now[side], following[side], strict=True))
            outwards = np.array([1.0, SIGN[side], 1.0])
            target = figure.joint("shoulder", side) + thorax @ (wrist * outwards) * self.lengths.arm
            figure.arm_to(side, target, thorax @ unit(pole * outwards), wrist_deg=6.0)


__all__ = ["GESTURES", "Idle"]
