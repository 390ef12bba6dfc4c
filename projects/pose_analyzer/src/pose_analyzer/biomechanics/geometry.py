"""Angles between segments, exact near 0° and 180°, in two and three dimensions, and means and paths on the circle."""

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
    across = np.abs(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]) if flat else np.sqrt(_dot(w := cross(u, v), w))
    angle = np.degrees(np.arctan2(across, _dot(u, v)))
    least = np.square(min_length)
    return np.where((_dot(u, u) > least) & (_dot(v, v) > least), angle, np.nan)


def _dot(u: Array, v: Array) -> Array:
    return np.einsum("...d,...d->...", u, v)


def cross(u: Array, v: Array) -> Array:
    """(..., 3) cross products; `np.cross` takes ten times as long for a few vectors.

    Example:
        >>> cross(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])).tolist()
        [0.0, 0.0, 1.0]
    """
    (a, b, c), (x, y, z) = (tuple(w[..., i] for i in range(3)) for w in (u, v))
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)


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


def signed_angle_deg(u: ArrayLike, v: ArrayLike, *, min_length: float | Array = 0.0) -> Array:
    """Angle that turns v into u in a picture, anticlockwise as it is seen, -180..180°.

    Args:
        u: (..., 2) px vectors, y down.
        v: (..., 2) px vectors.
        min_length: As in `angle_between_deg`.

    Returns:
        (...) degrees; NaN where a vector is too short or a coordinate is NaN.

    Example:
        >>> float(signed_angle_deg([0.0, -1.0], [1.0, 0.0]))  # up, from the right
        90.0
    """
    u, v = np.asarray(u, np.float64), np.asarray(v, np.float64)
    # With y down, the cross product of pixels is positive clockwise.
    across = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    angle = np.degrees(np.arctan2(across, np.einsum("...d,...d->...", u, v)))
    long_enough = (np.linalg.norm(u, axis=-1) > min_length) & (np.linalg.norm(v, axis=-1) > min_length)
    return np.where(long_enough, angle, np.nan)


def wrap_deg(angle_deg: ArrayLike, *, low: float = -180.0, period: float = 360.0) -> Array:
    """The same angles in (low, low + period].

    Example:
        >>> wrap_deg([190.0, -180.0, 540.0]).tolist()
        [-170.0, 180.0, 180.0]
    """
    high = low + period
    return high - np.mod(high - np.asarray(angle_deg, np.float64), period)


def unwrap_deg(angle_deg: ArrayLike, *, period: float = 360.0) -> Array:
    """A path on the circle without jumps: each reading is the turn nearest to the last one before it.

    For smoothing and velocities. Missing readings stay missing and do not break the path.

    Args:
        angle_deg: (f, ...) degrees over time, NaN = no reading.
        period: Degrees after which an angle repeats; 180 for lines without direction.

    Returns:
        (f, ...) degrees that differ from the input by whole periods.

    Example:
        >>> unwrap_deg([170.0, np.nan, -175.0, -160.0]).tolist()
        [170.0, nan, 185.0, 200.0]
    """
    path = np.array(angle_deg, np.float64)
    columns = path.reshape(len(path), -1)
    for column in columns.T:  # columns are views
        there = ~np.isnan(column)
        column[there] = np.unwrap(column[there], period=period)
    return columns.reshape(path.shape)


def circular_mean_deg(angle_deg: ArrayLike, *, axis: int | None = None, weights: ArrayLike | None = None) -> Array:
    """Mean direction, -180..180°: of 350° and 10° it is 0°, not 180°.

    Args:
        angle_deg: Degrees, NaN = no reading, left out.
        axis: Along which; default all.
        weights: Broadcast against `angle_deg`; default equal.

    Returns:
        Degrees; NaN where there is nothing, or where directions cancel (resultant below 1e-9).

    Example:
        >>> round(float(circular_mean_deg([350.0, 20.0, np.nan])), 6)
        5.0
    """
    angle = np.asarray(angle_deg, np.float64)
    weight = np.where(np.isnan(angle), 0.0, 1.0 if weights is None else np.asarray(weights, np.float64))
    turn = np.radians(np.where(np.isnan(angle), 0.0, angle))
    total = weight.sum(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (weight * np.cos(turn)).sum(axis) / total, (weight * np.sin(turn)).sum(axis) / total
    return np.where(np.hypot(x, y) > 1e-9, np.degrees(np.arctan2(y, x)), np.nan)
