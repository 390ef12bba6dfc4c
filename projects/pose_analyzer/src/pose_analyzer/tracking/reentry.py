"""People who come back: the looks of everybody who has left, and who of them a newcomer is.

A name is given only when looks are alike enough and clearly more alike than those of anybody else; otherwise the newcomer is
new. Each decision in favour is kept with its lead over the second best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PATIENCE_S = 0.5
"""A newcomer who may be somebody waits so long for a clear view before being called new."""

CLEAR_VIEWS = 2
"""Clear views that a newcomer's looks are judged by."""


@dataclass(frozen=True, slots=True)
class ReEntry:
    """One return.

    Args:
        track_id: The id given again.
        timestamp_s: Media clock of the frame in which it was given, s.
        away_s: Since that person was seen last, s.
        similarity: Of looks then and now, cosine.
        margin: Lead over the second most alike person; the similarity itself where there is nobody else.
    """

    track_id: int
    timestamp_s: float
    away_s: float
    similarity: float
    margin: float


class Gallery:
    """Looks of those who left.

    Args:
        keep_s: For how long, s.
        min_similarity: Least cosine of looks for the same person.
        min_margin: Least lead over the second best.

    Example:
        >>> gallery = Gallery(keep_s=30, min_similarity=0.8, min_margin=0.05)
        >>> gallery.add(np.array([1, 2]), np.eye(2), np.array([3.0, 4.0]))
        >>> gallery.recognise(np.array([0.96, 0.28]), np.zeros((0, 2)), 9.0)
        ReEntry(track_id=1, timestamp_s=9.0, away_s=6.0, similarity=0.96, margin=0.68)
    """

    def __init__(self, *, keep_s: float, min_similarity: float, min_margin: float) -> None:
        self._keep_s, self._min_similarity, self._min_margin = keep_s, min_similarity, min_margin
        self._known: dict[int, tuple[NDArray[np.float64], float]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, ids: NDArray[np.int64], looks: NDArray[np.float64], seen_s: NDArray[np.float64]) -> None:
        """Remember (m,) people by their (m, d) looks; a row of NaN was never seen clearly and is left out."""
        for track_id, look, at_s in zip(ids.tolist(), looks, seen_s.tolist(), strict=True):
            if self._keep_s > 0 and not np.isnan(look).any():
                self._known[track_id] = (look, at_s)

    def forget_old(self, now_s: float) -> None:
        """Leave out those away for longer than `keep_s`."""
        self._known = {i: (look, at_s) for i, (look, at_s) in self._known.items() if now_s - at_s <= self._keep_s}

    def recognise(
        self, look: NDArray[np.float64], others: NDArray[np.float64], now_s: float, *, missing: Gallery | None = None
    ) -> ReEntry | None:
        """Who of those remembered a newcomer is, if anybody.

        Args:
            look: (d,) of unit length.
            others: (m, d) looks of people who are in view and therefore somebody else; NaN rows count for nothing.
            now_s: Media clock, s.
            missing: Further people it could be.
        """
        known = self._known | (missing._known if missing is not None else {})
        if not known:
            return None
        ids = list(known)
        similarity = np.stack([known[i][0] for i in ids]) @ look
        best = int(similarity.argmax())
        rivals = np.concatenate([np.delete(similarity, best), others @ look])
        rivals = rivals[~np.isnan(rivals)]
        first, second = float(similarity[best]), float(rivals.max()) if len(rivals) else 0.0
        if first < self._min_similarity or first - second < self._min_margin:
            return None
        return ReEntry(ids[best], now_s, round(now_s - known[ids[best]][1], 6), round(first, 6), round(first - second, 6))

    def discard(self, track_id: int) -> None:
        """Forget somebody, who is back."""
        self._known.pop(track_id, None)
