"""One signal per person out of many angles: left and right, image and space, several cues.

A *reading* is one angle of one side in one space (of a fold: the distance of its ends), scaled so that 0 is the profile's rest
and 1 its work threshold. The signal is the mean of the readings, each weighing by the profile's weight and by its *trust*:
the share of the last second in which it was there. Trust is earned slowly and lost fast, so that a hidden arm
which flickers in and out does not pull the signal about. A reading that is missing in a frame keeps its last
value until its trust is gone; when readings with more than half of the trusted weight are missing, there is no
signal.

Where most of what the cues speak of is not seen, how far the body has sunk (`body`) stands in, by the share that is not trusted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median_low
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.body import SINKING
from pose_analyzer.exercise.profile import Cue

_EARN_S = 1.0
_LOSE_S = 0.15
_LEAST_TRUST = 0.02  # of a reading seen for the first time
_MEDIAN_S = 0.15
_FOLD_DEG = 180.0  # of a limb whose ends touch


class Reading(NamedTuple):
    """The signal of one person in one frame.

    Args:
        time_s: Media clock.
        frame: Index of the frame.
        level: 0 at rest, 1 at the work threshold.
        degrees: The first cue's angle.
        left: Level of the left side alone, NaN if unknown.
        right: Level of the right side alone, NaN if unknown.
    """

    time_s: float
    frame: int
    level: float
    degrees: float
    left: float
    right: float


class CueSignal:
    """Turns the angles of one person into readings of the signal.

    Args:
        cues: What shows the movement.
        sides: "mean" of both or "max", the side that is farther on its way.
        names: Names of the angles in the rows to come.
        sinks_pct: How far the body sinks from rest to the work threshold, percent of the trunk; None = that says nothing.

    Raises:
        ExerciseError: None of the angles of a cue is among the names.
    """

    def __init__(self, cues: Sequence[Cue], sides: str, names: Sequence[str], *, sinks_pct: float | None = None) -> None:
        rows = [row for i, cue in enumerate(cues) for row in _readings(i, cue, names)]
        self._columns = np.array([r[0] for r in rows], np.intp)
        self._first = np.array([r[1] == 0 for r in rows])
        side = np.array([r[2] for r in rows])
        # An angle without a side, such as the trunk's lean, speaks for both.
        self._of_side = np.stack([side != "right", side != "left"])
        self._sided = bool((side != "").any())
        self._folds = np.array([cues[r[1]].angle.endswith("_fold") for r in rows])
        self._rest = self._scaled(np.array([cues[r[1]].rest_deg for r in rows], np.float64))
        self._span = self._scaled(np.array([cues[r[1]].work_deg for r in rows], np.float64)) - self._rest
        self._weight = np.array([cues[r[1]].weight for r in rows])
        self._max = sides == "max"
        # Readings of the image plane that give way to the same angle in space when that is there.
        spare = [
            (i, j) for i, a in enumerate(rows) for j, b in enumerate(rows) if a[1:3] == b[1:3] and i < j and cues[a[1]].space == "best"
        ]
        self._spare, self._preferred = np.array(spare, np.intp).reshape(-1, 2).T
        self._sinks = None if not sinks_pct or SINKING not in names else (names.index(SINKING), sinks_pct)
        self._sunk_trust = 0.0
        self._trust = np.zeros(len(rows))
        self._held = np.zeros(len(rows))
        self._time_s = math.nan

    def read(self, values_deg: NDArray[np.float64], *, time_s: float, frame: int) -> Reading | None:
        """The signal of a frame from its (a,) angles in degrees; None when there is no reading."""
        x = values_deg[self._columns]
        there = ~np.isnan(x)
        there[self._spare] &= ~there[self._preferred]
        elapsed_s = 0.0 if math.isnan(self._time_s) else time_s - self._time_s
        self._time_s = time_s
        earned = 1.0 - (1.0 - self._trust) * math.exp(-elapsed_s / _EARN_S)
        self._trust = np.where(there, np.maximum(earned, _LEAST_TRUST), self._trust * math.exp(-elapsed_s / _LOSE_S))
        self._held = np.where(there, x, self._held)
        level = (self._scaled(self._held) - self._rest) / self._span
        weight = self._weight * self._trust
        seen, trusted = float(weight[there].sum()), float(weight.sum())
        stand_in = self._stand_in(values_deg, trusted, elapsed_s)
        if seen + stand_in.weight <= 0.0 or seen + stand_in.weight < 0.5 * (trusted + stand_in.weight):
            return None
        if not there.any():
            return Reading(time_s, frame, stand_in.level, math.nan, math.nan, math.nan)
        side_weight = self._of_side @ weight
        with np.errstate(invalid="ignore", divide="ignore"):
            left, right = ((self._of_side @ (weight * level)) / side_weight).tolist()
        chosen = weight
        if self._max and self._sided:
            trusted = np.where(side_weight >= 0.5 * side_weight.max(), [left, right], -np.inf)
            chosen = weight * self._of_side[int(trusted.argmax())]
        first = chosen * self._first
        degrees = float(first @ self._held / first.sum()) if first.sum() > 0 else math.nan
        total = float(chosen.sum()) + stand_in.weight
        return Reading(time_s, frame, (float(chosen @ level) + stand_in.weight * stand_in.level) / total, degrees, left, right)

    def _scaled(self, degrees: NDArray[np.float64]) -> NDArray[np.float64]:
        """Folds as the distances that they come from: of a limb that is straight, an angle from its length is nearly all noise."""
        return np.where(self._folds, _FOLD_DEG * (1.0 - np.cos(np.radians(degrees) / 2.0)), degrees)

    def _stand_in(self, values: NDArray[np.float64], trusted: float, elapsed_s: float) -> _StandIn:
        """How far the body has sunk, and how much that weighs: nothing while half of the cues' weight is trusted."""
        if self._sinks is None:
            return _StandIn(0.0, 0.0)
        column, span = self._sinks
        sunk = float(values[column])
        if math.isnan(sunk):
            self._sunk_trust *= math.exp(-elapsed_s / _LOSE_S)
            return _StandIn(0.0, 0.0)
        self._sunk_trust = max(1.0 - (1.0 - self._sunk_trust) * math.exp(-elapsed_s / _EARN_S), _LEAST_TRUST)
        share = trusted / float(self._weight.sum())
        return _StandIn(sunk / span, self._sunk_trust * max(1.0 - 2.0 * share, 0.0) * float(self._weight.sum()))


class _StandIn(NamedTuple):
    """What speaks for cues that are not seen."""

    level: float
    weight: float


class MedianWindow:
    """Median of the readings of the last 0.15 s, told for the middle one: removes spikes of one or two frames.

    Example:
        >>> window = MedianWindow()
        >>> told = [window.update(Reading(i / 30, i, x, 0, 0, 0)) for i, x in enumerate((0, 0, 9, 0, 0, 0))]
        >>> [r.level for r in told if r is not None]
        [0, 0, 0, 0]
    """

    def __init__(self) -> None:
        self._window: deque[Reading] = deque()
        self._told_s = -math.inf

    def update(self, reading: Reading) -> Reading | None:
        """Take in a reading; None while the middle has not moved on."""
        self._window.append(reading)
        while reading.time_s - self._window[0].time_s >= _MEDIAN_S:
            self._window.popleft()
        return self._middle()

    def drain(self) -> list[Reading]:
        """The readings between the last middle and the last reading."""
        told: list[Reading] = []
        while len(self._window) > 1:
            self._window.popleft()
            middle = self._middle()
            told += [] if middle is None else [middle]
        return told

    def _middle(self) -> Reading | None:
        middle = self._window[(len(self._window) - 1) // 2]
        if middle.time_s <= self._told_s:
            return None
        self._told_s = middle.time_s
        return middle._replace(level=median_low(r.level for r in self._window))


def _readings(i: int, cue: Cue, names: Sequence[str]) -> list[tuple[int, int, str]]:
    """(column, cue, side) of every angle that a cue asks for."""
    units = {"image": ("_deg",), "space": ("_3d_deg",)}.get(cue.space, ("_deg", "_3d_deg"))
    wanted = [(f"{prefix}{cue.angle}{unit}", prefix.rstrip("_")) for prefix in ("left_", "right_", "") for unit in units]
    found = [(names.index(name), i, side) for name, side in wanted if name in names]
    if not found:
        raise ExerciseError(f"no angle {cue.angle!r} is measured; there are {', '.join(names)}")
    return found
