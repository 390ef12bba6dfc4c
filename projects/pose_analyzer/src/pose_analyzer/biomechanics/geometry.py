"""Angles between segments, exact near 0° and 180°, in two and three dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def angle_between_deg(u: ArrayLike, v: ArrayLike, *, min_length: float | Array = 0.0) -> Array:
    """Unsigned angle between vectors, 0..180°.

    atan2(|u x v|, u . v) rather than acos(u . v / |u||v|): acos loses half of its digits near 0° and 180°,
    where straight limbs live, and needs a clip against rounding.

    Args:
        u: (..., d) vectors, d = 2 or 3, any unit.
        v: (..., d) vectors of the same unit, broadcast against `u`.
        min_length: Vectors not longer than this have no direction: their angle is NaN. Same unit as `u`;
            a number or an array that broadcasts to (...). Default 0: only the null vector.

    Returns:
        (...) degrees; NaN where a vector is too short or a coordinate is NaN.

    Example:
        >>> float(angle_between_deg([1.0, 0.0], [0.0, 2.0]))
        90.0
        >>> bool(np.isnan(angle_between_deg([0.0, 0.0], [0.0, 2.0])))
        True
    """
    u, v = np.asarray(u, np.float64), np.asarray(v, np.float64)
    flat = u.shape[-1] == 2
    cross = np.abs(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]) if flat else np.linalg.norm(np.cross(u, v), axis=-1)
    angle = np.degrees(np.arctan2(cross, np.einsum("...d,...d->...", u, v)))
    long_enough = (np.linalg.norm(u, axis=-1) > min_length) & (np.linalg.norm(v, axis=-1) > min_length)
    return np.where(long_enough, angle, np.nan)


def interior_angle_deg(a: ArrayLike, b: ArrayLike, c: ArrayLike, *, min_length: float | Array = 0.0) -> Array:
    """Angle at b of the path a-b-c, 0..180°, 180 = straight; the convention of most tutorials.

    Args:
        a: (..., d) points.
        b: (..., d) points, the vertices.
        c: (..., d) points.
        min_length: As in `angle_between_deg`.

    Returns:
        (...) degrees. Flexion, as this package names it, is 180 minus this.

    Example:
        >>> float(interior_angle_deg([0.0, 0.0], [1.0, 0.0], [2.0, 0.0]))
        180.0
    """
    b = np.asarray(b, np.float64)
    return angle_between_deg(np.asarray(a, np.float64) - b, np.asarray(c, np.float64) - b, min_length=min_length)
