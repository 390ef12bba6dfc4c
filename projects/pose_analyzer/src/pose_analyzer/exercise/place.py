"""Where a body is while it exercises: in the exercise's position or not, and how high its shoulders are.

A repetition's signal knows joints, not the body: arms bend when somebody gets down to the floor, knees when somebody walks up. What tells
these from push-ups and lunges is that the trunk is not level yet, and that the shoulders do not sink.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.body import FALLEN
from pose_analyzer.exercise.profile import Cue, Limit
from pose_analyzer.exercise.signal import CueSignal

Whether = Literal["there", "left", "away"]

# Out of the position for less than this, or by less, is a slip of the detector.
_SLIP_S = 0.3
_SLIP_DEG = 8.0
# Of the way that shoulders sink in an ordinary repetition, what the least one needs.
_LEAST_SUNK = 0.15
# Where they stay: percent of the trunk that is still no bow.
_MOST_MOVED = 30.0
_KEPT_S = 20.0


class Whereabouts:
    """Whether somebody is in the position of an exercise.

    Args:
        limits: The position: one of them is met, or none of them is seen (or measured). No limits: everywhere.
        names: Names of the angles in the rows to come.

    Example:
        >>> level = Whereabouts([Limit(angle="trunk_rise", min_deg=-90, max_deg=60)], ("left_trunk_rise_deg",))
        >>> [level.look(np.array([x]), time_s=i / 10, frame=i) for i, x in enumerate((10.0, 80.0, 80.0, 80.0, 80.0, 80.0, 10.0))]
        ['there', 'there', 'there', 'there', 'left', 'away', 'there']
    """

    def __init__(self, limits: Sequence[Limit], names: Sequence[str]) -> None:
        cues = [Cue(angle=m.angle, rest_deg=m.min_deg, work_deg=m.max_deg, weight=1.0, space=m.space) for m in limits]
        measured = {n.removeprefix("left_").removeprefix("right_") for n in names}
        known = [(m, cue) for m, cue in zip(limits, cues, strict=True) if {f"{m.angle}_deg", f"{m.angle}_3d_deg"} & measured]
        self._limits = [(m, CueSignal([cue], "mean", names)) for m, cue in known]
        self._out_s = math.inf
        self._away = False

    def look(self, values_deg: NDArray[np.float64], *, time_s: float, frame: int) -> Whether:
        """Take in a frame: in the position, not any more (told once), or still not."""
        slack = 0.0 if self._away else _SLIP_DEG
        met: list[bool] = []
        for limit, signal in self._limits:
            reading = signal.read(values_deg, time_s=time_s, frame=frame)
            if reading is not None:
                met.append(limit.min_deg - slack <= reading.degrees <= limit.max_deg + slack)
        if not met:
            return "away" if self._away else "there"
        if any(met):
            self._away, self._out_s = False, math.inf
            return "there"
        if self._away:
            return "away"
        self._out_s = min(self._out_s, time_s)
        self._away = time_s - self._out_s >= _SLIP_S - 1e-9
        return "left" if self._away else "there"


class Heights:
    """How far the shoulders have come down, over the last seconds.

    Args:
        sinks_pct: As in a profile; 0 = they stay where they are; None = says nothing.
        names: Names of the angles in the rows to come.

    Example:
        >>> heights = Heights(80.0, (FALLEN,))
        >>> for time_s, sunk in ((0.0, 0.0), (1.0, 5.0), (2.0, 60.0), (3.0, 2.0)):
        ...     heights.note(np.array([sunk]), time_s)
        >>> heights.lifted(1.0, 3.0), heights.lifted(2.0, 3.0)
        (False, True)
    """

    def __init__(self, sinks_pct: float | None, names: Sequence[str]) -> None:
        self._column = names.index(FALLEN) if sinks_pct is not None and FALLEN in names else None
        self._stays = sinks_pct == 0.0
        self._least = _LEAST_SUNK * abs(sinks_pct or 0.0)
        self._kept: deque[tuple[float, float]] = deque()

    def note(self, values_deg: NDArray[np.float64], time_s: float) -> None:
        """Take in a frame."""
        if self._column is None:
            return
        self._kept.append((time_s, float(values_deg[self._column])))
        while self._kept[0][0] < time_s - _KEPT_S:
            self._kept.popleft()

    def lifted(self, low_s: float, high_s: float) -> bool:
        """Whether the shoulders rose between two times as a repetition lifts them (or stayed), as far as is known."""
        sunk = [next((x for t, x in reversed(self._kept) if t <= at + 1e-9), math.nan) for at in (low_s, high_s)]
        lifted = sunk[0] - sunk[1]
        return not (abs(lifted) > _MOST_MOVED if self._stays else lifted < self._least)
