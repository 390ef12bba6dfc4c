"""From primitives to a picture: z-buffer, light, smooth edges, shadows, over the picture of the empty room.

Edges are smoothed where they are: pixels whose neighbour shows another primitive are looked at with four rays each, but only
against the primitives that are seen around them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.camera import Camera
from pose_analyzer.synthetic.render.layer import Layer, render_layer
from pose_analyzer.synthetic.render.primitives import Primitives, cone_constants
from pose_analyzer.synthetic.render.shade import Lights, Shader, openness
from pose_analyzer.synthetic.render.shadow import floor_shadow

F32 = NDArray[np.float32]

# A rotated grid: four rays with four different rows and columns.
_OFFSETS = np.array([(-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375)], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The part of a picture that differs from the empty room.

    Args:
        rows, columns: Where.
        light: (h, w, 3) linear light.
    """

    rows: slice
    columns: slice
    light: F32


def render(
    background: F32, world: Primitives, camera: Camera, towards_light: NDArray[np.float64], *, antialias: bool
) -> tuple[Patch | None, Layer]:
    """Draws primitives over a background.

    Args:
        background: (H, W, 3) linear light of the empty room; it is not changed.
        world: Everything that is to be seen, in world coordinates.
        camera: From where.
        towards_light: (3,) unit vector in the world.
        antialias: Smooth edges.

    Returns:
        What differs from the background (None: nothing does), and what is seen where.
    """
    seen = world.moved(camera.rotation, -camera.rotation @ camera.position)
    layer = render_layer(seen, camera)
    h, w = layer.index.shape
    area = slice(layer.y, layer.y + h), slice(layer.x, layer.x + w)
    shadow = floor_shadow(world, camera, towards_light) if len(world) else None
    window = _union([a for a in (None if layer.empty else area, None if shadow is None else shadow[:2]) if a is not None])
    if window is None:
        return None, layer
    light = background[window].copy()
    if shadow is not None:
        light[_inside(window, shadow[:2])] *= shadow[2][..., None]
    if not layer.empty:
        _draw(
            light[_inside(window, area)],
            layer,
            seen,
            Shader(seen, Lights(camera.rotation @ towards_light, camera.rotation[:, 2])),
            camera,
            antialias,
        )
    return Patch(*window, light), layer


def _draw(light: F32, layer: Layer, seen: Primitives, shader: Shader, camera: Camera, antialias: bool) -> None:
    """Writes what a layer shows into its part of the picture."""
    w = layer.index.shape[1]
    body = np.flatnonzero(layer.index >= 0)
    if len(body) == 0:
        return
    edges = np.flatnonzero(_edges(layer.index)) if antialias else np.zeros(0, np.intp)
    behind = light[edges // w, edges % w]
    depth = layer.depth.ravel()[body]
    sky = openness(layer.depth, 0.09 * camera.focal_px / float(np.median(depth)))
    rows, columns = body // w, body % w
    x, y = _rays(camera, layer, rows, columns)
    light[rows, columns] = shader.colours(layer.index.ravel()[body], x, y, depth, sky.ravel()[body]).T
    if len(edges):
        light[edges // w, edges % w] = _smooth(edges, behind, layer, seen, shader, sky.ravel()[edges], camera)


def _rays(camera: Camera, layer: Layer, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[F32, F32]:
    x = (columns + (layer.x + 0.5 - camera.width / 2)) / camera.focal_px
    y = (rows + (layer.y + 0.5 - camera.height / 2)) / camera.focal_px
    return x.astype(np.float32), y.astype(np.float32)


def _union(areas: list[tuple[slice, slice]]) -> tuple[slice, slice] | None:
    if not areas:
        return None
    rows = slice(min(a[0].start for a in areas), max(a[0].stop for a in areas))
    return rows, slice(min(a[1].start for a in areas), max(a[1].stop for a in areas))


def _inside(window: tuple[slice, slice], area: tuple[slice, slice]) -> tuple[slice, slice]:
    """An area of the picture as an area of a window of it."""
    (r, c), (y, x) = area, (window[0].start, window[1].start)
    return slice(r.start - y, r.stop - y), slice(c.start - x, c.stop - x)


def _edges(index: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels that show something else than one of their four neighbours."""
    edge = np.zeros(index.shape, bool)
    across, down = index[:, 1:] != index[:, :-1], index[1:] != index[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def _smooth(edges: NDArray[np.intp], behind: F32, layer: Layer, seen: Primitives, shader: Shader, sky: F32, camera: Camera) -> F32:
    """(n, 3) linear light of edge pixels: four rays each say what share of a pixel each primitive has; each share is lit once."""
    w = layer.index.shape[1]
    pixel, primitive = _candidates(edges, layer.index, len(seen))
    x, y = _rays(camera, layer, edges // w, edges % w)
    rays_x = x[pixel] + (_OFFSETS[:, :1] / np.float32(camera.focal_px))
    rays_y = y[pixel] + (_OFFSETS[:, 1:] / np.float32(camera.focal_px))
    depth = _pair_depths(seen, primitive, rays_x, rays_y)
    up = (camera.rotation[:, 2]).astype(np.float32)
    below = depth * (up[0] * rays_x + up[1] * rays_y + up[2]) < np.float32(-0.003 - camera.position[2])
    depth[below] = np.inf
    # Pairs are sorted by pixel: the nearest primitive along each ray is a minimum over a run.
    fresh = np.r_[True, pixel[1:] != pixel[:-1]]
    nearest = np.minimum.reduceat(depth, np.flatnonzero(fresh), axis=1)
    hit = (depth == nearest[:, np.cumsum(fresh) - 1]) & np.isfinite(depth)
    rays = hit.sum(0)
    shown = np.flatnonzero(rays)
    hit, share = hit[:, shown], (1.0 / np.maximum(rays[shown], 1)).astype(np.float32)
    middle = [np.where(hit, values[:, shown], np.float32(0)).sum(0) * share for values in (rays_x, rays_y, depth)]
    lit = shader.colours(primitive[shown], middle[0], middle[1], middle[2], sky[pixel[shown]])
    weight = rays[shown].astype(np.float32) / 4
    lit = np.minimum(np.maximum(lit, 0), 1) * weight
    covered = np.bincount(pixel[shown], weight, len(edges))
    total = np.stack([np.bincount(pixel[shown], channel, len(edges)) for channel in lit], axis=1)
    return (total + behind * np.maximum(1.0 - covered, 0.0)[:, None]).astype(np.float32)


def _candidates(edges: NDArray[np.intp], index: NDArray[np.int32], count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (edge pixel's position in the list, primitive) of what is seen at the pixel and its four neighbours, sorted."""
    h, w = index.shape
    padded = np.full((h + 2, w + 2), -1, np.int32)
    padded[1:-1, 1:-1] = index
    centre = (edges // w + 1) * (w + 2) + edges % w + 1
    seen = padded.ravel()[centre[:, None] + np.array([0, -1, 1, -(w + 2), w + 2])].astype(np.int64)
    keys = np.where(seen >= 0, np.arange(len(edges))[:, None] * count + seen, -1)
    keys.sort(axis=1)
    fresh = np.ones(keys.shape, bool)
    fresh[:, 1:] = keys[:, 1:] != keys[:, :-1]
    unique = keys[fresh & (keys >= 0)]
    return unique // count, unique % count


def _pair_depths(p: Primitives, which: NDArray[np.intp], x: F32, y: F32) -> F32:
    """(4, m) depths at which ray (x, y, 1) enters primitive `which` of its pair, inf where it misses."""
    o = -np.einsum("nij,nj->ni", p.inverse, p.centre)
    slope, kappa, radius = cone_constants(p.length, p.r0, p.r1)
    rho = radius - kappa * o[:, 2]
    columns = [
        *p.inverse.reshape(len(p), 9).T,
        *o.T,
        p.length,
        (o * o).sum(1) - p.r0**2,
        # No ray meets a sphere with this constant: its root is not a number.
        np.where(p.open_end, 1e30, o[:, 0] ** 2 + o[:, 1] ** 2 + (o[:, 2] - p.length) ** 2 - p.r1**2),
        o[:, 0] ** 2 + o[:, 1] ** 2 - rho**2,
        kappa,
        kappa * rho,
        slope * p.r0,
        np.where(p.length > 0, p.length + slope * p.r1, -np.inf),
    ]
    t = np.take(np.stack(columns).astype(np.float32), which, axis=1)
    dx, dy, dz = (t[3 * i] * x + t[3 * i + 1] * y + t[3 * i + 2] for i in range(3))
    across = dx * dx + dy * dy
    dd = across + dz * dz
    b = t[9] * dx + t[10] * dy
    with np.errstate(invalid="ignore", divide="ignore"):
        b0 = b + t[11] * dz
        best = _root(b0, dd, t[13])
        best = np.fmin(best, _root(b0 - t[12] * dz, dd, t[14]))
        side = _root(b + t[17] * dz, across - (t[16] * dz) ** 2, t[15])
        z = t[11] + side * dz
        side[(z < t[18]) | (z > t[19]) | (side <= 0)] = np.inf
        best = np.fmin(best, side)
    return np.where((best > 0) & np.isfinite(best), best, np.float32(np.inf))


def _root(b: F32, dd: F32, c: F32) -> F32:
    t = c / (np.sqrt(b * b - dd * c) - b)
    return np.where(t > 0, t, np.float32(np.inf))
