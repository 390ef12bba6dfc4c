"""Tiles: the square parts of a picture in which small people are large enough to be found.

A detector shrinks every picture to its network's input, so a person who fills little of the picture vanishes. A tile is cut out,
enlarged where it has few pixels, and detected like a picture of its own; what is found comes back in the picture's pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.base import MIN_IMAGE_PX
from pose_analyzer.errors import DetectorError
from shared_utils.data_models import Poses

_TOUCH_PX = 1.0
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture.

    Args:
        x, y: Left upper corner, px of the picture.
        width, height: px of the picture.
        zoom: Side of the picture that the detector gets over the tile's side, 1 or more.

    Example:
        >>> picture = np.zeros((100, 200, 3), np.uint8)
        >>> Tile(150, 20, 50, 50, zoom=2).cut(picture).shape
        (100, 100, 3)
    """

    x: int
    y: int
    width: int
    height: int
    zoom: int = 1

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in px of the picture."""
        return (float(self.x), float(self.y), float(self.x + self.width), float(self.y + self.height))

    @property
    def side(self) -> int:
        """Longer side, px."""
        return max(self.width, self.height)

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The tile's pixels, enlarged `zoom` times by bicubic interpolation: finer than the bilinear one of the detectors.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (zoom * height, zoom * width, 3) uint8, contiguous.
        """
        part = np.ascontiguousarray(image[self.y : self.y + self.height, self.x : self.x + self.width])
        if self.zoom == 1:
            return part
        return np.asarray(cv2.resize(part, None, fx=self.zoom, fy=self.zoom, interpolation=cv2.INTER_CUBIC), np.uint8)

    def to_image(self, poses: Poses) -> Poses:
        """What was found in the tile, in px of the picture."""
        corner = np.array([self.x, self.y], np.float32)
        # Centres of pixels stay centres when a picture is enlarged.
        shift = np.float32(0.5 / self.zoom - 0.5)
        sigma = poses.keypoint_sigma_px
        return poses.replace(
            boxes_xyxy=poses.boxes_xyxy / self.zoom + np.tile(corner, 2),
            keypoints_xy=poses.keypoints_xy / self.zoom + shift + corner,
            keypoint_sigma_px=None if sigma is None else sigma / self.zoom,
        )

    def cuts(self, boxes_xyxy: NDArray[np.floating], width_px: int, height_px: int) -> NDArray[np.bool_]:
        """(n,) whether a box reaches a border of the tile that is not a border of the picture: more of that person lies outside.

        Args:
            boxes_xyxy: (n, 4) px of the picture, found in this tile.
            width_px: Of the picture.
            height_px: Of the picture.
        """
        x1, y1, x2, y2 = self.box
        boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
        touch = np.stack([boxes[:, 0] - x1, boxes[:, 1] - y1, x2 - boxes[:, 2], y2 - boxes[:, 3]], axis=1) <= _TOUCH_PX
        inner = np.array([x1 > 0, y1 > 0, x2 < width_px, y2 < height_px])
        return (touch & inner).any(1)


def tile_grid(width_px: int, height_px: int, side_px: int, *, overlap_x: float = 0.3, overlap_y: float = 0.5, zoom: int = 1) -> list[Tile]:
    """Equal tiles that cover a picture, row by row; along a side of the picture that is shorter than a tile, the tile is too.

    Args:
        width_px: Of the picture.
        height_px: Of the picture.
        side_px: Side of a tile, 16 px or more.
        overlap_x: Share of a tile that it has in common with its neighbour at the least, 0 up to below 1.
        overlap_y: The same from top to bottom. People are taller than wide; what fits into the overlap lies wholly in one tile.
        zoom: See `Tile`.

    Raises:
        DetectorError: A size is too small or an overlap out of range.

    Example:
        >>> [(tile.x, tile.width) for tile in tile_grid(640, 360, 360)]
        [(0, 360), (140, 360), (280, 360)]
        >>> tile_grid(100, 80, 200)
        [Tile(x=0, y=0, width=100, height=80, zoom=1)]
    """
    if side_px < MIN_IMAGE_PX or min(width_px, height_px) < MIN_IMAGE_PX:
        raise DetectorError(f"tiles and pictures have {MIN_IMAGE_PX} px a side or more, got {side_px} of {width_px}x{height_px}")
    for name, overlap in (("overlap_x", overlap_x), ("overlap_y", overlap_y)):
        if not 0 <= overlap < 1:
            raise DetectorError(f"{name} must lie in 0..1, below 1, got {overlap}")
    columns, width = _starts(width_px, side_px, overlap_x)
    rows, height = _starts(height_px, side_px, overlap_y)
    return [Tile(x, y, width, height, zoom) for y in rows for x in columns]


def pyramid(width_px: int, height_px: int, *, reach: float, min_person_px: float, whole_px: float, zoom_to_px: int) -> list[Tile]:
    """Tiles of every size that is needed to find people down to a height, finest first.

    A tile finds people between `reach` and twice `reach` of its side; each size is half of the next, up to where the whole picture
    (or whatever the detector looks at by itself) sees as much.

    Args:
        width_px: Of the picture.
        height_px: Of the picture.
        reach: Share of a picture's side that a person must fill for the detector to find them, 0..1.
        min_person_px: Least height of a person that is looked for.
        whole_px: Side of what the detector looks at without tiles.
        zoom_to_px: Tiles are enlarged, by a whole number, to at most this side.

    Returns:
        Tiles; none where the detector finds people of that height in the whole picture.

    Example:
        >>> tiles = pyramid(1280, 720, reach=0.3, min_person_px=60, whole_px=720, zoom_to_px=512)
        >>> sorted({(tile.side, tile.zoom) for tile in tiles})
        [(200, 2), (400, 1)]
        >>> pyramid(320, 240, reach=0.3, min_person_px=100, whole_px=240, zoom_to_px=512)
        []
    """
    tiles: list[Tile] = []
    side = max(round(min_person_px / reach), MIN_IMAGE_PX)
    overlap_y = min(1.6 * reach, 0.5)
    while side * 1.4 <= whole_px:
        tiles += tile_grid(
            width_px, height_px, side, overlap_x=0.6 * overlap_y, overlap_y=overlap_y, zoom=min(max(zoom_to_px // side, 1), 4)
        )
        side *= 2
    return tiles


def scattered(tiles: list[Tile]) -> list[Tile]:
    """The same tiles in an order in which any few in a row lie far apart: by multiples of the golden ratio.

    Example:
        >>> [tile.x for tile in scattered(tile_grid(500, 100, 100, overlap_x=0.0))]
        [0, 200, 400, 100, 300]
    """
    keys = [(i * _GOLDEN) % 1.0 for i in range(len(tiles))]
    return [tiles[i] for i in sorted(range(len(tiles)), key=keys.__getitem__)]


def square_around(box_xyxy: NDArray[np.floating], side_px: float, width_px: int, height_px: int, *, zoom_to_px: int) -> Tile:
    """A tile of that side around the middle of a box, moved inside the picture.

    Example:
        >>> square_around(np.array([0.0, 40.0, 20.0, 80.0]), 100, 1280, 720, zoom_to_px=256)
        Tile(x=0, y=10, width=100, height=100, zoom=2)
    """
    side = max(round(side_px), MIN_IMAGE_PX)
    width, height = min(side, width_px), min(side, height_px)
    x1, y1, x2, y2 = np.asarray(box_xyxy, np.float64).tolist()
    x = min(max(round((x1 + x2 - width) / 2), 0), width_px - width)
    y = min(max(round((y1 + y2 - height) / 2), 0), height_px - height)
    return Tile(x, y, width, height, min(max(zoom_to_px // side, 1), 4))


def _starts(length_px: int, side_px: int, overlap: float) -> tuple[list[int], int]:
    """Where tiles begin along one side of the picture, and how long they are."""
    side = min(side_px, length_px)
    count = math.ceil((length_px - side) / (side * (1 - overlap))) + 1
    if count == 1:
        return [0], side
    return [round(i * (length_px - side) / (count - 1)) for i in range(count)], side
