"""Where something moves in a stream: which tiles are worth a look before their turn.

A thumbnail of each picture is compared with the mean of those before, so that slow movements add up. What differs beyond the noise,
outside of the people who are known already, may be somebody small. A camera that moves changes everything and tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_analyzer.detection.scale.tiles import Tile

_SHRINK = 3
_NEW_SHARE = 0.15
_LEAST_GREY_LEVELS = 6.0
_NOISE_FACTOR = 6.0
_CAMERA_MOVES = 0.25
_KNOWN_MARGIN = 0.15


class MotionMap:
    """What moves in one stream.

    Example:
        >>> dark = np.zeros((240, 320, 3), np.uint8)
        >>> light = dark.copy()
        >>> light[100:120, 200:208] = 200
        >>> motion, nobody = MotionMap(), np.zeros((0, 4))
        >>> motion.update(dark, nobody)
        >>> motion.update(light, nobody)
        >>> motion.amounts([Tile(0, 0, 160, 240), Tile(160, 0, 160, 240)]).tolist()
        [0, 21]
    """

    def __init__(self) -> None:
        self._usual: NDArray[np.float32] | None = None
        self._sums: NDArray[np.int32] | None = None

    def update(self, image: NDArray[np.uint8], known_xyxy: NDArray[np.floating]) -> None:
        """Take the next picture.

        Args:
            image: (H, W, 3) uint8.
            known_xyxy: (n, 4) boxes of people who are known; what moves there does not count.
        """
        size = max(image.shape[1] // _SHRINK, 1), max(image.shape[0] // _SHRINK, 1)
        thumbnail = cv2.resize(np.ascontiguousarray(image[..., 1]), size, interpolation=cv2.INTER_AREA).astype(np.float32)
        usual, self._sums = self._usual, None
        if usual is None or usual.shape != thumbnail.shape:
            self._usual = thumbnail
            return
        change = np.abs(thumbnail - usual)
        usual += np.float32(_NEW_SHARE) * (thumbnail - usual)
        moving = change > max(_NOISE_FACTOR * float(np.median(change)), _LEAST_GREY_LEVELS)
        if moving.mean() > _CAMERA_MOVES:
            return
        for x1, y1, x2, y2 in np.asarray(known_xyxy, np.float64) / _SHRINK:
            margin = _KNOWN_MARGIN * max(x2 - x1, y2 - y1)
            moving[max(int(y1 - margin), 0) : int(y2 + margin) + 1, max(int(x1 - margin), 0) : int(x2 + margin) + 1] = False
        self._sums = np.asarray(cv2.integral(moving.astype(np.uint8)), np.int32)

    def amounts(self, tiles: Sequence[Tile]) -> NDArray[np.int64]:
        """(n,) moving pixels of the thumbnail in each tile; 0 where nothing is known."""
        sums = self._sums
        if sums is None or not tiles:
            return np.zeros(len(tiles), np.int64)
        x1, y1, x2, y2 = (np.array([t.box for t in tiles]) / _SHRINK).round().astype(np.intp).T
        x2, y2 = np.minimum(x2, sums.shape[1] - 1), np.minimum(y2, sums.shape[0] - 1)
        return (sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]).astype(np.int64)
