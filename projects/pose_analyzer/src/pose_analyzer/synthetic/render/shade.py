"""Light and colour of seen points: a key light, a fill from the sky and the floor, a weak highlight."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.render.primitives import Primitives, cone_constants

F32 = NDArray[np.float32]

_KEY, _SKY, _GROUND, _CAMERA = 0.62, 0.36, 0.17, 0.16


@dataclass(frozen=True, slots=True, eq=False)
class Lights:
    """Directions in the camera's frame.

    Args:
        key: (3,) unit vector towards the key light.
        up: (3,) unit vector against gravity.
    """

    key: NDArray[np.float64]
    up: NDArray[np.float64]


class Shader:
    """Shades points of one list of primitives in the camera's frame."""

    def __init__(self, primitives: Primitives, lights: Lights) -> None:
        p = primitives
        origin = -np.einsum("nij,nj->ni", p.inverse, p.centre)
        _, kappa, _ = cone_constants(p.length, p.r0, p.r1)
        columns = [*p.inverse.reshape(len(p), 9).T, *origin.T, kappa, p.length, p.split, p.gloss, *p.near.T, *p.far.T]
        self.table = np.ascontiguousarray(np.stack(columns).astype(np.float32))
        half = lights.key + np.array([0.0, 0.0, -1.0])
        self.lights = lights
        self.half = half / np.linalg.norm(half)

    def colours(self, index: NDArray[np.intp], x: F32, y: F32, depth: F32, open_sky: F32) -> F32:
        """(3, n) linear light of n points.

        Args:
            index: (n,) primitive of each point.
            x: (n,) ray direction (x, y, 1).
            y: (n,) the same.
            depth: (n,) metres along the optical axis.
            open_sky: (n,) share of the light that reaches the point, 0..1.
        """
        t = np.take(self.table, index, axis=1)
        px, py = x * depth, y * depth
        qx = t[0] * px + t[1] * py + t[2] * depth + t[9]
        qy = t[3] * px + t[4] * py + t[5] * depth + t[10]
        qz = t[6] * px + t[7] * py + t[8] * depth + t[11]
        # The normal points away from the sphere of the swept family that touches here: slide its centre along the axis.
        axis = np.sqrt(qx * qx + qy * qy)
        axis *= -t[12]
        axis += qz
        np.clip(axis, 0, t[13], out=axis)
        beyond = qz > t[14]
        qz -= axis
        nx = t[0] * qx + t[3] * qy + t[6] * qz
        ny = t[1] * qx + t[4] * qy + t[7] * qz
        nz = t[2] * qx + t[5] * qy + t[8] * qz
        scale = nx * nx + ny * ny
        scale += nz * nz
        np.sqrt(scale, out=scale)
        np.divide(1.0, scale, out=scale)
        nx *= scale
        ny *= scale
        nz *= scale
        key, up, half = (v.astype(np.float32) for v in (self.lights.key, self.lights.up, self.half))
        facing = nx * key[0] + ny * key[1] + nz * key[2]
        above = nx * up[0] + ny * up[1] + nz * up[2]
        light = np.maximum(facing * np.float32(0.85) + np.float32(0.15), 0)
        light *= np.float32(_KEY)
        light += (np.float32((_SKY + _GROUND) / 2) + np.float32((_SKY - _GROUND) / 2) * above) - np.float32(_CAMERA) * nz
        shine = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0)
        shine *= shine
        shine *= shine
        shine *= shine
        shine *= shine
        shine *= t[15]
        out = np.where(beyond, t[19:22], t[16:19])
        light *= open_sky
        out *= light
        out += shine
        return out


def openness(depth: F32, reach_px: float) -> F32:
    """How much of the light reaches each pixel: what lies behind its surroundings is darker, as in a crease.

    Unsharp masking of the depth buffer (T. Luft, C. Colditz, O. Deussen, *ACM Trans. Graph.* 25, 2006).

    Args:
        depth: (h, w) metres, inf where nothing is.
        reach_px: Size of the surroundings.

    Returns:
        (h, w) factors 0.6..1.
    """
    seen = np.isfinite(depth)
    filled = np.where(seen, depth, np.float32(depth[seen].max(initial=0.0)))
    size = max(3, round(reach_px)) | 1
    behind = filled - cv2.blur(filled, (size, size), borderType=cv2.BORDER_REPLICATE)
    return 1.0 - np.minimum(np.maximum(behind * np.float32(7.0), 0), np.float32(0.4))
