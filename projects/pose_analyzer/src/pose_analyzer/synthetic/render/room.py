"""The room: a floor with planks, tiles or rubber mats, four walls with skirting and posters, seen by tracing every pixel's ray.

The walls are those that a ray leaves through, so that a camera outside of the room looks through the near wall. Textures are
functions of the place, drawn from the scene's seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.camera import Camera
from pose_analyzer.synthetic.shape import linear_colour
from pose_analyzer.synthetic.spec import RoomSpec

F32 = NDArray[np.float32]

_SKIRTING_M = 0.09


@dataclass(frozen=True, slots=True)
class Box:
    """An upright box that stands in the room behind or under the athletes: a mat, a wall panel.

    Args:
        low, high: Corners in the box's own frame, metres.
        colour: `#rrggbb`.
        heading_deg, position_m: Turn around the vertical, and shift, of that frame.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    colour: str
    heading_deg: float = 0.0
    position_m: tuple[float, float] = (0.0, 0.0)


def room_image(
    camera: Camera,
    room: RoomSpec,
    *,
    size_m: float,
    centre_m: tuple[float, float],
    seed: int,
    boxes: tuple[Box, ...] = (),
    samples: int = 2,
) -> F32:
    """(H, W, 3) linear light of the empty room.

    Args:
        camera: From where.
        room: How it looks.
        size_m: Edge of the square room.
        centre_m: (x, y) of its middle.
        seed: Of textures and posters.
        boxes: What stands in it.
        samples: Rays per pixel and direction.
    """
    fine = Camera(camera.position, camera.rotation, camera.focal_px * samples, camera.width * samples, camera.height * samples)
    strips = [_trace(fine, y, min(y + 64, fine.height), room, size_m, np.array(centre_m), seed, boxes) for y in range(0, fine.height, 64)]
    image = np.concatenate(strips)
    if samples > 1:
        image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image, np.float32)


def _trace(
    camera: Camera, y0: int, y1: int, room: RoomSpec, size: float, centre: NDArray[np.float64], seed: int, boxes: tuple[Box, ...]
) -> F32:
    x = (np.arange(camera.width) + 0.5 - camera.width / 2) / camera.focal_px
    y = ((np.arange(y0, y1) + 0.5 - camera.height / 2) / camera.focal_px)[:, None]
    d = [((r[0] * x + r[2]) + r[1] * y).ravel() for r in camera.rotation.T.astype(np.float64)]
    o = camera.position
    with np.errstate(divide="ignore", invalid="ignore"):
        t_floor = np.where(d[2] < -1e-9, -o[2] / d[2], np.inf)
        far = [np.where(d[i] > 0, centre[i] + size / 2 - o[i], centre[i] - size / 2 - o[i]) / d[i] for i in (0, 1)]
    far = [np.where(np.isfinite(f) & (f > 0), f, np.inf) for f in far]
    t_wall = np.minimum(far[0], far[1])
    t = np.minimum(t_floor, t_wall)
    colour = np.empty((len(t), 3))
    floor = np.flatnonzero(t_floor < t_wall)
    px, py = (o[i] + t[floor] * d[i][floor] for i in (0, 1))
    away = np.hypot(px - centre[0], py - centre[1]) / size
    # Light falls off towards the edges of the room.
    colour[floor] = _floor(room, px, py, seed) * (1.08 - 0.55 * away**2)[:, None]
    wall = np.flatnonzero(t_floor >= t_wall)
    on_x = (far[0] <= far[1])[wall]
    px, py, pz = (np.nan_to_num(o[i] + t[wall] * d[i][wall], posinf=9.0, neginf=-9.0) for i in range(3))
    # A wall's own coordinate grows around the room, so that the four walls have different posters.
    along = np.where(on_x, py - centre[1] + 40.0 * np.sign(d[0][wall]), px - centre[0] + 90.0 * np.sign(d[1][wall]))
    # It is a little darker high up and in the corners.
    with np.errstate(invalid="ignore"):
        corner = np.minimum(np.nan_to_num(np.abs(far[0] - far[1])[wall], nan=1.0) * 3.0, 1.0)
    tone = (0.98 - 0.05 * np.clip(2.6 - pz, -2, 2.6) / 2.6) * (0.92 + 0.08 * corner)
    colour[wall] = _wall(room, along, pz, on_x, size, seed) * tone[:, None]
    for box in boxes:
        colour, t = _draw_box(colour, t, box, o, d)
    return colour.reshape(y1 - y0, camera.width, 3).astype(np.float32)


def _noise(a: NDArray[Any], b: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """0..1, a different value for each pair of integers."""
    v = np.sin(a * 127.1 + b * 311.7 + (seed % 97) * 3.7) * 43758.5453
    return v - np.floor(v)


def _smooth_noise(a: NDArray[np.float64], b: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """0..1, varying smoothly over distances of 1."""
    i, j = np.floor(a), np.floor(b)
    u, v = a - i, b - j
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    low = _noise(i, j, seed) * (1 - u) + _noise(i + 1, j, seed) * u
    high = _noise(i, j + 1, seed) * (1 - u) + _noise(i + 1, j + 1, seed) * u
    return low * (1 - v) + high * v


def _floor(room: RoomSpec, x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    base = linear_colour(room.floor_colour)
    if room.floor == "wood":
        plank, width = 1.3, 0.14
        row = np.floor(x / width)
        shift = y / plank + _noise(row, row, seed)
        tone = 0.86 + 0.24 * _noise(row, np.floor(shift), seed + 1)
        grain = 0.95 + 0.10 * _smooth_noise(y * 3.0, x * 60.0, seed + 2)
        seam = np.minimum(np.abs(x / width - row - 0.5) * -2 + 1, 0.03) / 0.03
        end = np.minimum(np.abs(shift - np.floor(shift) - 0.5) * -2 + 1, 0.006) / 0.006
        return base * (tone * grain * (0.72 + 0.28 * np.minimum(seam, end)))[..., None]
    edge = 0.5 if room.floor == "tiles" else 1.0
    i, j = np.floor(x / edge), np.floor(y / edge)
    gap = np.maximum(np.abs(x / edge - i - 0.5), np.abs(y / edge - j - 0.5)) > 0.5 - 0.008 / edge
    tone = 0.94 + 0.12 * _noise(i, j, seed)
    if room.floor == "rubber":
        speck = _noise(np.floor(x * 140), np.floor(y * 140), seed)
        tone = tone * (0.92 + 0.5 * (speck > 0.965))
        return base * (tone * np.where(gap, 0.75, 1.0))[..., None]
    return base * (tone * np.where(gap, 0.6, 1.0))[..., None]


def _wall(
    room: RoomSpec, along: NDArray[np.float64], z: NDArray[np.float64], on_x: NDArray[np.bool_], size: float, seed: int
) -> NDArray[np.float64]:
    base = linear_colour(room.wall_colour)
    tone = np.where(on_x, 1.0, 0.93) * (0.985 + 0.03 * _smooth_noise(along * 1.7, z * 1.7, seed + 5))
    colour = base * tone[:, None]
    if room.posters:
        random = np.random.default_rng((seed, 7))
        for wall in (-90.0, -40.0, 40.0, 90.0):
            for _ in range(2):
                middle = wall + random.uniform(-0.36, 0.36) * size
                height, wide, tall = random.uniform(1.5, 1.9), random.uniform(0.25, 0.5), random.uniform(0.3, 0.5)
                paint = linear_colour("#" + "".join(f"{int(v):02x}" for v in random.uniform(95, 195, 3)))
                horizon = random.uniform(-0.4, 0.4)
                out = np.maximum(np.abs(along - middle) / wide, np.abs(z - height) / tall)
                inside = np.flatnonzero(out < 1.0)
                ink = paint * np.where((z[inside] - height) / tall > horizon, 1.0, 0.55)[:, None]
                colour[inside] = np.where((out[inside] < 0.93)[:, None], ink, 0.05)
    low = np.flatnonzero(z < _SKIRTING_M)
    colour[low] = np.where((z[low] > _SKIRTING_M - 0.012)[:, None], base * 0.45, base * 0.62)
    return colour


def _draw_box(
    colour: NDArray[np.float64], t: NDArray[np.float64], box: Box, o: NDArray[np.float64], d: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a = np.radians(box.heading_deg)
    c, s = np.cos(a), np.sin(a)
    ox, oy = o[0] - box.position_m[0], o[1] - box.position_m[1]
    local_o = (c * ox + s * oy, c * oy - s * ox, o[2])
    local_d = (c * d[0] + s * d[1], c * d[1] - s * d[0], d[2])
    enter, leave = np.zeros_like(t), np.full_like(t, np.inf)
    face = np.zeros(t.shape, np.int8)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in range(3):
            first = (box.low[axis] - local_o[axis]) / local_d[axis]
            second = (box.high[axis] - local_o[axis]) / local_d[axis]
            near, beyond = np.minimum(first, second), np.maximum(first, second)
            face = np.where(near > enter, axis, face)
            enter, leave = np.maximum(enter, near), np.minimum(leave, beyond)
    hit = (enter < leave) & (enter < t) & (enter > 0)
    tone = np.array([0.86, 0.72, 1.0])[face]
    return np.where(hit[..., None], linear_colour(box.colour) * tone[..., None], colour), np.where(hit, enter, t)
