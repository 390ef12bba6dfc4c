"""Angles of people who exercise, from levels (0 rest, 1 work) by arithmetic."""

from __future__ import annotations

import numpy as np

from pose_analyzer.exercise import ExerciseProfile, RepetitionCounter, load_profile
from shared_utils.data_models import Angles, Event, EventType


def ease(x):
    """Minimum-jerk way from 0 to 1."""
    x = np.clip(x, 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def reps(depths, *, out_s=1.0, turn_s=0.2, back_s=0.8, rest_s=0.6, lead_s=1.0, tail_s=1.0):
    """Level as a function of time, and its duration: one excursion per depth, with its rests."""
    starts = lead_s + np.arange(len(depths)) * (out_s + turn_s + back_s + rest_s)

    def level(t):
        total = np.zeros_like(np.asarray(t, float))
        for start, depth in zip(starts, depths, strict=True):
            total = total + depth * (ease((t - start) / out_s) - ease((t - start - out_s - turn_s) / back_s))
        return total

    end = lead_s + len(depths) * (out_s + turn_s + back_s + rest_s) + tail_s
    return level, end


def names_of(profile: ExerciseProfile) -> tuple[str, ...]:
    cues = profile.cues or profile.limits
    return tuple(f"{side}_{cue.angle}_deg" for cue in cues for side in ("left", "right"))


def row_of(profile: ExerciseProfile, left: float, right: float) -> list[float]:
    """Values of `names_of` at the levels of the two sides; NaN is missing."""
    return [c.rest_deg + level * (c.work_deg - c.rest_deg) for c in profile.cues for level in (left, right)]


def angles_of(profile, people: dict[int, tuple[float, float]]) -> Angles:
    """Angles of tracks at (left, right) levels."""
    values = [row_of(profile, *levels) for levels in people.values()]
    names = names_of(profile)
    return Angles(names, np.array(list(people), np.int64), np.array(values, float).reshape(len(people), len(names)))


def watch(exercise, level, end_s, *, fps=30.0, start_s=0.0, flush=True, right=None) -> list[Event]:
    """Events of one person (track 1) whose sides are at `level(t)` and `right(t)` (default the same)."""
    profile = exercise if isinstance(exercise, ExerciseProfile) else load_profile(exercise)
    counter = RepetitionCounter(profile, stream_id="cam")
    events: list[Event] = []
    for i in range(int(end_s * fps) + 1):
        t = i / fps
        left = float(level(t))
        people = {1: (left, left if right is None else float(right(t)))}
        events += counter.update(angles_of(profile, people), timestamp_s=start_s + t, frame_index=i)
    return events + counter.flush() if flush else events


def kinds(events) -> list[str]:
    return [e.type.value.removeprefix("rep_") for e in events]


def count(events) -> int:
    return sum(e.type == EventType.REP_COMPLETED for e in events)
