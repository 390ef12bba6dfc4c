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
| `wrist_flexion_deg` | elbow-wrist and wrist-knuckles | hand in line with the forearm | bending, any way |
| `neck_flexion_deg` | hip-shoulder and shoulder-ear | head in line with the trunk | bending, any way |
| `neck_flexion_deg` (no side) | the same from mid-hip, mid-shoulder and mid-ear | | |
| `shoulder_flexion_deg`, `shoulder_abduction_deg`, `hip_abduction_deg` | signed, of the body's own planes | see `body_planes` | |
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

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.body_planes import PLANE_NAMES, plane_angles_2d, plane_angles_3d
from pose_analyzer.biomechanics.chains import Chain, Plan, plan_of, segments, sigma_deg
from pose_analyzer.biomechanics.foreshortening import IN_PLANE_NAMES, in_plane
from pose_analyzer.biomechanics.geometry import Array, angle_between_deg
from pose_analyzer.biomechanics.heights import HEIGHT_NAMES, height_angles
from shared_utils.data_models import Angles, Poses
from shared_utils.errors import ValidationError
from shared_utils.skeletons import Skeleton

_SIDES = ("left", "right")
_JOINTS = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation", "ankle_dorsiflexion", "trunk_lean", "upper_arm_lean")
_NAMES_2D = (*(f"{side}_{joint}" for joint in _JOINTS for side in _SIDES), "trunk_lean")
_MORE_2D = (*(f"{side}_{joint}" for joint in ("neck_flexion", "wrist_flexion") for side in _SIDES), "neck_flexion")
_ALL_2D = (*_NAMES_2D, *_MORE_2D)
_FOLDS = {"arm_fold": ("shoulder", "wrist"), "leg_fold": ("hip", "ankle")}

ANGLE_NAMES: tuple[str, ...] = (
    *(f"{name}_deg" for name in _NAMES_2D),
    *(f"{side}_{fold}_deg" for fold in _FOLDS for side in _SIDES),
    *HEIGHT_NAMES,
    *IN_PLANE_NAMES,
    *(f"{name}_3d_deg" for name in _NAMES_2D),
    *(f"{name}_deg" for name in _MORE_2D),
    *(f"{name}_deg" for name in PLANE_NAMES),
    *(f"{name}_3d_deg" for name in _MORE_2D),
    *(f"{name}_3d_deg" for name in PLANE_NAMES),
)
"""The names that `joint_angles` gives, in order, whatever the skeleton."""

SPACE_NAMES: tuple[str, ...] = tuple(f"{name}_3d_deg" for name in (*_ALL_2D, *PLANE_NAMES))
"""The names among them that come from metric landmarks, in the order of `angles_in_space`."""

_IN_PLANE_OF = [ANGLE_NAMES.index(name.replace("_in_plane", "")) for name in IN_PLANE_NAMES]

_OFFSET_DEG = np.array([-90.0 if "dorsiflexion" in name else 0.0 for name in _ALL_2D])
_VERTICAL = np.array([name.endswith("_lean") for name in _ALL_2D])

# A segment shorter than this share of the person's size points anywhere: one pixel of error in 300 turns it by 10°.
_MIN_SEGMENT_OF_BOX = 0.02
_MIN_SEGMENT_PX = 1.0
_MIN_SEGMENT_M = 0.03
_STATURE_M = 1.7  # keypoint errors in metres follow from those in px and the size of an average adult

# Lengths of the upper and lower part of a limb in trunk lengths (shoulder to hip), from segment lengths in body heights:
# shoulder 0.818, hip 0.530, knee 0.285, ankle 0.039 above the floor, upper arm 0.186, forearm 0.146.
_TRUNK = 0.818 - 0.530
# Proportions differ between people and detectors by about this much.
_LONGEST_LIMB = 1.15
_PARTS = {"arm_fold": (0.186 / _TRUNK, 0.146 / _TRUNK), "leg_fold": (0.245 / _TRUNK, 0.246 / _TRUNK)}


def joint_angles(poses: Poses, *, timestamp_s: float, min_confidence: float = 0.5, planes: bool = True) -> Angles:
    """Angles of every person, in the image plane and, where there are metric landmarks, in space.

    No reading (NaN) where a keypoint is missing or below `min_confidence`, where the skeleton lacks it
    (COCO-17 has no feet), where a segment is too short to have a direction (2 % of the longer side of the
    person's box, 3 cm in space), and for all `_3d_deg` names without `world_xyz_m`.

    Args:
        poses: n people; track ids are passed on.
        timestamp_s: Media clock of the frame in seconds.
        min_confidence: Least confidence of each keypoint of an angle, 0..1. Default 0.5.
        planes: Also measure flexion and abduction apart (`PLANE_NAMES`); else they are NaN, in a third less time.

    Returns:
        `Angles` of `ANGLE_NAMES`, n rows in the order of `poses`. `sigma_deg` holds the first-order error
        propagated from `keypoint_sigma_px` (coordinates independent) when the poses carry it, NaN for stand-ins,
        `in_plane` names and body planes in space; else None. In space, an error in px counts as the same share of an adult.

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
    skeleton = poses.skeleton
    confident = poses.keypoint_confidence >= min_confidence
    boxes = poses.boxes_xyxy.astype(np.float64)
    size = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0)
    min_px = np.maximum(size * _MIN_SEGMENT_OF_BOX, _MIN_SEGMENT_PX)[:, None]
    given = poses.keypoint_sigma_px is not None
    sigma_px = np.full(confident.shape, np.nan) if poses.keypoint_sigma_px is None else poses.keypoint_sigma_px
    flat, flat_sigma = _angles(poses.keypoints_xy, confident, skeleton, min_px, sigma_px if given else None)
    apart, apart_sigma = np.full((len(poses), len(PLANE_NAMES)), np.nan), np.full((len(poses), len(PLANE_NAMES)), np.nan) if given else None
    if planes:
        apart, apart_sigma = plane_angles_2d(poses.keypoints_xy, confident, skeleton, min_px, sigma_px if given else None)
    space, space_sigma = angles_in_space(poses, min_confidence=min_confidence, planes=planes)
    xy = np.where(confident[..., None], poses.keypoints_xy, np.nan).astype(np.float64)
    turned = np.where(in_plane(xy, skeleton, min_px), flat[:, _IN_PLANE_OF], np.nan)
    stand_ins = np.concatenate([_folds(xy, skeleton, min_px), height_angles(xy, skeleton, min_px), turned], axis=1)
    value = _in_order(flat, stand_ins, apart, space)
    sigma = None
    if flat_sigma is not None and apart_sigma is not None and space_sigma is not None:
        sigma = _in_order(flat_sigma, np.full_like(stand_ins, np.nan), apart_sigma, space_sigma)
    return Angles(names=ANGLE_NAMES, track_ids=poses.track_ids, value_deg=value, sigma_deg=sigma, timestamp_s=timestamp_s)


def angles_in_space(poses: Poses, *, min_confidence: float = 0.5, planes: bool = True) -> tuple[Array, Array | None]:
    """Angles of the metric landmarks alone: (n, b) degrees in the order of `SPACE_NAMES`, and their standard deviations.

    Args:
        poses: n people.
        min_confidence: Least confidence of each keypoint of an angle, 0..1.
        planes: Also measure flexion and abduction apart; else they are NaN.
    """
    planes_at = len(_ALL_2D)
    value = np.full((len(poses), len(SPACE_NAMES)), np.nan)
    sigma = None if poses.keypoint_sigma_px is None else value.copy()
    if poses.world_xyz_m is None:
        return value, sigma
    confident = poses.keypoint_confidence >= min_confidence
    boxes = poses.boxes_xyxy.astype(np.float64)
    size = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0)
    metres_per_px = _STATURE_M / np.where(size > 0, size, np.nan)
    sigma_m = None if poses.keypoint_sigma_px is None else poses.keypoint_sigma_px * metres_per_px[:, None]
    value[:, :planes_at], chain_sigma = _angles(poses.world_xyz_m, confident, poses.skeleton, _MIN_SEGMENT_M, sigma_m)
    if planes:
        value[:, planes_at:] = plane_angles_3d(poses.world_xyz_m, confident, poses.skeleton, _MIN_SEGMENT_M)
    if sigma is not None and chain_sigma is not None:
        sigma[:, :planes_at] = chain_sigma
    return value, sigma


def segments_in_picture(poses: Poses, *, min_confidence: float) -> tuple[tuple[str, ...], Array, Array]:
    """Names of the angles between segments in the picture, and both segments of each (n, names, 2) px; NaN where one is missing."""
    usable = (poses.keypoint_confidence >= min_confidence) & np.isfinite(poses.keypoints_xy).all(-1)
    u, v, complete = segments(poses.keypoints_xy, usable, _plan(poses.skeleton))
    there = complete[..., None]
    return tuple(f"{name}_deg" for name in _ALL_2D), np.where(there, u, np.nan), np.where(there, v, np.nan)


def _in_order(flat: Array, stand_ins: Array, planes: Array, space: Array) -> Array:
    """(n, angles) columns in the order of `ANGLE_NAMES`."""
    old = len(_NAMES_2D)
    return np.concatenate([flat[:, :old], stand_ins, space[:, :old], flat[:, old:], planes, space[:, old:]], axis=1)


def _angles(
    points: NDArray[np.float32],
    confident: NDArray[np.bool_],
    skeleton: Skeleton,
    min_length: float | Array,
    sigma: Array | NDArray[np.float32] | None,
) -> tuple[Array, Array | None]:
    """(n, a) angles and their standard deviations from points (n, k, d), both in degrees."""
    plan = _plan(skeleton)
    u, v, complete = segments(points, confident & np.isfinite(points).all(-1), plan)
    up = np.zeros(points.shape[-1])
    up[1] = -1.0  # image and camera coordinates have y down
    v = np.where(_VERTICAL[:, None], up * 2.0 * np.max(min_length, initial=1.0), v)
    value = np.where(complete, angle_between_deg(u, v, min_length=min_length) + _OFFSET_DEG, np.nan)
    if sigma is None:
        return value, None
    return value, np.where(np.isnan(value), np.nan, sigma_deg(u, v, sigma, plan))


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
def _plan(skeleton: Skeleton) -> Plan:
    toe = "foot_index" if "left_foot_index" in skeleton else "big_toe"
    parts: dict[str, tuple[str, ...]] = {
        "knee_flexion": ("hip", "knee", "knee", "ankle"),
        "hip_flexion": ("shoulder", "hip", "hip", "knee"),
        "elbow_flexion": ("shoulder", "elbow", "elbow", "wrist"),
        "shoulder_elevation": ("shoulder", "elbow", "shoulder", "hip"),
        "ankle_dorsiflexion": ("knee", "ankle", "heel", toe),
        "trunk_lean": ("hip", "shoulder"),
        "upper_arm_lean": ("elbow", "shoulder"),
        "neck_flexion": ("hip", "shoulder", "shoulder", "ear"),
    }
    middle = {part: (f"left_{part}", f"right_{part}") for part in ("hip", "shoulder", "ear")}
    chains: dict[str, Chain] = {f"{side}_{joint}": tuple(f"{side}_{p}" for p in parts[joint]) for joint in parts for side in _SIDES}
    for side in _SIDES:
        hand = (f"{side}_index", f"{side}_pinky")
        chains[f"{side}_wrist_flexion"] = (f"{side}_elbow", f"{side}_wrist", f"{side}_wrist", hand)
    chains["trunk_lean"] = tuple(middle[p] for p in parts["trunk_lean"])
    chains["neck_flexion"] = tuple(middle[p] for p in parts["neck_flexion"])
    return plan_of(skeleton, [chains[name] for name in _ALL_2D])
