"""Squat, lunge, deadlift, wall sit: feet planted, pelvis placed so that a knee or hip has its angle and the body its balance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import LEFT, RIGHT, SIDES, SIGN, Segment
from pose_analyzer.synthetic.kinematics import Figure, arm_length, leg_length
from pose_analyzer.synthetic.motions.base import (
    Moment,
    Program,
    hang_arm,
    plant_leg,
    solve,
    stance,
    stand_on,
    trunk_rotations,
)
from pose_analyzer.synthetic.rotations import hanging, rot_x, rot_y

Array = NDArray[np.float64]

# Winter, table 4.1: mass of head, arms and trunk, and how far up from hip to shoulder its centre lies.
_UPPER_MASS, _UPPER_CENTRE = 0.678, 0.626
_FOOT_MASS, _SHANK_MASS, _THIGH_MASS = 0.0145, 0.0465, 0.100
_ARMS_MASS = 0.100


class Squat(Program):
    """Both knees bend to `lead_deg`; the arms rise to the front; the trunk leans until the weight is over the middle of the feet."""

    standing_deg, shank_share = 3.0, 0.27
    """How far the shank leans forward: when standing, and per degree of the knee's flexion (the rest tilts the thigh)."""

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        d, faults, share = self.lengths, moment.faults, moment.share
        knees = self.lead_deg(moment, LEFT), self.lead_deg(moment, RIGHT)
        arms = 88.0 * min(1.0, 1.6 * moment.u)
        lean, x = self._balanced(sum(knees) / 2, faults.forward_lean_deg * share, arms)
        ankles = stance(d, 0.088 * d.height)
        trunk = trunk_rotations(lean, faults.rounded_back_deg * share, d)
        head = self.head(moment.time_s, 0.30 * lean)
        if knees[0] == knees[1]:
            stand_on(figure, ankles, x=x, knee_deg=knees[0], trunk=trunk, head=head)
        else:
            z, roll = self._tilted(knees, ankles, x)
            pelvis = rot_x(roll) @ trunk[0]
            figure.place_trunk(np.array([x, 0.0, z]), pelvis, abdomen=rot_x(roll / 2) @ trunk[1], thorax=trunk[2], head=head)
        for side in SIDES:
            plant_leg(figure, side, ankles[side], 16.0, faults.knee_valgus_deg * share)
            self._arm(figure, side, arms)

    def _arm(self, figure: Figure, side: int, raised_deg: float) -> None:
        c, s = math.cos(math.radians(raised_deg)), math.sin(math.radians(raised_deg))
        outwards = SIGN[side] * (0.12 - 0.08 * s)
        upper = hanging(np.array([s, outwards, -c]), np.array([c, 0.0, s]))
        figure.arm(side, upper, elbow_deg=10.0, pronation_deg=75.0 * s)

    def _balanced(self, knee_deg: float, extra_lean_deg: float, arms_deg: float) -> tuple[float, float]:
        """Lean of the trunk (degrees) and place of the hips (metres, along x from the ankles) that keep the balance."""
        d = self.lengths
        over = 0.028 * d.height
        upper = _UPPER_CENTRE * d.trunk
        arms = _ARMS_MASS * 0.40 * (d.arm + 0.5 * d.hand) * math.sin(math.radians(arms_deg))

        def place(shank_deg: float) -> tuple[float, float]:
            """Hips' x, and moment of everything but the leaning trunk, for a lean of the shank."""
            knee = d.shank * math.sin(math.radians(shank_deg))
            thigh = d.thigh * math.sin(math.radians(knee_deg - shank_deg))
            hip = knee - thigh
            legs = 2 * (_FOOT_MASS * 0.038 * d.height + _SHANK_MASS * 0.567 * knee + _THIGH_MASS * (hip + 0.433 * thigh))
            return hip, legs + _UPPER_MASS * hip + arms

        upright = self.standing_deg + self.shank_share * knee_deg
        hip, rest = place(upright)
        sine = (over - rest) / (_UPPER_MASS * upper)
        lean = math.degrees(math.asin(max(-0.3, min(sine, 0.94))))
        if extra_lean_deg == 0.0:
            return lean, hip
        lean = min(lean + extra_lean_deg, 88.0)
        wanted = over - _UPPER_MASS * upper * math.sin(math.radians(lean))
        shank = solve(lambda a: place(a)[1], wanted, -25.0, upright)
        return lean, place(shank)[0]

    def _tilted(self, knees: tuple[float, float], ankles: tuple[Array, Array], x: float) -> tuple[float, float]:
        """Height and roll (degrees) of a pelvis whose two hips lie at different distances from their ankles."""
        d = self.lengths
        lengths = [leg_length(d, k) for k in knees]

        def miss(z: float, roll: float) -> list[float]:
            out = []
            for side in SIDES:
                y = SIGN[side] * d.hip_half * math.cos(roll)
                dz = z + SIGN[side] * d.hip_half * math.sin(roll)
                ax, ay, az = ankles[side].tolist()
                out.append(math.sqrt((x - ax) ** 2 + (y - ay) ** 2 + (dz - az) ** 2) - lengths[side])
            return out

        z, roll = d.foot_height + sum(lengths) / 2, 0.0
        for _ in range(12):
            f = miss(z, roll)
            if max(abs(f[0]), abs(f[1])) < 1e-12:
                break
            e = 1e-6
            fz, fr = miss(z + e, roll), miss(z, roll + e)
            jacobian = np.array([[(fz[i] - f[i]) / e, (fr[i] - f[i]) / e] for i in range(2)])
            step = np.linalg.solve(jacobian, np.array(f))
            z, roll = z - float(step[0]), roll - float(step[1])
        return z, math.degrees(roll)


class Lunge(Program):
    """Split lunge: the front knee bends to `lead_deg` over a planted foot, the rear foot stands on its toes.

    With side "alternating" each repetition steps out from standing and back: up to `step` of the progress is the step, the
    rest the lowering, in which the front knee goes from rest to its depth.
    """

    step = 0.4

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        front = LEFT if moment.side == "left" else RIGHT
        stepping = self.motion.side == "alternating"
        u = moment.u
        stepped, lowered = (min(u / self.step, 1.0), max((u - self.step) / (1.0 - self.step), 0.0)) if stepping else (1.0, u)
        self._pose(figure, moment, front, stepped, lowered)

    def _pose(self, figure: Figure, moment: Moment, front: int, stepped: float, lowered: float) -> None:
        d, h, share = self.lengths, self.lengths.height, moment.share
        knee = (4.0 + stepped * (self.rest_deg - 4.0)) + lowered * (self.depth_deg - self.rest_deg)
        half = 0.062 * h
        swing = 4.0 * stepped * (1.0 - stepped)
        front_ankle = np.array([0.24 * h * stepped, SIGN[front] * half, d.foot_height + 0.05 * h * swing])
        # The rear foot starts flat beside the other one and then stands on its toes, which stay where they are.
        toe_local = np.array([d.foot_length - d.heel_back, 0.0, -d.foot_height])
        heel_up = stepped * (26.0 + 34.0 * lowered)
        rear_foot = rot_y(heel_up)
        toe = np.array([toe_local[0] - 0.27 * h * stepped, -SIGN[front] * half, 0.0])
        rear_ankle = toe - rear_foot @ toe_local
        lean = 2.0 + 5.0 * lowered + moment.faults.forward_lean_deg * share
        trunk = trunk_rotations(lean, moment.faults.rounded_back_deg * share, d)
        x = 0.015 * h - 0.01 * h * stepped
        aside = half - d.hip_half
        z = d.foot_height + math.sqrt(leg_length(d, knee) ** 2 - aside**2 - (float(front_ankle[0]) - x) ** 2)
        if stepped < 1.0:
            z = min(z, float(rear_ankle[2]) + math.sqrt(leg_length(d, 4.0) ** 2 - aside**2 - (float(rear_ankle[0]) - x) ** 2))
        figure.place_trunk(np.array([x, 0.0, z]), trunk[0], abdomen=trunk[1], thorax=trunk[2], head=self.head(moment.time_s, 3.0))
        plant_leg(figure, front, front_ankle, 4.0, moment.faults.knee_valgus_deg * share)
        rear = 1 - front
        figure.leg_to(rear, rear_ankle, rear_foot, np.array([1.0, 0.0, -0.3]))
        for side in SIDES:
            self._hand_on_hip(figure, side)

    def _hand_on_hip(self, figure: Figure, side: int) -> None:
        h = self.lengths.height
        pelvis = figure.rotation[Segment.PELVIS]
        wrist = figure.point(Segment.PELVIS, np.array([0.012 * h, SIGN[side] * 0.112 * h, 0.066 * h]))
        figure.arm_to(side, wrist, -0.55 * pelvis[:, 0] + SIGN[side] * pelvis[:, 1], pronation_deg=20.0)
        figure.turn_hand(side, hanging(np.array([0.75, -SIGN[side] * 0.35, -0.55]), np.array([0.3, 0.0, 1.0])))


class Deadlift(Program):
    """The hips hinge until the left hip has `lead_deg`; straight arms carry a bar that goes straight up and down."""

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        d, faults, share = self.lengths, moment.faults, moment.share
        hip_deg = self.lead_deg(moment)
        knee = 5.0 + 0.56 * max(hip_deg - self.rest_deg, 0.0)
        ankles = stance(d, 0.062 * d.height)
        head = self.head(moment.time_s, 0.0)

        def stand(lean: float) -> float:
            trunk = trunk_rotations(lean, faults.rounded_back_deg * share, d)
            stand_on(figure, ankles, x=self._hips_x(lean, knee), knee_deg=knee, trunk=trunk, head=rot_y(0.55 * lean) @ head)
            plant_leg(figure, LEFT, ankles[LEFT], 12.0, faults.knee_valgus_deg * share)
            return _hip_flexion_deg(figure)

        stand(solve(stand, hip_deg, 1.0, 100.0))
        plant_leg(figure, RIGHT, ankles[RIGHT], 12.0, faults.knee_valgus_deg * share)
        self._hold_bar(figure)

    def _hips_x(self, lean: float, knee: float) -> float:
        """Hips so far back that trunk and legs balance over the feet (arms and bar hang over them anyway)."""
        d = self.lengths
        upper = (_UPPER_MASS - _ARMS_MASS) * 0.60 * d.trunk * math.sin(math.radians(lean))
        over = 0.036 * d.height - _ARMS_MASS * 0.055 * d.height
        # Legs: their centre lies about half way between the ankles and the hips.
        return (over - upper) / (_UPPER_MASS - _ARMS_MASS + 0.5 * 2 * (_SHANK_MASS + _THIGH_MASS) * (1.0 - knee / 180.0))

    def _hold_bar(self, figure: Figure) -> None:
        d, h = self.lengths, self.lengths.height
        wrists = []
        for side in SIDES:
            shoulder = figure.joint("shoulder", side)
            ahead = 0.056 * h - float(shoulder[0])
            aside = 0.125 * h - abs(float(shoulder[1]))
            down = math.sqrt(arm_length(d, 4.0) ** 2 - ahead**2 - aside**2)
            wrist = shoulder + np.array([ahead, SIGN[side] * aside, -down])
            figure.arm_to(side, wrist, np.array([-1.0, SIGN[side] * 0.5, 0.0]))
            figure.turn_hand(side, hanging(np.array([0.10, 0.0, -1.0]), np.array([0.0, -SIGN[side], 0.0])))
            wrists.append(figure.point(Segment.LEFT_HAND + side, np.array([0.0, 0.0, -0.045 * h])))
        figure.place_equipment((wrists[0] + wrists[1]) / 2, np.eye(3))


class WallSit(Program):
    """The back slides down a wall (at x = -0.07 of stature) until the knees have `lead_deg`, and stays there."""

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        d, faults = self.lengths, moment.faults
        # With the thigh level at 90 degrees the shank is upright: the feet stand a thigh's length before the hips.
        ankles = stance(d, 0.068 * d.height, x=d.thigh)
        trunk = trunk_rotations(0.0, faults.rounded_back_deg * moment.share, d)
        stand_on(figure, ankles, x=0.0, knee_deg=self.lead_deg(moment), trunk=trunk, head=self.head(moment.time_s, 2.0))
        for side in SIDES:
            plant_leg(figure, side, ankles[side], 7.0, faults.knee_valgus_deg * moment.share)
            hang_arm(figure, side, flexion_deg=8.0, abduction_deg=12.0, elbow_deg=18.0)


def _hip_flexion_deg(figure: Figure) -> float:
    """Of the left hip, between trunk (same-side shoulder to hip) and thigh."""
    trunk = figure.joint("hip") - figure.joint("shoulder")
    thigh = figure.joint("knee") - figure.joint("hip")
    return math.degrees(math.acos(max(-1.0, min(1.0, float(trunk @ thigh) / math.sqrt(float(trunk @ trunk) * float(thigh @ thigh))))))
