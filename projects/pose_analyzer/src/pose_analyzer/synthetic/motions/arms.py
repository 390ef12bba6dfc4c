"""Curls, overhead press, lateral raise, jumping jack: the arms work, the body stands or jumps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import SIDES, SIGN, Segment
from pose_analyzer.synthetic.kinematics import UP, Figure
from pose_analyzer.synthetic.motions.base import Moment, Program, grip, plant_leg, solve, stance, stand_on, stand_relaxed, trunk_rotations
from pose_analyzer.synthetic.rotations import hanging, rot_x, rot_y, rot_z

Array = NDArray[np.float64]


class Curl(Program):
    """Upper arms hang, elbows bend to `lead_deg`. Supinated hands (bicep curl) or thumbs up (hammer curl)."""

    pronation_deg = -85.0

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        stand_relaxed(self, figure, moment.time_s)
        thorax = figure.rotation[Segment.THORAX]
        for side in SIDES:
            elbow = self.lead_deg(moment, side)
            works = elbow != self.rest_deg
            forward = 4.0 + works * (moment.faults.elbow_drift_deg * moment.share + 6.0 * moment.u)
            upper = thorax @ rot_x(SIGN[side] * 9.0) @ rot_y(-forward)
            figure.arm(side, upper, elbow_deg=elbow, pronation_deg=self.pronation_deg)


class HammerCurl(Curl):
    """A curl with the thumbs up."""

    pronation_deg = 0.0


class OverheadPress(Program):
    """Forearms upright, the elbows stretch from beside the trunk to `lead_deg` overhead."""

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        stand_relaxed(self, figure, moment.time_s, lean_deg=-1.5)
        for side in SIDES:
            elbow = self.lead_deg(moment, side)
            done = min(max((self.rest_deg - elbow) / (self.rest_deg - min(self.depth_deg, 10.0)), 0.0), 1.0)
            figure.raise_shoulder(side, 3.0 + 16.0 * done)
            # Upright forearms: the upper arm then lies as far from the upright as the elbow is flexed, a little before the body.
            c, s = math.cos(math.radians(elbow)), math.sin(math.radians(elbow))
            upper = hanging(np.array([0.40 * s, SIGN[side] * 0.917 * s, c]), UP)
            figure.arm(side, upper, elbow_deg=elbow)
            grip(figure, side, np.array([0.0, -SIGN[side], 0.0]))


class LateralRaise(Program):
    """Nearly straight arms rise sideways until arm and trunk make `lead_deg`."""

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        stand_relaxed(self, figure, moment.time_s)
        for side in SIDES:
            raise_arm(figure, side, self.lead_deg(moment, side), elbow_deg=14.0, forward_deg=10.0, pronation_deg=10.0)


class JumpingJack(Program):
    """Feet jump apart and together while the arms swing sideways until arm and trunk make `lead_deg`."""

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        d, h, u = self.lengths, self.lengths.height, min(moment.u, 1.0)
        air = 0.035 * h * 4.0 * u * (1.0 - u)
        half = (0.052 + 0.150 * u) * h
        ankles = tuple(a + np.array([0.0, 0.0, air]) for a in stance(d, half))
        bend = 7.0 + 22.0 * (1.0 - min(1.0, abs(2.0 * u - 1.0) * 3.0)) * 0.25
        trunk = trunk_rotations(2.0, 0.0, d)
        stand_on(figure, (ankles[0], ankles[1]), x=0.016 * h, knee_deg=bend, trunk=trunk, head=self.head(moment.time_s, 2.0))
        for side in SIDES:
            plant_leg(figure, side, ankles[side], 12.0)
            raise_arm(figure, side, self.lead_deg(moment, side), elbow_deg=18.0, forward_deg=6.0)


def raise_arm(figure: Figure, side: int, elevation_deg: float, *, elbow_deg: float, forward_deg: float, pronation_deg: float = 0.0) -> None:
    """An arm raised sideways until it makes `elevation_deg` with the line from shoulder to hip of its side.

    The clavicle follows by a fifth of what goes beyond 30 degrees, and the upper arm turns outwards on its way up so that the
    elbow keeps bending inwards over the head.
    """
    thorax = figure.rotation[Segment.THORAX]

    def place(abduction: float) -> float:
        figure.raise_shoulder(side, 0.20 * max(abduction - 30.0, 0.0))
        forward = forward_deg * max(0.0, 1.0 - abduction / 180.0)
        # Turned outwards, elbow flexion changes from forwards (arm hanging) to upwards and inwards (arm overhead).
        outwards = min(max(abduction - 60.0, 0.0), 90.0)
        upper = thorax @ rot_x(SIGN[side] * abduction) @ rot_y(-forward) @ rot_z(SIGN[side] * outwards)
        figure.arm(side, upper, elbow_deg=elbow_deg, pronation_deg=pronation_deg, wrist_deg=4.0)
        shoulder = figure.joint("shoulder", side)
        arm, trunk = figure.joint("elbow", side) - shoulder, figure.joint("hip", side) - shoulder
        return math.degrees(math.acos(max(-1.0, min(1.0, float(arm @ trunk) / math.sqrt(float(arm @ arm) * float(trunk @ trunk))))))

    place(solve(place, elevation_deg, 0.0, 178.0))
