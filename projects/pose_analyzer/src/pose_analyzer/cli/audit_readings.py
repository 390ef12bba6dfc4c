"""Readings of the audit: every angle of every frame beside the truth, and the tables that follow from them.

Three kinds of angle are judged, each against its own truth: in the picture (against the angle of the projected true joints), in
space (metric landmarks against the true joint angle) and lifted (the best estimate in space, the same truth). Beside them
stands the raw angle of MediaPipe's landmarks on the same frames, in the picture and in space.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics import ANGLE_NAMES, joint_angles, measure_angles
from pose_analyzer.biomechanics.agreement import Agreement, agreement
from pose_analyzer.biomechanics.calibration import coverage
from pose_analyzer.biomechanics.keypoint_sigma import SigmaModel
from pose_analyzer.biomechanics.measure import MEASURED_NAMES
from pose_analyzer.cli.audit_calibrate import stacked
from pose_analyzer.cli.audit_scenes import Take
from pose_analyzer.cli.audit_versus import versus
from shared_utils.data_models import Poses
from shared_utils.skeletons import BLAZEPOSE_33

Array = NDArray[Any]

JOINTS = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation")
"""Angles of the main tables."""
KINDS = ("picture", "lifted", "space")
_SUFFIX = {"picture": "_deg", "lifted": "_lifted_deg", "space": "_3d_deg"}
_SIDES = ("left", "right")
_NEEDS = {
    "knee_flexion": ("hip", "knee", "ankle"),
    "hip_flexion": ("shoulder", "hip", "knee"),
    "elbow_flexion": ("shoulder", "elbow", "wrist"),
    "shoulder_elevation": ("hip", "shoulder", "elbow"),
    "ankle_dorsiflexion": ("knee", "ankle", "heel", "foot_index"),
    "trunk_lean": ("hip", "shoulder"),
    "upper_arm_lean": ("elbow", "shoulder"),
    "neck_flexion": ("hip", "shoulder", "ear"),
    "wrist_flexion": ("elbow", "wrist", "index", "pinky"),
    "shoulder_flexion": ("shoulder", "elbow", "hip"),
    "shoulder_abduction": ("shoulder", "elbow", "hip"),
    "hip_abduction": ("shoulder", "hip", "knee"),
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Readings:
    """m readings by column; one row per frame, joint, side and kind.

    Args:
        columns: scene, exercise, azimuth_deg, height_px, joint, side, kind, near (the side is turned to the camera), visible (all
            landmarks are), true_deg, error_deg (of raw landmarks), strict (given under strict evidence), mediapipe_error_deg;
            filtered_error_deg and sigma_deg are those behind the default filter, where the bands were learnt.
    """

    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.columns["error_deg"])

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def where(self, mask: NDArray[np.bool_] | None = None, **equal: Any) -> Readings:
        """The rows that match; a tuple means any of its values."""
        keep = np.ones(len(self), bool) if mask is None else mask.copy()
        for name, value in equal.items():
            keep &= np.isin(self[name], list(value)) if isinstance(value, tuple) else self[name] == value
        return Readings(columns={k: v[keep] for k, v in self.columns.items()})


def readings(takes: Iterable[Take], detector: str, *, model: SigmaModel | None = None, min_confidence: float = 0.5) -> Readings:
    """All readings of takes in which a detector and, if it is there, MediaPipe looked."""
    parts = [_of_take(take, detector, model, min_confidence) for take in takes]
    return Readings(columns={name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def _measured(take: Take, detector: str, model: SigmaModel | None, min_confidence: float, *, filtered: bool) -> tuple[Array, Array, Array]:
    """(f, a) values, standard deviations, and which are given under strict evidence; all of a take's frames at once."""
    shape = (len(take.timestamps_s), len(MEASURED_NAMES))
    value, sigma, strict = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, bool)
    people, found = stacked(take, detector, filtered=filtered)
    if len(people):
        angles, sure = (
            measure_angles(people, timestamp_s=0.0, min_confidence=min_confidence, model=model, evidence=e) for e in ("lenient", "strict")
        )
        assert angles.sigma_deg is not None  # noqa: S101 - it always is
        value[found], sigma[found], strict[found] = angles.value_deg, angles.sigma_deg, ~np.isnan(sure.value_deg)
    return value, sigma, strict


def _raw(take: Take, detector: str, min_confidence: float) -> Array:
    """(f, a) angles of a detector's landmarks as they are; NaN where it did not look."""
    value = np.full((len(take.timestamps_s), len(ANGLE_NAMES)), np.nan)
    if detector in take.seen:
        people, found = stacked(take, detector, filtered=False)
        if len(people):
            value[found] = joint_angles(people, timestamp_s=0.0, min_confidence=min_confidence).value_deg
    return value


def _of_take(take: Take, detector: str, model: SigmaModel | None, min_confidence: float) -> dict[str, Array]:
    frames = len(take.timestamps_s)
    value, _, strict = _measured(take, detector, model, min_confidence, filtered=False)
    smooth, sigma, _ = _measured(take, detector, model, min_confidence, filtered=True)
    other = _raw(take, "mediapipe", min_confidence)
    true = joint_angles(Poses.concatenate(list(take.true_poses())), timestamp_s=0.0, min_confidence=0.0).value_deg
    rows = []
    for joint in _NEEDS:
        for side in _SIDES:
            visible = take.truth["visible"][:, BLAZEPOSE_33.indices([f"{side}_{p}" for p in _NEEDS[joint]])].all(1)
            for kind in KINDS:
                name = f"{side}_{joint}{_SUFFIX[kind]}"
                judge = ANGLE_NAMES.index(f"{side}_{joint}{'_deg' if kind == 'picture' else '_3d_deg'}")
                column = MEASURED_NAMES.index(name)
                truth_deg = true[:, judge]
                rows.append(
                    {
                        "scene": np.full(frames, take.scene.key),
                        "exercise": np.full(frames, take.scene.exercise),
                        "azimuth_deg": np.full(frames, take.scene.azimuth_deg),
                        "height_px": np.full(frames, take.scene.height_px),
                        "joint": np.full(frames, joint),
                        "side": np.full(frames, side),
                        "kind": np.full(frames, kind),
                        "near": np.full(frames, _near(take.scene.azimuth_deg, side)),
                        "visible": visible,
                        "true_deg": truth_deg,
                        "error_deg": value[:, column] - truth_deg,
                        "filtered_error_deg": smooth[:, column] - truth_deg,
                        "sigma_deg": sigma[:, column],
                        "strict": strict[:, column],
                        "mediapipe_error_deg": other[:, judge] - truth_deg,
                    }
                )
    return {name: np.concatenate([r[name] for r in rows]) for name in rows[0]}


def _near(azimuth_deg: float, side: str) -> bool:
    """Whether a side of the body is turned to the camera, or is as far from it as the other."""
    towards_left = np.sin(np.radians(azimuth_deg))
    return bool(abs(towards_left) < 1e-6 or (towards_left > 0) == (side == "left"))


def summary(chosen: Readings) -> dict[str, Any]:
    """Errors of some readings in one row: ours, MediaPipe's on the same frames, and the bands."""
    both = np.isfinite(chosen["error_deg"]) & np.isfinite(chosen["mediapipe_error_deg"])
    band = coverage(chosen["filtered_error_deg"], chosen["sigma_deg"])
    sure = chosen.where(chosen["strict"])
    return {
        **_spread("", chosen["error_deg"]),
        **_spread("same_frames_", chosen["error_deg"][both]),
        **_spread("mediapipe_", chosen["mediapipe_error_deg"][both]),
        **_spread("strict_", sure["error_deg"]),
        "strict_share": round(float(np.isfinite(sure["error_deg"]).sum() / max(np.isfinite(chosen["error_deg"]).sum(), 1)), 3),
        "within_1_sigma": None if not band.readings else round(band.within_1, 3),
        "within_2_sigma": None if not band.readings else round(band.within_2, 3),
    }


def _spread(prefix: str, error: Array) -> dict[str, Any]:
    error = np.abs(error[np.isfinite(error)])
    if not len(error):
        return {f"{prefix}median_deg": None, f"{prefix}p95_deg": None, f"{prefix}count": 0}
    return {
        f"{prefix}median_deg": round(float(np.median(error)), 2),
        f"{prefix}p95_deg": round(float(np.percentile(error, 95)), 1),
        f"{prefix}count": len(error),
    }


def tables(found: Readings) -> dict[str, list[dict[str, Any]]]:
    """The audit's tables as plain rows.

    `sagittal`: near side, cameras at 90 and 270 degrees, by joint and pixel height. `by_azimuth`, `by_exercise`, `by_height`:
    by joint and kind. `versus`: cells of azimuth and height against MediaPipe. `coverage`: by joint and kind, behind the default
    filter. `agreement`: Bland and Altman's bias and limits by joint and kind.
    """
    near = found.where(near=True)
    side_view = near.where(azimuth_deg=(90, 270))
    large = found.where(height_px=int(found["height_px"].max()))
    return {
        "sagittal": [
            {"joint": joint, "kind": kind, "height_px": height} | summary(side_view.where(joint=joint, kind=kind, height_px=height))
            for joint in JOINTS
            for kind in KINDS
            for height in _values(side_view, "height_px")
        ],
        "by_azimuth": _rows(large.where(near=True), "azimuth_deg", JOINTS),
        "by_exercise": _rows(large.where(near=True), "exercise", JOINTS),
        "by_height": _rows(near, "height_px", JOINTS),
        "versus": versus(near.columns, JOINTS, KINDS),
        "coverage": [
            {"joint": joint or "all", "kind": kind} | _bands(found.where(kind=kind, joint=joint or tuple(_NEEDS)))
            for kind in KINDS
            for joint in (*_NEEDS, "")
        ],
        "agreement": [
            {"joint": joint, "kind": kind} | _agreement(near.where(joint=joint, kind=kind)).to_dict() for kind in KINDS for joint in JOINTS
        ],
    }


def _rows(found: Readings, by: str, joints: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"joint": joint, "kind": kind, by: value} | summary(found.where(joint=joint, kind=kind, **{by: value}))
        for joint in joints
        for kind in KINDS
        for value in _values(found, by)
    ]


def _bands(found: Readings) -> dict[str, Any]:
    all_, visible = (coverage(r["filtered_error_deg"], r["sigma_deg"]) for r in (found, found.where(found["visible"])))
    names = ("within_1_sigma", "within_2_sigma")
    return {
        **{n: None if not all_.readings else round(v, 3) for n, v in zip(names, all_[:2], strict=True)},
        **{f"visible_{n}": None if not visible.readings else round(v, 3) for n, v in zip(names, visible[:2], strict=True)},
        "median_sigma_deg": None if not all_.readings else round(float(np.nanmedian(found["sigma_deg"])), 1),
        "count": all_.readings,
        "met": all_.met if all_.readings else None,
    }


def _agreement(found: Readings) -> Agreement:
    return agreement(found["true_deg"] + found["error_deg"], found["true_deg"])


def _values(found: Readings, name: str) -> list[Any]:
    return [v.item() for v in np.unique(found[name])]
