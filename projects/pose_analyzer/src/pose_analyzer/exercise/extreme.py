"""The highest or lowest point of a signal so far: where it is, when it was reached, when it was left."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Sample(NamedTuple):
    """One reading of a signal: when, in which frame, how high."""

    time_s: float
    frame: int
    level: float


class Extreme:
    """A running maximum (sign +1) or minimum (sign -1) with its surroundings.

    Args:
        sign: +1 to follow the highest sample, -1 to follow the lowest.
        first: Sample to begin with.

    Attributes:
        best: The extreme sample.
        last_near: Latest sample that was within `near` of the extreme, as it was then known.

    Example:
        >>> top = Extreme(+1, Sample(0.0, 0, 0.1))
        >>> for i, level in enumerate((0.5, 0.98, 1.0, 0.97, 0.6), start=1):
        ...     _ = top.update(Sample(i / 10, i, level), near=0.1)
        >>> top.best.frame, top.first_near.frame, top.last_near.frame
        (3, 2, 4)
    """

    __slots__ = ("_mark", "_records", "best", "last_near", "sign")

    def __init__(self, sign: int, first: Sample) -> None:
        self.sign = sign
        self.best = first
        self.last_near = first
        self._mark = first
        self._records = deque([first])

    def update(self, sample: Sample, *, near: float) -> bool:
        """Take in a sample; `near` is the width of the surroundings in levels. True for a new extreme."""
        gain = self.sign * (sample.level - self.best.level)
        if gain > 0:
            self.best = sample
            self._records.append(sample)
            while self.sign * (sample.level - self._records[0].level) > near:
                self._records.popleft()
            # Creeping within half the surroundings is rest, not motion.
            if self.sign * (sample.level - self._mark.level) > 0.5 * near:
                self._mark = sample
        if gain >= -near:
            self.last_near = sample
        return gain > 0

    @property
    def first_near(self) -> Sample:
        """First sample that lies within `near` of the extreme: when it was reached."""
        return self._records[0]

    def distance(self, sample: Sample) -> float:
        """How far a sample lies from the extreme, in levels; not negative once it was taken in."""
        return self.sign * (self.best.level - sample.level)

    def settled(self, sample: Sample, *, near: float, settle_s: float) -> bool:
        """Whether the signal has stopped advancing: for `settle_s`, or because it is on its way back by `near`."""
        return sample.time_s - self._mark.time_s >= settle_s or self.distance(sample) >= near
