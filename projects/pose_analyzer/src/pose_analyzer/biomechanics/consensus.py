"""The best estimate of an angle in space, from its two witnesses: lifted landmarks, and the network's own in metres.

Both see the same person through the same network, and err in different ways: the lifted angle has the picture's directions and
suffers where a segment points at the camera; the network's own is coarse everywhere and never quite lost. The best linear
combination of two estimates whose errors go together has weights that follow from both variances and their covariance (Bates
and Granger 1969). Those depend on the view, so that every angle has six of them: for segments that are seen hardly, in part
and fully, from the side and from the front. They are fitted on scenes whose truth is known (`calibration.fit_trust`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.biomechanics.geometry import Array

SEEN_NODES = np.array([0.3, 0.65, 0.95])
"""Shares of the shorter-seen segment between which weights are interpolated."""
NODES = 2 * len(SEEN_NODES)


def view_basis(seen: Array, front: Array) -> Array:
    """(..., 6) shares of the six weights at each reading; they add up to 1.

    Args:
        seen: (...) share of the shorter-seen segment; NaN (not known) counts as fully seen.
        front: (...) share of the breadth that is seen, 0 = from the side; NaN counts as one half.

    Example:
        >>> view_basis(np.array([0.3, 2.0]), np.array([0.0, 0.25])).tolist()
        [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.75, 0.0, 0.0, 0.25]]
    """
    low, middle, high = SEEN_NODES
    q = np.clip(np.where(np.isnan(seen), high, seen), low, high)
    hardly, fully = np.clip((middle - q) / (middle - low), 0.0, 1.0), np.clip((q - middle) / (high - middle), 0.0, 1.0)
    by_seen = np.stack([hardly, 1.0 - hardly - fully, fully], axis=-1)
    f = np.where(np.isnan(front), 0.5, front)[..., None]
    return np.concatenate([by_seen * (1.0 - f), by_seen * f], axis=-1, dtype=np.float64)


def agreed(lifted: Array, plain: Array, seen: Array, front: Array, trust: Array) -> Array:
    """(n, a) degrees: both witnesses' angles by their weights; where one has no reading, the other's.

    Args:
        lifted: (n, a) degrees.
        plain: (n, a) degrees, of the network's own landmarks.
        seen: (n, a) share of the shorter-seen segment of each angle.
        front: (n,) share of the breadth that is seen.
        trust: (a, 6) weights of the lifted angle, 0..1; a row of NaN leaves the lifted angle as it is.

    Example:
        >>> one = np.ones((1, 1))
        >>> agreed(50 * one, 40 * one, one, np.zeros(1), np.array([[0.0, 0.0, 0.8, 0.0, 0.0, 0.0]])).item()
        48.0
    """
    weight = np.einsum("nac,ac->na", view_basis(seen, np.broadcast_to(front[:, None], seen.shape)), trust)
    mixed = plain + np.where(np.isnan(weight), 1.0, weight) * (lifted - plain)
    return np.where(np.isnan(plain), lifted, np.where(np.isnan(lifted), plain, mixed))


@lru_cache(maxsize=32)
def _rows(items: tuple[tuple[str, tuple[float, ...]], ...], names: tuple[str, ...]) -> NDArray[np.float64]:
    known = dict(items)
    return np.array([known.get(name, (np.nan,) * NODES) for name in names]).reshape(-1, NODES)


def trust_rows(trust: Mapping[str, Sequence[float]], names: tuple[str, ...]) -> Array:
    """(a, 6) weights of angles by their names without side; NaN for those that have none."""
    return _rows(tuple((name, tuple(row)) for name, row in trust.items()), names)
