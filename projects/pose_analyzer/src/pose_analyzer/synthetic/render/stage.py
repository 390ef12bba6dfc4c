"""The empty room as the camera sees it, kept between frames, and where the light comes from."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.camera import Camera
from pose_analyzer.synthetic.render.room import Box, room_image
from pose_analyzer.synthetic.spec import SceneSpec

F32 = NDArray[np.float32]

_KEY_STEP_DEG = 12.0


class Stage:
    """Background pictures of one scene.

    A camera that stands still has one picture. A panning one turns about its own centre, so that any view is a homography of
    a wider one of nearly the same direction: such key pictures lie 12 degrees apart, and each frame costs one warp.

    Args:
        spec: The scene.
        camera: At time 0.
        extent: (n, 3) points that the room has to hold.
        boxes: What stands in it.
    """

    def __init__(self, spec: SceneSpec, camera: Camera, extent: NDArray[np.float64], boxes: tuple[Box, ...]) -> None:
        self.spec, self.camera, self.boxes = spec, camera, boxes
        low, high = extent[:, :2].min(0), extent[:, :2].max(0)
        x, y = ((low + high) / 2).tolist()
        self.centre = (x, y)
        self.size = spec.room.size_m or max(7.0, float((high - low).max()) + 4.0)
        away = camera.position - np.array([x, y, 0.0])
        azimuth = math.degrees(math.atan2(float(away[1]), float(away[0]))) + spec.room.light_azimuth_deg
        a, e = math.radians(azimuth), math.radians(spec.room.light_elevation_deg)
        self.towards_light = np.array([math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)])
        self._pictures: dict[int, F32] = {}

    def background(self, camera: Camera, time_s: float) -> F32:
        """(H, W, 3) linear light of the room; not to be changed."""
        pan = self.spec.camera.pan_deg_per_s * time_s
        if not self.spec.camera.pan_deg_per_s:
            return self._picture(0, self.camera)
        key = round(pan / _KEY_STEP_DEG)
        wide = self._wide(key)
        # Both cameras stand at one place: pixel -> ray -> pixel is a homography.
        to_wide = _intrinsics(wide) @ wide.rotation @ camera.rotation.T @ np.linalg.inv(_intrinsics(camera))
        # OpenCV's pixel centres lie at whole numbers, ours half a pixel on.
        half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
        back = np.linalg.inv(half) @ to_wide @ half
        return np.asarray(
            cv2.warpPerspective(
                self._picture(key, wide),
                back,
                (camera.width, camera.height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.float32,
        )

    def _wide(self, key: int) -> Camera:
        # Half a step to each side, in pixels at the edge of a picture with the same focal length.
        turned = self.camera.turned(key * _KEY_STEP_DEG)
        half_step = math.radians(_KEY_STEP_DEG / 2 + 0.5)
        side = math.atan2(math.hypot(turned.width, turned.height) / 2, turned.focal_px)
        reach = turned.focal_px * math.tan(min(side + half_step, math.radians(80.0)))
        return Camera(turned.position, turned.rotation, turned.focal_px, 2 * math.ceil(reach), 2 * math.ceil(reach))

    def _picture(self, key: int, camera: Camera) -> F32:
        if key not in self._pictures:
            self._pictures[key] = room_image(
                camera, self.spec.room, size_m=self.size, centre_m=self.centre, seed=self.spec.seed, boxes=self.boxes
            )
        return self._pictures[key]


def _intrinsics(camera: Camera) -> NDArray[np.float64]:
    return np.array([[camera.focal_px, 0.0, camera.width / 2], [0.0, camera.focal_px, camera.height / 2], [0.0, 0.0, 1.0]])
