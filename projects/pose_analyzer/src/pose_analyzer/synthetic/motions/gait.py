"""Walking along a path: planted feet, a pelvis that passes over them, arms that swing against the legs.

A foot stands for 62 % of its cycle and swings for the rest (D. A. Winter, *The Biomechanics and Motor Control of Human Gait*,
1991). It lands on the heel, lies flat, and leaves over the toe; while one of these touches the floor it does not move.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import SIDES, SIGN, Dimensions, Segment
from pose_analyzer.synthetic.kinematics import Figure, leg_length
from pose_analyzer.synthetic.motion_spec import MotionSpec
from pose_analyzer.synthetic.motions.base import Moment, Program
from pose_analyzer.synthetic.rotations import rot_x, rot_y, rot_z
from pose_analyzer.synthetic.tempo import ease

Array = NDArray[np.float64]

_STANCE = 0.62
_FLAT, _HEEL_OFF = 0.09, 0.36
_LANDING_DEG, _LEAVING_DEG = -17.0, 58.0


class Path:
    """A polyline walked at constant speed; corners are rounded by looking a little back and ahead.

    Args:
        points_m: (n, 2) waypoints, at least two, not all the same.
    """

    def __init__(self, points_m: tuple[tuple[float, float], ...]) -> None:
        self.points = [np.array(p, np.float64) for p in points_m]
        self.lengths = list(accumulate((float(np.hypot(*(b - a))) for a, b in pairwise(self.points)), initial=0.0))

    @property
    def length_m(self) -> float:
        """Of the whole path."""
        return self.lengths[-1]

    def at(self, s: float) -> Array:
        """(2,) point at a distance from the start; before and after the path straight on."""
        i = min(max(bisect_right(self.lengths, s) - 1, 0), len(self.points) - 2)
        a, b = self.points[i], self.points[i + 1]
        span = self.lengths[i + 1] - self.lengths[i]
        return a + (b - a) * ((s - self.lengths[i]) / span)

    def smooth(self, s: float) -> tuple[Array, float]:
        """(2,) point and heading in degrees, corners rounded over 0.6 m."""
        spots = [self.at(s + o) for o in (-0.3, -0.1, 0.1, 0.3)]
        ahead = spots[3] - spots[0]
        return sum(spots[1:], spots[0]) / 4.0, math.degrees(math.atan2(float(ahead[1]), float(ahead[0])))


class Walking(Program):
    """A walk along `path_m` in world coordinates."""

    def __init__(self, lengths: Dimensions, motion: MotionSpec, seed: int) -> None:
        super().__init__(lengths, motion, seed)
        self.path = Path(motion.path_m or ((0.0, 0.0), (4.0, 0.0)))
        # Stride length grows with the root of speed (Grieve and Gear 1966 found an exponent near 0.42 to 0.5).
        self.stride = 0.80 * lengths.height * math.sqrt(motion.speed_m_s / 1.35)
        self.duration_s = self.path.length_m / motion.speed_m_s
        self.half = 0.045 * lengths.height
        self.toe = np.array([lengths.foot_length - lengths.heel_back - 0.01 * lengths.height, 0.0, -lengths.foot_height])
        self.heel = np.array([-lengths.heel_back, 0.0, -lengths.foot_height])

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        d, h = self.lengths, self.lengths.height
        s = moment.time_s * self.motion.speed_m_s
        spot, heading = self.path.smooth(s)
        phase = 2.0 * math.pi * s / self.stride
        turn = rot_z(heading)
        feet = [self._foot(s, side) for side in SIDES]
        pelvis = turn @ rot_z(5.0 * math.sin(phase)) @ rot_y(2.0)
        thorax = turn @ rot_z(-4.0 * math.sin(phase)) @ rot_y(4.0)
        sideways = 0.012 * h * math.sin(phase - 0.4 * math.pi)
        hips = np.array([*spot, 0.0]) + turn[:, 1] * sideways
        # As high as the legs allow with nearly straight knees, and never higher than standing with soft knees.
        reach = leg_length(d, 6.0)
        z = d.foot_height + leg_length(d, 16.0) - 0.011 * h * math.cos(2.0 * phase - 0.3)
        for side, (ankle, _) in zip(SIDES, feet, strict=True):
            gap = hips + pelvis[:, 1] * (SIGN[side] * d.hip_half) - ankle
            z = min(z, float(ankle[2]) + math.sqrt(max(reach**2 - float(gap[0] ** 2 + gap[1] ** 2), 0.01)))
        hips[2] = z
        figure.place_trunk(hips, pelvis, thorax=thorax, head=turn @ self.head(moment.time_s, 4.0))
        for side, (ankle, foot) in zip(SIDES, feet, strict=True):
            figure.leg_to(side, ankle, foot, turn[:, 0] + 0.08 * SIGN[side] * turn[:, 1])
            swing = SIGN[side] * math.sin(phase)
            upper = figure.rotation[Segment.THORAX] @ rot_x(SIGN[side] * 7.0) @ rot_y(-(2.0 + 22.0 * swing))
            figure.arm(side, upper, elbow_deg=24.0 + 12.0 * swing, wrist_deg=6.0)

    def _foot(self, s: float, side: int) -> tuple[Array, Array]:
        """Ankle position and orientation of a foot when the body has come `s` metres."""
        cycles = s / self.stride + (0.25 if side == 0 else 0.75)
        number, share = math.floor(cycles), cycles - math.floor(cycles)
        if share < _STANCE:
            return self._standing(number, share, side)
        start, start_foot = self._standing(number, _STANCE, side)
        end, end_foot = self._standing(number + 1, 0.0, side)
        x = (share - _STANCE) / (1.0 - _STANCE)
        e = ease(x)
        ankle = start + (end - start) * e
        ankle[2] += 0.055 * self.lengths.height * math.sin(math.pi * x) ** 2 * (1.0 - 0.6 * x)
        pitch = _LEAVING_DEG + (_LANDING_DEG - _LEAVING_DEG) * ease(min(1.0, x * 1.25))
        heading = self._heading(number, side) + (self._heading(number + 1, side) - self._heading(number, side)) * e
        del start_foot, end_foot
        return ankle, rot_z(heading) @ rot_y(pitch)

    def _standing(self, number: int, share: float, side: int) -> tuple[Array, Array]:
        """The same while the foot touches the floor, `share` (0.._STANCE) of the cycle after landing."""
        flat, heading = self._footprint(number, side)
        turn = rot_z(heading)
        if share < _FLAT:
            foot = turn @ rot_y(_LANDING_DEG * (1.0 - ease(share / _FLAT)))
            contact = self.heel
        elif share < _HEEL_OFF:
            return flat, turn
        else:
            foot = turn @ rot_y(_LEAVING_DEG * ease(0.5 * (share - _HEEL_OFF) / (_STANCE - _HEEL_OFF)) * 2.0)
            contact = self.toe
        return flat + turn @ contact - foot @ contact, foot

    def _footprint(self, number: int, side: int) -> tuple[Array, float]:
        """Ankle of a flat foot and its heading, for one stance: under the body in the middle of it."""
        s = (number + 0.5 * _STANCE - (0.25 if side == 0 else 0.75)) * self.stride
        spot, heading = self.path.smooth(s)
        left = rot_z(heading)[:, 1]
        ankle = np.array([*spot, 0.0]) + left * (SIGN[side] * self.half)
        ankle[2] = self.lengths.foot_height
        return ankle, heading + SIGN[side] * 6.0

    def _heading(self, number: int, side: int) -> float:
        return self._footprint(number, side)[1]
