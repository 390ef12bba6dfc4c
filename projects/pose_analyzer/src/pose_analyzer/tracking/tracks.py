"""The people a tracker knows, row by row: motion, id, state and whatever else it remembers of each.

All trackers of this room share it: who is confirmed when, how ids are counted, how long somebody is waited for. What a
tracker adds is which detection belongs to which row, and columns of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.tracking.kalman import BoxKalman

TIME_TOLERANCE_S = 1e-6
BLIND_S = 3.0
"""A pause in the stream itself, in which nobody could be seen, forgets nobody up to this length (or the budget, if longer):
an overloaded machine leaves such pauses, and an athlete between two repetitions has not gone anywhere."""


UNCONFIRMED, TRACKED, LOST = np.int8(0), np.int8(1), np.int8(2)
"""States of a row. Numbers, not an enum: they are compared with whole columns several times a frame."""


class Tracks:
    """t rows, as of the frame before.

    Args:
        lost_s: How long a missed person is waited for, s.
        columns: Further columns by name, as the shape of one row; they start as NaN.
    """

    def __init__(self, *, lost_s: float, columns: Mapping[str, tuple[int, ...]] | None = None) -> None:
        self.motion = BoxKalman()
        self.ids = np.zeros(0, np.int64)
        self.state = np.zeros(0, np.int8)
        self.started_s = np.zeros(0)
        self.hits = np.zeros(0, np.int64)
        self.columns = {name: np.full((0, *shape), np.nan) for name, shape in (columns or {}).items()}
        self.now_s: float | None = None
        self._lost_s = lost_s
        self._last_id = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def confirmed(self) -> NDArray[np.bool_]:
        """(t,) rows that have an id, in view or lost."""
        return self.state != UNCONFIRMED

    def usable(self, timestamp_s: float) -> bool:
        """Whether a frame of this time can follow the ones before."""
        return math.isfinite(timestamp_s) and (self.now_s is None or timestamp_s >= self.now_s)

    def expired(self, now_s: float) -> NDArray[np.bool_]:
        """(t,) rows not waited for any longer when the next frame is of `now_s`.

        Those missed for longer than the budget, up to the frame before: the last in which anybody could be missed. After
        a pause of the stream that is too long, everybody.
        """
        if self.now_s is None:
            return np.zeros(len(self), bool)
        if now_s - self.now_s > max(self._lost_s, BLIND_S) + TIME_TOLERANCE_S:
            return np.ones(len(self), bool)
        return self.now_s - self.motion.seen_s > self._lost_s + TIME_TOLERANCE_S

    def awaited(self, now_s: float) -> bool:
        """Whether the only row is confirmed, and not `expired`, in a frame of `now_s` that is `usable`."""
        before_s = self.now_s
        if before_s is None or self.state[0] == UNCONFIRMED or not before_s <= now_s < math.inf:
            return False
        blind = now_s - before_s > max(self._lost_s, BLIND_S) + TIME_TOLERANCE_S
        return not blind and float(before_s - self.motion.seen_s[0]) <= self._lost_s + TIME_TOLERANCE_S

    def add(self, boxes_xyxy: NDArray[np.floating], now_s: float) -> NDArray[np.intp]:
        """(m,) rows of (m, 4) px boxes seen for the first time, unconfirmed."""
        first, m = len(self), len(boxes_xyxy)
        if m:
            self.motion.append(boxes_xyxy, now_s)
            self.ids = np.concatenate([self.ids, np.full(m, -1, np.int64)])
            self.state = np.concatenate([self.state, np.full(m, UNCONFIRMED)])
            self.started_s = np.concatenate([self.started_s, np.full(m, now_s)])
            self.hits = np.concatenate([self.hits, np.zeros(m, np.int64)])
            for name, column in self.columns.items():
                self.columns[name] = np.concatenate([column, np.full((m, *column.shape[1:]), np.nan)])
        return np.arange(first, first + m)

    def confirm(self, rows: NDArray[np.intp], area_px2: NDArray[np.floating]) -> None:
        """Give (m,) rows ids where they have none: the next free ones, the largest person first."""
        nameless = self.ids[rows] < 0
        order = np.argsort(-area_px2[nameless], kind="stable")
        self.ids[rows[nameless][order]] = self._last_id + 1 + np.arange(len(order))
        self._last_id += len(order)
        self.state[rows] = TRACKED

    def settle(self, seen: NDArray[np.intp]) -> None:
        """`seen` (m,) rows were in this frame. Of the others, those never confirmed are noise and go."""
        here = np.zeros(len(self), bool)
        here[seen] = True
        known = self.state != UNCONFIRMED
        self.state[known] = np.where(here, TRACKED, LOST)[known]
        self.keep(here | known)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget all rows but those of the (t,) mask."""
        if not rows.all():
            self.motion.keep(rows)
            self.ids, self.state, self.started_s, self.hits = self.ids[rows], self.state[rows], self.started_s[rows], self.hits[rows]
            for name, column in self.columns.items():
                self.columns[name] = column[rows]
