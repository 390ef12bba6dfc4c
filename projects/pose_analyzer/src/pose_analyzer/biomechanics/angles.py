"""Joint angles of the people in one frame, from pixels and from metric landmarks.

Every angle is unsigned and lies between two body segments, each pointing away from the trunk:

| name (`left_`/`right_` in front) | between | 0° | grows with |
|---|---|---|---|
| `knee_flexion_deg` | hip-knee and knee-ankle | leg straight | bending; 180° = heel at the hip |
| `hip_flexion_deg` | shoulder-hip and hip-knee | trunk in line with thigh | folding |
| `elbow_flexion_deg` | shoulder-elbow and elbow-wrist | arm straight | bending |
| `shoulder_elevation_deg` | shoulder-elbow and shoulder-hip | arm hanging along the trunk | raising; 180° = overhead |
| `ankle_dorsiflexion_deg` | knee-ankle and heel-toe, minus 90° | foot square to the shank | toes to shin; -90° = foot in line |
| `trunk_lean_deg` | hip-shoulder and the vertical | upright | leaning any way; 180° = upside down |
| `trunk_lean_deg` (no side) | mid-hip to mid-shoulder and the vertical | upright | the same, free of the shoulders' breadth |
| `upper_arm_lean_deg` | elbow-shoulder and the vertical | shoulder straight above the elbow | raising; 180° = overhead |
| `arm_fold_deg` | as elbow flexion, from the shoulder-wrist distance | wrist at arm's length | wrist nearing the shoulder |
| `leg_fold_deg` | as knee flexion, from the hip-ankle distance | ankle at leg's length | ankle nearing the hip |

Shoulder *elevation* and not flexion: the angle between arm and trunk does not tell whether the arm went
forward (flexion) or sideways (abduction). An unsigned angle does not tell flexion from hyperextension either.

The folds are coarse stand-ins that need no elbow and no knee: the flexion that brings the end of a limb of standard
proportions (Drillis and Contini 1966) as near to its root as it is seen, in trunk lengths. They stay informative where
the middle joint is hidden or points at the camera, and serve counting, not measuring; image plane only. Where the trunk
points at the camera there is no reading. Three more stand-ins, from heights, are described in `heights`: `trunk_rise_deg`,
`shoulder_over_knee_deg` and `arm_raise_deg`. `knee_flexion_in_plane_deg` and `hip_flexion_in_plane_deg` are the angles of the
first rows where the view shows the trunk and both segments well enough (`foreshortening`), and no reading elsewhere.

The same names (without stand-ins and `in_plane`) with `_3d_deg` come from `world_xyz_m`. Image angles are projections: true for movement in
the image plane, and smaller or larger elsewhere. They are measured in pixels, never in coordinates divided by width and
height, which bend angles on every image that is not square. The vertical is the image's (or the camera's) y axis, so a
rolled camera adds its roll to the trunk's lean.

Conventions agree with Sports2D's (knee, hip, elbow 0° = aligned; ankle -90° = aligned; arm overhead 180°).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.foreshortening import IN_PLANE_NAMES, in_plane
from pose_analyzer.biomechanics.geometry import Array, angle_between_deg
from pose_analyzer.biomechanics.heights import HEIGHT_NAMES, height_angles
from shared_utils.data_models import Angles, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import Skeleton

_SIDES = ("left", "right")
_JOINTS = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation", "ankle_dorsiflexion", "trunk_lean", "upper_arm_lean")
_NAMES_2D = (*(f"{side}_{joint}" for joint in _JOINTS for side in _SIDES), "trunk_lean")
_FOLDS = {"arm_fold": ("shoulder", "wrist"), "leg_fold": ("hip", "ankle")}

ANGLE_NAMES: tuple[str, ...] = (
    *(f"{name}_deg" for name in _NAMES_2D),
    *(f"{side}_{fold}_deg" for fold in _FOLDS for side in _SIDES),
    *HEIGHT_NAMES,
    *IN_PLANE_NAMES,
    *(f"{name}_3d_deg" for name in _NAMES_2D),
)
"""The names that `joint_angles` gives, in order, whatever the skeleton."""

_IN_PLANE_OF = [ANGLE_NAMES.index(name.replace("_in_plane", "")) for name in IN_PLANE_NAMES]

# A segment shorter than this share of the person's size points anywhere: one pixel of error in 300 turns it by 10°.
_MIN_SEGMENT_OF_BOX = 0.02
_MIN_SEGMENT_PX = 1.0
_MIN_SEGMENT_M = 0.03

# Lengths of the upper and lower part of a limb in trunk lengths (shoulder to hip), from segment lengths in body heights:
# shoulder 0.818, hip 0.530, knee 0.285, ankle 0.039 above the floor, upper arm 0.186, forearm 0.146.
_TRUNK = 0.818 - 0.530
# Proportions differ between people and detectors by about this much.
_LONGEST_LIMB = 1.15
_PARTS = {"arm_fold": (0.186 / _TRUNK, 0.146 / _TRUNK), "leg_fold": (0.245 / _TRUNK, 0.246 / _TRUNK)}


class _Plan(NamedTuple):
    """How a skeleton's k keypoints make the two segments of each of a angles."""

    first: Array  # (a, k) weights; the first segment is first @ points
    second: Array  # (a, k); a row of zeros stands for the vertical
    needs: NDArray[np.bool_]  # (a, k) keypoints that must be there
    possible: NDArray[np.bool_]  # (a,) whether the skeleton has them at all
    offset_deg: Array  # (a,) added to the angle between the segments
    vertical: NDArray[np.bool_]  # (a,) measured against the vertical


def joint_angles(poses: Poses, *, timestamp_s: float, min_confidence: float = 0.5) -> Angles:
    """Angles of every person, in the image plane and, where there are metric landmarks, in space.

    No reading (NaN) where a keypoint is missing or below `min_confidence`, where the skeleton lacks it
    (COCO-17 has no feet), where a segment is too short to have a direction (2 % of the longer side of the
    person's box, 3 cm in space), and for all `_3d_deg` names without `world_xyz_m`.

    Args:
        poses: n people; track ids are passed on.
        timestamp_s: Media clock of the frame in seconds.
        min_confidence: Least confidence of each keypoint of an angle, 0..1. Default 0.5.

    Returns:
        `Angles` of `ANGLE_NAMES`, n rows in the order of `poses`. `sigma_deg` holds the first-order error
        propagated from `keypoint_sigma_px` (coordinates independent) when the poses carry it, NaN for
        stand-ins, `in_plane` and `_3d_deg` names; else None.

    Raises:
        ValidationError: `min_confidence` lies outside 0..1.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.full((1, 17, 2), np.nan, np.float32)
        >>> xy[0, COCO_17.indices(["left_hip", "left_knee", "left_ankle"])] = [(100, 100), (100, 200), (200, 200)]
        >>> poses = Poses(
        ...     boxes_xyxy=[[0, 0, 300, 300]], scores=[1.0], keypoints_xy=xy,
        ...     keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0, 1), skeleton=COCO_17,
        ... )
        >>> float(joint_angles(poses, timestamp_s=0.0)["left_knee_flexion_deg"][0])
        90.0
    """
    if not 0 <= min_confidence <= 1:
        raise ValidationError(f"min_confidence must lie in 0..1, got {min_confidence}")
    plan = _plan(poses.skeleton)
    confident = poses.keypoint_confidence >= min_confidence
    boxes = poses.boxes_xyxy.astype(np.float64)
    size = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0)
    min_px = np.maximum(size * _MIN_SEGMENT_OF_BOX, _MIN_SEGMENT_PX)[:, None]
    flat, sigma = _angles(poses.keypoints_xy, confident, plan, min_px, poses.keypoint_sigma_px)
    if poses.world_xyz_m is None:
        spatial = np.full_like(flat, np.nan)
    else:
        spatial, _ = _angles(poses.world_xyz_m, confident, plan, _MIN_SEGMENT_M, None)
    xy = np.where(confident[..., None], poses.keypoints_xy, np.nan).astype(np.float64)
    turned = np.where(in_plane(xy, poses.skeleton, min_px), flat[:, _IN_PLANE_OF], np.nan)
    stand_ins = np.concatenate([_folds(xy, poses.skeleton, min_px), height_angles(xy, poses.skeleton, min_px), turned], axis=1)
    return Angles(
        names=ANGLE_NAMES,
        track_ids=poses.track_ids,
        value_deg=np.concatenate([flat, stand_ins, spatial], axis=1),
        sigma_deg=None if sigma is None else np.concatenate([sigma, np.full_like(stand_ins, np.nan), np.full_like(sigma, np.nan)], axis=1),
        timestamp_s=timestamp_s,
    )


def _angles(
    points: NDArray[np.float32],
    confident: NDArray[np.bool_],
    plan: _Plan,
    min_length: float | Array,
    sigma: NDArray[np.float32] | None,
) -> tuple[Array, Array | None]:
    """(n, a) angles and their standard deviations from points (n, k, d), both in degrees."""
    usable = confident & np.isfinite(points).all(-1)
    complete = ~(plan.needs & ~usable[:, None, :]).any(-1) & plan.possible
    # Keypoints that an angle does not use have weight 0; NaN must not reach them, as 0 * NaN is NaN.
    known = np.where(usable[..., None], points, 0.0).astype(np.float64)
    u, v = plan.first @ known, plan.second @ known
    up = np.zeros(known.shape[-1])
    up[1] = -1.0  # image and camera coordinates have y down
    v = np.where(plan.vertical[:, None], up * 2.0 * np.max(min_length, initial=1.0), v)
    value = np.where(complete, angle_between_deg(u, v, min_length=min_length) + plan.offset_deg, np.nan)
    if sigma is None:
        return value, None
    return value, np.where(np.isnan(value), np.nan, _sigma_deg(u, v, sigma, plan))


def _sigma_deg(u: Array, v: Array, sigma: NDArray[np.float32], plan: _Plan) -> Array:
    """(n, a) degrees: the angle of a segment w turns by perp(w) / |w|² per pixel moved at its end."""
    with np.errstate(divide="ignore", invalid="ignore"):
        turn_u = np.stack([-u[..., 1], u[..., 0]], -1) / np.einsum("...d,...d->...", u, u)[..., None]
        turn_v = np.stack([-v[..., 1], v[..., 0]], -1) / np.einsum("...d,...d->...", v, v)[..., None]
        gradient = plan.second[..., None] * turn_v[:, :, None, :] - plan.first[..., None] * turn_u[:, :, None, :]
        variance = np.einsum("nakd,nakd->nak", gradient, gradient) * sigma.astype(np.float64)[:, None, :] ** 2
    return np.degrees(np.sqrt(np.where(plan.needs, variance, 0.0).sum(-1)))


def _folds(xy: Array, skeleton: Skeleton, min_px: Array) -> Array:
    """(n, 4) degrees: cosine rule on the chord of a limb, measured in trunk lengths of the same side."""
    i = _fold_points(skeleton)
    trunk = np.linalg.norm(xy[:, i[:, 1]] - xy[:, i[:, 0]], axis=-1)
    chord = np.linalg.norm(xy[:, i[:, 3]] - xy[:, i[:, 2]], axis=-1) / np.where(trunk > min_px, trunk, np.nan)
    a, b = np.array([_PARTS[fold] for fold in _FOLDS for _ in _SIDES]).T
    # A limb that seems this much too long shows a trunk that points at the camera: no measure then.
    chord = np.where(chord > _LONGEST_LIMB * (a + b), np.nan, chord)
    return np.degrees(np.arccos(np.clip((chord**2 - a**2 - b**2) / (2 * a * b), -1.0, 1.0)))


@cache
def _fold_points(skeleton: Skeleton) -> NDArray[np.intp]:
    """(4, 4) indices: shoulder and hip, root and end of the limb, for each fold and side."""
    return np.stack([skeleton.indices([f"{side}_{p}" for p in ("shoulder", "hip", *ends)]) for ends in _FOLDS.values() for side in _SIDES])


@cache
def _plan(skeleton: Skeleton) -> _Plan:
    toe = "foot_index" if "left_foot_index" in skeleton else "big_toe"
    chains = {
        "knee_flexion": ("hip", "knee", "knee", "ankle"),
        "hip_flexion": ("shoulder", "hip", "hip", "knee"),
        "elbow_flexion": ("shoulder", "elbow", "elbow", "wrist"),
        "shoulder_elevation": ("shoulder", "elbow", "shoulder", "hip"),
        "ankle_dorsiflexion": ("knee", "ankle", "heel", toe),
        "trunk_lean": ("hip", "shoulder"),
        "upper_arm_lean": ("elbow", "shoulder"),
    }
    a, k = len(_NAMES_2D), len(skeleton)
    first, second, possible = np.zeros((a, k)), np.zeros((a, k)), np.ones(a, bool)
    for row, (joint, side) in enumerate((joint, side) for joint in _JOINTS for side in _SIDES):
        names = [f"{side}_{part}" for part in chains[joint]]
        possible[row] = all(name in skeleton for name in names)
        if possible[row]:
            i = skeleton.indices(names)
            first[row, i[:2]] = -1.0, 1.0
            if len(i) > 2:
                second[row, i[2:]] = -1.0, 1.0
    first[-1, skeleton.indices(["left_hip", "right_hip"])] = -0.5
    first[-1, skeleton.indices(["left_shoulder", "right_shoulder"])] = 0.5
    offset = np.array([-90.0 if "dorsiflexion" in name else 0.0 for name in _NAMES_2D])
    vertical = np.array([name.endswith("_lean") for name in _NAMES_2D])
    return _Plan(first, second, (first != 0) | (second != 0), possible, offset, vertical)
