"""Calibration of keypoint errors, depth shares and angle errors on the calibration scenes of the audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.biomechanics.angles import SPACE_NAMES, angles_in_space
from pose_analyzer.biomechanics.calibration import fit_angle, fit_depth_share, fit_keypoints
from pose_analyzer.biomechanics.keypoint_sigma import SigmaModel, fill_keypoint_sigma
from pose_analyzer.biomechanics.lifting import lift
from pose_analyzer.cli.audit_scenes import Take
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

Array = NDArray[Any]

# Part -> the angles that its depth bends most. In the order of the fit, each with the shares before it in force.
_DEPTH_JUDGES = {
    "trunk": ("hip_flexion", "shoulder_elevation"),
    "thigh": ("knee_flexion", "hip_flexion"),
    "shank": ("knee_flexion",),
    "upper_arm": ("elbow_flexion", "shoulder_elevation"),
    "forearm": ("elbow_flexion",),
}
_SHARES = tuple(round(0.05 * i, 2) for i in range(21))
_MIN_CONFIDENCE = 0.5


def stacked(take: Take, detector: str) -> tuple[Poses, NDArray[np.bool_]]:
    """All frames of a take as rows of one `Poses`, and (f,) which frames have one."""
    found = take.seen[detector]["scores"] > 0
    people = [p for p in take.poses(detector) if len(p)]
    return (Poses.concatenate(people) if people else Poses.empty(BLAZEPOSE_33)), found


def calibrate(takes: Sequence[Take], detector: str, *, command: str) -> SigmaModel:
    """The sigma model of a detector from takes of the calibration part.

    Raises:
        ValidationError: There is too little to fit.
    """
    rows = [(take, *stacked(take, detector)) for take in takes]
    about = {"detector": detector, "command": command, "frames": int(sum(found.sum() for _, _, found in rows)), "scenes": len(takes)}
    model = fit_keypoints(((poses, take.truth["joints_xy"][found]) for take, poses, found in rows), about=about)
    everybody = Poses.concatenate([poses for _, poses, _ in rows if len(poses)])
    truth = Poses.concatenate([_true(take, found) for take, poses, found in rows if len(poses)])
    model = replace(model, depth_share=_depth_shares(everybody, truth))
    return replace(model, angles=dict(_angle_bands(model, everybody, truth)))


def _true(take: Take, found: NDArray[np.bool_]) -> Poses:
    return Poses.concatenate([p for p, there in zip(take.true_poses(), found, strict=True) if there])


def _depth_shares(people: Poses, truth: Poses) -> dict[str, float]:
    true, _ = angles_in_space(truth, min_confidence=0.0)
    shares = dict.fromkeys(_DEPTH_JUDGES, 1.0)
    for _ in range(2):  # the second round sees the first one's shares of the parts behind it
        for part, judges in _DEPTH_JUDGES.items():
            columns = [SPACE_NAMES.index(f"{side}_{judge}_3d_deg") for judge in judges for side in ("left", "right")]
            trials = {}
            for share in _SHARES:
                seen, _ = angles_in_space(lift(people, depth_share=shares | {part: share}), min_confidence=_MIN_CONFIDENCE)
                trials[share] = (seen - true)[:, columns]
            shares[part] = fit_depth_share(trials)
    return shares


def _angle_bands(model: SigmaModel, people: Poses, truth: Poses) -> Iterator[tuple[str, tuple[float, float]]]:
    """(name without side, (factor, floor)) of every angle that has a propagated error."""
    people = fill_keypoint_sigma(people, model=model)
    seen, true = (joint_angles(p, timestamp_s=0.0, min_confidence=c) for p, c in ((people, _MIN_CONFIDENCE), (truth, 0.0)))
    lifted, lifted_sigma = angles_in_space(lift(people, depth_share=model.depth_share), min_confidence=_MIN_CONFIDENCE)
    in_space, _ = angles_in_space(truth, min_confidence=0.0)
    assert seen.sigma_deg is not None  # noqa: S101 - filled in above
    assert lifted_sigma is not None  # noqa: S101
    names = (*seen.names, *(n.replace("_3d_deg", "_lifted_deg") for n in SPACE_NAMES))
    error = np.concatenate([seen.value_deg - true.value_deg, lifted - in_space], axis=1)
    sigma = np.concatenate([seen.sigma_deg, lifted_sigma], axis=1)
    plain = [n.removeprefix("left_").removeprefix("right_") for n in names]
    for name in dict.fromkeys(plain):
        columns = [i for i, n in enumerate(plain) if n == name]
        band = fit_angle(error[:, columns].ravel(), sigma[:, columns].ravel())
        if band is not None:
            yield name, band
