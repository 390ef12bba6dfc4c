"""Another camera: from one frame to the next a body is seen from another side, faster than anybody turns or moves.

A cut to another view changes all angles of the picture at once; a movement, however fast, changes those of the joints that move, and a
zoom changes none. Somebody who stands upright has the same angles from everywhere, but not the same breadth of shoulders and hips.
What was under way before a change cannot be compared with what follows. A detector that takes left for right is no other camera: what
is the same in a mirror is the same view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.body import BREADTHS

Array = NDArray[np.float64]
View = Literal["same", "suspect", "changed"]

# Half of all angles change by this much, at this speed. Elbows and knees reach 600 degrees per second in exercises, one or two at a time.
_LEAST_DEG, _LEAST_DEG_PER_S = 18.0, 500.0
_LEAST_ANGLES = 8
# Or the breadths of shoulders (80 % of the trunk when seen from the front) and hips (38 %) together change faster than by turning round.
_LEAST_PCT, _LEAST_PCT_PER_S = 42.0, 840.0
# A glitch of the detector lasts a frame or two; a cut stays.
_STAYS = 2
_LONGEST_S = 0.35


class ViewWatch:
    """Watches the angles (and breadths) of one person for a change of the camera.

    Args:
        names: Names of the angles in the rows to come; those of the image plane are watched, and `body.BREADTHS` if they are there.

    Example:
        >>> names = [f"angle{i}_deg" for i in range(10)]
        >>> watch, front, side = ViewWatch(names), np.full(10, 20.0), np.full(10, 90.0)
        >>> [watch.look(row, i / 30) for i, row in enumerate((front, front, side, side, side, side))]
        ['same', 'same', 'suspect', 'suspect', 'changed', 'same']
    """

    def __init__(self, names: Sequence[str]) -> None:
        angles = [i for i, n in enumerate(names) if n.endswith("_deg") and not n.endswith(("_3d_deg", "_in_plane_deg"))]
        self._angles = np.array(angles if len(angles) >= _LEAST_ANGLES else [], np.intp)
        self._breadths = np.array([names.index(n) for n in BREADTHS] if set(BREADTHS) <= set(names) else [], np.intp)
        twins = {n: n.replace("left_", "right_", 1) if n.startswith("left_") else n.replace("right_", "left_", 1) for n in names}
        self._twins = np.array([names.index(twins[n]) if twins[n] in names else i for i, n in enumerate(names)], np.intp)
        self._before: tuple[Array, float] | None = None
        self._since = 0

    def look(self, values: Array, time_s: float) -> View:
        """Whether the view is the same; "suspect" = it leapt, as by a glitch; "changed" = it stays there, told once.

        Args:
            values: (a,) one row.
            time_s: Media clock, seconds.
        """
        if self._before is None or not self._apart(*self._before, values, time_s):
            self._before, self._since = (values, time_s), 0
            return "same"
        self._since += 1
        if self._since <= _STAYS:
            return "suspect"
        self._before, self._since = (values, time_s), 0
        return "changed"

    def _apart(self, before: Array, before_s: float, now: Array, time_s: float) -> bool:
        """Whether this is another view than the last one that was no surprise."""
        if time_s - before_s > _LONGEST_S:
            return False
        # The time of the change itself is that of one frame; those that follow only confirm it.
        elapsed_s = max((time_s - before_s) / (self._since + 1), 1e-6)
        return self._differs(before, now, elapsed_s) and self._differs(before, self._mirrored(now), elapsed_s)

    def _mirrored(self, values: Array) -> Array:
        """The same with left and right exchanged."""
        out = values[self._twins]
        out[self._breadths] *= -1.0
        return out

    def _differs(self, before: Array, now: Array, elapsed_s: float) -> bool:
        difference = np.abs(now - before)
        aside = abs(float((now - before)[self._breadths].sum()))
        if aside >= max(_LEAST_PCT, _LEAST_PCT_PER_S * elapsed_s):
            return True
        turned, most = difference[self._angles], max(_LEAST_DEG, _LEAST_DEG_PER_S * elapsed_s)
        if 2 * np.count_nonzero(turned >= most) < _LEAST_ANGLES:  # nearly always: then the median is below it, too
            return False
        known = turned[np.isfinite(turned)]
        return len(known) >= _LEAST_ANGLES and float(np.median(known)) >= most
