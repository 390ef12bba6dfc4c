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


def points_of(xy: Array, skeleton: Skeleton, *parts: str) -> list[Array]:
    """(n, 2, 2) pixels of each part: people, left and right, x and y."""
    return [xy[:, _indices(skeleton, part)] for part in parts]


def trunk_axis(shoulder: Array, hip: Array) -> Array:
    """(n, 2, 2) px from hip to shoulder: of the middle, which is free of the breadths, else of the side that is there."""
    own = shoulder - hip
    middle = own.mean(1, keepdims=True)
    return np.where(np.isnan(middle), own, middle)


def trunk_length_px(xy: Array, skeleton: Skeleton, min_px: Array) -> Array:
    """Length that each side's trunk would have in the image plane.

    Args:
        xy: (n, k, 2) pixels, NaN = missing.
        skeleton: Of the k keypoints.
        min_px: (n, 1) px; a scale that is not longer is none.

    Returns:
        (n, 2) px, for left and right; NaN where shoulder or hip is missing.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.full((1, 17, 2), np.nan)
        >>> names = ["left_shoulder", "right_shoulder", "left_hip", "right_hip"]
        >>> xy[0, COCO_17.indices(names)] = [(0, 0), (230, 0), (50, 40), (180, 40)]  # lies with the head to the camera
        >>> trunk_length_px(xy, COCO_17, np.array([[2.0]])).round().tolist()
        [[288.0, 288.0]]
    """
    shoulder, hip = points_of(xy, skeleton, "shoulder", "hip")
    seen = np.linalg.norm(trunk_axis(shoulder, hip), axis=-1)
    breadth = np.linalg.norm(shoulder[:, :1] - shoulder[:, 1:], axis=-1)
    by_breadth = np.where(np.isnan(seen), np.nan, STATURE_SHARE["trunk"] / STATURE_SHARE["biacromial"] * breadth)
    length = np.fmax(seen, by_breadth)  # a missing other shoulder tells nothing: fmax passes NaN over
    return np.where(length > min_px, length, np.nan)


def in_plane(xy: Array, skeleton: Skeleton, min_px: Array) -> NDArray[np.bool_]:
    """(n, 4) whether trunk and segments of the angles of `IN_PLANE_NAMES` are seen at half of their length or more.

    The knee needs the trunk, too: legs behind a trunk that points at the camera are hidden by it, and guessed.
    """
    shoulder, hip, knee, ankle = points_of(xy, skeleton, "shoulder", "hip", "knee", "ankle")
    unit = trunk_length_px(xy, skeleton, min_px) * _LEAST_SHARE / STATURE_SHARE["trunk"]
    segments = {"trunk": trunk_axis(shoulder, hip), "thigh": knee - hip, "shank": ankle - knee}
    trunk, thigh, shank = (np.linalg.norm(segment, axis=-1) >= unit * STATURE_SHARE[name] for name, segment in segments.items())
    return np.concatenate([trunk & thigh & shank, trunk & thigh], axis=1)


@cache
def _indices(skeleton: Skeleton, part: str) -> NDArray[np.intp]:
    return skeleton.indices([f"{side}_{part}" for side in SIDES])
