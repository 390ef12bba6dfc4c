"""From where a person is seen, whether that suits the exercise, and where the camera should stand instead.

Azimuth is the camera's direction around the person as the test athlete's cameras have it: 0° before the person, 90° at the
person's left side, 180° behind, -90° at the right side. It is measured around the trunk's own long axis, so that it also holds
for people who lie: a push-up filmed from the side is at 90° or -90°.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.geometry import Array, circular_mean_deg, cross, wrap_deg
from shared_utils.data_models import Angles, Poses
from shared_utils.errors import ValidationError

View = Literal["side", "front", "any"]

# What leads each exercise moves in this plane: flexion of knees, hips and elbows in the sagittal one, arms that spread in the frontal one.
PREFERRED_VIEWS: Mapping[str, View] = MappingProxyType(
    {
        "squat": "side",
        "barbell_squat": "side",
        "push_up": "side",
        "push_up_incline": "side",
        "bench_press": "side",
        "deadlift": "side",
        "bicep_curl": "side",
        "hammer_curl": "side",
        "lunge": "side",
        "sit_up": "side",
        "plank": "side",
        "wall_sit": "side",
        "overhead_press": "front",
        "lateral_raise": "front",
        "jumping_jack": "front",
        "pull_up": "front",
    }
)
"""Exercise -> the camera's best place; front stands for the back, too. An exercise that is not listed may be seen from anywhere."""

_TOLERANCE_DEG = 30.0
_SMALL_PX, _HIGH_DEG = 150.0, 35.0
_JOINTS = ("knee_flexion", "hip_flexion", "elbow_flexion", "shoulder_elevation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Whether a camera is well placed.

    Args:
        ok: No complaint.
        azimuth_deg: From where the person is seen, NaN when that cannot be told.
        off_deg: How far the camera is from the nearest good place, 0 when it stands in one.
        advice: What to change, one sentence each, the gravest first; empty when there is nothing to say.
    """

    ok: bool
    azimuth_deg: float
    off_deg: float
    advice: tuple[str, ...]


def camera_direction_deg(poses: Poses, *, min_confidence: float = 0.3) -> tuple[Array, Array]:
    """The camera's azimuth around each person, -180..180°, and its elevation towards the head, -90..90°.

    From the metric landmarks of shoulders and hips; NaN without them.

    Args:
        poses: n people.
        min_confidence: Least confidence of shoulders and hips, 0..1.

    Returns:
        Azimuth (n,) and elevation (n,). Of a standing person the elevation is how far the camera looks down.

    Example:
        >>> from pose_analyzer.synthetic import scene_for
        >>> truth = scene_for("squat", azimuth_deg=60, reps=1, width=96, height=96, fps=5).truth_at(0)
        >>> azimuth, _ = camera_direction_deg(truth.poses(), min_confidence=0.0)
        >>> round(float(azimuth[0]), -1)
        60.0
    """
    if poses.world_xyz_m is None:
        return np.full(len(poses), np.nan), np.full(len(poses), np.nan)
    index = poses.skeleton.indices(["left_shoulder", "right_shoulder", "left_hip", "right_hip"])
    known = (poses.keypoint_confidence[:, index] >= min_confidence).all(1)
    ls, rs, lh, rh = np.moveaxis(poses.world_xyz_m[:, index].astype(np.float64), 1, 0)
    up = _unit((ls + rs - lh - rh) / 2)
    left = _unit(ls - rs) + _unit(lh - rh)
    left = _unit(left - (left * up).sum(-1, keepdims=True) * up)
    forward = cross(left, up)
    # The camera looks along +z: from the person it is towards -z.
    azimuth = np.degrees(np.arctan2(-left[:, 2], -forward[:, 2]))
    elevation = np.degrees(np.arcsin(np.clip(-up[:, 2], -1.0, 1.0)))
    return np.where(known, azimuth, np.nan), np.where(known, elevation, np.nan)


def check_placement(
    azimuth_deg: Array, exercise: str | None = None, *, elevation_deg: Array | None = None, height_px: Array | None = None
) -> Placement:
    """Judge a camera by some seconds of one person.

    Args:
        azimuth_deg: (f,) from `camera_direction_deg`, NaN = not known.
        exercise: Name of a profile; None, or one without a preferred view, judges only distance and height.
        elevation_deg: (f,) from `camera_direction_deg` of a person who stands.
        height_px: (f,) longer side of the person's box.

    Example:
        >>> check_placement(np.full(30, 20.0), "squat").advice[0]
        'the camera sees you from the front left (20°), a squat is measured from the side: move it 40° further towards your left side'
    """
    azimuth = float(circular_mean_deg(azimuth_deg))
    advice: list[str] = []
    off = 0.0
    view = PREFERRED_VIEWS.get(exercise or "", "any")
    if view != "any" and not math.isnan(azimuth):
        off = _off_deg(azimuth, view)
        if off > 0:
            advice.append(_move(azimuth, view, off, str(exercise)))
    if elevation_deg is not None and np.isfinite(elevation_deg).any() and float(np.nanmedian(elevation_deg)) > _HIGH_DEG:
        advice.append(f"the camera looks down by {np.nanmedian(elevation_deg):.0f}°: lower it to the height of your hips")
    if height_px is not None and len(height_px) and float(np.nanmedian(height_px)) < _SMALL_PX:
        advice.append(
            f"you are {np.nanmedian(height_px):.0f} px tall in the picture; angles need {_SMALL_PX:.0f} px or more: move the camera closer"
        )
    return Placement(ok=not advice, azimuth_deg=azimuth, off_deg=off, advice=tuple(advice))


def _off_deg(azimuth: float, view: View) -> float:
    folded = abs(azimuth)
    to_plane = min(folded, 180.0 - folded)  # 0 in front or behind, 90 at the side
    off = (90.0 - to_plane if view == "side" else to_plane) - _TOLERANCE_DEG
    return off if off > 0.5 else 0.0


def _move(azimuth: float, view: View, off: float, exercise: str) -> str:
    if view == "side":
        goal = "your left side" if azimuth >= 0 else "your right side"
    else:
        goal = "your front" if abs(azimuth) <= 90 else "your back"
    name = exercise.replace("_", " ")
    article = "an" if name[0] in "aeiou" else "a"
    plane = "the side" if view == "side" else "the front or the back"
    return (
        f"the camera sees you from the {describe_view(azimuth)} ({azimuth:.0f}°), {article} {name} is measured from {plane}: "
        f"move it {off:.0f}° further towards {goal}"
    )


def describe_view(azimuth_deg: float) -> str:
    """An azimuth in words.

    Example:
        >>> describe_view(20.0), describe_view(-90.0), describe_view(178.0)
        ('front left', 'right', 'back')
    """
    if not math.isfinite(azimuth_deg):
        raise ValidationError(f"azimuth_deg must be finite, got {azimuth_deg}")
    a = float(wrap_deg(azimuth_deg))
    side = "left" if a > 0 else "right"
    if abs(a) < 15:
        return "front"
    if abs(a) > 165:
        return "back"
    if 75 <= abs(a) <= 105:
        return side
    return f"{'front' if abs(a) < 90 else 'back'} {side}"


def plane_disagreement_deg(angles: Angles) -> tuple[dict[str, Array], Array]:
    """How far angles in the picture and in space differ: movement that leaves the picture's plane, or a network that guesses.

    Args:
        angles: As from `joint_angles` or `measure_angles`; lifted angles are preferred to plain ones in space.

    Returns:
        Joint with its side ("left_knee_flexion") -> (n,) degrees, and their median (n,); NaN where either is missing.
    """
    kinds = ("_lifted_deg", "_3d_deg")
    by_joint: dict[str, Array] = {}
    for side in ("left", "right"):
        for joint in _JOINTS:
            kind = next((k for k in kinds if f"{side}_{joint}{k}" in angles.names), None)
            if kind is None or f"{side}_{joint}_deg" not in angles.names:
                continue
            by_joint[f"{side}_{joint}"] = np.abs(angles[f"{side}_{joint}_deg"] - angles[f"{side}_{joint}{kind}"])
    if not by_joint:
        raise ValidationError("angles hold no joint both in the picture and in space; measure them with joint_angles")
    return by_joint, _nan_median(np.stack(list(by_joint.values()), axis=1))


def _nan_median(values: Array) -> Array:
    there: NDArray[np.bool_] = ~np.isnan(values)
    out = np.full(len(values), np.nan)
    for row in np.flatnonzero(there.any(1)):
        out[row] = np.median(values[row, there[row]])
    return out


def _unit(vector: Array) -> Array:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.where(length > 1e-6, length, np.nan)
