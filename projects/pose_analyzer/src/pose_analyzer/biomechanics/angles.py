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
from pose_analyzer.biomechanics.foreshortening import IN_PLANE_NAMES, Outline, in_plane, length
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
_FOLDS = ("arm_fold", "leg_fold")

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

_ERRORS = {f"{name}_deg": column for column, name in enumerate(_ALL_2D)}
_ERRORS |= {name: _ERRORS[name.replace("_in_plane", "")] for name in IN_PLANE_NAMES}
_WITH_ERROR, _ERROR_OF = [ANGLE_NAMES.index(name) for name in _ERRORS], list(_ERRORS.values())

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
_UPPER, _LOWER = np.array([(0.186 / _TRUNK, 0.146 / _TRUNK)] * 2 + [(0.245 / _TRUNK, 0.246 / _TRUNK)] * 2).T
_SQUARES, _TWICE, _LONGEST_CHORD = _UPPER**2 + _LOWER**2, 2 * _UPPER * _LOWER, _LONGEST_LIMB * (_UPPER + _LOWER)


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
    skeleton, given = poses.skeleton, poses.keypoint_sigma_px is not None
    confident = poses.keypoint_confidence >= min_confidence
    min_px = np.maximum(_size_px(poses) * _MIN_SEGMENT_OF_BOX, _MIN_SEGMENT_PX)[:, None]
    flat, space, flat_sigma, space_sigma = _in_picture_and_space(poses, confident, min_px)
    apart, apart_sigma, turned = (np.full((len(poses), len(PLANE_NAMES)), np.nan) for _ in range(3))
    if planes:
        estimated = poses.keypoint_sigma_px if given else None
        apart, found = plane_angles_2d(poses.keypoints_xy, confident, skeleton, min_px, estimated)
        apart_sigma = apart_sigma if found is None else found
        if poses.world_xyz_m is not None:
            turned = plane_angles_3d(poses.world_xyz_m, confident, skeleton, _MIN_SEGMENT_M)
    outline = Outline(np.where(confident[..., None], poses.keypoints_xy, np.nan).astype(np.float64), skeleton, min_px)
    clear = np.where(in_plane(outline), flat[:, _IN_PLANE_OF], np.nan)
    stand_ins = np.concatenate([_folds(outline, min_px), height_angles(outline, min_px), clear], axis=1)
    value = _in_order(flat, stand_ins, apart, space, turned)
    sigma = None
    if flat_sigma is not None and space_sigma is not None:
        sigma = _in_order(flat_sigma, np.full_like(stand_ins, np.nan), apart_sigma, space_sigma, np.full_like(turned, np.nan))
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
    sigma_m = _sigma_m(poses)
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


def propagated_in_picture(poses: Poses, sigma_px: NDArray[np.float32]) -> tuple[list[int], list[int], Array]:
    """First-order errors of the angles in the picture.

    Returns:
        Columns of `ANGLE_NAMES`, the column of the errors that belongs to each, and the (n, a) errors in degrees.
    """
    plan = _plan(poses.skeleton)
    u, v, _ = segments(poses.keypoints_xy, np.isfinite(poses.keypoints_xy).all(-1), plan)
    v[:, _VERTICAL] = (0.0, -1.0)
    return _WITH_ERROR, _ERROR_OF, sigma_deg(u, v, sigma_px, plan)


def _in_order(flat: Array, stand_ins: Array, planes: Array, space: Array, planes_in_space: Array) -> Array:
    """(n, angles) columns in the order of `ANGLE_NAMES`."""
    old = len(_NAMES_2D)
    return np.concatenate([flat[:, :old], stand_ins, space[:, :old], flat[:, old:], planes, space[:, old:], planes_in_space], axis=1)


def _size_px(poses: Poses) -> Array:
    boxes = poses.boxes_xyxy.astype(np.float64)
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def _sigma_m(poses: Poses) -> Array | None:
    """(n, k) errors of keypoints in metres: the same share of an adult as they are of the person in the picture."""
    if poses.keypoint_sigma_px is None:
        return None
    size = _size_px(poses)
    return poses.keypoint_sigma_px * (_STATURE_M / np.where(size > 0, size, np.nan))[:, None]


def _in_picture_and_space(poses: Poses, confident: NDArray[np.bool_], min_px: Array) -> tuple[Array, Array, Array | None, Array | None]:
    """(n, a) degrees of `_ALL_2D` in the picture and in space, and the standard deviations of both."""
    skeleton, n = poses.skeleton, len(poses)
    if poses.keypoint_sigma_px is not None or poses.world_xyz_m is None:
        flat, flat_sigma = _angles(poses.keypoints_xy, confident, skeleton, min_px, poses.keypoint_sigma_px)
        if poses.world_xyz_m is None:
            missing = np.full_like(flat, np.nan)
            return flat, missing, flat_sigma, None if flat_sigma is None else missing
        space, space_sigma = _angles(poses.world_xyz_m, confident, skeleton, _MIN_SEGMENT_M, _sigma_m(poses))
        return flat, space, flat_sigma, space_sigma
    # The picture is a plane of space, and one pass over both takes half of the time of two.
    points = np.zeros((2 * n, len(skeleton), 3))
    points[:n, :, :2], points[n:] = poses.keypoints_xy, poses.world_xyz_m
    least = np.concatenate([min_px, np.full((n, 1), _MIN_SEGMENT_M)])
    value, _ = _angles(points, np.concatenate([confident, confident]), skeleton, least, None)
    return value[:n], value[n:], None, None


def _angles(
    points: Array | NDArray[np.float32],
    confident: NDArray[np.bool_],
    skeleton: Skeleton,
    min_length: float | Array,
    sigma: Array | NDArray[np.float32] | None,
) -> tuple[Array, Array | None]:
    """(n, a) angles and their standard deviations from points (n, k, d), both in degrees."""
    plan = _plan(skeleton)
    u, v, complete = segments(points, confident & np.isfinite(points).all(-1), plan)
    up = np.zeros(points.shape[-1])
    up[1] = -2.0 * np.max(min_length, initial=1.0)  # image and camera coordinates have y down
    v[:, _VERTICAL] = up
    value = np.where(complete, angle_between_deg(u, v, min_length=min_length) + _OFFSET_DEG, np.nan)
    if sigma is None:
        return value, None
    return value, np.where(np.isnan(value), np.nan, sigma_deg(u, v, sigma, plan))


def _folds(outline: Outline, min_px: Array) -> Array:
    """(n, 4) degrees: cosine rule on the chord of a limb, measured in trunk lengths of the same side."""
    trunk = length(outline.hip - outline.shoulder)
    chord = length(np.concatenate([outline.wrist - outline.shoulder, outline.ankle - outline.hip], axis=1))
    unit = np.where(trunk > min_px, trunk, np.nan)
    chord = chord / np.concatenate([unit, unit], axis=1)
    # A limb that seems this much too long shows a trunk that points at the camera: no measure then.
    chord[chord > _LONGEST_CHORD] = np.nan
    return np.degrees(np.arccos(np.minimum(np.maximum((chord**2 - _SQUARES) / _TWICE, -1.0), 1.0)))


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
