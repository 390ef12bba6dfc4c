"""Pictures in which people are coloured dots, and a detector that sees them only when they are large enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17

# An upright body in parts of its height: x from the middle, y from the crown.
_X = [0.0, 0.02, -0.02, 0.04, -0.04, 0.11, -0.11, 0.15, -0.15, 0.16, -0.16, 0.07, -0.07, 0.08, -0.08, 0.08, -0.08]
_Y = [0.07, 0.05, 0.05, 0.07, 0.07, 0.19, 0.19, 0.35, 0.35, 0.48, 0.48, 0.52, 0.52, 0.74, 0.74, 0.95, 0.95]
_BODY = np.stack([_X, _Y], axis=1)


def body(x: float, top: float, height: float, *, score: float = 0.9, confidence: float = 0.9) -> Poses:
    """One person whose crown is at (x, top)."""
    return Poses(
        boxes_xyxy=[[x - 0.2 * height, top, x + 0.2 * height, top + height]],
        scores=[score],
        keypoints_xy=(_BODY * height + (x, top))[None],
        keypoint_confidence=np.full((1, 17), confidence),
        skeleton=COCO_17,
    )


def picture(people: Sequence[tuple[float, float, float]], width: int = 1280, height: int = 720) -> np.ndarray:
    """Bars where people (x, top, height) stand: red as wide as a tenth of the height, so that the size can be read off again."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, top, tall in people:
        image[round(top) : round(top + tall), round(x - 0.05 * tall) : round(x + 0.05 * tall)] = (255, 0, 0)
    return image


class BarDetector:
    """Finds the bars of `picture` that fill at least `reach` of the longer side of what it is given.

    Args:
        reach: As a real network's.
    """

    name = "bars"
    skeleton = COCO_17
    models: ClassVar[dict[str, str]] = {"bars": "0" * 64}

    def __init__(self, reach: float = 0.25) -> None:
        self.reach = reach
        self.calls: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.closed = False
        self.forgotten: list[str] = []

    def detect(self, images: Sequence[np.ndarray], *, stream_ids: Sequence[str] | None = None) -> list[Poses]:
        self.calls.append(len(images))
        self.sizes += [image.shape[:2] for image in images]
        return [self._find(image) for image in images]

    def forget(self, stream_id: str) -> None:
        self.forgotten.append(stream_id)

    def close(self) -> None:
        self.closed = True

    def _find(self, image: np.ndarray) -> Poses:
        red = image[..., 0] > 127
        found = []
        columns = np.flatnonzero(red.any(0))
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []:
            rows = np.flatnonzero(red[:, run].any(1))
            height = float(rows[-1] - rows[0] + 1)
            if height >= self.reach * max(image.shape[:2]):
                found.append(body(float(run.mean()) + 0.5, float(rows[0]), height))
        return Poses.concatenate(found) if found else Poses.empty(COCO_17)
