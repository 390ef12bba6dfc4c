"""Everything that is measured of the people in one frame: joint angles with their error, and only where there is evidence.

`measure_angles` is `joint_angles` and more: keypoint errors from the calibrated model, the standard deviation of every angle
that the calibration knows, and the angles of lifted landmarks (`left_knee_flexion_lifted_deg`), the best estimate of a joint's
angle from an oblique camera. With `evidence="strict"` a reading that means little is none.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pose_analyzer.biomechanics.angles import (
    ANGLE_NAMES,
    SPACE_NAMES,
    angles_in_space,
    joint_angles,
    propagated_in_picture,
    segments_in_picture,
)
from pose_analyzer.biomechanics.foreshortening import STATURE_SHARE, Outline
from pose_analyzer.biomechanics.geometry import Array
from pose_analyzer.biomechanics.keypoint_sigma import SigmaModel, default_sigma_model, fill_keypoint_sigma
from pose_analyzer.biomechanics.lifting import lift
from shared_utils.data_models import Angles, Poses
from shared_utils.errors import ValidationError

Evidence = Literal["lenient", "strict"]

LIFTED_NAMES: tuple[str, ...] = tuple(name.replace("_3d_deg", "_lifted_deg") for name in SPACE_NAMES)
MEASURED_NAMES: tuple[str, ...] = (*ANGLE_NAMES, *LIFTED_NAMES)
"""The names that `measure_angles` gives, in order: those of `joint_angles` first."""

MAX_SIGMA_DEG = 15.0
"""A reading that is less sure than this is no reading under strict evidence."""
_LEAST_SHARE = 0.5  # of a segment's length must be seen: it then points at most 60 degrees out of the picture
_STRICT_CONFIDENCE = 0.6

# Lengths in body heights of the two segments of each angle in the picture; 0 = not judged (too short, or the vertical).
_SEGMENT_SHARES = {
    "knee_flexion": (STATURE_SHARE["thigh"], STATURE_SHARE["shank"]),
    "hip_flexion": (STATURE_SHARE["trunk"], STATURE_SHARE["thigh"]),
    "elbow_flexion": (0.186, 0.146),
    "shoulder_elevation": (0.186, STATURE_SHARE["trunk"]),
    "ankle_dorsiflexion": (STATURE_SHARE["shank"], 0.13),
    "trunk_lean": (STATURE_SHARE["trunk"], 0.0),
    "upper_arm_lean": (0.186, 0.0),
    "neck_flexion": (STATURE_SHARE["trunk"], 0.0),
    "wrist_flexion": (0.146, 0.0),
}


def measure_angles(
    poses: Poses,
    *,
    timestamp_s: float,
    min_confidence: float = 0.5,
    evidence: Evidence = "lenient",
    model: SigmaModel | None = None,
) -> Angles:
    """Angles of every person with their standard deviation.

    Args:
        poses: n people; their `keypoint_sigma_px` is kept where they have one, and estimated elsewhere.
        timestamp_s: Media clock of the frame in seconds.
        min_confidence: Least confidence of each keypoint of an angle, 0..1.
        evidence: "lenient" gives the values of `joint_angles`. "strict" gives no reading (NaN) where the standard deviation
            exceeds 15 degrees, where a keypoint's confidence is below 0.6, and, in the picture, where a segment is seen at
            less than half of its length: it points at the camera, and its direction means little.
        model: Default: the calibration that comes with the package.

    Returns:
        `Angles` of `MEASURED_NAMES`, rows in the order of `poses`; `sigma_deg` is NaN for angles without calibration.

    Raises:
        ValidationError: `min_confidence` lies outside 0..1, or there is no such evidence.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.full((1, 17, 2), np.nan, np.float32)
        >>> xy[0, COCO_17.indices(["left_hip", "left_knee", "left_ankle"])] = [(100, 100), (100, 200), (200, 200)]
        >>> poses = Poses(
        ...     boxes_xyxy=[[0, 0, 300, 300]], scores=[1.0], keypoints_xy=xy,
        ...     keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0, 1), skeleton=COCO_17,
        ... )
        >>> angles = measure_angles(poses, timestamp_s=0.0)
        >>> column = angles.names.index("left_knee_flexion_deg")
        >>> float(angles.value_deg[0, column]), bool(0 < angles.sigma_deg[0, column] < 20)
        (90.0, True)
    """
    if evidence not in ("lenient", "strict"):
        raise ValidationError(f"evidence must be 'lenient' or 'strict', got {evidence!r}")
    model = model or default_sigma_model()
    poses = fill_keypoint_sigma(poses, model=model)
    least = max(min_confidence, _STRICT_CONFIDENCE) if evidence == "strict" else min_confidence
    known = joint_angles(poses, timestamp_s=timestamp_s, min_confidence=least)
    value, sigma = angles_in_space(lift(poses, depth_share=model.depth_share), min_confidence=least)
    assert known.sigma_deg is not None  # noqa: S101 - for the type checker: the sigma of keypoints was filled in
    assert sigma is not None  # noqa: S101
    angles = model.scaled(
        Angles(
            names=MEASURED_NAMES,
            track_ids=poses.track_ids,
            value_deg=np.concatenate([known.value_deg, value], axis=1),
            sigma_deg=np.concatenate([known.sigma_deg, sigma], axis=1),
            timestamp_s=timestamp_s,
        )
    )
    return angles if evidence == "lenient" else _strict(angles, poses, least)


def picture_errors(angles: Angles, poses: Poses, *, model: SigmaModel | None = None) -> Angles:
    """The same angles with the standard deviation of those in the picture.

    What `measure_angles` gives in full, at a fraction of the time: for every frame of a live stream.

    Args:
        angles: From `joint_angles` of `poses`.
        poses: n people; their `keypoint_sigma_px` counts where they have one.
        model: Default: the calibration that comes with the package.

    Returns:
        Angles whose `sigma_deg` is NaN for those in space, for stand-ins, and where there is no reading.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> xy = np.full((1, 17, 2), np.nan, np.float32)
        >>> xy[0, COCO_17.indices(["left_hip", "left_knee", "left_ankle"])] = [(100, 100), (100, 200), (200, 200)]
        >>> poses = Poses(
        ...     boxes_xyxy=[[0, 0, 300, 300]], scores=[1.0], keypoints_xy=xy,
        ...     keypoint_confidence=np.where(np.isnan(xy[..., 0]), 0, 1), skeleton=COCO_17,
        ... )
        >>> angles = picture_errors(joint_angles(poses, timestamp_s=0.0), poses)
        >>> bool(1 < angles.sigma_deg[0, angles.names.index("left_knee_flexion_deg")] < 10)
        True
    """
    model = model or default_sigma_model()
    known = poses.keypoint_sigma_px is not None
    sigma_px = fill_keypoint_sigma(poses, model=model).keypoint_sigma_px if known else model.keypoint_sigma_px(poses)
    assert sigma_px is not None  # noqa: S101 - for the type checker: it was filled in
    columns, sources, propagated = propagated_in_picture(poses, sigma_px)
    sigma = np.full(angles.value_deg.shape, np.nan)
    sigma[:, columns] = propagated[:, sources]
    sigma[np.isnan(angles.value_deg)] = np.nan
    return model.scaled(Angles(angles.names, angles.track_ids, angles.value_deg, sigma, angles.timestamp_s))


def strict(angles: Angles, poses: Poses, *, min_confidence: float = _STRICT_CONFIDENCE) -> Angles:
    """The same angles, with no reading (NaN) where there is too little evidence, as `measure_angles` has it.

    Args:
        angles: Of `poses`, with `sigma_deg`.
        poses: n people.
        min_confidence: Least confidence of the keypoints of a segment that is judged, 0..1.

    Raises:
        ValidationError: The angles carry no `sigma_deg`.
    """
    if angles.sigma_deg is None:
        raise ValidationError("strict evidence needs angles with sigma_deg; pass them through picture_errors or measure_angles")
    return _strict(angles, poses, min_confidence)


def _strict(angles: Angles, poses: Poses, min_confidence: float) -> Angles:
    assert angles.sigma_deg is not None  # noqa: S101
    with np.errstate(invalid="ignore"):
        unsure = angles.sigma_deg > MAX_SIGMA_DEG
    names, seen = _seen_shares(poses, min_confidence)
    for column, name in enumerate(names):
        unsure[:, angles.names.index(name)] |= ~(seen[:, column] >= _LEAST_SHARE)
    value = np.where(unsure, np.nan, angles.value_deg)
    return Angles(angles.names, angles.track_ids, value, np.where(np.isnan(value), np.nan, angles.sigma_deg), angles.timestamp_s)


def _seen_shares(poses: Poses, min_confidence: float) -> tuple[tuple[str, ...], Array]:
    """Names of angles in the picture, and (n, names) how much of the shorter-seen of their segments is seen, 1 = all.

    The measure is the trunk; where it is not known nothing is, and there is no share.
    """
    names, u, v = segments_in_picture(poses, min_confidence=min_confidence)
    usable = poses.keypoint_confidence >= min_confidence
    xy = np.where(usable[..., None], poses.keypoints_xy, np.nan).astype(np.float64)
    trunk = Outline(xy, poses.skeleton, np.ones((len(poses), 1))).trunk_px
    # One side's trunk will do: the other may be hidden behind it.
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
    return names, np.minimum(*seen)
