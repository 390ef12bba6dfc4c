"""How much of a body's segments a view shows: lengths as they are seen against lengths as they should be.

A segment that points at the camera is seen short, and its direction in the picture means nothing: a hip angle measured
with it may be any. What a length should be follows from the trunk, and the trunk's from the longer of two things: the
shoulder-hip distance as it is seen, and the one that goes with the breadth of the shoulders (shoulder to hip 0.288 of stature,
thigh 0.245, shank 0.246, Drillis and Contini 1966; biacromial breadth 0.230, 2012 Anthropometric Survey of U.S. Army Personnel).
Whoever points the trunk at the camera shows it the shoulders' breadth, so one of the two is always there.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.geometry import Array
from shared_utils.skeletons import Skeleton

SIDES = ("left", "right")
STATURE_SHARE = {"trunk": 0.288, "biacromial": 0.230, "thigh": 0.245, "shank": 0.246, "arm": 0.186 + 0.146}
"""Lengths of segments in body heights; the arm to the wrist."""
IN_PLANE_NAMES: tuple[str, ...] = tuple(f"{side}_{joint}_in_plane_deg" for joint in ("knee_flexion", "hip_flexion") for side in SIDES)

# Half of a segment's length is seen when it points 60 degrees out of the image plane.
_LEAST_SHARE = 0.5


class Outline:
    """Where the joints of n people are in the picture, and how long their trunks would be in its plane.

    Args:
        xy: (n, k, 2) pixels, NaN = missing.
        skeleton: Of the k keypoints.
        min_px: (n, 1) px; a scale that is not longer is none.

    Attributes:
        shoulder, wrist, hip, knee, ankle: (n, 2, 2) px: people, left and right, x and y.
        trunk: (n, 2, 2) px from hip to shoulder: of the middle, which is free of the breadths, else of the side that is there.
        trunk_seen_px: (n, 2) px, its length as it is seen.
        trunk_px: (n, 2) px, the length that each side's trunk would have in the image plane; NaN where shoulder or hip is missing.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.full((1, 17, 2), np.nan)
        >>> names = ["left_shoulder", "right_shoulder", "left_hip", "right_hip"]
        >>> xy[0, COCO_17.indices(names)] = [(0, 0), (230, 0), (50, 40), (180, 40)]  # lies with the head to the camera
        >>> Outline(xy, COCO_17, np.array([[2.0]])).trunk_px.round().tolist()
        [[288.0, 288.0]]
    """

    __slots__ = ("ankle", "hip", "knee", "shoulder", "trunk", "trunk_px", "trunk_seen_px", "wrist")

    def __init__(self, xy: Array, skeleton: Skeleton, min_px: Array) -> None:
        joints = xy[:, _indices(skeleton)]
        self.shoulder, self.wrist, self.hip, self.knee, self.ankle = (joints[:, i : i + 2] for i in range(0, 10, 2))
        own = self.shoulder - self.hip
        middle = 0.5 * (own[:, :1] + own[:, 1:])
        self.trunk = np.where(np.isnan(middle), own, middle)
        self.trunk_seen_px = length(self.trunk)
        breadth = length(self.shoulder[:, :1] - self.shoulder[:, 1:])
        # A trunk that is not seen has no length, whatever the breadth. A missing other shoulder tells nothing: fmax passes NaN over.
        longer = np.fmax(self.trunk_seen_px, STATURE_SHARE["trunk"] / STATURE_SHARE["biacromial"] * breadth)
        self.trunk_px = np.where((longer > min_px) & (self.trunk_seen_px >= 0), longer, np.nan)


def length(vectors: Array) -> Array:
    """(...) of (..., 2) vectors; a quarter of the time of `np.linalg.norm` for a few of them."""
    return np.hypot(vectors[..., 0], vectors[..., 1])


def in_plane(outline: Outline) -> NDArray[np.bool_]:
    """(n, 4) whether trunk and segments of the angles of `IN_PLANE_NAMES` are seen at half of their length or more.

    The knee needs the trunk, too: legs behind a trunk that points at the camera are hidden by it, and guessed.
    """
    unit = outline.trunk_px * (_LEAST_SHARE / STATURE_SHARE["trunk"])
    trunk = outline.trunk_seen_px >= unit * STATURE_SHARE["trunk"]
    thigh = trunk & (length(outline.knee - outline.hip) >= unit * STATURE_SHARE["thigh"])
    shank = length(outline.ankle - outline.knee) >= unit * STATURE_SHARE["shank"]
    return np.concatenate([thigh & shank, thigh], axis=1)


@cache
def _indices(skeleton: Skeleton) -> NDArray[np.intp]:
    return skeleton.indices([f"{side}_{part}" for part in ("shoulder", "wrist", "hip", "knee", "ankle") for side in SIDES])
