"""Dynamic time warping of several features at once (dependent DTW), by dtaidistance's C routines.

Series are (t, d), already divided by the features' scales. Cost of a cell: squared Euclidean distance; band as dtaidistance
means it (Sakoe and Chiba 1978): |i - j| < window + |lengths' difference|. The library is imported when it is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Path = list[tuple[int, int]]

_BAND = 0.10
_MAX_ITERATIONS = 15
_CONVERGED = 1e-3


def band(length: int) -> int:
    """Window for series of about that length: a tenth of it, at least 2 (1 would be the Euclidean distance)."""
    return max(2, math.ceil(_BAND * length) + 1)


def align(a: Array, b: Array, *, window: int) -> tuple[float, Path]:
    """Warps one series onto another.

    Args:
        a: (t, d).
        b: (u, d).
        window: Width of the band in samples.

    Returns:
        Distance per step of the path (root mean square), and the path as pairs of indices.

    Raises:
        ValueError: Dimensions differ.

    Example:
        >>> a = np.array([[0.0], [0.0], [1.0], [0.0]])
        >>> b = np.array([[0.0], [1.0], [0.0], [0.0]])
        >>> align(a, b, window=3)[0]
        0.0
    """
    from dtaidistance import dtw_ndim

    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"series must be (t, d) with the same d, got {a.shape} and {b.shape}")
    total = dtw_ndim.distance_fast(np.ascontiguousarray(a, np.float64), np.ascontiguousarray(b, np.float64), window=window)
    path = _path(_accumulated(a, b, window))
    return float(total) / math.sqrt(len(path)), path


def _accumulated(a: Array, b: Array, window: int) -> list[list[float]]:
    """(t + 1, u + 1) cheapest sums up to each pair, with a margin; infinite outside of the band.

    By itself, as the matrices of dtaidistance 2.5.1's C routine are shifted in some rows where its distance is right.
    """
    local = np.square(a[:, None, :] - b[None, :, :]).sum(-1).tolist()
    t, u = len(a), len(b)
    rows = [[math.inf] * (u + 1) for _ in range(t + 1)]
    rows[0][0] = 0.0
    for i in range(t):
        above, row, cost = rows[i], rows[i + 1], local[i]
        for j in range(max(0, i - max(0, t - u) - window + 1), min(u, i + max(0, u - t) + window)):
            row[j + 1] = cost[j] + min(above[j], above[j + 1], row[j])
    return rows


def _path(rows: list[list[float]]) -> Path:
    """The cheapest way through accumulated costs, from its end; the diagonal where two are equal."""
    i, j = len(rows) - 1, len(rows[0]) - 1
    path = [(i - 1, j - 1)]
    while i > 1 or j > 1:
        ways = ((rows[i - 1][j - 1], 0, i - 1, j - 1), (rows[i - 1][j], 1, i - 1, j), (rows[i][j - 1], 2, i, j - 1))
        _, _, i, j = min(ways)
        path.append((i - 1, j - 1))
    return path[::-1]


def onto(reference: Array, series: Array, values: Array, *, window: int) -> tuple[Array, float, Path]:
    """What a series has at each sample of a reference.

    Args:
        reference: (p, d) scaled.
        series: (t, d) scaled.
        values: (t, f) what to carry over.
        window: Width of the band.

    Returns:
        (p, f) means over the path's steps at each reference sample, the distance per step, the path.
    """
    distance, path = align(reference, series, window=window)
    i, j = np.array(path).T
    total = np.zeros((len(reference), values.shape[1]))
    np.add.at(total, i, values[j])
    return total / np.bincount(i, minlength=len(reference))[:, None], distance, path


def barycenter(series: Sequence[Array], *, window: int) -> tuple[Array, int]:
    """DTW barycenter average (Petitjean, Ketterlin and Gancarski 2011), from the medoid, iterated until it stands still.

    Args:
        series: (t, d) each, of one length.
        window: Width of the band.

    Returns:
        (t, d) average, and the index of the medoid it began with.

    Raises:
        ValueError: There are none.

    Example:
        >>> average, _ = barycenter([np.array([[0.0], [2.0], [0.0]]), np.array([[0.0], [4.0], [0.0]])], window=2)
        >>> average.ravel().tolist()
        [0.0, 3.0, 0.0]
    """
    if not series:
        raise ValueError("a barycenter needs at least one series")
    chosen = medoid(series, window=window)
    average = series[chosen].copy()
    for _ in range(_MAX_ITERATIONS):
        before, total, count = average, np.zeros_like(average), np.zeros(len(average))
        for s in series:
            i, j = np.array(align(average, s, window=window)[1]).T
            np.add.at(total, i, s[j])
            count += np.bincount(i, minlength=len(average))
        average = total / count[:, None]
        if np.abs(average - before).max() < _CONVERGED:
            break
    return average, chosen


def medoid(series: Sequence[Array], *, window: int) -> int:
    """Index of the series that is nearest to all others."""
    if len(series) == 1:
        return 0
    from dtaidistance import dtw_ndim

    matrix = dtw_ndim.distance_matrix_fast([np.ascontiguousarray(s) for s in series], window=window)
    matrix = np.where(np.isfinite(matrix), matrix, 0.0)
    np.fill_diagonal(matrix, 0.0)
    full = matrix if np.allclose(matrix, matrix.T) else matrix + matrix.T
    return int(full.sum(1).argmin())
