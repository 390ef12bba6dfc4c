"""Joint angles as they are in space, from landmarks that lie where the picture shows them.

A landmark network draws a person twice: in the picture, which it does well, and in metres, where directions across the view are
coarser. Here the picture decides what it can decide. Each person's metric landmarks are set on the rays through the landmarks
in the picture (seen from afar: shift and scale), and only the depth between joints comes from the network, shrunk towards the
picture's plane by the share of it that proved true: a noisy depth tilts every segment, and a straight arm that is tilted twice
looks bent. The shares are part of the calibration (`keypoint_sigma.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.geometry import Array
from pose_analyzer.biomechanics.keypoint_sigma import default_sigma_model, similarity
from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

DEPTH_PARTS = ("trunk", "thigh", "shank", "upper_arm", "forearm")
"""Parts of the body whose depth has a share of its own."""

_SIDES = ("left", "right")
# Joint -> the joint nearer to the trunk, and the part between them. In this order every parent comes before its child.
_PARENTS = {
    "elbow": ("shoulder", "upper_arm"),
    "wrist": ("elbow", "forearm"),
    "knee": ("hip", "thigh"),
    "ankle": ("knee", "shank"),
    **dict.fromkeys(("pinky", "index", "thumb"), ("wrist", "forearm")),
    **dict.fromkeys(("heel", "foot_index", "big_toe", "small_toe"), ("ankle", "shank")),
}
_FIT = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def lift(poses: Poses, *, depth_share: Mapping[str, float] | None = None) -> Poses:
    """The same people with `world_xyz_m` set on the picture's landmarks.

    Args:
        poses: n people; without metric landmarks they come back as they are.
        depth_share: Part of `DEPTH_PARTS` -> share of the network's depth that is believed, 0 = flat as the picture, 1 = all;
            a part that is not named: 1. Default: that of the calibration.

    Returns:
        People whose metric landmarks are NaN where the picture's are, or where fewer than two of the body's joints are known.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xyz = np.random.default_rng(0).normal(size=(1, 17, 3))
        >>> poses = Poses(
        ...     boxes_xyxy=[[0, 0, 200, 200]], scores=[1.0], keypoints_xy=100 + 50 * xyz[..., :2],
        ...     keypoint_confidence=np.ones((1, 17)), world_xyz_m=xyz, skeleton=COCO_17,
        ... )
        >>> lifted = lift(poses, depth_share={}).world_xyz_m  # nothing to correct
        >>> bool(np.allclose(lifted - lifted[:, :1], xyz - xyz[:, :1], atol=1e-5))
        True
    """
    if poses.world_xyz_m is None or not len(poses):
        return poses
    share = default_sigma_model().depth_share if depth_share is None else depth_share
    xyz, xy = poses.world_xyz_m.astype(np.float64), poses.keypoints_xy.astype(np.float64)
    fit = poses.skeleton.indices([f"{side}_{part}" for part in _FIT for side in _SIDES])
    usable = np.isfinite(xyz[:, fit]).all(-1) & np.isfinite(xy[:, fit]).all(-1) & (poses.keypoint_confidence[:, fit] > 0)
    scale, offset = similarity(xyz[:, fit, :2], xy[:, fit], usable)
    scale = np.where(scale > 0, scale, np.nan)
    flat = (xy - offset[:, None]) / scale[:, None, None]
    lifted = np.concatenate([flat, _depth(xyz[..., 2], poses.skeleton, share)[..., None]], axis=-1)
    lifted = np.where(np.isfinite(lifted).all(-1, keepdims=True), lifted, np.nan)
    return poses.replace(world_xyz_m=lifted.astype(np.float32))


def _depth(z: Array, skeleton: Skeleton, share: Mapping[str, float]) -> Array:
    """(n, k) metres: depth that grows from the trunk outward, each segment by its share."""
    steps, child, parent, parts = _tree(skeleton)
    depth = share.get("trunk", 1.0) * z
    shares = np.array([share.get(p, 1.0) for p in parts])
    for step in range(steps.max(initial=-1) + 1):
        now = steps == step
        believed = shares[now]
        depth[:, child[now]] = depth[:, parent[now]] + believed * (z[:, child[now]] - z[:, parent[now]])
    return depth


@cache
def _tree(skeleton: Skeleton) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], tuple[str, ...]]:
    """Order, child, parent and part of every segment of the limbs."""
    level = {"shoulder": -1, "hip": -1}
    rows = []
    for end, (start, part) in _PARENTS.items():
        level[end] = level[start] + 1
        rows += [
            (level[end], skeleton.index(f"{s}_{end}"), skeleton.index(f"{s}_{start}"), part) for s in _SIDES if f"{s}_{end}" in skeleton
        ]
    order, child, parent, parts = zip(*rows, strict=True)
    return np.array(order, np.intp), np.array(child, np.intp), np.array(parent, np.intp), parts
