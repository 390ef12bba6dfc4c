"""Everything that is measured of the people in one frame: joint angles with their error, and only where there is evidence.

`measure_angles` is `joint_angles` and more: keypoint errors from the calibrated model, the standard deviation of every angle
that the calibration knows, and the best estimate of its angle in space (`left_knee_flexion_lifted_deg`), from landmarks that
are lifted out of the picture and, by the view, from the network's own in metres (`consensus`). With `evidence="strict"` a
reading that means little is none.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pose_analyzer.biomechanics.angle_sigma import scaled
from pose_analyzer.biomechanics.angles import (
    ANGLE_NAMES,
    SPACE_NAMES,
    angles_in_space,
    joint_angles,
    propagated_in_picture,
)
from pose_analyzer.biomechanics.consensus import agreed, trust_rows
from pose_analyzer.biomechanics.evidence import seen_shares
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
_SPACE_AT = [ANGLE_NAMES.index(name) for name in SPACE_NAMES]
_LEAST_SHARE = 0.5  # of a segment's length must be seen: it then points at most 60 degrees out of the picture
_STRICT_CONFIDENCE = 0.6


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
    least = max(min_confidence, _STRICT_CONFIDENCE) if evidence == "strict" else min_confidence
    person = model.person_features(poses)
    angles = scaled(propagated_angles(poses, timestamp_s=timestamp_s, min_confidence=least, model=model, person=person), model, person)
    return angles if evidence == "lenient" else _strict(angles, poses, least)


def propagated_angles(poses: Poses, *, timestamp_s: float, min_confidence: float, model: SigmaModel, person: Array) -> Angles:
    """Angles as `measure_angles` gives them, with first-order errors that are not yet scaled to what proved true.

    Args:
        poses: n people.
        timestamp_s: Media clock of the frame in seconds.
        min_confidence: Least confidence of each keypoint of an angle, 0..1.
        model: Of keypoint errors, depth and trust.
        person: (n, 5) the model's `person_features`.
    """
    poses = fill_keypoint_sigma(poses, model=model, person=person)
    known = joint_angles(poses, timestamp_s=timestamp_s, min_confidence=min_confidence)
    lifted, sigma = angles_in_space(lift(poses, depth_share=model.depth_share), min_confidence=min_confidence)
    assert known.sigma_deg is not None  # noqa: S101 - for the type checker: the sigma of keypoints was filled in
    assert sigma is not None  # noqa: S101
    best = best_in_space(lifted, known.value_deg[:, _SPACE_AT], poses, min_confidence=min_confidence, model=model)
    return Angles(
        names=MEASURED_NAMES,
        track_ids=poses.track_ids,
        value_deg=np.concatenate([known.value_deg, best], axis=1),
        sigma_deg=np.concatenate([known.sigma_deg, sigma], axis=1),
        timestamp_s=timestamp_s,
    )


def best_in_space(lifted: Array, plain: Array, poses: Poses, *, min_confidence: float, model: SigmaModel) -> Array:
    """(n, b) degrees of `LIFTED_NAMES`: what lifted landmarks and the network's own say together.

    Args:
        lifted: (n, b) degrees of the lifted landmarks, in the order of `SPACE_NAMES`.
        plain: (n, b) degrees of the network's own.
        poses: The n people.
        min_confidence: Least confidence of each keypoint of an angle, 0..1.
        model: The weights of both.
    """
    names, seen, front = seen_shares(poses, min_confidence=min_confidence)
    trust = trust_rows(model.trust, tuple(name.removesuffix("_deg").removeprefix("left_").removeprefix("right_") for name in names))
    best = lifted.copy()
    # Body planes, the last columns, have no weights.
    best[:, : len(names)] = agreed(lifted[:, : len(names)], plain[:, : len(names)], seen, front, trust)
    return best


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
    known, person = poses.keypoint_sigma_px is not None, model.person_features(poses)
    sigma_px = (
        fill_keypoint_sigma(poses, model=model, person=person).keypoint_sigma_px if known else model.keypoint_sigma_px(poses, person=person)
    )
    assert sigma_px is not None  # noqa: S101 - for the type checker: it was filled in
    columns, sources, propagated = propagated_in_picture(poses, sigma_px)
    sigma = np.full(angles.value_deg.shape, np.nan)
    sigma[:, columns] = propagated[:, sources]
    sigma[np.isnan(angles.value_deg)] = np.nan
    return scaled(Angles(angles.names, angles.track_ids, angles.value_deg, sigma, angles.timestamp_s), model, person)


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
    names, seen, _ = seen_shares(poses, min_confidence=min_confidence)
    for column, name in enumerate(names):
        unsure[:, angles.names.index(name)] |= ~(seen[:, column] >= _LEAST_SHARE)
    value = np.where(unsure, np.nan, angles.value_deg)
    return Angles(angles.names, angles.track_ids, value, np.where(np.isnan(value), np.nan, angles.sigma_deg), angles.timestamp_s)
