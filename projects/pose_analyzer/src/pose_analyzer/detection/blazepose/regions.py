"""Regions: the square, rotated part of an image that one person is looked for in.

A region follows from two points, the middle of the hips and a second one whose distance and direction
give size and upright axis (V. Bazarevsky et al., BlazePose, 2020, section 2.2). Everything is in
pixels of the image: x to the right, y down, angles clockwise as seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MARGIN = 1.25
"""Side of a region over the diameter of the circle that its two points span."""

MIN_SIZE_PX = 1.0
"""A smaller region holds no picture."""

_MAX_ZOOM = 4
_HALF_DIAGONAL = math.sqrt(0.5)
_CUBIC_SUPPORT_PX = 3.0


@dataclass(frozen=True, slots=True)
class Region:
    """A square part of an image.

    Args:
        x_px: Centre.
        y_px: Centre.
        size_px: Side.
        rotation_rad: Turn from upright, clockwise as seen; -pi..pi.

    Example:
        >>> Region.from_points((100.0, 100.0), (100.0, 60.0))  # the second point is straight above
        Region(x_px=100.0, y_px=100.0, size_px=100.0, rotation_rad=0.0)
    """

    x_px: float
    y_px: float
    size_px: float
    rotation_rad: float

    @classmethod
    def from_points(cls, centre_px: tuple[float, float], scale_px: tuple[float, float]) -> Region:
        """The region of a person.

        Args:
            centre_px: Middle of the hips x, y.
            scale_px: Point on the upright axis, above the head x, y: half a region's side away without margin.
        """
        dx, dy = scale_px[0] - centre_px[0], scale_px[1] - centre_px[1]
        rotation = math.pi / 2 - math.atan2(-dy, dx)
        rotation -= 2 * math.pi * math.floor((rotation + math.pi) / (2 * math.pi))
        return cls(centre_px[0], centre_px[1], 2 * math.hypot(dx, dy) * MARGIN, rotation)

    @classmethod
    def around(cls, width_px: int, height_px: int) -> Region:
        """The smallest upright square around a whole image, centred on it."""
        return cls(width_px / 2, height_px / 2, float(max(width_px, height_px)), 0.0)

    @classmethod
    def tiles(cls, width_px: int, height_px: int) -> list[Region]:
        """Upright squares that cover an oblong image, each as wide as its shorter side, overlapping by a third or more.

        The person detector sees people in them larger than in the whole image. None for a square image.

        Example:
            >>> [(tile.x_px, tile.size_px) for tile in Region.tiles(640, 360)]
            [(180.0, 360.0), (320.0, 360.0), (460.0, 360.0)]
        """
        side, length = sorted((width_px, height_px))
        count = math.ceil((length - side) / (side * 2 / 3)) + 1
        if count < 2:
            return []
        centres = [side / 2 + i * (length - side) / (count - 1) for i in range(count)]
        wide = width_px > height_px
        return [cls(c if wide else side / 2, side / 2 if wide else c, float(side), 0.0) for c in centres]

    @property
    def is_usable(self) -> bool:
        """Whether it is finite and large enough to hold a picture."""
        return (
            math.isfinite(self.x_px)
            and math.isfinite(self.y_px)
            and math.isfinite(self.rotation_rad)
            and MIN_SIZE_PX <= self.size_px < math.inf
        )

    def crop(self, image: NDArray[np.uint8], out: NDArray[np.uint8], *, replicate: bool, finer: bool = False) -> None:
        """Resample the region into `out`, bilinearly.

        Pixel (u, v) of `out` shows the point (u / n, v / n) of the region, without the half pixel that
        centres would need: this is what the networks were run with by MediaPipe.

        Args:
            image: (H, W, 3) uint8.
            out: (n, n, 3) uint8, contiguous, written in place.
            replicate: Outside the image, continue its border (else black).
            finer: Enlarge a region that has fewer pixels than `out` by bicubic interpolation first.
        """
        n = out.shape[0]
        zoom = min(int(n / self.size_px), _MAX_ZOOM) if finer else 1
        if zoom > 1:
            patch, enlarged = self._enlarged(image, zoom)
            enlarged.crop(patch, out, replicate=replicate)
            return
        step = self.size_px / n
        a, b = step * math.cos(self.rotation_rad), step * math.sin(self.rotation_rad)
        half = n / 2
        to_image = np.array([[a, -b, self.x_px - half * (a - b)], [b, a, self.y_px - half * (a + b)], [0.0, 0.0, 1.0]])
        border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
        # warpAffine takes two thirds of the time, but rounds coordinates differently: one grey level in 3 of 1000 pixels.
        # MediaPipe calls this one, and the landmarks of the next frames depend on such levels.
        cv2.warpPerspective(image, to_image, (n, n), dst=out, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border)

    def _enlarged(self, image: NDArray[np.uint8], zoom: int) -> tuple[NDArray[np.uint8], Region]:
        """The surroundings of the region, `zoom` times as large, and the region in them."""
        reach = self.size_px * _HALF_DIAGONAL + _CUBIC_SUPPORT_PX
        height, width = image.shape[:2]
        x1, x2 = (int(min(max(v, 0), width)) for v in (self.x_px - reach, self.x_px + reach + 1))
        y1, y2 = (int(min(max(v, 0), height)) for v in (self.y_px - reach, self.y_px + reach + 1))
        if x2 <= x1 or y2 <= y1:
            return image, self
        patch = cv2.resize(image[y1:y2, x1:x2], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        # `resize` keeps the places of pixels' edges, a warp counts from the centre of the first pixel.
        shift = (zoom - 1) / 2
        region = Region((self.x_px - x1) * zoom + shift, (self.y_px - y1) * zoom + shift, self.size_px * zoom, self.rotation_rad)
        return np.asarray(patch, np.uint8), region

    def to_image(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) px in the image of points in 0..1 of the region.

        Example:
            >>> Region(50.0, 40.0, 20.0, math.pi / 2).to_image(np.array([1.0, 0.5])).round(9).tolist()
            [50.0, 50.0]
        """
        a = self.size_px * math.cos(self.rotation_rad)
        b = self.size_px * math.sin(self.rotation_rad)
        return (np.asarray(points, np.float64) - 0.5) @ np.array([[a, b], [-b, a]]) + (self.x_px, self.y_px)

    def turn(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 3) vectors of the region's own axes in the image's axes: x, y rotated, z kept."""
        a, b = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return np.asarray(vectors, np.float64) @ np.array([[a, b, 0.0], [-b, a, 0.0], [0.0, 0.0, 1.0]])


class RegionSmoother:
    """Steadies the two points that the next frame's region is made from.

    A One Euro filter (G. Casiez et al., 2012) per coordinate, with speeds measured in region sizes per
    second. MediaPipe's graph applies it always, also when the smoothing of landmarks is switched off. Its
    Python solution gives every frame 33333 µs whatever the stream's rate; so it is here, because the
    filter steers a search window and measures nothing.

    Example:
        >>> smoother = RegionSmoother()
        >>> smoother.update((10.0, 10.0, 10.0, 0.0))
        (10.0, 10.0, 10.0, 0.0)
        >>> smoother.update((11.0, 10.0, 11.0, 0.0))[0] < 11.0
        True
    """

    FRAME_S = 33333e-6
    MIN_CUTOFF_HZ = 0.01
    BETA = 10.0
    SPEED_CUTOFF_HZ = 1.0
    MIN_SIZE_PX = 1e-6

    def __init__(self) -> None:
        self._raw: tuple[float, ...] | None = None
        self._speed = (0.0,) * 4
        self._value: tuple[float, ...] = ()
        # The first step has no interval yet and counts as 1/30 s.
        self._interval_s = 1 / 30

    def update(self, points_px: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Filtered points.

        Args:
            points_px: Centre x, y and scale point x, y as the network gave them in this frame.
        """
        x0, y0, x1, y1 = points_px
        diameter = 2 * math.hypot(x1 - x0, y1 - y0)
        if diameter < self.MIN_SIZE_PX:
            return points_px
        if self._raw is None:
            self._raw = self._value = points_px
            self._interval_s = self.FRAME_S
            return points_px
        keep = self._weight(self.SPEED_CUTOFF_HZ)
        speed, value = [], []
        for new, old, old_speed, old_value in zip(points_px, self._raw, self._speed, self._value, strict=True):
            s = keep * ((new - old) / diameter / self._interval_s) + (1 - keep) * old_speed
            w = self._weight(self.MIN_CUTOFF_HZ + self.BETA * abs(s))
            speed.append(s)
            value.append(w * new + (1 - w) * old_value)
        self._raw, self._speed, self._value = points_px, tuple(speed), tuple(value)
        return value[0], value[1], value[2], value[3]

    def _weight(self, cutoff_hz: float) -> float:
        """Weight of the newest sample in a first-order low pass."""
        return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * self._interval_s))
