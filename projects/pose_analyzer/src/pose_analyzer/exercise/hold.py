"""Positions that are held, such as a plank: how long all angles stay within their limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.profile import Cue, ExerciseProfile
from pose_analyzer.exercise.signal import CueSignal, Reading


@dataclass(frozen=True, slots=True)
class Held:
    """One hold: first and last reading within the limits."""

    start: Reading
    last: Reading


class HoldTimer:
    """Times one person's holds.

    A hold begins with the first frame in which every limit is met; one that is not required is met as well while its
    angle is not seen, such as the legs of a plank that points at the camera. Leaving the limits, or being unseen, for
    up to `max_gap_s` interrupts nothing; beyond that the hold ended when it was last seen.

    Args:
        profile: A profile with `limits`.
        names: Names of the angles in the rows to come.
    """

    def __init__(self, profile: ExerciseProfile, names: Sequence[str]) -> None:
        # A limit is a cue whose level lies within 0..1 exactly while it is met.
        cues = [Cue(angle=m.angle, rest_deg=m.min_deg, work_deg=m.max_deg, weight=1.0, space=m.space) for m in profile.limits]
        self._signals = [CueSignal([cue], "mean", names) for cue in cues]
        self._required = [m.required for m in profile.limits]
        self._least_s = profile.min_duration_s
        self._gap_s = profile.max_gap_s
        self._start: Reading | None = None
        self._last: Reading | None = None
        self.degrees = math.nan

    @property
    def held_s(self) -> float:
        """Length of the hold under way, seconds."""
        return 0.0 if self._start is None or self._last is None else self._last.time_s - self._start.time_s

    def update(self, values_deg: NDArray[np.float64], *, time_s: float, frame: int) -> tuple[Reading | None, list[Held]]:
        """Take in a frame; the reading of the first limit's angle, and the hold that it ends, if any."""
        readings = [s.read(values_deg, time_s=time_s, frame=frame) for s in self._signals]
        done = self.expire(time_s)
        first = readings[0]
        if first is not None:
            self.degrees = first.degrees
            met = [not needed if r is None else 0.0 <= r.level <= 1.0 for r, needed in zip(readings, self._required, strict=True)]
            if all(met):
                self._start = self._start or first
                self._last = first
        return first, done

    def expire(self, time_s: float) -> list[Held]:
        """End the hold if it was last seen too long ago."""
        return self.flush() if self._last is not None and time_s - self._last.time_s > self._gap_s else []

    def flush(self) -> list[Held]:
        """End the hold under way; one shorter than the profile's least duration is not told."""
        start, last = self._start, self._last
        self._start = self._last = None
        if start is None or last is None or last.time_s - start.time_s < self._least_s:
            return []
        return [Held(start, last)]
