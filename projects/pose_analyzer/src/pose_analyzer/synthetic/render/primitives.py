"""Bodies as lists of round cones: the shape that everything in a picture is made of.

A primitive is the convex hull of two spheres of radii r0 and r1 whose centres lie `length` apart on its local z axis,
stretched by a (3, 3) `basis` (columns: where the local axes go, metres). With equal unit scales it is a capsule or a tapered
limb, with unequal ones a chest or a shoe, with length 0 an ellipsoid. Rays are intersected in the local frame, where distances
along a ray (as multiples of its direction) are the same as outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Primitives:
    """n round cones in one frame.

    Args:
        centre: (n, 3) metres, centre of the first sphere.
        basis: (n, 3, 3) local to outer, metres per local unit.
        inverse: (n, 3, 3) outer to local.
        length: (n,) distance of the spheres' centres in local units.
        r0: (n,) radius of the first sphere in local units.
        r1: (n,) radius of the second.
        open_end: (n,) bool, without the second sphere: a sleeve that one can look into.
        near: (n, 3) colour 0..1 (linear light) where local z < `split`.
        far: (n, 3) colour elsewhere.
        split: (n,) local z.
        gloss: (n,) strength of highlights 0..1.
        segment: (n,) part of the body.
        person: (n,) index of the athlete.
    """

    centre: Array
    basis: Array
    inverse: Array
    length: Array
    r0: Array
    r1: Array
    open_end: NDArray[np.bool_]
    near: Array
    far: Array
    split: Array
    gloss: Array
    segment: NDArray[np.intp]
    person: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.length)

    @classmethod
    def none(cls) -> Primitives:
        """An empty list."""
        z = np.zeros
        ints = z(0, np.intp)
        return cls(z((0, 3)), z((0, 3, 3)), z((0, 3, 3)), z(0), z(0), z(0), z(0, np.bool_), z((0, 3)), z((0, 3)), z(0), z(0), ints, ints)

    @classmethod
    def concatenate(cls, parts: Sequence[Primitives]) -> Primitives:
        """All primitives of several lists, in order."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__slots__))

    def moved(self, rotation: Array, origin: Array) -> Primitives:
        """The same shapes after `x -> rotation @ x + origin`, with one rotation (3, 3) for all or one each (n, 3, 3)."""
        return self.replaced(
            centre=np.einsum("...ij,nj->ni" if rotation.ndim == 2 else "nij,nj->ni", rotation, self.centre) + origin,
            basis=rotation @ self.basis,
            inverse=self.inverse @ np.swapaxes(rotation, -1, -2),
        )

    def replaced(self, **changes: Array) -> Primitives:
        """A copy with some arrays changed."""
        return replace(self, **changes)


def first_hits(primitives: Primitives, directions: Array) -> Array:
    """Where rays from the frame's origin enter each primitive.

    Args:
        primitives: n of them, in the camera's frame.
        directions: (m, 3).

    Returns:
        (m, n) multiples of the direction, inf where a ray misses (or the camera is inside).
    """
    # o + t d in local coordinates; o is the camera, the same for all rays.
    o = -np.einsum("nij,nj->ni", primitives.inverse, primitives.centre)[None]
    d = np.einsum("nij,mj->mni", primitives.inverse, directions)
    h, r0, r1 = primitives.length, primitives.r0, primitives.r1
    dd = (d * d).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        best = _sphere(dd, (o * d).sum(-1), (o * o).sum(-1) - r0**2)
        top = o - np.stack([np.zeros_like(h), np.zeros_like(h), h], -1)
        end = _sphere(dd, (top * d).sum(-1), (top * top).sum(-1) - r1**2)
        best = np.fmin(best, np.where(primitives.open_end, np.inf, end))
        slope, kappa, radius = cone_constants(h, r0, r1)
        rho = radius - kappa * o[..., 2]
        a = dd - (1 + kappa**2) * d[..., 2] ** 2
        b = o[..., 0] * d[..., 0] + o[..., 1] * d[..., 1] + kappa * rho * d[..., 2]
        c = o[..., 0] ** 2 + o[..., 1] ** 2 - rho**2
        t = c / (-b + np.sqrt(b * b - a * c))
        z = o[..., 2] + t * d[..., 2]
        side = (z >= slope * r0) & (z <= h + slope * r1) & (t > 0)
        best = np.fmin(best, np.where(side, t, np.inf))
    return np.where(np.isnan(best), np.inf, best)


def cone_constants(length: Array, r0: Array, r1: Array) -> tuple[Array, Array, Array]:
    """Sine and tangent of the side's slope and the radius that the side would have at z = 0.

    The side touches the spheres where their normals agree with its own: at z = slope * r0 and length + slope * r1.
    """
    slope = np.clip((r0 - r1) / np.where(length > 0, length, 1.0), -0.999, 0.999) * (length > 0)
    cosine = np.sqrt(1 - slope**2)
    return slope, slope / cosine, r0 / cosine


def _sphere(dd: Array, b: Array, c: Array) -> Array:
    # c / (-b + root) is the nearer root (-b - root) / dd without its cancellation.
    t = c / (-b + np.sqrt(b * b - dd * c))
    return np.where(t > 0, t, np.inf)


def image_bounds(primitives: Primitives) -> Array:
    """(n, 4) x1, y1, x2, y2 of each primitive's outline on the plane z = 1 of the camera's frame; NaN if it reaches behind.

    An ellipsoid's outline is bounded by the roots of its dual conic c c^T - B B^T; the round cone by its two spheres'.
    """
    ends = []
    for centre, radius in (
        (primitives.centre, primitives.r0),
        (primitives.centre + primitives.basis[:, :, 2] * primitives.length[:, None], primitives.r1),
    ):
        b = primitives.basis * radius[:, None, None]
        dual = centre[:, :, None] * centre[:, None, :] - b @ np.swapaxes(b, 1, 2)
        zz = dual[:, 2, 2]
        with np.errstate(invalid="ignore", divide="ignore"):
            in_front = (centre[:, 2] > 0) & (zz > 0)
            bounds = []
            for axis in (0, 1):
                root = np.sqrt(np.maximum(dual[:, axis, 2] ** 2 - dual[:, axis, axis] * zz, 0.0))
                bounds.append(((dual[:, axis, 2] - root) / zz, (dual[:, axis, 2] + root) / zz))
        (x1, x2), (y1, y2) = bounds
        ends.append(np.where(in_front[:, None], np.stack([x1, y1, x2, y2], -1), np.nan))
    a, b = ends
    return np.concatenate([np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:])], axis=1)
