"""Small vector algebra in three dimensions: rotation matrices and the two-bone chain, in plain Python floats.

Matrices are (3, 3) float64 whose columns are the axes of the turned frame. Written out rather than through
`numpy.cross` and `numpy.linalg`, whose overhead on three numbers would dominate a frame's cost.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rot_x(angle_deg: float) -> Array:
    """Turn around x (forward): positive tips the left side up."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rot_y(angle_deg: float) -> Array:
    """Turn around y (left): positive tips what points up forwards.

    Example:
        >>> (rot_y(90) @ [0, 0, 1]).round(12).tolist()
        [1.0, 0.0, 0.0]
    """
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rot_z(angle_deg: float) -> Array:
    """Turn around z (up): positive turns to the left."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def cross(a: Array, b: Array) -> Array:
    """(3,) cross product."""
    ax, ay, az = a.tolist()
    bx, by, bz = b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def norm(a: Array) -> float:
    """Length of a (3,) vector."""
    x, y, z = a.tolist()
    return math.sqrt(x * x + y * y + z * z)


def unit(a: Array) -> Array:
    """(3,) vector of length 1 in the direction of `a`."""
    return a / norm(a)


def turned_about(vector: Array, axis: Array, angle_deg: float) -> Array:
    """A (3,) vector turned around a unit axis by the right-hand rule (Rodrigues)."""
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return c * vector + s * cross(axis, vector) + (1.0 - c) * float(axis @ vector) * axis


def hanging(direction: Array, forward: Array) -> Array:
    """The frame of a limb segment: -z along `direction` (proximal to distal), x as near to `forward` as can be.

    Example:
        >>> bool(np.allclose(hanging(np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0])), np.eye(3)))
        True
    """
    z = -unit(direction)
    x = forward - float(forward @ z) * z
    if norm(x) < 1e-9:
        x = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
        x = x - float(x @ z) * z
    x = unit(x)
    return np.stack([x, cross(z, x), z], axis=1)


def between(first: Array, second: Array, share: float) -> Array:
    """The rotation that lies `share` (0..1) of the way from one to the other around a fixed axis.

    Example:
        >>> bool(np.allclose(between(rot_z(10), rot_z(50), 0.25), rot_z(20)))
        True
    """
    turn = first.T @ second
    cosine = max(-1.0, min(1.0, (turn[0, 0] + turn[1, 1] + turn[2, 2] - 1.0) / 2.0))
    angle = math.degrees(math.acos(cosine))
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    if norm(axis) < 1e-12:
        return first if share < 0.5 else second
    axis = unit(axis)
    return first @ np.stack([turned_about(e, axis, share * angle) for e in np.eye(3)], axis=1)


def reach(first_m: float, second_m: float, flexion_deg: float) -> float:
    """Distance between the ends of two bones whose joint is flexed (0 = straight), by the law of cosines."""
    return math.sqrt(first_m**2 + second_m**2 + 2 * first_m * second_m * math.cos(math.radians(flexion_deg)))


def middle_joint(start: Array, end: Array, first_m: float, second_m: float, pole: Array) -> Array:
    """Where the joint between two bones lies, given both ends and the direction towards which it points.

    An end out of reach is met as far as a chain bent by 0.1 degrees can (the caller keeps `start` in place).

    Args:
        start: (3,) proximal end.
        end: (3,) wanted distal end.
        first_m: Length of the proximal bone.
        second_m: Length of the distal bone.
        pole: (3,) direction; the joint lies on its side of the line between the ends.
    """
    line = end - start
    distance = norm(line)
    axis = line / distance
    distance = min(distance, reach(first_m, second_m, 0.1))
    along = (first_m**2 - second_m**2 + distance**2) / (2 * distance)
    aside = math.sqrt(max(first_m**2 - along**2, 0.0))
    out = pole - float(pole @ axis) * axis
    return start + along * axis + aside * unit(out)
