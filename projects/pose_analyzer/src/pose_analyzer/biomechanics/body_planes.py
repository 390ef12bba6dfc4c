"""Signed angles of arms and thighs in the body's own planes: forward (flexion) and sideways (abduction).

| name (`left_`/`right_` in front) | of | 0° | positive | range |
|---|---|---|---|---|
| `shoulder_flexion_deg` | upper arm, seen from the side | hanging along the trunk | forward; 180° overhead | -90..270° |
| `shoulder_abduction_deg` | upper arm, seen from the front | hanging along the trunk | outward; 180° overhead | -90..270° |
| `hip_abduction_deg` | thigh, seen from the front | in line with the trunk | outward | -90..90° |

In space (`_3d_deg`) the planes are the trunk's: up from mid-hip to mid-shoulder, sideways from right to left, forward across
both. An arm that points along a plane's normal has no angle in it (no reading within 20° of it). Hip abduction is the thigh's
angle out of the sagittal plane, which is the same in any flexion.

In a picture each is measurable only where the camera looks along the plane's normal: flexion where the shoulders are seen at
half of their breadth or less (within about 30° of the side view), abduction where at 85 % or more (within about 30° of front
or back). Elsewhere, and where forward is unknown (no face, no feet), there is no reading. In a picture hip abduction also needs
a thigh that is seen at half of its length.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.chains import Chain, Plan, plan_of, segments, sigma_deg
from pose_analyzer.biomechanics.foreshortening import SIDES, STATURE_SHARE
from pose_analyzer.biomechanics.geometry import Array, cross, signed_angle_deg, wrap_deg
from shared_utils.skeletons import Skeleton

PLANE_NAMES: tuple[str, ...] = tuple(
    f"{side}_{joint}" for joint in ("shoulder_flexion", "shoulder_abduction", "hip_abduction") for side in SIDES
)

_SIDE_VIEW, _FRONT_VIEW = 0.5, 0.85  # shares of the shoulders' breadth
_LEAST_IN_PLANE = np.sin(np.radians(20.0))
_OUT = np.array([1.0, -1.0])  # left and right: the way outward along right-to-left
# Breadth of the shoulder joints' centres is less than biacromial breadth by the heads of both humeri.
_BREADTH_PER_TRUNK = 0.85 * STATURE_SHARE["biacromial"] / STATURE_SHARE["trunk"]


def plane_angles_2d(
    xy: NDArray[np.float32], confident: NDArray[np.bool_], skeleton: Skeleton, min_px: Array, sigma: Array | NDArray[np.float32] | None
) -> tuple[Array, Array | None]:
    """(n, 6) degrees of `PLANE_NAMES` in the picture, and their standard deviation.

    Args:
        xy: (n, k, 2) px.
        confident: (n, k) which keypoints an angle may use; the view itself is judged by all that have a place.
        skeleton: Of the k keypoints.
        min_px: (n, 1) px; shorter segments have no direction.
        sigma: (n, k) px, or None.
    """
    plan = _plan(skeleton)
    there = np.isfinite(xy).all(-1)
    u, v, complete = segments(xy, confident & there, plan)
    turned = signed_angle_deg(u, v, min_length=min_px)
    body = _Frame2d(np.where(there[..., None], xy, np.nan).astype(np.float64), skeleton, min_px)
    side_view, front_view = body.breadth <= _SIDE_VIEW, body.breadth >= _FRONT_VIEW
    thigh = np.linalg.norm(u[:, 4:], axis=-1) >= 0.5 * STATURE_SHARE["thigh"] / STATURE_SHARE["trunk"] * body.trunk[:, None]
    value = np.stack(
        [
            *np.where(side_view & (body.forward != 0), turned[:, 0:2].T * body.forward, np.nan),
            *np.where(front_view, turned[:, 2:4].T * body.leftward * _OUT[:, None], np.nan),
            *np.where(front_view & thigh.T, turned[:, 4:6].T * body.leftward * _OUT[:, None], np.nan),
        ],
        axis=1,
    )
    value[:, :4] = wrap_deg(value[:, :4], low=-90.0)
    value[:, 4:] = np.where(np.abs(value[:, 4:]) <= 90.0, value[:, 4:], np.nan)
    value = np.where(complete, value, np.nan)
    return value, None if sigma is None else np.where(np.isnan(value), np.nan, sigma_deg(u, v, sigma, plan))


def plane_angles_3d(xyz_m: NDArray[np.float32], confident: NDArray[np.bool_], skeleton: Skeleton, min_m: float) -> Array:
    """(n, 6) degrees of `PLANE_NAMES` in space.

    Args:
        xyz_m: (n, k, 3) metres along the camera's axes.
        confident: (n, k).
        skeleton: Of the k keypoints.
        min_m: Shorter segments have no direction.
    """
    w, _, complete = segments(xyz_m, confident & np.isfinite(xyz_m).all(-1), _plan_3d(skeleton))
    up, across, limbs = w[:, :1], w[:, 1:3], w[:, 3:]
    up = _unit(up, min_m)
    # Arms in the frame of the shoulders, thighs in that of the hips.
    left = np.repeat(_unit(across - _dot(across, up)[..., None] * up, min_m), 2, axis=1)
    limb = _unit(limbs, min_m)
    down, front, outward = -_dot(limb, up), _dot(limb, cross(left, np.broadcast_to(up, left.shape))), _dot(limb, left) * np.tile(_OUT, 2)
    thighs = np.degrees(np.arctan2(outward, np.hypot(down, front)))[:, 2:]
    arms = [_angle_in_plane(away[:, :2], down[:, :2]) for away in (front, outward)]
    there = complete[:, :1] & complete[:, [1, 1, 2, 2]] & complete[:, 3:]
    return np.where(there[:, [0, 1, 0, 1, 2, 3]], np.concatenate([*arms, thighs], axis=1), np.nan)


def _dot(u: Array, v: Array) -> Array:
    return (u * v).sum(-1)


def _angle_in_plane(away: Array, down: Array) -> Array:
    angle = wrap_deg(np.degrees(np.arctan2(away, down)), low=-90.0)
    return np.where(np.hypot(away, down) >= _LEAST_IN_PLANE, angle, np.nan)


def _unit(vector: Array, least: float) -> Array:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.where(length > least, length, np.nan)


class _Frame2d:
    """Which way the body is seen: signs of forward and leftward around the trunk, and the shoulders' breadth, each (n,)."""

    def __init__(self, xy: Array, skeleton: Skeleton, min_px: Array) -> None:
        i = _frame_points(skeleton)
        shoulder, hip = xy[:, i[0:2]], xy[:, i[2:4]]
        up = (shoulder - hip).mean(1)
        self.trunk = np.linalg.norm(up, axis=-1)
        up = up / np.where(self.trunk > min_px[:, 0], self.trunk, np.nan)[:, None]
        # From hanging (-up) an arm that rises to this side turns anticlockwise.
        anticlockwise = np.stack([-up[:, 1], up[:, 0]], -1)
        leftward = _dot(shoulder[:, 0] - shoulder[:, 1], anticlockwise)
        self.breadth = np.abs(leftward) / (_BREADTH_PER_TRUNK * self.trunk)
        self.leftward = np.sign(leftward)
        # The nose lies before the ears, toes before heels.
        pointers = xy[:, i[5::2]] - xy[:, i[4::2]]
        self.forward = np.sign(np.nansum(_dot(pointers, anticlockwise[:, None]), axis=1))


@cache
def _frame_points(skeleton: Skeleton) -> NDArray[np.intp]:
    """Shoulders, hips, then pairs of points of which the second lies before the first."""
    toe = "foot_index" if "left_foot_index" in skeleton else "big_toe"
    pairs = [(f"{side}_ear", "nose") for side in SIDES]
    pairs += [(f"{side}_heel", f"{side}_{toe}") for side in SIDES if f"{side}_{toe}" in skeleton]
    return skeleton.indices([f"{side}_{part}" for part in ("shoulder", "hip") for side in SIDES] + [p for pair in pairs for p in pair])


@cache
def _plan(skeleton: Skeleton) -> Plan:
    axis: Chain = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
    arms: list[Chain] = [(f"{side}_shoulder", f"{side}_elbow", *axis) for side in SIDES]
    thighs: list[Chain] = [(f"{side}_hip", f"{side}_knee", *axis) for side in SIDES]
    return plan_of(skeleton, [*arms, *arms, *thighs])


@cache
def _plan_3d(skeleton: Skeleton) -> Plan:
    """The trunk's axis, both breadths from right to left, arms and thighs."""
    axis: Chain = (("left_hip", "right_hip"), ("left_shoulder", "right_shoulder"))
    breadths: list[Chain] = [(f"right_{part}", f"left_{part}") for part in ("shoulder", "hip")]
    limbs: list[Chain] = [(f"{side}_{a}", f"{side}_{b}") for a, b in (("shoulder", "elbow"), ("hip", "knee")) for side in SIDES]
    return plan_of(skeleton, [axis, *breadths, *limbs])
