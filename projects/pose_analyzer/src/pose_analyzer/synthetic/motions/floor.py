"""Push-up, plank, sit-up, pull-up: hands, elbows or hips rest on floor or bar, and the body moves about them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import SIDES, SIGN, Dimensions, Segment
from pose_analyzer.synthetic.kinematics import Figure, arm_length, leg_length
from pose_analyzer.synthetic.motion_spec import MotionSpec
from pose_analyzer.synthetic.motions.base import Moment, Program, solve, trunk_rotations
from pose_analyzer.synthetic.rotations import hanging, rot_x, rot_y

Array = NDArray[np.float64]

_FLAT_HANDS = tuple(
    # Fingers forward (+x), palm down: the left palm faces -y of its frame, the right one +y.
    np.array([[0.0, 0.0, -1.0], [-sign, 0.0, 0.0], [0.0, sign, 0.0]])
    for sign in SIGN
)


def _toe(lengths: Dimensions) -> Array:
    """Where the shoe's tip touches the floor, in the foot's frame."""
    return np.array([lengths.foot_length - lengths.heel_back + 0.004 * lengths.height, 0.0, 0.020 * lengths.height - lengths.foot_height])


class PushUp(Program):
    """A straight body turns about its toes over planted hands; the elbows bend to `lead_deg`."""

    toes_back = 0.46
    dorsiflexion_deg = 14.0

    def __init__(self, lengths: Dimensions, motion: MotionSpec, seed: int) -> None:
        super().__init__(lengths, motion, seed)
        h = lengths.height
        self.toe = np.array([-self.toes_back * h, 0.0, 0.0])
        # The shoulders seen from the toes in a body that lies level, face down: a lever of fixed length and offset.
        foot = rot_y(90.0) @ rot_y(-self.dorsiflexion_deg)
        ankle = -(foot @ _toe(lengths))
        shoulder = ankle + np.array([lengths.leg + lengths.trunk, 0.0, 0.0])
        self.lever = math.hypot(float(shoulder[0]), float(shoulder[2]))
        self.lever_deg = math.degrees(math.atan2(float(shoulder[2]), float(shoulder[0])))
        self.hand_half = 0.128 * h
        self.wrist_z = 0.030 * h
        top = math.asin((self.wrist_z + self._height(self.rest_deg)) / self.lever)
        # Wrists a little nearer to the feet than the shoulders when the arms are straight.
        self.wrist_x = float(self.toe[0]) + self.lever * math.cos(top) - 0.015 * h

    def _height(self, elbow_deg: float) -> float:
        """Shoulder to wrist in the plane of movement."""
        aside = self.hand_half - self.lengths.shoulder_half
        return math.sqrt(arm_length(self.lengths, elbow_deg) ** 2 - aside**2)

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        rise = self._rise_deg(self._height(self.lead_deg(moment)))
        trunk = trunk_rotations(90.0 - rise, moment.faults.rounded_back_deg * moment.share, self.lengths)
        straight = rot_y(90.0 - rise)
        foot = straight @ rot_y(-self.dorsiflexion_deg)
        ankle = self.toe - foot @ _toe(self.lengths)
        hips = ankle + straight[:, 2] * self.lengths.leg
        head = straight @ self.head(moment.time_s, -16.0)
        figure.place_trunk(hips, trunk[0], abdomen=trunk[1], thorax=trunk[2], head=head)
        for side in SIDES:
            figure.leg(side, straight, ankle_deg=self.dorsiflexion_deg)
            wrist = np.array([self.wrist_x, SIGN[side] * self.hand_half, self.wrist_z])
            figure.arm_to(side, wrist, np.array([-0.75, SIGN[side] * 0.62, 0.25]))
            figure.turn_hand(side, _FLAT_HANDS[side])

    def _rise_deg(self, shoulder_to_wrist: float) -> float:
        """Slope of the body at which the shoulders are that far from the wrists: two circles meet."""
        dx, dz = self.wrist_x - float(self.toe[0]), self.wrist_z
        base = math.hypot(dx, dz)
        cosine = (self.lever**2 + base**2 - shoulder_to_wrist**2) / (2 * self.lever * base)
        angle = math.degrees(math.atan2(dz, dx)) + math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
        return angle - self.lever_deg


class Plank(Program):
    """Forearms on the floor; the knees leave it until hips, shoulders and ankles are in line. Elbows at `lead_deg`."""

    def __init__(self, lengths: Dimensions, motion: MotionSpec, seed: int) -> None:
        super().__init__(lengths, motion, seed)
        h = lengths.height
        self.elbow_z = 0.030 * h
        self.foot = rot_y(76.0)
        self.toe = np.array([-0.46 * h, 0.0, 0.0])
        self.ankle = self.toe - self.foot @ _toe(lengths)
        self.half = lengths.shoulder_half
        # Where the shoulders are when everything is straight and the upper arms are upright.
        rise = self.elbow_z + lengths.upper_arm - float(self.ankle[2])
        self.shoulder_x = float(self.ankle[0]) + math.sqrt((lengths.leg + lengths.trunk - 0.002 * h) ** 2 - rise**2)

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        d = self.lengths
        # An elbow below 90 degrees means shoulders behind the elbows, which is how one comes up from the knees.
        back = math.radians(90.0 - self.lead_deg(moment))
        shoulder = np.array([self.shoulder_x - d.upper_arm * math.sin(back), 0.0, self.elbow_z + d.upper_arm * math.cos(back)])
        line = shoulder - self.ankle
        up = min(max(moment.u, 0.0), 1.0)
        lean = 90.0 - math.degrees(math.atan2(float(line[2]), float(line[0]))) + 7.0 * (1.0 - up)
        trunk = trunk_rotations(lean, moment.faults.rounded_back_deg * moment.share, d)
        direction = rot_y(lean)[:, 2]
        hips = shoulder - direction * d.trunk
        head = rot_y(lean) @ self.head(moment.time_s, -14.0)
        figure.place_trunk(hips, trunk[0], abdomen=trunk[1], thorax=trunk[2], head=head)
        for side in SIDES:
            ankle = self.ankle + np.array([0.0, SIGN[side] * d.hip_half, 0.0])
            figure.leg_to(side, ankle, self.foot, np.array([0.0, 0.0, -1.0]))
            self._arm(figure, side)

    def _arm(self, figure: Figure, side: int) -> None:
        elbow = np.array([self.shoulder_x, SIGN[side] * self.half, self.elbow_z])
        shoulder = figure.joint("shoulder", side)
        upper = hanging(elbow - shoulder, np.array([1.0, 0.0, 0.0]))
        angle = math.degrees(math.atan2(-float(upper[0, 2]), float(upper[2, 2])))
        figure.arm(side, upper, elbow_deg=90.0 - angle)
        figure.turn_hand(side, _FLAT_HANDS[side])


class SitUp(Program):
    """Lying on the back with bent knees and planted feet, the trunk rises until the left hip has `lead_deg`.

    How far the hip is flexed at rest follows from lying flat, so that the range starts there and not at the exercise's
    nominal angle.
    """

    knee_deg = 84.0

    def __init__(self, lengths: Dimensions, motion: MotionSpec, seed: int) -> None:
        super().__init__(lengths, motion, seed)
        h = lengths.height
        self.hips = np.array([0.0, 0.0, 0.062 * h])
        drop = float(self.hips[2]) - lengths.foot_height
        self.ankle_x = math.sqrt(leg_length(lengths, self.knee_deg) ** 2 - drop**2)
        probe = Figure(lengths)
        self._trunk(probe, -90.0, 0.0, Moment(0.0))
        self.rest_deg = self._legs(probe)

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        curl = (24.0 + moment.faults.rounded_back_deg) * math.sin(math.pi * min(max(moment.u, 0.0), 1.0) ** 0.6 / 1.4)

        def rise(lean: float) -> float:
            self._trunk(figure, lean, curl, moment)
            return self._legs(figure)

        rise(solve(rise, self.lead_deg(moment), -90.0, 45.0))
        h = self.lengths.height
        for side in SIDES:
            wrist = figure.point(Segment.HEAD, np.array([0.000, SIGN[side] * 0.062 * h, 0.022 * h]))
            outwards = figure.rotation[Segment.THORAX] @ np.array([0.55, SIGN[side] * 1.0, -0.1])
            figure.arm_to(side, wrist, outwards)
            figure.turn_hand(
                side, figure.rotation[Segment.HEAD] @ hanging(np.array([-0.7, -SIGN[side] * 0.5, 0.2]), np.array([0.0, 0.0, 1.0]))
            )

    def _trunk(self, figure: Figure, lean: float, curl: float, moment: Moment) -> None:
        trunk = trunk_rotations(lean, curl, self.lengths)
        head = trunk[2] @ self.head(moment.time_s, 6.0 + 0.35 * curl)
        figure.place_trunk(self.hips, trunk[0], abdomen=trunk[1], thorax=trunk[2], head=head)

    def _legs(self, figure: Figure) -> float:
        d = self.lengths
        for side in SIDES:
            ankle = np.array([self.ankle_x, SIGN[side] * d.hip_half, d.foot_height])
            figure.leg_to(side, ankle, np.eye(3), np.array([0.3, 0.0, 1.0]))
        hip = figure.joint("hip")
        trunk, thigh = hip - figure.joint("shoulder"), figure.joint("knee") - hip
        return math.degrees(math.acos(max(-1.0, min(1.0, float(trunk @ thigh) / math.sqrt(float(trunk @ trunk) * float(thigh @ thigh))))))


class PullUp(Program):
    """Hanging from a bar, the elbows bend to `lead_deg` and lift the body; knees bent, feet off the floor."""

    def __init__(self, lengths: Dimensions, motion: MotionSpec, seed: int) -> None:
        super().__init__(lengths, motion, seed)
        h = lengths.height
        self.hand_half = 0.150 * h
        hang = arm_length(lengths, self.rest_deg) + lengths.trunk + lengths.thigh + 0.75 * lengths.shank
        self.wrist_z = hang + 0.16 * h
        self.bar_z = self.wrist_z + 0.048 * h

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; see the class."""
        d, h = self.lengths, self.lengths.height
        u = min(max(moment.u, 0.0), 1.1)
        lean = -3.0 - 9.0 * u
        trunk = trunk_rotations(lean, 0.0, d)
        head = self.head(moment.time_s, -6.0)
        figure.place_trunk(np.zeros(3), trunk[0], abdomen=trunk[1], thorax=trunk[2], head=head)
        for side in SIDES:
            figure.raise_shoulder(side, 20.0 - 14.0 * u)
        # Left and right are alike: the left shoulder says where the body has to be.
        shoulder = figure.joint("shoulder")
        behind = (0.012 + 0.075 * u) * h
        aside = self.hand_half - float(shoulder[1])
        below = math.sqrt(arm_length(d, self.lead_deg(moment)) ** 2 - behind**2 - aside**2)
        figure.origin += np.array([-behind - float(shoulder[0]), 0.0, self.wrist_z - below - float(shoulder[2])])
        for side in SIDES:
            wrist = np.array([0.0, SIGN[side] * self.hand_half, self.wrist_z])
            figure.arm_to(side, wrist, np.array([0.15, SIGN[side] * 0.8, -0.6]))
            figure.turn_hand(side, hanging(np.array([0.12, 0.0, 1.0]), np.array([0.0, -SIGN[side], 0.0])))
            figure.leg(side, rot_x(SIGN[side] * 2.0) @ rot_y(4.0 - 6.0 * u), knee_deg=52.0 + 18.0 * u, ankle_deg=-25.0)
        figure.place_equipment(np.array([0.006 * h, 0.0, self.bar_z]), np.eye(3))
