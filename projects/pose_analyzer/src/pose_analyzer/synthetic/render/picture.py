"""From primitives to a picture: z-buffer, light, smooth edges, shadows, over the picture of the empty room.

Edges are smoothed where they are: pixels whose neighbour shows another primitive are looked at with four rays each, but only
against the primitives that are seen around them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.camera import Camera
from pose_analyzer.synthetic.render.layer import Layer, render_layer
from pose_analyzer.synthetic.render.primitives import Primitives, cone_constants
from pose_analyzer.synthetic.render.shade import Lights, Shader
from pose_analyzer.synthetic.render.shadow import floor_shadow

F32 = NDArray[np.float32]

# A rotated grid: four rays with four different rows and columns.
_OFFSETS = np.array([(-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375)], np.float32)


def render(background: F32, world: Primitives, camera: Camera, towards_light: NDArray[np.float64], *, antialias: bool) -> tuple[F32, Layer]:
    """Draws primitives over a background.

    Args:
        background: (H, W, 3) linear light of the empty room; it is not changed.
        world: Everything that is to be seen, in world coordinates.
        camera: From where.
        towards_light: (3,) unit vector in the world.
        antialias: Smooth edges.

    Returns:
        (H, W, 3) linear light, and what is seen where.
    """
    image = background.copy()
    shadow = floor_shadow(world, camera, towards_light) if len(world) else None
    if shadow is not None:
        rows, columns, factor = shadow
        image[rows, columns] *= factor[..., None]
    if len(world) == 0:
        return image, render_layer(world, camera)
    seen = world.moved(camera.rotation, -camera.rotation @ camera.position)
    layer = render_layer(seen, camera)
    if layer.empty:
        return image, layer
    shader = Shader(seen, Lights(key=camera.rotation @ towards_light, up=camera.rotation[:, 2]))
    h, w = layer.index.shape
    window = image[layer.y : layer.y + h, layer.x : layer.x + w]
    edges = np.flatnonzero(_edges(layer.index)) if antialias else np.zeros(0, np.intp)
    behind = window[edges // w, edges % w]
    body = np.flatnonzero(layer.index >= 0)
    rows, columns = body // w, body % w
    x = ((columns + (layer.x + 0.5 - camera.width / 2)) / camera.focal_px).astype(np.float32)
    y = ((rows + (layer.y + 0.5 - camera.height / 2)) / camera.focal_px).astype(np.float32)
    window[rows, columns] = shader.colours(layer.index.ravel()[body], x, y, layer.depth.ravel()[body]).T
    if len(edges):
        window[edges // w, edges % w] = _smooth(edges, behind, layer, seen, shader, camera)
    return image, layer


def _edges(index: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels that show something else than one of their four neighbours."""
    edge = np.zeros(index.shape, bool)
    across, down = index[:, 1:] != index[:, :-1], index[1:] != index[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def _smooth(edges: NDArray[np.intp], behind: F32, layer: Layer, seen: Primitives, shader: Shader, camera: Camera) -> F32:
    """(n, 3) linear light of edge pixels, four rays each."""
    w = layer.index.shape[1]
    pixel, primitive = _candidates(edges, layer.index, len(seen))
    x = ((edges % w + (layer.x + 0.5 - camera.width / 2)) / camera.focal_px).astype(np.float32)
    y = ((edges // w + (layer.y + 0.5 - camera.height / 2)) / camera.focal_px).astype(np.float32)
    rays_x = x + (_OFFSETS[:, :1] / np.float32(camera.focal_px))
    rays_y = y + (_OFFSETS[:, 1:] / np.float32(camera.focal_px))
    depth = _pair_depths(seen, primitive, rays_x[:, pixel], rays_y[:, pixel])
    up = (camera.rotation[:, 2]).astype(np.float32)
    below = depth * (up[0] * rays_x[:, pixel] + up[1] * rays_y[:, pixel] + up[2]) < np.float32(-0.003 - camera.position[2])
    depth[below] = np.inf
    # Pairs are sorted by pixel: the nearest primitive of each is a minimum over a run.
    starts = np.flatnonzero(np.r_[True, pixel[1:] != pixel[:-1]])
    nearest = np.minimum.reduceat(depth, starts, axis=1)
    which = np.full((4, len(edges)), -1, np.intp)
    owner = pixel[starts]
    run = np.cumsum(np.r_[0, pixel[1:] != pixel[:-1]])
    is_nearest = (depth == nearest[:, run]) & np.isfinite(depth)
    sample, pair = np.nonzero(is_nearest)
    which[sample, pixel[pair]] = primitive[pair]
    total = np.zeros((len(edges), 3), np.float32)
    full_depth = np.full((4, len(edges)), np.inf, np.float32)
    full_depth[:, owner] = nearest
    hit = which >= 0
    lit = shader.colours(which[hit], rays_x[hit], rays_y[hit], full_depth[hit]).T
    colours = np.broadcast_to(behind, (4, *behind.shape)).copy()
    colours[hit] = np.clip(lit, 0.0, 1.0)
    for i in range(4):
        total += colours[i]
    return total / 4


def _candidates(edges: NDArray[np.intp], index: NDArray[np.int32], count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (edge pixel's position in the list, primitive) of what is seen at the pixel and its eight neighbours, sorted."""
    h, w = index.shape
    padded = np.full((h + 2, w + 2), -1, np.int32)
    padded[1:-1, 1:-1] = index
    flat = padded.ravel()
    centre = (edges // w + 1) * (w + 2) + edges % w + 1
    around = np.array([0, -1, 1, -(w + 2), w + 2, -(w + 3), -(w + 1), w + 1, w + 3])
    seen = flat[centre[:, None] + around].astype(np.int64)
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
        o[:, 0] ** 2 + o[:, 1] ** 2 + (o[:, 2] - p.length) ** 2 - p.r1**2,
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
