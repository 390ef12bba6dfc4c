"""Segment angles: how each part of the body lies in the picture, measured from the horizontal.

Convention of Sports2D: the direction from the segment's near end to its far end, anticlockwise from the image's right as it is
seen, in (-180, 180]. An upright trunk is at 90°, a hanging arm or a standing leg at -90°, a foot that points to the right at 0°
and to the left at 180°. `pelvis` and `shoulders` run from right to left and are lines without direction, in (-90, 90]: 0° = level.

| name | from | to |
|---|---|---|
| `left_foot`, `left_shank`, `left_thigh` (and right) | heel, knee, hip | toe, ankle, knee |
| `left_arm`, `left_forearm`, `left_hand` (and right) | shoulder, elbow, wrist | elbow, wrist, knuckles |
| `trunk`, `head` | mid-hip, mid-shoulder | mid-shoulder, mid-ear |
| `pelvis`, `shoulders` | right hip, right shoulder | left hip, left shoulder |

In space (`_3d_deg`) a segment's angle is its elevation above the camera's horizontal plane, -90..90°: a direction needs two
angles there, and the one around the vertical depends on where the camera stands. Angles of directions jump from 180 to -180:
`geometry.unwrap_deg` makes a path of them, `geometry.circular_mean_deg` a mean.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.chains import Chain, Plan, plan_of, segments, sigma_deg
from pose_analyzer.biomechanics.geometry import Array, signed_angle_deg, wrap_deg
from shared_utils.data_models import Angles, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import Skeleton

_SIDES = ("left", "right")
_LIMBS = ("foot", "shank", "thigh", "arm", "forearm", "hand")
_NAMES = (*(f"{side}_{part}" for part in _LIMBS for side in _SIDES), "trunk", "head", "pelvis", "shoulders")
_LINES = np.array([name in ("pelvis", "shoulders") for name in _NAMES])

SEGMENT_NAMES: tuple[str, ...] = (*(f"{name}_segment_deg" for name in _NAMES), *(f"{name}_segment_3d_deg" for name in _NAMES))
"""The names that `segment_angles` gives, in order, whatever the skeleton."""

_MIN_OF_BOX, _MIN_PX, _MIN_M = 0.02, 1.0, 0.03


def segment_angles(poses: Poses, *, timestamp_s: float, min_confidence: float = 0.5) -> Angles:
    """Angles of every person's segments from the horizontal, in the picture and in space.

    No reading (NaN) where an end is missing or below `min_confidence`, or a segment shorter than 2 % of the longer side of the
    person's box (3 cm in space).

    Args:
        poses: n people.
        timestamp_s: Media clock of the frame in seconds.
        min_confidence: Least confidence of each end, 0..1.

    Returns:
        `Angles` of `SEGMENT_NAMES`, rows in the order of `poses`; `sigma_deg` in the picture from `keypoint_sigma_px`, else None.

    Raises:
        ValidationError: `min_confidence` lies outside 0..1.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.full((1, 17, 2), np.nan, np.float32)
        >>> xy[0, COCO_17.indices(["left_hip", "left_knee"])] = [(100, 100), (100, 200)]
        >>> poses = Poses(
        ...     boxes_xyxy=[[0, 0, 300, 300]], scores=[1.0], keypoints_xy=xy,
        ...     keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0, 1), skeleton=COCO_17,
        ... )
        >>> float(segment_angles(poses, timestamp_s=0.0)["left_thigh_segment_deg"][0])
        -90.0
    """
    if not 0 <= min_confidence <= 1:
        raise ValidationError(f"min_confidence must lie in 0..1, got {min_confidence}")
    plan = _plan(poses.skeleton)
    confident = poses.keypoint_confidence >= min_confidence
    boxes = poses.boxes_xyxy.astype(np.float64)
    min_px = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0) * _MIN_OF_BOX, _MIN_PX)[:, None]
    w, _, complete = segments(poses.keypoints_xy, confident & np.isfinite(poses.keypoints_xy).all(-1), plan)
    right = np.broadcast_to(2.0 * np.max(min_px, initial=1.0) * np.array([1.0, 0.0]), w.shape)
    flat = np.where(complete, signed_angle_deg(w, right, min_length=min_px), np.nan)
    flat = wrap_deg(np.where(_LINES, wrap_deg(flat, low=-90.0, period=180.0), flat))
    return Angles(
        names=SEGMENT_NAMES,
        track_ids=poses.track_ids,
        value_deg=np.concatenate([flat, _elevation(poses, confident, plan)], axis=1),
        sigma_deg=_sigma(poses, w, right, plan, flat),
        timestamp_s=timestamp_s,
    )


def _sigma(poses: Poses, w: Array, right: Array, plan: Plan, flat: Array) -> Array | None:
    if poses.keypoint_sigma_px is None:
        return None
    sigma = np.where(np.isnan(flat), np.nan, sigma_deg(w, right, poses.keypoint_sigma_px, plan))
    return np.concatenate([sigma, np.full_like(sigma, np.nan)], axis=1)


def _elevation(poses: Poses, confident: NDArray[np.bool_], plan: Plan) -> Array:
    if poses.world_xyz_m is None:
        return np.full((len(poses), len(_NAMES)), np.nan)
    xyz = poses.world_xyz_m
    w, _, complete = segments(xyz, confident & np.isfinite(xyz).all(-1), plan)
    level = np.hypot(w[..., 0], w[..., 2])
    long_enough = np.linalg.norm(w, axis=-1) > _MIN_M
    return np.where(complete & long_enough, np.degrees(np.arctan2(-w[..., 1], level)), np.nan)


@cache
def _plan(skeleton: Skeleton) -> Plan:
    toe = "foot_index" if "left_foot_index" in skeleton else "big_toe"
    middle = {part: (f"left_{part}", f"right_{part}") for part in ("hip", "shoulder", "ear")}
    chains: dict[str, Chain] = {
        "trunk": (middle["hip"], middle["shoulder"]),
        "head": (middle["shoulder"], middle["ear"]),
        "pelvis": ("right_hip", "left_hip"),
        "shoulders": ("right_shoulder", "left_shoulder"),
    }
    ends = {
        "foot": ("heel", toe),
        "shank": ("knee", "ankle"),
        "thigh": ("hip", "knee"),
        "arm": ("shoulder", "elbow"),
        "forearm": ("elbow", "wrist"),
    }
    for side in _SIDES:
        chains |= {f"{side}_{part}": (f"{side}_{a}", f"{side}_{b}") for part, (a, b) in ends.items()}
        chains[f"{side}_hand"] = (f"{side}_wrist", (f"{side}_index", f"{side}_pinky"))
    return plan_of(skeleton, [chains[name] for name in _NAMES])
