"""Suppression: several findings of one person become one.

`weighted_nms` merges the boxes of a box detector; `oks_matrix` tells how alike whole poses are, for
suppressing a person that was found twice without merging two who stand close.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared_utils.skeletons import Skeleton


def iou_matrix(boxes_xyxy: NDArray[np.floating], others_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, m) intersection over union of boxes; 0 where both are empty.

    Args:
        boxes_xyxy: (n, 4).
        others_xyxy: (m, 4), same unit.

    Example:
        >>> iou_matrix(np.array([[0.0, 0.0, 2.0, 1.0]]), np.array([[1.0, 0.0, 3.0, 1.0]])).round(3).tolist()
        [[0.333]]
    """
    a, b = np.asarray(boxes_xyxy, np.float64)[:, None], np.asarray(others_xyxy, np.float64)[None]
    size = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0)
    shared = size[..., 0] * size[..., 1]
    area_a, area_b = ((v[..., 2] - v[..., 0]) * (v[..., 3] - v[..., 1]) for v in (a, b))
    union = area_a + area_b - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def weighted_nms(
    boxes_xyxy: NDArray[np.floating], scores: NDArray[np.floating], values: NDArray[np.floating], *, iou_threshold: float = 0.3
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Replace each cluster of overlapping boxes by its mean, weighted by score.

    The best box gathers every box that overlaps it by more than the threshold, itself included; the
    cluster's box and values are their means, its score is that of the best. Then the best of the rest.
    Ties keep the order of the input. (V. Bazarevsky et al., BlazeFace, 2019, section 5: "blending".)

    Args:
        boxes_xyxy: (n, 4) boxes, any unit.
        scores: (n,) positive.
        values: (n, ...) what else belongs to a box and is averaged with it, for example keypoints.
        iou_threshold: Overlap 0..1 above which boxes are one.

    Returns:
        Boxes (k, 4), scores (k,) in falling order, values (k, ...).

    Example:
        >>> boxes = np.array([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.6], [9.0, 9.0, 10.0, 10.0]])
        >>> merged, scores, _ = weighted_nms(boxes, np.array([0.9, 0.3, 0.5]), np.zeros((3, 1)))
        >>> merged[0].round(3).tolist(), scores.tolist()
        ([0.0, 0.0, 2.0, 1.9], [0.9, 0.5])
    """
    boxes, scores, values = (np.asarray(v, np.float64) for v in (boxes_xyxy, scores, values))
    left = np.argsort(-scores, kind="stable")
    out_boxes, out_scores, out_values = [], [], []
    while len(left):
        overlap = iou_matrix(boxes[left[:1]], boxes[left])[0] > iou_threshold
        overlap[0] = True  # an empty box overlaps nothing, not even itself
        cluster = left[overlap]
        weight = scores[cluster] / scores[cluster].sum()
        out_boxes.append(weight @ boxes[cluster])
        out_values.append(np.tensordot(weight, values[cluster], axes=1))
        out_scores.append(scores[left[0]])
        left = left[~overlap]
    if not out_scores:
        return boxes[:0], scores[:0], values[:0]
    return np.stack(out_boxes), np.array(out_scores), np.stack(out_values)


def oks_matrix(
    keypoints_xy: NDArray[np.floating], confidence: NDArray[np.floating], skeleton: Skeleton, *, min_confidence: float = 0.5
) -> NDArray[np.float64]:
    """(n, n) object keypoint similarity between the poses of one image, 0..1.

    COCO's measure with one pose in the role of the truth and the mean of both keypoint hulls as area. Only
    keypoints that both see count; with none in common the similarity is 0.

    Args:
        keypoints_xy: (n, k, 2) px; NaN = missing.
        confidence: (n, k) 0..1.
        skeleton: Names the k keypoints and holds their constants.
        min_confidence: A keypoint below it is not compared.

    Example:
        >>> from shared_utils.skeletons import COCO_17
        >>> pose = np.random.default_rng(0).uniform(0, 100, (1, 17, 2))
        >>> oks_matrix(np.concatenate([pose, pose + 1000]), np.ones((2, 17)), COCO_17).round(3).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    xy = np.asarray(keypoints_xy, np.float64)
    seen = (np.asarray(confidence) >= min_confidence) & np.isfinite(xy).all(-1)
    low = np.where(seen[..., None], xy, np.inf).min(1)
    high = np.where(seen[..., None], xy, -np.inf).max(1)
    extent = np.where(np.isfinite(high - low), high - low, 0.0)
    area = extent.prod(1)
    both = seen[:, None] & seen[None]
    squared = np.where(both, ((np.nan_to_num(xy)[:, None] - np.nan_to_num(xy)[None]) ** 2).sum(-1), 0.0)
    variance = (2 * skeleton.oks_sigmas) ** 2 * (area[:, None] + area[None])[..., None] / 2
    exponent = np.divide(squared, 2 * variance, out=np.where(squared > 0, np.inf, 0.0), where=variance > 0)
    count = both.sum(-1)
    return np.divide(np.where(both, np.exp(-exponent), 0.0).sum(-1), count, out=np.zeros(count.shape), where=count > 0)
