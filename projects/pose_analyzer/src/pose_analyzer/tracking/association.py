"""Which track is which detection: overlap of boxes, and the best one-to-one assignment under a limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def iou_matrix(a_xyxy: NDArray[np.floating], b_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """(a, b) intersection over union of (a, 4) and (b, 4) px boxes; 0 where both have no area.

    Example:
        >>> iou_matrix(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).round(3)
        array([[0.333, 0.   ]])
    """
    a, b = np.asarray(a_xyxy, np.float64)[:, None], np.asarray(b_xyxy, np.float64)[None]
    shared = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


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
