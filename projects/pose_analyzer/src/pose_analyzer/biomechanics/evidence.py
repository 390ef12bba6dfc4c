"""How much of its segments a picture shows of every angle: what strict evidence asks for, and what a depth can be trusted by."""

from __future__ import annotations

import numpy as np

from pose_analyzer.biomechanics.angles import segments_in_picture
from pose_analyzer.biomechanics.foreshortening import STATURE_SHARE, Outline, length
from pose_analyzer.biomechanics.geometry import Array
from pose_analyzer.biomechanics.lifting import LENGTH_SHARE
from shared_utils.data_models import Poses

# Lengths in body heights of the two segments of each angle in the picture; 0 = not judged (too short, or the vertical).
_SEGMENT_SHARES = {
    "knee_flexion": (STATURE_SHARE["thigh"], STATURE_SHARE["shank"]),
    "hip_flexion": (STATURE_SHARE["trunk"], STATURE_SHARE["thigh"]),
    "elbow_flexion": (LENGTH_SHARE["upper_arm"], LENGTH_SHARE["forearm"]),
    "shoulder_elevation": (LENGTH_SHARE["upper_arm"], STATURE_SHARE["trunk"]),
    "ankle_dorsiflexion": (STATURE_SHARE["shank"], 0.13),
    "trunk_lean": (STATURE_SHARE["trunk"], 0.0),
    "upper_arm_lean": (LENGTH_SHARE["upper_arm"], 0.0),
    "neck_flexion": (STATURE_SHARE["trunk"], 0.0),
    "wrist_flexion": (LENGTH_SHARE["forearm"], 0.0),
}


def seen_shares(poses: Poses, *, min_confidence: float) -> tuple[tuple[str, ...], Array, Array]:
    """How much the view shows of every angle's segments, and of the person's breadth.

    The measure is the trunk; where it is not known nothing is, and there is no share.

    Args:
        poses: n people.
        min_confidence: Least confidence of a keypoint, 0..1.

    Returns:
        Names of the angles in the picture; (n, names) how much of the shorter-seen of their segments is seen, 1 = all;
        (n,) how much of the distance between the shoulders is seen, 0 = from the side, 1 = from front or back.
    """
    names, u, v = segments_in_picture(poses, min_confidence=min_confidence)
    usable = poses.keypoint_confidence >= min_confidence
    xy = np.where(usable[..., None], poses.keypoints_xy, np.nan).astype(np.float64)
    outline = Outline(xy, poses.skeleton, np.ones((len(poses), 1)))
    # One side's trunk will do: the other may be hidden behind it.
    trunk = outline.trunk_px
    longest = np.where(np.isnan(trunk).all(1), np.nan, np.nanmax(np.nan_to_num(trunk, nan=-1.0), axis=1, initial=-1.0))
    stature = longest / STATURE_SHARE["trunk"]
    shares = np.array([_SEGMENT_SHARES[name.removesuffix("_deg").removeprefix("left_").removeprefix("right_")] for name in names])
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = [
            np.where(
                expected > 0, np.linalg.norm(w, axis=-1) / (expected * stature[:, None]), np.where(np.isnan(stature)[:, None], np.nan, 1.0)
            )
            for w, expected in ((u, shares[:, 0]), (v, shares[:, 1]))
        ]
        breadth = length(outline.shoulder[:, 0] - outline.shoulder[:, 1]) / (LENGTH_SHARE["shoulders"] * stature)
    return names, np.minimum(*seen), np.minimum(breadth, 1.0)
