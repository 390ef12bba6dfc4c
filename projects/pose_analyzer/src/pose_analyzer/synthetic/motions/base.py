"""What all motions share: the moment they are asked for, and the trunk, stance and arms that many of them use."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import SIDES, SIGN, Dimensions, Segment
from pose_analyzer.synthetic.kinematics import Figure, leg_length
from pose_analyzer.synthetic.motion_spec import FaultSpec, MotionSpec
from pose_analyzer.synthetic.rotations import hanging, rot_x, rot_y, rot_z, turned_about, unit

Array = NDArray[np.float64]


NO_FAULTS = FaultSpec()


@dataclass(frozen=True, slots=True)
class Moment:
    """What a motion is asked for.

    Args:
        time_s: Of the motion's own clock.
        u: Progress: 0 rest, 1 full depth.
        share: How large faults are now: 0 at rest, 1 at the attempt's turning point.
        side: "both", "left" or "right".
        faults: What goes wrong in this attempt.
    """

    time_s: float
    u: float = 0.0
    share: float = 0.0
    side: str = "both"
    faults: FaultSpec = NO_FAULTS


class Motion(Protocol):
    """A joint-angle program: puts a figure into its posture at a moment, facing +x at the origin."""

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure."""
        ...


class Program:
    """Base of the repetition programs: holds the body's lengths, the spec and the seed's small movements."""

    def __init__(self, lengths: Dimensions, motion: MotionSpec, seed: int) -> None:
        self.lengths = lengths
        self.motion = motion
        self.rest_deg, self.depth_deg = motion.depth_range_deg
        self._phases = np.random.default_rng((seed, 2)).uniform(0.0, 2.0 * math.pi, 8).tolist()

    def pose(self, figure: Figure, moment: Moment) -> None:
        """Fills the figure; each program has its own."""
        stand_relaxed(self, figure, moment.time_s)
        for side in SIDES:
            hang_arm(figure, side)

    def lead_deg(self, moment: Moment, side: int = 0) -> float:
        """Angle of the leading joint of a side."""
        if moment.side != "both" and side != ("left", "right").index(moment.side):
            return self.rest_deg
        angle = self.rest_deg + moment.u * (self.depth_deg - self.rest_deg)
        if side == 1:
            angle -= math.copysign(moment.faults.asymmetry_deg * moment.share, self.depth_deg - self.rest_deg)
        return angle

    def drift(self, time_s: float, index: int) -> float:
        """A slow small movement, -1..1, a different one for each index."""
        a, b = self._phases[index % 8], self._phases[(index + 3) % 8]
        return 0.6 * math.sin(2 * math.pi * 0.23 * time_s + a) + 0.4 * math.sin(2 * math.pi * 0.41 * time_s + b)

    def head(self, time_s: float, pitch_deg: float) -> Array:
        """A head that looks forward, tipped down by `pitch_deg`, and is never quite still."""
        return rot_z(4.0 * self.drift(time_s, 0)) @ rot_y(pitch_deg + 2.0 * self.drift(time_s, 1))


def trunk_rotations(lean_deg: float, round_deg: float, lengths: Dimensions) -> tuple[Array, Array, Array]:
    """Pelvis, abdomen and thorax of a trunk whose line from hips to shoulders leans exactly `lean_deg` forwards.

    Rounding turns the pelvis back and the thorax forward by half of `round_deg` each; the whole is then turned until the
    line has its lean.
    """
    half = round_deg / 2
    pitches = (-half, 0.0, half)
    parts = (lengths.pelvis, lengths.abdomen, lengths.thorax)
    x = sum(part * math.sin(math.radians(p)) for part, p in zip(parts, pitches, strict=True))
    z = sum(part * math.cos(math.radians(p)) for part, p in zip(parts, pitches, strict=True))
    offset = lean_deg - math.degrees(math.atan2(x, z))
    a, b, c = (rot_y(p + offset) for p in pitches)
    return a, b, c


def solve(function: Callable[[float], float], target: float, low: float, high: float, tolerance: float = 1e-9) -> float:
    """Where an increasing function takes a value: false position with bisection as its safety net.

    A target outside of the range gives the nearer end.

    Example:
        >>> round(solve(lambda x: x**3, 8.0, 0.0, 5.0), 6)
        2.0
    """
    f_low, f_high = function(low) - target, function(high) - target
    if f_low >= 0:
        return low
    if f_high <= 0:
        return high
    middle = low
    for i in range(60):
        middle = (low + high) / 2 if i % 3 == 2 else low - f_low * (high - low) / (f_high - f_low)
        f_middle = function(middle) - target
        if abs(f_middle) < tolerance:
            break
        if f_middle < 0:
            low, f_low = middle, f_middle
        else:
            high, f_high = middle, f_middle
    return middle


def plant_leg(figure: Figure, side: int, ankle: Array, toe_out_deg: float, valgus_deg: float = 0.0) -> None:
    """A leg with a flat foot at an ankle position; the knee points along the foot, or falls inwards by `valgus_deg`."""
    foot = rot_z(SIGN[side] * toe_out_deg)
    hip = figure.joint("hip", side)
    # Around the line from hip to ankle, which points down, a positive turn takes forward to the right: inwards for the left leg.
    pole = turned_about(foot[:, 0], unit(ankle - hip), SIGN[side] * valgus_deg)
    figure.leg_to(side, ankle, foot, pole)


def stand_on(
    figure: Figure, ankles: tuple[Array, Array], *, x: float, knee_deg: float, trunk: tuple[Array, Array, Array], head: Array
) -> None:
    """Trunk over two planted ankles (at equal heights and symmetric): as high as the left knee's flexion says."""
    d = figure.lengths
    length = leg_length(d, knee_deg)
    aside = float(ankles[0][1]) - d.hip_half
    ahead = float(ankles[0][0]) - x
    z = float(ankles[0][2]) + math.sqrt(length**2 - aside**2 - ahead**2)
    figure.place_trunk(np.array([x, 0.0, z]), trunk[0], abdomen=trunk[1], thorax=trunk[2], head=head)


def hang_arm(figure: Figure, side: int, *, flexion_deg: float = 3.0, abduction_deg: float = 7.0, elbow_deg: float = 10.0) -> None:
    """An arm that hangs from the thorax, palm to the thigh."""
    thorax = figure.rotation[Segment.THORAX]
    figure.arm(side, thorax @ rot_x(SIGN[side] * abduction_deg) @ rot_y(-flexion_deg), elbow_deg=elbow_deg, wrist_deg=5.0)


def stance(lengths: Dimensions, half_width: float, x: float = 0.0) -> tuple[Array, Array]:
    """Ankles of two flat feet, `half_width` metres to each side."""
    return np.array([x, half_width, lengths.foot_height]), np.array([x, -half_width, lengths.foot_height])


def stand_relaxed(program: Program, figure: Figure, time_s: float, *, knee_deg: float = 4.0, lean_deg: float = 1.0) -> None:
    """Legs, trunk and head of somebody standing; the arms are the caller's."""
    d = program.lengths
    ankles = stance(d, 0.072 * d.height)
    trunk = trunk_rotations(lean_deg, 0.0, d)
    stand_on(figure, ankles, x=0.018 * d.height, knee_deg=knee_deg, trunk=trunk, head=program.head(time_s, 3.0))
    for side in SIDES:
        plant_leg(figure, side, ankles[side], 9.0)


def grip(figure: Figure, side: int, thumb: Array) -> None:
    """A hand in line with the forearm, with its thumb side towards a world direction."""
    forearm = figure.rotation[Segment.LEFT_FOREARM + side]
    figure.turn_hand(side, hanging(-forearm[:, 2], thumb))
