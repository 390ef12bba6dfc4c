"""What form is judged by: angles of the picture that belong together in one row per person.

Image-plane angles first, and angles in space beside them: from one camera the former repeat to 2..5 degrees where the view shows them;
the latter are farther off but depend less on the view. A reference holds one set of curves per view, and a feature that a view does
not show has a large spread there, or no reading. All features are the same for a picture and its mirror image, so that the view
from behind equals the one from the front; `left_`/`right_` are the person's own.

| feature | what | grows with |
|---|---|---|
| `knee_flexion`, `hip_flexion`, `elbow_flexion`, `shoulder_elevation` | as in `biomechanics`, per side | bending, raising |
| the same with `_3d` | from metric landmarks; missing where the detector has none | bending, raising |
| `knee_valgus` | knee beside the line hip-ankle, by the shank's length, as an angle; per side | falling inwards |
| `shank_lean` | knee to ankle against the vertical, per side | leaning any way |
| `trunk_lean` | mid-hip to mid-shoulder against the vertical | leaning any way |
| `neck_flexion` | mid-ear beyond mid-shoulder against the trunk | head leaving the trunk's line |
| `knees_in` | mean of the two `knee_valgus`: a turned view cancels | falling inwards |
| `knee_difference`, `elbow_difference`, `shoulder_difference` | left minus right flexion, or elevation | left going farther |
| `hip_tilt`, `shoulder_tilt`, `wrist_tilt` | right above left, by the trunk's length, as an angle | right side higher |
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from shared_utils.data_models import Poses
from shared_utils.skeletons import Skeleton

Array = NDArray[np.float64]

SIDES = ("left", "right")
_FOLDS = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation")
_PAIRED = (*_FOLDS, "knee_valgus", "shank_lean", *(f"{name}_3d" for name in _FOLDS))
_DIFFERENCES = {"knee_difference": "knee_flexion", "elbow_difference": "elbow_flexion", "shoulder_difference": "shoulder_elevation"}
_SINGLE = ("trunk_lean", "neck_flexion", "knees_in", *_DIFFERENCES, "hip_tilt", "shoulder_tilt", "wrist_tilt")

FORM_FEATURES: tuple[str, ...] = (*(f"{side}_{name}" for name in _PAIRED for side in SIDES), *_SINGLE)
"""Columns of `form_features`; all are degrees."""

_PAIRS = np.array([(FORM_FEATURES.index(f"left_{n}"), FORM_FEATURES.index(f"right_{n}")) for n in _PAIRED])
_SIGNED = np.array([FORM_FEATURES.index(n) for n in _SINGLE if n.endswith(("_tilt", "_difference"))])

_PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "ear")
_CHAIN = ("wrist", "elbow", "shoulder", "hip", "knee", "ankle")
BODY_POINTS: tuple[str, ...] = tuple(f"{side}_{part}" for part in _PARTS for side in SIDES)
"""Keypoints of `body_points`, left before right."""
BODY_LINES: tuple[tuple[str, str], ...] = (
    *(
        (f"{side}_{a}", f"{side}_{b}")
        for side in SIDES
        for a, b in itertools.pairwise(("wrist", "elbow", "shoulder", "hip", "knee", "ankle"))
    ),
    *((f"{side}_ear", f"{side}_shoulder") for side in SIDES),
    *((f"left_{part}", f"right_{part}") for part in ("shoulder", "hip")),
)
"""What is joined when a body is drawn."""
_LEAST_PX = 2.0
# Share of the trunk's length that a segment must show to have a direction.
_LEAST_SHARE = 0.12


def form_features(poses: Poses, *, min_confidence: float = 0.5) -> Array:
    """Features of every person in one frame.

    Args:
        poses: n people, tracked and smoothed.
        min_confidence: Least confidence of each keypoint of a feature, 0..1. Default 0.5, as for angles.

    Returns:
        (n, f) degrees, in the order of `FORM_FEATURES`; NaN = no reading.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> form_features(Poses.empty(COCO_17)).shape == (0, len(FORM_FEATURES))
        True
    """
    xy = np.where((poses.keypoint_confidence >= min_confidence)[..., None], poses.keypoints_xy, np.nan).astype(np.float64)
    at = dict(zip(_PARTS, np.moveaxis(xy[:, _indices(poses.skeleton)], 1, 0), strict=True))  # name -> (n, 2 sides, 2)
    shoulder, hip, knee, ankle = at["shoulder"], at["hip"], at["knee"], at["ankle"]
    middle = {name: _middle(at[name]) for name in ("shoulder", "hip", "ear")}
    trunk = middle["shoulder"] - middle["hip"]
    size = np.fmax(_length(trunk), 0.8 * np.fmax.reduce(_length(shoulder - hip), axis=1))
    unit = np.where(size > _LEAST_PX, size, np.nan)[:, None]
    upright = np.broadcast_to([0.0, -1.0], trunk.shape)
    # One call for all: of so few numbers, what numpy takes is the calls.
    pointing = np.stack([knee - hip, hip - shoulder, at["elbow"] - shoulder, at["elbow"] - shoulder, knee - ankle])
    folded = np.stack([ankle - knee, knee - hip, at["wrist"] - at["elbow"], hip - shoulder, np.broadcast_to([0.0, -1.0], knee.shape)])
    *folds, shank_lean = _between(pointing, folded, unit)
    paired = [*folds, _valgus(hip, knee, ankle, unit), shank_lean, *_folds_in_space(poses, min_confidence)]
    single = [
        _between(trunk, upright, unit[:, 0]),
        _between(middle["ear"] - middle["shoulder"], trunk, unit[:, 0]),
        paired[_PAIRED.index("knee_valgus")].mean(1),
        *(paired[_PAIRED.index(name)] @ [1.0, -1.0] for name in _DIFFERENCES.values()),
        *(_tilt(at[name], unit[:, 0]) for name in ("hip", "shoulder", "wrist")),
    ]
    return np.concatenate([np.stack(paired, axis=1).reshape(len(poses), 2 * len(_PAIRED)), np.stack(single, axis=1)], axis=1)


def body_points(poses: Poses, *, min_confidence: float = 0.5) -> Array:
    """Where the body's points are: (n, 14, 2) px, in the order of `BODY_POINTS`; NaN = missing.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> body_points(Poses.empty(COCO_17)).shape == (0, len(BODY_POINTS), 2)
        True
    """
    xy = np.where((poses.keypoint_confidence >= min_confidence)[..., None], poses.keypoints_xy, np.nan).astype(np.float64)
    return xy[:, _indices(poses.skeleton).ravel()]


def mirrored_points(points: Array) -> Array:
    """(..., 14, 2) the same body in a mirror: left and right exchanged, x turned around.

    Example:
        >>> row = np.arange(28.0).reshape(14, 2)
        >>> bool((mirrored_points(mirrored_points(row)) == row).all())
        True
    """
    return points[..., np.arange(len(BODY_POINTS)) ^ 1, :] * [-1.0, 1.0]


def swapped(features: Array) -> Array:
    """(..., f) the same movement with left and right exchanged.

    Example:
        >>> row = np.arange(float(len(FORM_FEATURES)))
        >>> bool((swapped(swapped(row)) == row).all())
        True
    """
    out = features.copy()
    out[..., _PAIRS] = features[..., _PAIRS[:, ::-1]]
    out[..., _SIGNED] *= -1.0
    return out


def swapped_columns(names: Sequence[str], values: Array) -> Array:
    """(d,) what `swapped` does, for some of the features by name; 0 where the other side's is not among them.

    Example:
        >>> swapped_columns(["left_knee_flexion", "right_knee_flexion", "hip_tilt"], np.array([1.0, 2.0, 3.0])).tolist()
        [2.0, 1.0, -3.0]
    """
    row = np.zeros(len(FORM_FEATURES))
    columns = [FORM_FEATURES.index(n) for n in names]
    row[columns] = values
    return swapped(row)[columns]


def facing(poses: Poses, *, min_confidence: float = 0.5) -> Array:
    """Where the person's left points, seen from above: (n, 2) to the picture's right and towards the camera.

    From metric landmarks of shoulders and hips where there are any, however uncertain the hidden ones (a breadth has no other end);
    else from the breadth of the shoulders in trunk lengths, whose side is that of the more confident shoulder and elbow.
    """
    names = ["left_shoulder", "left_hip", "right_shoulder", "right_hip"]
    i = poses.skeleton.indices(names)
    if poses.world_xyz_m is not None:
        world = poses.world_xyz_m.astype(np.float64)[:, i]
        across = world[:, :2].mean(1) - world[:, 2:].mean(1)
        return np.stack([across[:, 0], -across[:, 2]], axis=1)
    xy = poses.keypoints_xy.astype(np.float64)[:, i]
    trunk = _length(xy[:, [0, 2]].mean(1) - xy[:, [1, 3]].mean(1))
    # Biacromial breadth 0.230 and shoulder to hip 0.288 of stature.
    seen = np.clip((xy[:, 0] - xy[:, 2])[:, 0] / np.where(trunk > _LEAST_PX, trunk, np.nan) / (0.230 / 0.288), -1.0, 1.0)
    sure = poses.keypoint_confidence[:, i[:2]].sum(1) - poses.keypoint_confidence[:, i[2:]].sum(1)
    return np.stack([seen, np.copysign(np.sqrt(1.0 - seen**2), np.where(sure >= 0, 1.0, -1.0))], axis=1).astype(np.float64)


def view_azimuth_deg(directions: Array) -> float:
    """The view as an angle: 0 from the front or from behind, 90 from the person's left, -90 from the right; NaN if unknown.

    Args:
        directions: (t, 2) of `facing`, of one person over some time.

    Example:
        >>> round(view_azimuth_deg(np.array([[1.0, 1.0], [-0.9, 0.9], [np.nan, np.nan]])))
        45
    """
    known = directions[np.isfinite(directions).all(1)]
    if not len(known):
        return math.nan
    toward, across = float(np.median(known[:, 1])), float(np.median(np.abs(known[:, 0])))
    return math.degrees(math.atan2(toward, across)) if toward or across else math.nan


def _valgus(hip: Array, knee: Array, ankle: Array, unit: Array) -> Array:
    """(n, 2) degrees that each knee lies inside of its line from hip to ankle."""
    line, shank = ankle - hip, _length(knee - ankle)
    across = line[..., 0] * (knee - hip)[..., 1] - line[..., 1] * (knee - hip)[..., 0]
    length = _length(line)
    aside = across / np.where(length > 4 * _LEAST_SHARE * unit, length, np.nan)
    # Inwards is where the other leg is: a line down the picture has its positive side at the picture's left.
    other = (hip + ankle)[:, ::-1] - (hip + ankle)
    inwards = np.sign(line[..., 0] * other[..., 1] - line[..., 1] * other[..., 0])
    return np.degrees(np.arcsin(np.clip(inwards * aside / np.where(shank > _LEAST_SHARE * unit, shank, np.nan), -1.0, 1.0)))


def _folds_in_space(poses: Poses, min_confidence: float) -> list[Array]:
    """(n, 2) degrees of each of `_FOLDS` between metric landmarks."""
    if poses.world_xyz_m is None:
        return [np.full((len(poses), 2), np.nan) for _ in _FOLDS]
    xyz = np.where((poses.keypoint_confidence >= min_confidence)[..., None], poses.world_xyz_m, np.nan).astype(np.float64)
    shoulder, elbow, wrist, hip, knee, ankle = np.moveaxis(xyz[:, _indices(poses.skeleton)], 1, 0)[: len(_PARTS) - 1]
    u = np.stack([knee - hip, hip - shoulder, elbow - shoulder, elbow - shoulder])
    v = np.stack([ankle - knee, knee - hip, wrist - elbow, hip - shoulder])
    (ux, uy, uz), (vx, vy, vz) = np.moveaxis(u, -1, 0), np.moveaxis(v, -1, 0)
    across = np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], axis=-1)
    return list(np.degrees(np.arctan2(np.sqrt(np.square(across).sum(-1)), (u * v).sum(-1))))


def _tilt(pair: Array, unit: Array) -> Array:
    """(n,) degrees by which the right one of a pair lies above the left one."""
    return np.degrees(np.arcsin(np.clip((pair[:, 0, 1] - pair[:, 1, 1]) / (2.0 * unit), -1.0, 1.0)))


def _middle(pair: Array) -> Array:
    """(n, 2) middle of two points, or the one that is there."""
    left, right = pair[:, 0], pair[:, 1]
    middle = (left + right) / 2.0
    return np.asarray(np.where(np.isfinite(middle), middle, np.where(np.isfinite(left), left, right)), np.float64)


def _length(vector: Array) -> Array:
    return np.hypot(vector[..., 0], vector[..., 1])


def _between(u: Array, v: Array, unit: Array) -> Array:
    """Unsigned degrees between vectors; NaN where one is too short to have a direction."""
    least = np.minimum(_length(u), np.where(np.abs(v).sum(-1) == 1.0, np.inf, _length(v)))
    angle = np.degrees(np.arctan2(np.abs(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]), (u * v).sum(-1)))
    with np.errstate(invalid="ignore"):
        return np.where(least > _LEAST_SHARE * unit, angle, np.nan)


@cache
def _indices(skeleton: Skeleton) -> NDArray[np.intp]:
    """(parts, 2)."""
    return np.stack([skeleton.indices([f"{side}_{part}" for side in SIDES]) for part in _PARTS])
