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
_FLAT, _UNDER, _HEEL_OFF = 0.09, 0.26, 0.32
_LANDING_DEG, _LEAVING_DEG = -17.0, 60.0
# Share of its cycle at which each foot is when the walk begins.
_START = (0.25, 0.75)


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
        # Stride length grows with about the root of speed (D. W. Grieve, R. J. Gear, *Ergonomics* 9, 1966).
        self.stride = 0.77 * lengths.height * math.sqrt(motion.speed_m_s / 1.35)
        self.duration_s = self.path.length_m / motion.speed_m_s
        self.half = 0.045 * lengths.height
        self.toe = np.array([lengths.foot_length - lengths.heel_back, 0.0, -lengths.foot_height])
        self.heel = np.array([-lengths.heel_back, 0.0, -lengths.foot_height])
        self.height = self._steady_height()

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        s = moment.time_s * self.motion.speed_m_s
        spot, heading = self.path.smooth(s)
        phase = 2.0 * math.pi * s / self.stride
        turn = rot_z(heading)
        feet = [self._foot(s, side, self.path) for side in SIDES]
        hips, pelvis = self._hips(s, spot, turn)
        hips[2] = min(self.height + self._bob(phase), self._highest(hips, pelvis, feet))
        thorax = turn @ rot_z(-4.0 * math.sin(phase)) @ rot_y(4.0)
        figure.place_trunk(hips, pelvis, thorax=thorax, head=turn @ self.head(moment.time_s, 4.0))
        for side, (ankle, foot) in zip(SIDES, feet, strict=True):
            figure.leg_to(side, ankle, foot, turn[:, 0] + 0.08 * SIGN[side] * turn[:, 1])
            swing = SIGN[side] * math.sin(phase)
            upper = figure.rotation[Segment.THORAX] @ rot_x(SIGN[side] * 7.0) @ rot_y(-(2.0 + 22.0 * swing))
            figure.arm(side, upper, elbow_deg=24.0 + 12.0 * swing, wrist_deg=6.0)

    def _hips(self, s: float, spot: Array, turn: Array) -> tuple[Array, Array]:
        """Middle of the hips (height to be filled in) and orientation of the pelvis: over the standing leg, the swinging side forward."""
        phase = 2.0 * math.pi * s / self.stride
        sideways = 0.012 * self.lengths.height * math.sin(phase - 0.4 * math.pi)
        pelvis = turn @ rot_z(5.0 * math.sin(phase)) @ rot_y(2.0)
        return np.array([*spot, 0.0]) + turn[:, 1] * sideways, pelvis

    def _bob(self, phase: float) -> float:
        """Lowest while both feet stand (just after each landing), highest over one leg."""
        return 0.011 * self.lengths.height * math.cos(2.0 * phase - 0.7)

    def _highest(self, hips: Array, pelvis: Array, feet: list[tuple[Array, Array]]) -> float:
        """Height at which the first of the legs is nearly straight."""
        reach = leg_length(self.lengths, 5.0)
        z = math.inf
        for side, (ankle, _) in zip(SIDES, feet, strict=True):
            gap = hips + pelvis[:, 1] * (SIGN[side] * self.lengths.hip_half) - ankle
            z = min(z, float(ankle[2]) + math.sqrt(max(reach**2 - float(gap[0] ** 2 + gap[1] ** 2), 0.01)))
        return z

    def _steady_height(self) -> float:
        """Mean height of the hips: as high as both legs allow over a whole cycle on a straight path."""
        straight = Path(((0.0, 0.0), (100.0, 0.0)))
        heights = []
        for share in np.linspace(0.0, 1.0, 80):
            s = (10.0 + float(share)) * self.stride
            spot, _ = straight.smooth(s)
            hips, pelvis = self._hips(s, spot, np.eye(3))
            feet = [self._foot(s, side, straight) for side in SIDES]
            heights.append(self._highest(hips, pelvis, feet) - self._bob(2.0 * math.pi * s / self.stride))
        return min(heights)

    def _foot(self, s: float, side: int, path: Path) -> tuple[Array, Array]:
        """Ankle position and orientation of a foot when the body has come `s` metres."""
        cycles = s / self.stride + _START[side]
        number, share = math.floor(cycles), cycles - math.floor(cycles)
        if share < _STANCE:
            return self._standing(number, share, side, path)
        start, _ = self._standing(number, _STANCE, side, path)
        end, _ = self._standing(number + 1, 0.0, side, path)
        x = (share - _STANCE) / (1.0 - _STANCE)
        # Leaves and arrives with some speed: a cubic with slopes 0.4 at its ends.
        e = x * x * (3.0 - 2.0 * x) + 0.4 * x * (1.0 - x) ** 2 - 0.4 * x * x * (1.0 - x)
        ankle = start + (end - start) * e
        ankle[2] += 0.050 * self.lengths.height * math.sin(math.pi * x) ** 1.25 * (1.0 - 0.55 * x)
        pitch = _LEAVING_DEG + (_LANDING_DEG - _LEAVING_DEG) * ease(min(1.0, x * 1.25))
        first, second = self._footprint(number, side, path)[1], self._footprint(number + 1, side, path)[1]
        return ankle, rot_z(first + (second - first) * e) @ rot_y(pitch)

    def _standing(self, number: int, share: float, side: int, path: Path) -> tuple[Array, Array]:
        """The same while the foot touches the floor, `share` (0.._STANCE) of the cycle after landing."""
        flat, heading = self._footprint(number, side, path)
        turn = rot_z(heading)
        if share < _FLAT:
            foot = turn @ rot_y(_LANDING_DEG * (1.0 - ease(share / _FLAT)))
            contact = self.heel
        elif share < _HEEL_OFF:
            return flat, turn
        else:
            # The first half of a minimum-jerk movement: the heel is still speeding up when the toe leaves.
            foot = turn @ rot_y(_LEAVING_DEG * 2.0 * ease(0.5 * (share - _HEEL_OFF) / (_STANCE - _HEEL_OFF)))
            contact = self.toe
        return flat + turn @ contact - foot @ contact, foot

    def _footprint(self, number: int, side: int, path: Path) -> tuple[Array, float]:
        """Ankle of a flat foot and its heading, for one stance: the body passes over it at `_UNDER` of the cycle."""
        s = (number + _UNDER - _START[side]) * self.stride
        spot, heading = path.smooth(s)
        left = rot_z(heading)[:, 1]
        ankle = np.array([*spot, 0.0]) + left * (SIGN[side] * self.half)
        ankle[2] = self.lengths.foot_height
        return ankle, heading + SIGN[side] * 6.0
