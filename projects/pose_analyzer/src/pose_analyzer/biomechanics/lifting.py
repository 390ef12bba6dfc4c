"""Joint angles as they are in space, from landmarks that lie where the picture shows them.

A landmark network draws a person twice: in the picture, which it does well, and in metres, where directions across the view are
coarser. Here the picture decides what it can decide. Each person's metric landmarks are set on the rays through the landmarks
in the picture (seen from afar: shift and scale), and only the depth between joints comes from the network, shrunk towards the
picture's plane by the share of it that proved true: a noisy depth tilts every segment, and a straight arm that is tilted twice
looks bent. The shares are part of the calibration (`keypoint_sigma.json`).

Then bones have lengths. A forearm that is seen at its full length lies in the picture's plane, whatever depth the network
gives it; and of two shoulders seen one behind the other, the far one is as much farther as shoulders are broad. The depth of
every segment is the mean of all depths, each weighed by both witnesses: the network's depth with its error, and the length
with its own. Where a segment is seen short and the network does not say which way it points, the mean lies between both ways.
Lengths are those of a body of average proportions, of the size that suits the whole of the person best.
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

LENGTH_SHARE: Mapping[str, float] = {
    "trunk": 0.288,
    "thigh": 0.245,
    "shank": 0.246,
    "upper_arm": 0.186,
    "forearm": 0.146,
    "hips": 0.10,
    "shoulders": 0.20,
}
"""Lengths in body heights (Drillis and Contini 1966), and distances between the centres of both hip joints (Bell et al. 1990)
and of both shoulder joints (biacromial breadth less 2 to 3 cm to each side, Meskers et al. 1998)."""

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
_BONES = {"elbow", "wrist", "knee", "ankle"}  # the joints at the end of a segment whose length is known
_FIT = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")

# Errors in lengths of the segment: of the network's depth, and of the length itself (proportions differ by a twentieth, and
# perspective and misplaced joints add to that). The breadths bend less than limbs do.
_DEPTH_ERROR = {"thigh": 0.4, "shank": 0.4, "upper_arm": 0.3, "forearm": 0.3, "shoulders": 0.3, "hips": 0.6}
_LENGTH_ERROR = {**dict.fromkeys(("thigh", "shank", "upper_arm", "forearm"), 0.15), "shoulders": 0.05, "hips": 0.1}
_DEPTHS = np.linspace(-1.15, 1.15, 47)  # in lengths of the segment, where its depth is tried


def lift(poses: Poses, *, depth_share: Mapping[str, float] | None = None, proportions: bool = True) -> Poses:
    """The same people with `world_xyz_m` set on the picture's landmarks.

    Args:
        poses: n people; without metric landmarks they come back as they are.
        depth_share: Part of `DEPTH_PARTS` -> share of the network's depth that is believed, 0 = flat as the picture, 1 = all;
            a part that is not named: 1. Default: that of the calibration.
        proportions: Correct the depth by the lengths that bones have.

    Returns:
        People whose metric landmarks are NaN where the picture's are, or where fewer than two of the body's joints are known.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xyz = np.random.default_rng(0).normal(size=(1, 17, 3))
        >>> poses = Poses(
        ...     boxes_xyxy=[[0, 0, 200, 200]], scores=[1.0], keypoints_xy=100 + 50 * xyz[..., :2],
        ...     keypoint_confidence=np.ones((1, 17)), world_xyz_m=xyz, skeleton=COCO_17,
        ... )
        >>> lifted = lift(poses, depth_share={}, proportions=False).world_xyz_m  # nothing to correct
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
    lifted = np.concatenate([flat, xyz[..., 2:]], axis=-1)
    lifted[..., 2] = _depth(lifted, poses.skeleton, share, _stature(lifted, poses.skeleton) if proportions else None)
    lifted = np.where(np.isfinite(lifted).all(-1, keepdims=True), lifted, np.nan)
    return poses.replace(world_xyz_m=lifted.astype(np.float32))


def _stature(xyz: Array, skeleton: Skeleton) -> Array:
    """(n,) metres: the height of the body of average proportions whose segments are as long as most of these."""
    ends = [(f"{s}_{joint}", f"{s}_{_PARENTS[joint][0]}", _PARENTS[joint][1]) for joint in sorted(_BONES) for s in _SIDES]
    ends += [(f"{s}_shoulder", f"{s}_hip", "trunk") for s in _SIDES]
    child, parent = (skeleton.indices([row[i] for row in ends]) for i in (0, 1))
    found = np.linalg.norm(xyz[:, child] - xyz[:, parent], axis=-1) / np.array([LENGTH_SHARE[part] for *_, part in ends])
    # A median that passes over what is missing.
    known = np.isfinite(found).sum(1)
    rows, order = np.arange(len(found)), np.sort(found, axis=1)
    return 0.5 * (order[rows, np.maximum(known - 1, 0) // 2] + order[rows, np.maximum(known - 1, 0) - np.maximum(known - 1, 0) // 2])


def _depth(xyz: Array, skeleton: Skeleton, share: Mapping[str, float], stature: Array | None) -> Array:
    """(n, k) metres: depth that grows from the trunk outward, each segment by its share and as its length allows."""
    steps, child, parent, parts = _tree(skeleton)
    z = xyz[..., 2]
    depth = share.get("trunk", 1.0) * z
    if stature is not None:
        for joint in ("shoulder", "hip"):
            pair = skeleton.indices([f"left_{joint}", f"right_{joint}"])
            across = xyz[:, pair[0]] - xyz[:, pair[1]]
            half = 0.5 * _settled(across[:, None, 2], across[:, None, :2], (f"{joint}s",), stature)[:, 0]
            depth[:, pair] = depth[:, pair].mean(1, keepdims=True) + np.stack([half, -half], axis=1)
    shares = np.array([share.get(p, 1.0) for p in parts])
    for step in range(steps.max(initial=-1) + 1):
        now = np.flatnonzero(steps == step)
        believed = shares[now] * (z[:, child[now]] - z[:, parent[now]])
        bones = [i for i, at in enumerate(now) if skeleton.keypoints[child[at]].partition("_")[2] in _BONES]
        if stature is not None and bones:
            at = now[bones]
            seen = xyz[:, child[at], :2] - xyz[:, parent[at], :2]
            believed[:, bones] = _settled(believed[:, bones], seen, tuple(parts[i] for i in at), stature)
        depth[:, child[now]] = depth[:, parent[now]] + believed
    return depth


def _settled(depth: Array, seen: Array, parts: tuple[str, ...], stature: Array) -> Array:
    """(n, s) depths of segments that are depth (n, s) by the network, seen (n, s, 2) in the picture, and as long as their part."""
    length = np.array([LENGTH_SHARE[p] for p in parts]) * stature[:, None]
    depth_error, length_error = (np.array([errors[p] for p in parts])[:, None] for errors in (_DEPTH_ERROR, _LENGTH_ERROR))
    with np.errstate(divide="ignore", invalid="ignore"):
        across2 = (np.einsum("nsd,nsd->ns", seen, seen) / length**2)[..., None]
        misfit = ((_DEPTHS - (depth / length)[..., None]) / depth_error) ** 2
        misfit += ((np.sqrt(across2 + _DEPTHS**2) - 1.0) / length_error) ** 2
        weight = np.exp(-0.5 * (misfit - misfit.min(-1, keepdims=True)))
        found = length * (weight @ _DEPTHS) / weight.sum(-1)
    return np.where(np.isfinite(found), found, depth)


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
