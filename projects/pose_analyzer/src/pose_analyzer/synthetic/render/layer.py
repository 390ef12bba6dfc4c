"""The z-buffer: which primitive is seen at each pixel, and how far away.

Each primitive is intersected only inside the rectangle that bounds its outline. Every linear form of the ray (its direction
dotted with something) is a sum of a row and a column vector, so that a tile costs about thirty passes over its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.camera import Camera
from pose_analyzer.synthetic.render.primitives import Primitives, cone_constants, image_bounds

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What is seen inside a rectangle of the picture.

    Args:
        x, y: Upper left corner in px.
        depth: (h, w) float32 metres along the optical axis, inf where nothing is.
        index: (h, w) int32 primitive, -1 where nothing is.
        boxes: person -> its silhouette's (x1, y1, x2, y2) px as if nobody else were there.
        areas: person -> px of that silhouette.
    """

    x: int
    y: int
    depth: F32
    index: NDArray[np.int32]
    boxes: dict[int, tuple[int, int, int, int]]
    areas: dict[int, int]

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all."""
        return self.index.size == 0


def render_layer(primitives: Primitives, camera: Camera) -> Layer:
    """Intersects all primitives (in the camera's frame) with the picture's rays.

    Nothing below the floor (z = 0 in the world) is seen.
    """
    rects = _rectangles(primitives, camera)
    used = np.flatnonzero((rects[:, 2] > rects[:, 0]) & (rects[:, 3] > rects[:, 1]))
    if len(used) == 0:
        return Layer(0, 0, np.zeros((0, 0), np.float32), np.zeros((0, 0), np.int32), {}, {})
    x0, y0 = rects[used, 0].min(), rects[used, 1].min()
    x1, y1 = rects[used, 2].max(), rects[used, 3].max()
    depth = np.full((y1 - y0, x1 - x0), np.inf, np.float32)
    index = np.full(depth.shape, -1, np.int32)
    forms = _Forms(primitives, camera)
    boxes: dict[int, tuple[int, int, int, int]] = {}
    areas: dict[int, int] = {}
    people = np.unique(primitives.person[used])
    for person in people:
        mine = used[primitives.person[used] == person]
        alone = len(people) == 1
        px0, py0, px1, py1 = *rects[mine, :2].min(0), *rects[mine, 2:].max(0)
        window = (slice(py0 - y0, py1 - y0), slice(px0 - x0, px1 - x0))
        own_depth = depth[window] if alone else np.full((py1 - py0, px1 - px0), np.inf, np.float32)
        own_index = index[window] if alone else np.full(own_depth.shape, -1, np.int32)
        with np.errstate(invalid="ignore", divide="ignore"):
            for i in mine:
                ax, ay, bx, by = rects[i].tolist()
                tile = (slice(ay - py0, by - py0), slice(ax - px0, bx - px0))
                forms.draw(int(i), ax, ay, bx, by, own_depth[tile], own_index[tile])
        _cut_floor(camera, px0, py0, own_depth, own_index)
        body = own_index >= 0
        found = _extent(body, px0, py0)
        if found is not None:
            boxes[int(person)], areas[int(person)] = found, int(np.count_nonzero(body))
        if not alone:
            nearer = own_depth < depth[window]
            np.copyto(depth[window], own_depth, where=nearer)
            np.copyto(index[window], own_index, where=nearer)
    return Layer(int(x0), int(y0), depth, index, boxes, areas)


class _Forms:
    """Float32 coefficients of every quantity that is linear in the ray (x, y, 1)."""

    def __init__(self, primitives: Primitives, camera: Camera) -> None:
        p = primitives
        inv = p.inverse
        o = -np.einsum("nij,nj->ni", inv, p.centre)
        slope, kappa, radius = cone_constants(p.length, p.r0, p.r1)
        rho = radius - kappa * o[:, 2]
        # d.d is a quadratic form of the ray.
        self.gram = np.einsum("nki,nkj->nij", inv, inv).astype(np.float32)
        axis = inv[:, 2, :]
        b0 = np.einsum("ni,nij->nj", o, inv)
        self.b0 = b0.astype(np.float32)
        self.b1 = (b0 - p.length[:, None] * axis).astype(np.float32)
        self.bc = (b0 + ((kappa * rho - o[:, 2])[:, None]) * axis).astype(np.float32)
        self.axis = axis.astype(np.float32)
        self.c0 = ((o * o).sum(1) - p.r0**2).astype(np.float32)
        self.c1 = (o[:, 0] ** 2 + o[:, 1] ** 2 + (o[:, 2] - p.length) ** 2 - p.r1**2).astype(np.float32)
        self.closed = ~p.open_end
        self.cc = (o[:, 0] ** 2 + o[:, 1] ** 2 - rho**2).astype(np.float32)
        self.k2 = (1 + kappa**2).astype(np.float32)
        self.oz = o[:, 2].astype(np.float32)
        self.z_low = (slope * p.r0).astype(np.float32)
        self.z_high = (p.length + slope * p.r1).astype(np.float32)
        self.cone = p.length > 0
        self.xs = ((np.arange(camera.width) + 0.5 - camera.width / 2) / camera.focal_px).astype(np.float32)
        self.ys = ((np.arange(camera.height) + 0.5 - camera.height / 2) / camera.focal_px).astype(np.float32)

    def draw(self, i: int, ax: int, ay: int, bx: int, by: int, depth: F32, index: NDArray[np.int32]) -> None:
        """Intersects primitive `i` with a tile and enters what is nearer into the z-buffer's views."""
        x, y = self.xs[ax:bx], self.ys[ay:by, None]

        def linear(form: F32) -> F32:
            return (form[0] * x + form[2]) + form[1] * y

        g = self.gram[i]
        dd = (2 * g[0, 1] * y) * x
        dd += (g[0, 0] * x * x + 2 * g[0, 2] * x) + (g[1, 1] * y * y + 2 * g[1, 2] * y + g[2, 2])
        t = _entry(linear(self.b0[i]), dd, self.c0[i])
        if self.cone[i]:
            if self.closed[i]:
                np.fmin(t, _entry(linear(self.b1[i]), dd, self.c1[i]), out=t)
            dz = linear(self.axis[i])
            dd -= self.k2[i] * (dz * dz)
            side = _entry(linear(self.bc[i]), dd, self.cc[i])
            dz *= side
            dz += self.oz[i]
            side[(dz < self.z_low[i]) | (dz > self.z_high[i]) | (side <= 0)] = np.inf
            np.fmin(t, side, out=t)
        nearer = t < depth
        nearer &= t > 0
        np.copyto(depth, t, where=nearer)
        np.copyto(index, np.int32(i), where=nearer)


def _entry(b: F32, dd: F32, c: np.float32) -> F32:
    """The nearer root of dd t² + 2 b t + c as c / (-b + sqrt(b² - dd c)); NaN where there is none."""
    root = b * b
    root -= dd * c
    np.sqrt(root, out=root)
    root -= b
    return np.divide(c, root, out=root)


def _rectangles(primitives: Primitives, camera: Camera) -> NDArray[np.int64]:
    bounds = image_bounds(primitives) * camera.focal_px + np.array([camera.width, camera.height] * 2) / 2
    bounds = np.nan_to_num(bounds, nan=0.0)
    limits = np.array([camera.width, camera.height])
    low = np.clip(np.floor(bounds[:, :2] - 0.5), 0, limits)
    high = np.clip(np.ceil(bounds[:, 2:] + 0.5), 0, limits)
    return np.concatenate([low, high], axis=1).astype(np.int64)


def _cut_floor(camera: Camera, x0: int, y0: int, depth: F32, index: NDArray[np.int32]) -> None:
    h, w = depth.shape
    x = (np.arange(x0, x0 + w) + 0.5 - camera.width / 2) / camera.focal_px
    y = (np.arange(y0, y0 + h) + 0.5 - camera.height / 2) / camera.focal_px
    up = camera.rotation[:, 2]
    height_per_depth = (up[0] * x + up[2]).astype(np.float32) + (up[1] * y).astype(np.float32)[:, None]
    with np.errstate(invalid="ignore"):
        below = depth * height_per_depth < np.float32(-0.003 - camera.position[2])
    below &= index >= 0
    if below.any():
        depth[below] = np.inf
        index[below] = -1


def _extent(mask: NDArray[np.bool_], x0: int, y0: int) -> tuple[int, int, int, int] | None:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if len(columns) == 0:
        return None
    return int(x0 + columns[0]), int(y0 + rows[0]), int(x0 + columns[-1] + 1), int(y0 + rows[-1] + 1)
