"""A pinhole camera that looks at the scene.

World: right-handed, metres, x forward of an athlete with heading 0, y to that athlete's left, z up, floor at z = 0.

Where the camera stands is said by angles around its target:

- `azimuth_deg` 0 looks at the front of an athlete with heading 0 (the camera stands at +x), 90 at the person's left side
  (+y), 180 at the back, -90 (or 270) at the right side;
- `elevation_deg` is positive when the camera stands above its target and looks down;
- `roll_deg` turns the camera clockwise around its optical axis, so that the picture turns anticlockwise;
- `pan_deg_per_s` turns the camera on its tripod around the vertical, to its right when positive, from the start of the clip.

Camera frame (as OpenCV's): x to the image's right, y down, z forward, metres. Pixels: (0, 0) is the upper left *corner* of
the picture, so the centre of the first pixel lies at (0.5, 0.5) and the principal point at (width / 2, height / 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Position, orientation and lens at one instant.

    Args:
        position: (3,) world, metres.
        rotation: (3, 3) rows are the camera's x, y and z axes in the world: `camera = rotation @ (world - position)`.
        focal_px: Focal length in px, the same in x and y.
        width, height: Image size in px.
    """

    position: Array
    rotation: Array
    focal_px: float
    width: int
    height: int

    def to_camera(self, world_m: Array) -> Array:
        """(..., 3) world points in the camera's frame, metres."""
        return (world_m - self.position) @ self.rotation.T

    def project(self, world_m: Array) -> Array:
        """(..., 2) px of (..., 3) world points; NaN for points that do not lie in front of the camera.

        Example:
            >>> camera = look_at((0, 0, 1), azimuth_deg=0, elevation_deg=0, distance_m=4, fov_deg=90, width=200, height=100)
            >>> camera.project(np.array([0.0, 1.0, 1.0])).tolist()  # 1 m to the athlete's left: to the image's right
            [112.5, 50.0]
        """
        points = self.to_camera(np.asarray(world_m, np.float64))
        depth = points[..., 2:]
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = self.focal_px * points[..., :2] / depth + np.array([self.width / 2, self.height / 2])
        return np.where(depth > 1e-6, xy, np.nan)

    def turned(self, pan_deg: float) -> Camera:
        """The same camera turned to its right around the world's vertical."""
        a = math.radians(pan_deg)
        # Turning the camera right is turning the world left as the camera sees it: rotation @ Rz(+a).
        turn = np.array([[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0], [0.0, 0.0, 1.0]])
        return Camera(self.position, self.rotation @ turn, self.focal_px, self.width, self.height)


def look_at(
    target_m: tuple[float, float, float],
    *,
    azimuth_deg: float,
    elevation_deg: float,
    distance_m: float,
    fov_deg: float,
    width: int,
    height: int,
    roll_deg: float = 0.0,
) -> Camera:
    """A camera that stands around a target and looks at it; the angles are the module's.

    Args:
        target_m: World point in the middle of the picture.
        azimuth_deg: Direction from the target to the camera around the vertical, from +x towards +y.
        elevation_deg: The same above the horizontal, -89..89.
        distance_m: Camera to target.
        fov_deg: Vertical angle of view.
        width: Image width in px.
        height: Image height in px.
        roll_deg: Turn around the optical axis, clockwise as the camera sees it.
    """
    az, el, roll = (math.radians(a) for a in (azimuth_deg, elevation_deg, roll_deg))
    away = np.array([math.cos(az) * math.cos(el), math.sin(az) * math.cos(el), math.sin(el)])
    right = np.array([-math.sin(az), math.cos(az), 0.0])
    down = np.cross(-away, right)
    c, s = math.cos(roll), math.sin(roll)
    rotation = np.stack([c * right + s * down, c * down - s * right, -away])
    focal_px = height / 2 / math.tan(math.radians(fov_deg) / 2)
    return Camera(np.asarray(target_m, np.float64) + distance_m * away, rotation, focal_px, width, height)
