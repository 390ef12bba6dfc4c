"""The largest batch under a budget, found on a function that says what each batch needs.

The peak of a step is the largest of several sums that each grow by so many bytes per example (the end of the forward
pass, some place in the backward pass, the optimizer step), so it is piecewise affine and convex in the batch size. A
line through two known points then is a bound: beyond them the truth lies above it, between them below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

from gpu_optimizer.errors import BatchSizeError

_SECANTS = 8  # after so many steps the search halves: it then ends whatever the function's shape


@dataclass(frozen=True, slots=True, kw_only=True)
class AffinePiece:
    """A range of batch sizes in which every example adds the same to the peak.

    Args:
        first: Smallest batch size known to lie on it.
        last: Largest.
        bytes_per_example: Slope.
        fixed_bytes: What the line has at a batch of 0: weights, optimizer state, workspaces.
    """

    first: int
    last: int
    bytes_per_example: float
    fixed_bytes: float

    def at(self, size: int) -> float:
        """Peak on this line, bytes."""
        return self.fixed_bytes + self.bytes_per_example * size

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"first": self.first, "last": self.last, "bytes_per_example": self.bytes_per_example, "fixed_bytes": self.fixed_bytes}


class PeakCurve:
    """Peaks by batch size, each asked for once.

    Args:
        peak: Batch size to bytes.
        minimum: Smallest batch size allowed.
        maximum: Largest, None for no end.
        multiple_of: Only multiples of this are looked at, `minimum` excepted.

    Example:
        >>> curve = PeakCurve(lambda size: max(1000 + 10 * size, 400 + 25 * size))
        >>> curve.largest(10_000), len(curve.known)
        (384, 5)
        >>> curve.pieces()[-1]
        AffinePiece(first=371, last=900, bytes_per_example=25.0, fixed_bytes=400.0)
    """

    def __init__(self, peak: Callable[[int], int], *, minimum: int = 1, maximum: int | None = None, multiple_of: int = 1) -> None:
        if minimum < 1 or multiple_of < 1 or (maximum is not None and maximum < minimum):
            raise BatchSizeError(
                "expected 1 <= minimum <= maximum and multiple_of >= 1, "
                f"got minimum={minimum}, maximum={maximum}, multiple_of={multiple_of}"
            )
        self.known: dict[int, int] = {}
        self._peak = peak
        self._minimum = minimum
        self._multiple = multiple_of
        self._top = None if maximum is None else max(maximum // multiple_of, 0)

    def at(self, size: int) -> int:
        """Peak of a batch of `size`, bytes."""
        if size not in self.known:
            self.known[size] = int(self._peak(size))
        return self.known[size]

    def largest(self, budget_bytes: int) -> int:
        """The largest batch size whose peak is within the budget.

        Raises:
            BatchSizeError: Not even the smallest is.
        """
        low = self._first_that_fits(budget_bytes)
        high: int | None = None
        for turn in count():
            bound = self._bound(low, high, budget_bytes)
            if bound <= low:
                break
            if high is None or (bound < high - 1 and turn % 2):
                guess = bound
            else:
                guess = (low + high) // 2 if turn >= _SECANTS else self._chord(low, high, budget_bytes)
            guess = max(guess, low + 1) if high is None else min(max(guess, low + 1), high - 1)
            if self._of(guess) <= budget_bytes:
                low = guess
            else:
                high = guess
        return self._size(low)

    def pieces(self) -> tuple[AffinePiece, ...]:
        """The lines between known points, those of nearly the same slope as one; between two pieces lies a chord."""
        sizes = sorted(self.known)
        made: list[AffinePiece] = []
        for left, right in pairwise(sizes):
            slope = (self.known[right] - self.known[left]) / (right - left)
            first = left
            if made and abs(slope - made[-1].bytes_per_example) <= 1e-3 * max(abs(slope), 1.0):
                first = made.pop().first
                slope = (self.known[right] - self.known[first]) / (right - first)
            made.append(AffinePiece(first=first, last=right, bytes_per_example=slope, fixed_bytes=self.known[right] - slope * right))
        return tuple(made)

    def _size(self, units: int) -> int:
        return max(units * self._multiple, self._minimum)

    def _of(self, units: int) -> int:
        return self.at(self._size(units))

    def _first_that_fits(self, budget_bytes: int) -> int:
        lowest = self._minimum // self._multiple
        top = lowest if self._top is None else max(self._top, lowest)
        second = max(lowest, 2) if self._top is None else min(max(lowest, 2), top)  # a batch of 1 is often a case of its own
        if self._of(second) <= budget_bytes:
            return second
        reason = ""
        try:
            if self._of(lowest) <= budget_bytes:
                return lowest
        except (ValueError, RuntimeError) as error:  # BatchNorm, for one, refuses a batch of 1
            reason = f"; a batch of {self._size(lowest)} cannot be run: {error}"
        size = min(self.known)
        raise BatchSizeError(
            f"a batch of {size} needs {self.at(size):,} bytes, the budget is {budget_bytes:,}{reason}; "
            "use checkpoints, a lower precision or a smaller input, or let plan() choose"
        )

    def _bound(self, low: int, high: int | None, budget_bytes: int) -> int:
        """No larger batch fits: lines through neighbours, drawn on beyond them, lie below a convex curve."""
        size = self._size(low)
        smaller = [known for known in self.known if known < size]
        bound = low * 2 + 1
        if smaller and (rise := self.known[size] - self.known[max(smaller)]) > 0:
            bound = (size + (budget_bytes - self.known[size]) * (size - max(smaller)) // rise) // self._multiple
        if high is not None:
            over = self._size(high)
            larger = [known for known in self.known if known > over]
            bound = min(bound, high - 1) if smaller else high - 1
            if larger and (rise := self.known[min(larger)] - self.known[over]) > 0:
                surplus = (self.known[over] - budget_bytes) * (min(larger) - over)
                bound = min(bound, (over - -(-surplus // rise)) // self._multiple)
        return bound if self._top is None else min(bound, self._top)

    def _chord(self, low: int, high: int, budget_bytes: int) -> int:
        left, right = self._of(low), self._of(high)
        return low + int((high - low) * (budget_bytes - left) / (right - left))
