"""Calibration of keypoint errors, depth shares and angle errors on the calibration scenes of the audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics import joint_angles
from pose_analyzer.biomechanics.angle_sigma import angle_features, angle_key
from pose_analyzer.biomechanics.angles import SPACE_NAMES, angles_in_space
from pose_analyzer.biomechanics.calibration import fit_angle, fit_depth_share, fit_keypoints, fit_trust
from pose_analyzer.biomechanics.evidence import seen_shares
from pose_analyzer.biomechanics.keypoint_sigma import SigmaModel
from pose_analyzer.biomechanics.lifting import lift
from pose_analyzer.biomechanics.measure import propagated_angles
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


def stacked(take: Take, detector: str, *, filtered: bool) -> tuple[Poses, NDArray[np.bool_]]:
    """All frames of a take as rows of one `Poses`, and (f,) which frames have one."""
    found = take.seen[detector]["scores"] > 0
    people = [p for p in take.poses(detector, filtered=filtered) if len(p)]
    return (Poses.concatenate(people) if people else Poses.empty(BLAZEPOSE_33)), found


def calibrate(takes: Sequence[Take], detector: str, *, command: str) -> SigmaModel:
    """The sigma model of a detector, behind the default filter, from takes of the calibration part.

    Raises:
        ValidationError: There is too little to fit.
    """
    rows = [(take, *stacked(take, detector, filtered=True)) for take in takes]
    about = {"detector": detector, "command": command, "frames": int(sum(found.sum() for _, _, found in rows)), "scenes": len(takes)}
    model = fit_keypoints(((poses, take.truth["joints_xy"][found]) for take, poses, found in rows), about=about)
    everybody = Poses.concatenate([poses for _, poses, _ in rows if len(poses)])
    truth = Poses.concatenate([_true(take, found) for take, poses, found in rows if len(poses)])
    rough = np.concatenate([np.full(len(poses), take.scene.is_rough) for take, poses, _ in rows])
    model = replace(model, depth_share=_depth_shares(everybody, truth))
    model = replace(model, trust=dict(_trust(model, everybody, truth)))
    return replace(model, angles=dict(_angle_bands(model, everybody, truth, rough)))


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


def _trust(model: SigmaModel, people: Poses, truth: Poses) -> Iterator[tuple[str, list[float]]]:
    """(name without side and unit, weights) of every angle that is measured in two ways."""
    true, plain, lifted = (
        angles_in_space(p, min_confidence=c, planes=False)[0]
        for p, c in ((truth, 0.0), (people, _MIN_CONFIDENCE), (lift(people, depth_share=model.depth_share), _MIN_CONFIDENCE))
    )
    names, seen, front = seen_shares(people, min_confidence=_MIN_CONFIDENCE)
    for name, columns in _grouped(n.removesuffix("_deg").removeprefix("left_").removeprefix("right_") for n in names):
        chosen = [values[:, columns].ravel() for values in (lifted, plain, true, seen)]
        lifted_deg, plain_deg, true_deg, share = chosen
        trust = fit_trust(lifted_deg, plain_deg, true_deg, share, np.repeat(front, len(columns)))
        if trust is not None:
            yield name, trust


def _angle_bands(model: SigmaModel, people: Poses, truth: Poses, rough: NDArray[np.bool_]) -> Iterator[tuple[str, list[float]]]:
    """(`angle_key`, weights of the features) of every angle that has a propagated error."""
    person = model.person_features(people)
    seen = propagated_angles(people, timestamp_s=0.0, min_confidence=_MIN_CONFIDENCE, model=model, person=person)
    true = joint_angles(truth, timestamp_s=0.0, min_confidence=0.0)
    in_space, _ = angles_in_space(truth, min_confidence=0.0)
    error, features = seen.value_deg - np.concatenate([true.value_deg, in_space], axis=1), angle_features(seen, person)
    for key, columns in _grouped(angle_key(name) for name in seen.names):
        weights = fit_angle(error[:, columns].ravel(), features[:, columns].reshape(-1, features.shape[-1]), np.repeat(rough, len(columns)))
        if weights is not None:
            yield key, weights


def _grouped(keys: Iterable[str]) -> Iterator[tuple[str, list[int]]]:
    """Every key, and the columns that it stands over."""
    columns: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        columns.setdefault(key, []).append(i)
    yield from columns.items()
