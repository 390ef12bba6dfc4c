"""Lengths and masses of a body: from height and a few proportions to every segment in metres and shares of mass.

Segment lengths are Drillis and Contini's fractions of stature (R. Drillis, R. Contini, *Body Segment Parameters*,
1966), as drawn in D. A. Winter, *Biomechanics and Motor Control of Human Movement*, 4th ed., figure 4.1. Two widths are
not taken from there, because the figure gives outer breadths and a skeleton needs joint centres:

- hip joint centres lie 14 % of the distance between the front iliac spines inwards of each (A. L. Bell et al., *J.
  Biomech.* 23, 1990): 0.0865 m to each side for a distance of 0.24 m, here 0.049 of stature;
- the centre of the shoulder joint lies about 2 to 3 cm inwards of the acromion (C. G. M. Meskers et al., *J. Biomech.*
  31, 1998): 0.102 of stature to each side for half of a biacromial breadth of 0.23.

Segment masses and centres of mass are Winter's table 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pose_analyzer.synthetic.spec import BodySpec


class Segment(IntEnum):
    """Rigid parts of the body, each with a frame: x forward, y to the person's left, z up when standing at attention."""

    PELVIS = 0
    ABDOMEN = 1
    THORAX = 2
    NECK = 3
    HEAD = 4
    LEFT_CLAVICLE = 5
    RIGHT_CLAVICLE = 6
    LEFT_UPPER_ARM = 7
    RIGHT_UPPER_ARM = 8
    LEFT_FOREARM = 9
    RIGHT_FOREARM = 10
    LEFT_HAND = 11
    RIGHT_HAND = 12
    LEFT_THIGH = 13
    RIGHT_THIGH = 14
    LEFT_SHANK = 15
    RIGHT_SHANK = 16
    LEFT_FOOT = 17
    RIGHT_FOOT = 18
    EQUIPMENT = 19


LEFT, RIGHT = 0, 1
SIDES = (LEFT, RIGHT)
SIGN = (1.0, -1.0)
"""Which way is outwards along y for the left and the right side."""


def paired(left_segment: Segment, side: int) -> Segment:
    """The segment of the given side, from its left twin."""
    return Segment(left_segment + side)


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Every length of one body, in metres. Origins: see `kinematics`.

    Args:
        height: Stature, barefoot.
        sole: Thickness of the shoe under the foot.
        foot_height: Ankle joint above the ground, sole included.
        shank, thigh: Ankle to knee, knee to hip joint.
        pelvis, abdomen, thorax: Hip line to waist, waist to lower chest, lower chest to the line of the shoulder joints.
        neck: Shoulder line to the joint of neck and skull.
        head: Joint of neck and skull to the top of the head.
        hip_half: Hip joint from the midline.
        clavicle_root, clavicle: Inner end of the clavicle from the midline, its length to the shoulder joint's centre.
        upper_arm, forearm, hand: Shoulder to elbow, to wrist, to the finger tips.
        foot_length, heel_back: Heel to toe, heel behind the ankle joint.
        girth: Factor on every radius of the body's shape.
    """

    height: float
    sole: float
    foot_height: float
    shank: float
    thigh: float
    pelvis: float
    abdomen: float
    thorax: float
    neck: float
    head: float
    hip_half: float
    clavicle_root: float
    clavicle: float
    upper_arm: float
    forearm: float
    hand: float
    foot_length: float
    heel_back: float
    girth: float

    @property
    def trunk(self) -> float:
        """Hip line to shoulder line, metres."""
        return self.pelvis + self.abdomen + self.thorax

    @property
    def leg(self) -> float:
        """Hip joint to ankle joint of a straight leg, metres."""
        return self.thigh + self.shank

    @property
    def arm(self) -> float:
        """Shoulder joint to wrist of a straight arm, metres."""
        return self.upper_arm + self.forearm

    @property
    def shoulder_half(self) -> float:
        """Shoulder joint from the midline, arms hanging, metres."""
        return self.clavicle_root + self.clavicle


def dimensions(body: BodySpec) -> Dimensions:
    """Segment lengths of a body.

    The proportions scale legs, trunk and head against each other; the sum is then brought back to `height_m`, so that
    the barefoot body is as tall as it says.

    Example:
        >>> from pose_analyzer.synthetic.spec import BodySpec
        >>> lengths = dimensions(BodySpec(height_m=1.8))
        >>> round(lengths.thigh, 4), round(lengths.shank, 4)  # 0.245 and 0.246 of stature
        (0.441, 0.4428)
        >>> long_legs = dimensions(BodySpec(height_m=1.8, leg_scale=1.1))
        >>> standing = long_legs.foot_height - long_legs.sole + long_legs.leg + long_legs.trunk + long_legs.neck + long_legs.head
        >>> round(standing, 9)
        1.8
    """
    legs = (0.246 + 0.245) * body.leg_scale
    trunk = 0.288 * body.trunk_scale
    h = body.height_m / (0.039 + legs + trunk + 0.182)
    return Dimensions(
        height=body.height_m,
        sole=0.012 * h,
        foot_height=(0.039 + 0.012) * h,
        shank=0.246 * body.leg_scale * h,
        thigh=0.245 * body.leg_scale * h,
        pelvis=0.075 * body.trunk_scale * h,
        abdomen=0.080 * body.trunk_scale * h,
        thorax=0.133 * body.trunk_scale * h,
        neck=0.080 * h,
        head=0.102 * h,
        hip_half=0.049 * body.hip_scale * h,
        clavicle_root=0.012 * body.shoulder_scale * h,
        clavicle=0.090 * body.shoulder_scale * h,
        upper_arm=0.186 * body.arm_scale * h,
        forearm=0.146 * body.arm_scale * h,
        hand=0.108 * body.arm_scale * h,
        foot_length=0.152 * h,
        heel_back=0.038 * h,
        girth=body.build,
    )


# Winter, table 4.1: share of body mass, and centre of mass as a share of the segment's length from its proximal end. The
# trunk's 0.497 is split over its three parts as in the same table (pelvis 0.142, abdomen 0.139, thorax 0.216).
_MASS = {
    Segment.PELVIS: 0.142,
    Segment.ABDOMEN: 0.139,
    Segment.THORAX: 0.216,
    Segment.HEAD: 0.081,
    Segment.LEFT_UPPER_ARM: 0.028,
    Segment.LEFT_FOREARM: 0.016,
    Segment.LEFT_HAND: 0.006,
    Segment.LEFT_THIGH: 0.100,
    Segment.LEFT_SHANK: 0.0465,
    Segment.LEFT_FOOT: 0.0145,
}


def mass_points(lengths: Dimensions) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Where the body's mass sits.

    Returns:
        Segments (m,), centres of mass in their frames (m, 3) metres, shares of body mass (m,) that sum to 1.

    Example:
        >>> from pose_analyzer.synthetic.spec import BodySpec
        >>> segments, centres, share = mass_points(dimensions(BodySpec()))
        >>> round(float(share.sum()), 9)
        1.0
    """
    centre = {
        Segment.PELVIS: (0.0, 0.0, 0.2 * lengths.pelvis),
        Segment.ABDOMEN: (0.0, 0.0, 0.5 * lengths.abdomen),
        Segment.THORAX: (0.0, 0.0, 0.55 * lengths.thorax),
        Segment.HEAD: (0.01, 0.0, 0.35 * lengths.head),
        Segment.LEFT_UPPER_ARM: (0.0, 0.0, -0.436 * lengths.upper_arm),
        Segment.LEFT_FOREARM: (0.0, 0.0, -0.430 * lengths.forearm),
        Segment.LEFT_HAND: (0.0, 0.0, -0.506 * lengths.hand),
        Segment.LEFT_THIGH: (0.0, 0.0, -0.433 * lengths.thigh),
        Segment.LEFT_SHANK: (0.0, 0.0, -0.433 * lengths.shank),
        Segment.LEFT_FOOT: (0.5 * lengths.foot_length - lengths.heel_back, 0.0, -0.6 * lengths.foot_height),
    }
    segments, centres, share = [], [], []
    for segment, mass in _MASS.items():
        for side in SIDES if segment >= Segment.LEFT_CLAVICLE else (LEFT,):
            segments.append(segment + side)
            centres.append(centre[segment])
            share.append(mass)
    weights = np.array(share)
    return np.array(segments, np.intp), np.array(centres), weights / weights.sum()
