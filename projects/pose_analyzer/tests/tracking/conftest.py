from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17


@pytest.fixture(scope="session")
def people() -> Callable[..., Poses]:
    """Builds `Poses` without keypoints from boxes (x1, y1, x2, y2) and scores."""

    def build(boxes: Sequence[Sequence[float]], scores: Sequence[float] | float = 0.95) -> Poses:
        n = len(boxes)
        return Poses(
            boxes_xyxy=np.asarray(boxes, np.float32).reshape(n, 4),
            scores=np.broadcast_to(np.asarray(scores, np.float32), n),
            keypoints_xy=np.full((n, 17, 2), np.nan, np.float32),
            keypoint_confidence=np.zeros((n, 17), np.float32),
            skeleton=COCO_17,
        )

    return build
