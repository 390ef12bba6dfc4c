"""Shadows on the floor: every primitive's outline seen from the light, softened, and a darker patch where something touches down."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.camera import Camera
from pose_analyzer.synthetic.render.primitives import Primitives

F32 = NDArray[np.float32]

_DARKNESS, _CONTACT = 0.42, 0.38
_CORNERS = np.linspace(0.0, 2.0 * np.pi, 9)[:-1]


def floor_shadow(world: Primitives, camera: Camera, towards_light: NDArray[np.float64]) -> tuple[slice, slice, F32] | None:
    """Where and how much the floor is darkened.

    Args:
        world: Primitives in world coordinates.
        camera: Who looks.
        towards_light: (3,) unit vector.

    Returns:
        Rows, columns, and (h, w) factors 0..1 for the floor's light there; None when no shadow falls into the picture.
    """
    end = world.centre + world.basis[:, :, 2] * world.length[:, None]
    width = np.linalg.norm(world.basis[:, :, :2], axis=1).mean(1)
    points = np.stack([world.centre, end], axis=1)
    radius = np.stack([world.r0, world.r1], axis=1) * width[:, None]
    # Ellipsoids are stretched along their third axis, too: give them their length back.
    round_ones = world.length == 0
    reach = world.basis[:, :, 2] * 0.6
    points[round_ones, 0] -= reach[round_ones]
    points[round_ones, 1] += reach[round_ones]
    radius[round_ones] *= 0.85
    cast = _discs(_dropped(points, towards_light), radius)
    touching = points[..., 2].min(1) - radius.max(1) < 0.10
    contact = _discs(_dropped(points, np.array([0.0, 0.0, 1.0])), radius * 1.1)[touching]
    shadow = _masks(camera, cast, softness_m=0.045)
    if shadow is None:
        return None
    rows, columns, dark = shadow
    factor = 1.0 - _DARKNESS * dark
    under = _masks(camera, contact, softness_m=0.03, window=(rows, columns))
    if under is not None:
        factor *= 1.0 - _CONTACT * under[2]
    return rows, columns, factor


def _dropped(points: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2, 2) places on the floor that (n, 2, 3) points shade."""
    height = np.maximum(points[..., 2:], 0.0)
    return points[..., :2] - direction[:2] / direction[2] * height


def _discs(centres: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 16, 3) corners of discs on the floor around (n, 2, 2) centres."""
    ring = np.stack([np.cos(_CORNERS), np.sin(_CORNERS)], -1)
    xy = centres[:, :, None, :] + ring * radius[:, :, None, None]
    return np.concatenate([xy, np.zeros((*xy.shape[:-1], 1))], -1).reshape(len(centres), -1, 3)


def _masks(
    camera: Camera, outlines: NDArray[np.float64], *, softness_m: float, window: tuple[slice, slice] | None = None
) -> tuple[slice, slice, F32] | None:
    """A softened picture, 0..1, of the hulls of outlines on the floor, at half resolution inside the window that they need."""
    if len(outlines) == 0:
        return None
    flat = camera.project(outlines)
    ok = np.isfinite(flat).all((1, 2))
    if not ok.any():
        return None
    flat, near = flat[ok], camera.to_camera(outlines[ok])[..., 2].min()
    blur = max(softness_m * camera.focal_px / max(near, 0.3), 0.8)
    if window is None:
        margin = 3 * blur
        low = np.clip(np.floor(flat.min((0, 1)) - margin), 0, [camera.width, camera.height]).astype(int)
        high = np.clip(np.ceil(flat.max((0, 1)) + margin), 0, [camera.width, camera.height]).astype(int)
        if (high <= low).any():
            return None
        window = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
    rows, columns = window
    h, w = rows.stop - rows.start, columns.stop - columns.start
    mask = np.zeros(((h + 1) // 2, (w + 1) // 2), np.float32)
    corners = np.clip((flat - [columns.start, rows.start]) / 2, -2000, 4000)
    # Sixteenths of a pixel keep a slowly moving shadow from jumping.
    for hull in np.round(corners * 16).astype(np.int32):
        cv2.fillConvexPoly(mask, cv2.convexHull(hull), (1.0,), lineType=cv2.LINE_8, shift=4)
    mask = cv2.GaussianBlur(mask, (0, 0), blur / 2)
    return rows, columns, np.asarray(cv2.resize(mask, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)
