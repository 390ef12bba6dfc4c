"""Angles as weights on keypoints: which two segments each lies between, and how keypoint errors reach it.

Every segment is a weighted sum of keypoints (`end - start`, or midpoints of two), so that a table of weights gives all angles
of all people in two matrix products, and the same table gives the Jacobian of each angle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.geometry import Array, cross
from shared_utils.skeletons import Skeleton


class Plan(NamedTuple):
    """How a skeleton's k keypoints make the two segments of each of a angles."""

    first: Array  # (a, k) weights; the first segment is first @ points
    second: Array  # (a, k); a row of zeros stands for a fixed direction
    needs: NDArray[np.bool_]  # (a, k) keypoints that must be there
    possible: NDArray[np.bool_]  # (a,) whether the skeleton has them at all


Point = str | tuple[str, str]
"""A keypoint, or the middle of two."""
Chain = tuple[Point, ...]
"""Start and end of the first segment and, unless it is measured against a fixed direction, of the second."""


def plan_of(skeleton: Skeleton, chains: Sequence[Chain]) -> Plan:
    """The weights of angles between segments.

    Args:
        skeleton: Of the keypoints.
        chains: Two or four points for each of a angles.

    Returns:
        Rows in the order of `chains`; a row whose keypoints the skeleton lacks is not `possible`.
    """
    a, k = len(chains), len(skeleton)
    weights, possible = np.zeros((2, a, k)), np.ones(a, bool)
    for row, chain in enumerate(chains):
        groups = [(p,) if isinstance(p, str) else p for p in chain]
        possible[row] = all(name in skeleton for group in groups for name in group)
        if not possible[row]:
            continue
        for place, group in enumerate(groups):
            sign = -1.0 if place % 2 == 0 else 1.0
            for name in group:
                weights[place // 2, row, skeleton.index(name)] += sign / len(group)
    return Plan(weights[0], weights[1], (weights != 0).any(0), possible)


def segments(points: Array | NDArray[np.float32], usable: NDArray[np.bool_], plan: Plan) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Both segments (n, a, d) of every angle, and (n, a) whether all that they need is usable.

    Args:
        points: (n, k, d).
        usable: (n, k).
        plan: The weights.
    """
    complete = ~(plan.needs & ~usable[:, None, :]).any(-1) & plan.possible
    # Keypoints that an angle does not use have weight 0; NaN must not reach them, as 0 * NaN is NaN.
    known = np.where(usable[..., None], points, 0.0).astype(np.float64)
    return plan.first @ known, plan.second @ known, complete


def sigma_deg(u: Array, v: Array, sigma: NDArray[np.float32] | Array, plan: Plan) -> Array:
    """First-order standard deviation of the angles between u and v.

    The direction of a segment w turns by perp(w) / |w|² per unit that its end moves across; in space, within the plane of
    both segments. Coordinates of keypoints are taken as independent.

    Args:
        u: (n, a, d) first segments, d = 2 or 3.
        v: (n, a, d) second segments.
        sigma: (n, k) standard deviation of each coordinate, in the unit of the segments.
        plan: The weights.

    Returns:
        (n, a) degrees; NaN where a keypoint that is needed has no sigma.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        turn_u, turn_v = _turns(u, v) if u.shape[-1] == 3 else (_across(u), _across(v))
        gradient = plan.second[..., None] * turn_v[:, :, None, :] - plan.first[..., None] * turn_u[:, :, None, :]
        variance = np.einsum("nakd,nakd->nak", gradient, gradient) * np.asarray(sigma, np.float64)[:, None, :] ** 2
        return np.degrees(np.sqrt(np.where(plan.needs, variance, 0.0).sum(-1)))


def _across(w: Array) -> Array:
    return np.stack([-w[..., 1], w[..., 0]], -1) / np.einsum("...d,...d->...", w, w)[..., None]


def _turns(u: Array, v: Array) -> tuple[Array, Array]:
    """Per metre: the way each end has to go so that the angle from u to v grows through v and shrinks through u."""
    length_u, length_v = (np.linalg.norm(w, axis=-1, keepdims=True) for w in (u, v))
    normal = cross(u, v)
    size = np.linalg.norm(normal, axis=-1, keepdims=True)
    # Segments in line have no plane of their own: any that holds them will do, the errors being alike in all directions.
    other = cross(u, np.where(np.abs(u[..., :1]) < 0.9 * length_u, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))
    normal = np.where(size > 1e-9 * length_u * length_v, normal, other)
    normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    return cross(normal, u) / length_u**2, cross(normal, v) / length_v**2
