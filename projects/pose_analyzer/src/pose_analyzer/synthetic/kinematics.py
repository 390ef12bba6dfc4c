"""Forward kinematics: joint rotations to the position and orientation of every segment.

`Figure` is one body in one posture. Its builders go outwards from the pelvis (`place_trunk`, then limbs by angles or by
where hand and foot shall be), so that every bone keeps its length whatever the posture. Frames (columns of `rotation`): x
forward, y to the person's left, z up when standing at attention with arms hanging and palms to the thighs; limbs
therefore point along -z from their origin, which is the joint at the end nearer to the trunk:

| segment | origin | ends at |
|---|---|---|
| pelvis, abdomen, thorax | between the hip joints, waist, lower chest | waist, lower chest, shoulder line (+z) |
| neck, head | shoulder line, joint of skull and neck | skull, top of the head (+z) |
| clavicle | inner end | shoulder joint (+y left, -y right) |
| upper arm, forearm, hand | shoulder, elbow, wrist | elbow, wrist, finger tips (-z) |
| thigh, shank | hip, knee | knee, ankle (-z) |
| foot | ankle | sole at -z, toes at +x |

Hinges turn around y: knee flexion brings the shank back, elbow flexion brings the forearm forward; 0 degrees is straight.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import LEFT, SIDES, SIGN, Dimensions, Segment, mass_points, paired
from pose_analyzer.synthetic.rotations import cross, hanging, middle_joint, norm, reach, rot_x, rot_y, rot_z, unit

Array = NDArray[np.float64]

FORWARD, LEFTWARD, UP = np.eye(3)


class Figure:
    """The frames of one body's segments in the world; built once per posture, then only read.

    Args:
        lengths: The body's dimensions.

    Attributes:
        rotation: (segments, 3, 3), columns are the segment's axes in the world.
        origin: (segments, 3) metres in the world.

    Example:
        >>> from pose_analyzer.synthetic.anthropometry import dimensions
        >>> from pose_analyzer.synthetic.spec import BodySpec
        >>> figure = Figure(dimensions(BodySpec(height_m=1.8)))
        >>> figure.stand()
        >>> figure.joint("knee", LEFT).round(3).tolist()
        [0.0, 0.088, 0.535]
    """

    __slots__ = ("lengths", "origin", "rotation")

    def __init__(self, lengths: Dimensions) -> None:
        self.lengths = lengths
        self.rotation = np.tile(np.eye(3), (len(Segment), 1, 1))
        self.origin = np.zeros((len(Segment), 3))

    # --- reading ----------------------------------------------------------------------------------
    def point(self, segment: int, offset: Array) -> Array:
        """(3,) world position of a point given in a segment's frame."""
        return self.origin[segment] + self.rotation[segment] @ offset

    def points(self, segments: NDArray[np.intp], offsets: Array) -> Array:
        """(n, 3) world positions of n points given in segments' frames."""
        return self.origin[segments] + np.einsum("nij,nj->ni", self.rotation[segments], offsets)

    def joint(self, name: str, side: int = LEFT) -> Array:
        """(3,) world position of a joint centre: shoulder, elbow, wrist, hip, knee, ankle, mid_hip or mid_shoulder."""
        if name == "mid_hip":
            return self.origin[Segment.PELVIS].copy()
        if name == "mid_shoulder":
            return self.origin[Segment.NECK].copy()
        return self.origin[_JOINT_ORIGIN[name] + side].copy()

    def centre_of_mass(self) -> Array:
        """(3,) metres; segment masses of Winter's table 4.1."""
        segments, centres, share = mass_points(self.lengths)
        return share @ self.points(segments, centres)

    # --- building ---------------------------------------------------------------------------------
    def stand(self) -> None:
        """At attention, arms hanging, feet under the hips, heading 0, between the feet at the world's origin."""
        self.place_trunk(np.array([0.0, 0.0, self.lengths.foot_height + self.lengths.leg]), np.eye(3))
        for side in SIDES:
            self.arm(side, np.eye(3))
            self.leg(side, np.eye(3))

    def place_trunk(
        self, mid_hip: Array, pelvis: Array, *, abdomen: Array | None = None, thorax: Array | None = None, head: Array | None = None
    ) -> None:
        """Pelvis to head, with the clavicles level.

        Args:
            mid_hip: (3,) world position between the hip joints.
            pelvis: (3, 3) orientation in the world.
            abdomen: The same; default as the pelvis.
            thorax: The same; default as the abdomen.
            head: The same; default as the thorax. The neck turns half of the way.
        """
        d, r, p = self.lengths, self.rotation, self.origin
        abdomen = pelvis if abdomen is None else abdomen
        thorax = abdomen if thorax is None else thorax
        head = thorax if head is None else head
        neck = _halfway(thorax, head)
        p[Segment.PELVIS] = mid_hip
        p[Segment.ABDOMEN] = mid_hip + pelvis[:, 2] * d.pelvis
        p[Segment.THORAX] = p[Segment.ABDOMEN] + abdomen[:, 2] * d.abdomen
        p[Segment.NECK] = p[Segment.THORAX] + thorax[:, 2] * d.thorax
        p[Segment.HEAD] = p[Segment.NECK] + neck[:, 2] * d.neck
        for segment, matrix in zip(range(5), (pelvis, abdomen, thorax, neck, head), strict=True):
            r[segment] = matrix
        for side in SIDES:
            p[Segment.LEFT_THIGH + side] = mid_hip + pelvis[:, 1] * (SIGN[side] * d.hip_half)
            self.raise_shoulder(side, 0.0)

    def raise_shoulder(self, side: int, elevation_deg: float, protraction_deg: float = 0.0) -> None:
        """Turns the clavicle up (and forward) around its inner end; call it before the arm is placed."""
        d, thorax = self.lengths, self.rotation[Segment.THORAX]
        clavicle = paired(Segment.LEFT_CLAVICLE, side)
        self.origin[clavicle] = self.origin[Segment.NECK] + thorax[:, 1] * (SIGN[side] * d.clavicle_root)
        self.rotation[clavicle] = thorax @ rot_z(-SIGN[side] * protraction_deg) @ rot_x(SIGN[side] * elevation_deg)
        outwards = self.rotation[clavicle][:, 1] * SIGN[side]
        self.origin[Segment.LEFT_UPPER_ARM + side] = self.origin[clavicle] + outwards * d.clavicle

    def arm(self, side: int, upper: Array, *, elbow_deg: float = 0.0, pronation_deg: float = 0.0, wrist_deg: float = 0.0) -> None:
        """An arm by angles.

        Args:
            side: LEFT or RIGHT.
            upper: (3, 3) orientation of the upper arm in the world.
            elbow_deg: Flexion, 0 = straight.
            pronation_deg: 0 = palm towards the body when hanging; positive turns the palm back, -90 is full supination.
            wrist_deg: Flexion towards the palm.
        """
        d, r, p = self.lengths, self.rotation, self.origin
        upper_arm, forearm, hand = (paired(s, side) for s in (Segment.LEFT_UPPER_ARM, Segment.LEFT_FOREARM, Segment.LEFT_HAND))
        r[upper_arm] = upper
        p[forearm] = p[upper_arm] - upper[:, 2] * d.upper_arm
        r[forearm] = upper @ rot_y(-elbow_deg)
        p[hand] = p[forearm] - r[forearm][:, 2] * d.forearm
        # The left palm faces -y when hanging: flexing the wrist towards it turns -z to -y, around -x.
        r[hand] = r[forearm] @ rot_z(-SIGN[side] * pronation_deg) @ rot_x(-SIGN[side] * wrist_deg)

    def arm_to(self, side: int, wrist: Array, pole: Array, *, pronation_deg: float = 0.0, wrist_deg: float = 0.0) -> None:
        """An arm whose wrist lies at a (3,) world point, the elbow pointing towards `pole`."""
        d, shoulder = self.lengths, self.origin[Segment.LEFT_UPPER_ARM + side]
        elbow = middle_joint(shoulder, wrist, d.upper_arm, d.forearm, pole)
        # The forearm's direction is the way that elbow flexion goes.
        upper = hanging(elbow - shoulder, wrist - elbow)
        self.arm(side, upper, elbow_deg=_flexion_deg(elbow - shoulder, wrist - elbow), pronation_deg=pronation_deg, wrist_deg=wrist_deg)

    def turn_hand(self, side: int, rotation: Array) -> None:
        """Sets the hand's orientation in the world, wrist in place."""
        self.rotation[Segment.LEFT_HAND + side] = rotation

    def leg(self, side: int, thigh: Array, *, knee_deg: float = 0.0, ankle_deg: float = 0.0) -> None:
        """A leg by angles: orientation of the thigh in the world, knee flexion, ankle dorsiflexion (0 = foot square to the shank)."""
        d, r, p = self.lengths, self.rotation, self.origin
        thigh_s, shank, foot = (paired(s, side) for s in (Segment.LEFT_THIGH, Segment.LEFT_SHANK, Segment.LEFT_FOOT))
        r[thigh_s] = thigh
        p[shank] = p[thigh_s] - thigh[:, 2] * d.thigh
        r[shank] = thigh @ rot_y(knee_deg)
        p[foot] = p[shank] - r[shank][:, 2] * d.shank
        r[foot] = r[shank] @ rot_y(-ankle_deg)

    def leg_to(self, side: int, ankle: Array, foot: Array, pole: Array) -> None:
        """A leg whose ankle lies at a (3,) world point, with the foot's orientation given and the knee towards `pole`."""
        d, hip = self.lengths, self.origin[Segment.LEFT_THIGH + side]
        knee = middle_joint(hip, ankle, d.thigh, d.shank, pole)
        # Knee flexion takes the shank away from the side to which the knee points.
        thigh = hanging(knee - hip, knee - ankle)
        self.leg(side, thigh, knee_deg=_flexion_deg(knee - hip, ankle - knee))
        self.rotation[Segment.LEFT_FOOT + side] = foot

    def place_equipment(self, origin: Array, rotation: Array) -> None:
        """Where a thing held by both hands is."""
        self.origin[Segment.EQUIPMENT] = origin
        self.rotation[Segment.EQUIPMENT] = rotation

    def move(self, heading_deg: float, offset: Array) -> None:
        """Turns the whole figure around the world's vertical, then shifts it."""
        turn = rot_z(heading_deg)
        self.rotation = turn @ self.rotation
        self.origin = self.origin @ turn.T + offset


def leg_length(lengths: Dimensions, knee_deg: float) -> float:
    """Hip joint to ankle joint at a knee flexion, metres."""
    return reach(lengths.thigh, lengths.shank, knee_deg)


def arm_length(lengths: Dimensions, elbow_deg: float) -> float:
    """Shoulder joint to wrist at an elbow flexion, metres."""
    return reach(lengths.upper_arm, lengths.forearm, elbow_deg)


_JOINT_ORIGIN = {
    "shoulder": Segment.LEFT_UPPER_ARM,
    "elbow": Segment.LEFT_FOREARM,
    "wrist": Segment.LEFT_HAND,
    "hip": Segment.LEFT_THIGH,
    "knee": Segment.LEFT_SHANK,
    "ankle": Segment.LEFT_FOOT,
}


def _flexion_deg(first: Array, second: Array) -> float:
    return math.degrees(math.atan2(norm(cross(first, second)), float(first @ second)))


def _halfway(first: Array, second: Array) -> Array:
    """A rotation between two that lie less than a half turn apart: the mean matrix, made orthonormal again."""
    z = unit(first[:, 2] + second[:, 2])
    x = first[:, 0] + second[:, 0]
    x = unit(x - float(x @ z) * z)
    return np.stack([x, cross(z, x), z], axis=1)
