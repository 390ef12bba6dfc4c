"""BlazePose's 33 landmarks as points of the body, and the joint angles that follow from them.

Where each landmark sits, following BlazePose's published list (V. Bazarevsky et al., *BlazePose: On-device Real-time Body
Pose tracking*, 2020) in anatomical terms:

- shoulder, elbow, wrist, hip, knee, ankle: centres of the joints, inside the body;
- nose: its tip; eyes: inner corner, pupil, outer corner; ear: the tragus, before the ear's opening; mouth: its corners;
- pinky, index: the first knuckles (heads of the fifth and second metacarpal); thumb: the joint at the middle of the thumb;
- heel: the rearmost point of the heel (inside the shoe); foot index: the tip of the big toe (inside the shoe).

Each is a fixed point of one segment, so that bones keep their length and the mapping to COCO-17 and Halpe-26 is that of
`shared_utils.skeletons`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import LEFT, SIDES, SIGN, Dimensions, Segment
from shared_utils.skeletons import BLAZEPOSE_33

Array = NDArray[np.float64]

ANGLE_NAMES: tuple[str, ...] = (
    *(
        f"{side}_{joint}_deg"
        for joint in ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation", "ankle_dorsiflexion")
        for side in ("left", "right")
    ),
    "trunk_lean_deg",
)
"""Angles that a truth carries; the same names and conventions as `pose_analyzer.biomechanics`."""

# Three points of each angle's two segments, all pointing away from the trunk.
_CHAINS = {
    "knee_flexion": ("hip", "knee", "knee", "ankle"),
    "hip_flexion": ("shoulder", "hip", "hip", "knee"),
    "elbow_flexion": ("shoulder", "elbow", "elbow", "wrist"),
    "shoulder_elevation": ("shoulder", "elbow", "shoulder", "hip"),
    "ankle_dorsiflexion": ("knee", "ankle", "heel", "foot_index"),
}


def landmark_offsets(lengths: Dimensions) -> tuple[NDArray[np.intp], Array]:
    """The 33 landmarks as points of segments.

    Returns:
        Segment of each landmark (33,) and its place in the segment's frame (33, 3), metres.
    """
    d, h = lengths, lengths.height
    palm = 0.5 * d.hand
    by_part = {
        "eye_inner": (Segment.HEAD, (0.0465 * h, 0.0090 * h, 0.0370 * h)),
        "eye": (Segment.HEAD, (0.0455 * h, 0.0180 * h, 0.0375 * h)),
        "eye_outer": (Segment.HEAD, (0.0415 * h, 0.0265 * h, 0.0370 * h)),
        "ear": (Segment.HEAD, (0.0000 * h, 0.0415 * h, 0.0270 * h)),
        "mouth": (Segment.HEAD, (0.0465 * h, 0.0140 * h, -0.0010 * h)),
        "shoulder": (Segment.LEFT_CLAVICLE, (0.0, d.clavicle, 0.0)),
        "elbow": (Segment.LEFT_UPPER_ARM, (0.0, 0.0, -d.upper_arm)),
        "wrist": (Segment.LEFT_FOREARM, (0.0, 0.0, -d.forearm)),
        "pinky": (Segment.LEFT_HAND, (-0.0190 * h, 0.0, -0.90 * palm)),
        "index": (Segment.LEFT_HAND, (0.0155 * h, 0.0, -palm)),
        "thumb": (Segment.LEFT_HAND, (0.0275 * h, -0.0080 * h, -0.62 * palm)),
        "hip": (Segment.PELVIS, (0.0, d.hip_half, 0.0)),
        "knee": (Segment.LEFT_THIGH, (0.0, 0.0, -d.thigh)),
        "ankle": (Segment.LEFT_SHANK, (0.0, 0.0, -d.shank)),
        "heel": (Segment.LEFT_FOOT, (-d.heel_back, 0.0, d.sole + 0.008 * h - d.foot_height)),
        "foot_index": (Segment.LEFT_FOOT, (d.foot_length - d.heel_back, -0.008 * h, d.sole + 0.003 * h - d.foot_height)),
    }
    segments, offsets = [], []
    for name in BLAZEPOSE_33.keypoints:
        if name == "nose":
            segments.append(Segment.HEAD)
            offsets.append((0.0610 * h, 0.0, 0.0205 * h))
            continue
        side_name, part = name.split("_", 1)
        side = LEFT if side_name == "left" else 1 - LEFT
        segment, (x, y, z) = by_part[part]
        segments.append(segment if segment <= Segment.HEAD else segment + side)
        offsets.append((x, SIGN[side] * y, z))
    return np.array(segments, np.intp), np.array(offsets)


def angles_deg(points: Array) -> Array:
    """(..., 11) degrees, in the order of `ANGLE_NAMES`, of (..., 33, d) landmarks in space (d = 3) or in a picture (d = 2).

    The vertical for the trunk's lean is +z in space (world coordinates) and -y in a picture.

    Example:
        >>> from pose_analyzer.synthetic.anthropometry import dimensions
        >>> from pose_analyzer.synthetic.kinematics import Figure
        >>> from pose_analyzer.synthetic.spec import BodySpec
        >>> figure = Figure(dimensions(BodySpec()))
        >>> figure.stand()
        >>> figure.leg(LEFT, np.eye(3), knee_deg=70)
        >>> angles = angles_deg(figure.points(*landmark_offsets(figure.lengths)))
        >>> round(float(angles[ANGLE_NAMES.index("left_knee_flexion_deg")]), 6)
        70.0
    """
    columns = []
    for chain in _CHAINS.values():
        for side in SIDES:
            name = ("left_", "right_")[side]
            a, b, c, d = (points[..., BLAZEPOSE_33.index(name + part), :] for part in chain)
            columns.append(_between_deg(b - a, d - c))
    for i, chain in enumerate(_CHAINS):
        if chain == "ankle_dorsiflexion":
            columns[2 * i], columns[2 * i + 1] = columns[2 * i] - 90.0, columns[2 * i + 1] - 90.0

    def middle(part: str) -> Array:
        return (points[..., BLAZEPOSE_33.index(f"left_{part}"), :] + points[..., BLAZEPOSE_33.index(f"right_{part}"), :]) / 2

    trunk = middle("shoulder") - middle("hip")
    up = np.array([0.0, 0.0, 1.0]) if points.shape[-1] == 3 else np.array([0.0, -1.0])
    columns.append(_between_deg(trunk, np.broadcast_to(up, trunk.shape)))
    return np.stack(columns, axis=-1)


def _between_deg(u: Array, v: Array) -> Array:
    """atan2 of |u x v| and u . v: exact near 0 and 180 degrees, where the arc cosine loses half of the digits."""
    across = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    sine = np.abs(across) if u.shape[-1] == 2 else np.linalg.norm(np.cross(u, v), axis=-1)
    return np.degrees(np.arctan2(sine, (u * v).sum(-1)))
