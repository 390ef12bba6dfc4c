"""Which track is which detection: overlap of boxes, likeness of poses, and the best one-to-one assignment under a limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def iou_matrix(a_xyxy: NDArray[np.floating], b_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """(a, b) intersection over union of (a, 4) and (b, 4) px boxes; 0 where both have no area.

    Example:
        >>> iou_matrix(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
        [[0.333, 0.0]]
    """
    return iou_pairs(np.asarray(a_xyxy, np.float64)[:, None], np.asarray(b_xyxy, np.float64)[None])


def iou_pairs(a_xyxy: NDArray[np.floating], b_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """(...) intersection over union of (..., 4) px boxes, pair by pair.

    Example:
        >>> iou_pairs(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2]])).round(3).tolist()
        [0.333]
    """
    ax1, ay1, ax2, ay2 = (a_xyxy[..., i] for i in range(4))
    bx1, by1, bx2, by2 = (b_xyxy[..., i] for i in range(4))
    width = np.minimum(ax2, bx2)
    width -= np.maximum(ax1, bx1)
    height = np.minimum(ay2, by2)
    height -= np.maximum(ay1, by1)
    shared = np.maximum(width, 0, out=width)
    shared *= np.maximum(height, 0, out=height)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)
    union -= shared
    # An empty union has nothing shared: any divisor gives the 0 that is meant.
    return np.divide(shared, np.where(union > 0, union, 1.0), out=shared)


def oks_pairs(
    a_xy: NDArray[np.floating], b_xy: NDArray[np.floating], *, variance_px2: NDArray[np.floating], weight: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Object keypoint similarity of pairs of poses, 0..1.

    The mean over the keypoints that both have of exp(-d² / 2 variance), as COCO's keypoint evaluation defines it, with the
    variance left to the caller: for tracking it is larger than COCO's and grows with the time that has passed.

    Args:
        a_xy: (p, k, 2) px; NaN = missing.
        b_xy: (p, k, 2) px; NaN = missing.
        variance_px2: (..., p, k) px², positive, of the distance of two keypoints; several scales at once lie before.
        weight: (p, k) 0 or more, trust in each keypoint.

    Returns:
        (..., p); 0 where two poses share no keypoint.

    Example:
        >>> here, there = np.array([[[0.0, 0.0], [9.0, 0.0]]]), np.array([[[2.0, 0.0], [np.nan, np.nan]]])
        >>> oks_pairs(here, there, variance_px2=np.array([[4.0, 4.0]]), weight=np.ones((1, 2))).round(3).tolist()  # exp(-1/2)
        [0.607]
    """
    alike, _ = oks_and_trust(np.asarray(a_xy, np.float64) - b_xy, variance_px2=variance_px2, weight=weight)
    return alike


def oks_and_trust(
    difference: NDArray[np.float64], *, variance_px2: NDArray[np.floating], weight: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `oks_pairs`, from the (p, k, 2) px differences, which are overwritten; besides, the (p,) sum of the weights that counted."""
    difference *= difference
    squared = difference[..., 0] + difference[..., 1]
    unknown = np.isnan(squared)
    trust = weight
    if unknown.any():
        trust = np.where(unknown, 0.0, weight)
        squared[unknown] = 0.0
    total = trust.sum(-1)
    alike = np.exp(squared / (-2.0 * variance_px2))
    alike *= trust
    return alike.sum(-1) / np.where(total > 0, total, 1.0), total


def assign(cost: NDArray[np.float64], limit: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of rows and columns with the least total cost, where to leave a pair alone costs `limit`.

    Args:
        cost: (t, n).
        limit: No pair that costs `limit` or more is made.

    Returns:
        (m,) rows and (m,) columns.

    Example:
        >>> assign(np.array([[0.1, 0.4], [0.2, 0.9]]), 0.8)
        (array([0, 1]), array([1, 0]))
        >>> assign(np.array([[0.1, 0.4], [0.9, 0.9]]), 0.8)
        (array([0]), array([0]))
    """
    rows, columns = linear_sum_assignment(np.minimum(cost, limit))
    made = cost[rows, columns] < limit
    return rows[made], columns[made]


def lone_pairs(possible: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of a (t, n) mask that have no rival: the only one in their row and in their column.

    Example:
        >>> lone_pairs(np.array([[True, False], [False, True], [False, True]]))
        (array([0]), array([0]))
    """
    alone = possible & (possible.sum(1, keepdims=True) == 1) & (possible.sum(0, keepdims=True) == 1)
    rows, columns = np.nonzero(alone)
    return rows, columns
