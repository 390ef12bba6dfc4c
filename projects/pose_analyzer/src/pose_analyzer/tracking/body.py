"""The joints that every skeleton has, and what of a body moves how fast.

COCO's seventeen names occur in all skeletons of this project; people are compared by them, whichever detector found them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shared_utils.data_models import Poses
from shared_utils.skeletons import COCO_17, Skeleton

BODY: tuple[str, ...] = ("nose", "left_ear", "right_ear", *COCO_17.keypoints[5:])
"""Names compared: the eyes lie too near to nose and ears to say anything more."""

BODY_SIGMAS = COCO_17.oks_sigmas[COCO_17.indices(BODY)]
"""(k,) COCO's constants of object keypoint similarity."""

_SPEEDS = {"nose": 0.5, "ear": 0.5, "shoulder": 0.3, "hip": 0.3, "elbow": 1.0, "knee": 0.8, "wrist": 2.0, "ankle": 1.2}
LIMB_SPEED = np.array([_SPEEDS[name.rsplit("_", 1)[-1]] for name in BODY])
"""(k,) typical speed of a joint relative to the trunk, body lengths per s: a jumping jack's wrist travels a body length in half a
second, a walker's ankle a third of one."""

LEAST_CONFIDENCE = 0.3
"""A joint below this is a guess of the detector and compared with nothing."""

TRUNK = np.array([BODY.index(f"{side}_{part}") for part in ("shoulder", "hip") for side in ("left", "right")])
"""Places of the four joints of the trunk."""
_TRUNK: tuple[int, ...] = tuple(TRUNK.tolist())


@lru_cache(maxsize=16)
def _places(skeleton: Skeleton) -> NDArray[np.intp]:
    """(k,) index of each name of `BODY`, -1 = the skeleton lacks it."""
    return np.array([skeleton.index(name) if name in skeleton else -1 for name in BODY], np.intp)


def body_points(poses: Poses, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(m, k, 2) px and (m, k) confidence of some people's joints of `BODY`; what is not trusted is NaN with 0.

    Example:
        >>> xy, confidence = body_points(Poses.empty(COCO_17), np.zeros(0, np.intp))
        >>> xy.shape, confidence.shape
        ((0, 15, 2), (0, 15))
    """
    places = _places(poses.skeleton)
    at = rows[:, None], places
    confidence = poses.keypoint_confidence[at].astype(np.float64)
    trusted = (confidence >= LEAST_CONFIDENCE) & (places >= 0)
    xy = poses.keypoints_xy[at].astype(np.float64)
    if not trusted.all():
        xy[~trusted], confidence[~trusted] = np.nan, 0.0
    return xy, confidence


def trunk_anchors(xy: NDArray[np.float64], boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 4) px boxes of the detected size, with the trunk's middle as centre.

    The trunk moves as the person does; the box also with every limb, and when a part of it is hidden. Where shoulders or hips
    are not seen, the box itself is taken.

    Args:
        xy: (n, k, 2) px joints of `BODY`.
        boxes_xyxy: (n, 4) px.
    """
    a, b, c, d = _TRUNK
    shift = (xy[:, a] + xy[:, b] + xy[:, c] + xy[:, d]) / 4 - (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    shift[np.isnan(shift)] = 0.0
    anchors = boxes_xyxy.copy()
    anchors[:, :2] += shift
    anchors[:, 2:] += shift
    return anchors


def trunk_hidden(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) people a part of whose trunk is not seen, by (n, k, 2) px joints of `BODY`."""
    a, b, c, d = _TRUNK
    return np.isnan(xy[:, a, 0] + xy[:, b, 0] + xy[:, c, 0] + xy[:, d, 0])


def box_around(boxes_xyxy: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, 2, 2) px corners of (m, 4) boxes relative to (m, 1, 2) middles."""
    return boxes_xyxy.reshape(-1, 2, 2) - middle
