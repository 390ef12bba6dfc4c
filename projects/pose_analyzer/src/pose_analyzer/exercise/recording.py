"""Repetitions as they were performed: the feature rows between an event's first and last frame, cut into phases.

`RepetitionRecorder` keeps the last seconds of everybody and, when the counter tells a repetition, hands back what it looked like.
`Repetition.curves` brings it to a common length, phase by phase, so that repetitions of any speed can be compared.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.counter import RepetitionCounter
from pose_analyzer.exercise.features import (
    BODY_POINTS,
    FORM_FEATURES,
    SIDES,
    Array,
    body_points,
    facing,
    form_features,
    mirrored_points,
    swapped,
    view_azimuth_deg,
)
from pose_analyzer.exercise.profile import ExerciseProfile
from shared_utils.data_models import Angles, Event, EventType, Poses

PHASE_SAMPLES: dict[str, int] = {"out": 14, "turn": 6, "back": 14}
"""Samples of each phase of a repetition of common length."""
SAMPLES = sum(PHASE_SAMPLES.values())
PHASE_OF_SAMPLE: tuple[str, ...] = tuple(name for name, n in PHASE_SAMPLES.items() for _ in range(n))

# Of a feature's readings within a repetition, the least share that makes a curve.
_LEAST_SEEN = 0.6
_KEPT_S = 20.0
# Sides whose ranges differ by less than this do the same.
_SAME = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Repetition:
    """One repetition of one person.

    Args:
        track_id: Whose.
        number: As the counter told it; 0 for a partial one.
        times_s: (t,) media clock.
        frames: (t,) indices of the frames.
        features: (t, f) degrees, `FORM_FEATURES`; left and right as in the person.
        start_s, reached_s, left_s, end_s: Leaves rest, is at the turning point, leaves it, is back.
        azimuth_deg: View, 90 = from the person's left; NaN = unknown.
        partial: Whether the counter called it partial.
        points: (t, 14, 2) px of `BODY_POINTS`, for drawing; None where nobody kept them.
    """

    track_id: int
    number: int
    times_s: Array
    frames: NDArray[np.int64]
    features: Array
    start_s: float
    reached_s: float
    left_s: float
    end_s: float
    azimuth_deg: float
    partial: bool = False
    points: Array | None = None

    @property
    def durations_s(self) -> dict[str, float]:
        """Seconds of each phase."""
        return {"out": self.reached_s - self.start_s, "turn": self.left_s - self.reached_s, "back": self.end_s - self.left_s}

    @property
    def moving_s(self) -> float:
        """Seconds out and back, without the pause at the turning point."""
        return max(self.end_s - self.left_s + self.reached_s - self.start_s, 0.0)

    def frame_at(self, time_s: float) -> int:
        """Index of the frame nearest to a time."""
        return int(self.frames[int(np.abs(self.times_s - time_s).argmin())])

    def sample_times_s(self) -> Array:
        """(SAMPLES,) times of the common samples: middles of equal parts of each phase."""
        ends = (self.start_s, self.reached_s, self.left_s, self.end_s)
        parts = [a + (b - a) * (np.arange(n) + 0.5) / n for a, b, n in zip(ends, ends[1:], PHASE_SAMPLES.values(), strict=False)]
        return np.concatenate(parts)

    def curves(self) -> Array:
        """(SAMPLES, f) degrees at common length; a feature that was seen too rarely is NaN throughout."""
        return self._at(self.sample_times_s())

    def even_curves(self) -> Array:
        """(SAMPLES, f) degrees at even times from start to end, whatever the phases took; NaN as in `curves`."""
        return self._at(np.linspace(self.times_s[0], self.times_s[-1], SAMPLES))

    def _at(self, times_s: Array) -> Array:
        out = np.full((len(times_s), self.features.shape[1]), np.nan)
        for column, values in enumerate(self.features.T):
            seen = np.isfinite(values)
            if seen.any() and seen.mean() >= _LEAST_SEEN:
                out[:, column] = np.interp(times_s, self.times_s[seen], values[seen])
        return out

    def led_by(self, side: str) -> Repetition:
        """The same with that side called left, and seen accordingly: in a mirror."""
        if side == "left":
            return self
        points = None if self.points is None else mirrored_points(self.points)
        return replace(self, features=swapped(self.features), azimuth_deg=-self.azimuth_deg, points=points)

    def poses(self, samples: Sequence[int]) -> Array | None:
        """(len(samples), 14, 2) the body at some of the common samples: from the mid-hip, in units of its own size; None if unknown."""
        if self.points is None:
            return None
        at = self.sample_times_s()[list(samples)]
        rows = [int(np.abs(self.times_s - t).argmin()) for t in at]
        size = body_size(self.points)
        hips = [BODY_POINTS.index(f"{s}_hip") for s in SIDES]
        return (self.points[rows] - nanmean(self.points[rows][:, hips], 1)[:, None]) / size if size > 0 else None


def body_size(points: Array) -> float:
    """Length of trunk, thigh and shank together, px, where the picture shows each at its longest; 0 = unknown.

    Args:
        points: (t, 14, 2) of `body_points`.
    """

    def longest(a: str, b: str) -> float:
        ends = [points[:, [BODY_POINTS.index(f"{s}_{part}") for s in SIDES]] for part in (a, b)]
        lengths = np.hypot(*np.moveaxis(ends[0] - ends[1], -1, 0))
        known = lengths[np.isfinite(lengths)]
        return float(np.quantile(known, 0.9)) if len(known) else 0.0

    return longest("shoulder", "hip") + longest("hip", "knee") + longest("knee", "ankle")


def nanmean(values: Array, axis: int) -> Array:
    """Mean of what is there; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis) / np.where(known.any(axis), known.sum(axis), np.nan)


def leading_side(repetition: Repetition, profile: ExerciseProfile) -> str:
    """The side that stands first in a reference.

    The front leg of a lunge; the arm that works where one may; else the side nearer to the camera.
    """
    x = repetition.features
    turn = (repetition.times_s >= repetition.reached_s) & (repetition.times_s <= repetition.left_s)
    if profile.name == "lunge" and turn.any():
        # The front hip is bent, the rear one is not; where there is no depth, the front shank stands and the rear one lies.
        for feature, apart, first in (("hip_flexion_3d", 25.0, max), ("shank_lean", 15.0, min)):
            pair = [_mean(x[turn, FORM_FEATURES.index(f"{s}_{feature}")]) for s in SIDES]
            if all(map(math.isfinite, pair)) and abs(pair[0] - pair[1]) > apart:
                return SIDES[pair.index(first(pair))]
    name = next((c.angle for c in profile.cues if f"left_{c.angle}" in FORM_FEATURES), None)
    if profile.sides == "max" and name is not None:
        moved = [_span(x[:, FORM_FEATURES.index(f"{s}_{name}")]) for s in SIDES]
        if min(moved) < _SAME * max(moved):
            return SIDES[int(moved[1] > moved[0])]
    return "right" if repetition.azimuth_deg < 0 else "left"


class RepetitionRecorder:
    """Keeps the recent features of everybody in one stream; hands back the repetitions that events tell of.

    Args:
        profile: What is counted.
        min_confidence: Of keypoints, 0..1.
    """

    def __init__(self, profile: ExerciseProfile, *, min_confidence: float = 0.5) -> None:
        self.profile = profile
        self._min_confidence = min_confidence
        self._rows: dict[int, deque[tuple[float, int, Poses, int]]] = {}
        self._last_s = -math.inf

    def update(self, poses: Poses, events: Iterable[Event], *, timestamp_s: float, frame_index: int) -> list[Repetition]:
        """Take in a frame, and the counter's events of it.

        Frames that are not later than the last are ignored unless they lie far back: then the clock has started anew.
        """
        if timestamp_s < self._last_s - self.profile.max_gap_s:
            found = self.cut(events)
            self._rows.clear()
            self._keep(poses, timestamp_s, frame_index)
            return found
        if timestamp_s > self._last_s:
            self._keep(poses, timestamp_s, frame_index)
        return self.cut(events)

    def _keep(self, poses: Poses, timestamp_s: float, frame_index: int) -> None:
        self._last_s = timestamp_s
        for row, track_id in enumerate(poses.track_ids.tolist()):
            if track_id >= 0:
                self._rows.setdefault(track_id, deque()).append((timestamp_s, frame_index, poses, row))
        for track_id in [t for t, rows in self._rows.items() if rows[-1][0] < timestamp_s - _KEPT_S]:
            del self._rows[track_id]
        for rows in self._rows.values():
            while rows[0][0] < timestamp_s - _KEPT_S:
                rows.popleft()

    def cut(self, events: Iterable[Event]) -> list[Repetition]:
        """What the repetitions of these events looked like; those whose beginning or end was not seen are left out."""
        found = (self._of(e) for e in events if e.type in (EventType.REP_COMPLETED, EventType.REP_PARTIAL))
        return [r for r in found if r is not None]

    def _of(self, event: Event) -> Repetition | None:
        kept = [row for row in self._rows.get(event.track_id, ()) if event.start_s - 1e-9 <= row[0] <= event.end_s + 1e-9]
        if not kept:
            return None
        # Features are worked out now, for all frames of the repetition at once: frame by frame they cost fifty times as much.
        people = Poses.concatenate([poses[row : row + 1] for _, _, poses, row in kept])
        return repetition_of(
            event,
            self.profile,
            times_s=np.array([row[0] for row in kept]),
            frames=np.array([row[1] for row in kept], np.int64),
            features=form_features(people, min_confidence=self._min_confidence),
            directions=facing(people),
            points=body_points(people, min_confidence=self._min_confidence),
        )


def repetition_of(
    event: Event,
    profile: ExerciseProfile,
    *,
    times_s: Array,
    frames: NDArray[np.int64],
    features: Array,
    directions: Array,
    points: Array | None = None,
) -> Repetition | None:
    """The part of a recording that a repetition's event speaks of; None when its beginning or end was not seen.

    Args:
        event: `rep_completed` or `rep_partial`.
        profile: That was counted.
        times_s: (t,) media clock of the recording.
        frames: (t,) indices.
        features: (t, f) of `form_features`.
        directions: (t, 2) of `facing`.
        points: (t, 14, 2) of `body_points`, for drawing.
    """
    phases = (event.data.get("eccentric_s"), event.data.get("concentric_s"))
    out_s, back_s = phases if profile.rest == "top" else phases[::-1]
    kept = (times_s >= event.start_s - 1e-9) & (times_s <= event.end_s + 1e-9)
    if out_s is None or back_s is None or kept.sum() < 4:
        return None
    return Repetition(
        track_id=event.track_id,
        number=int(event.value or 0),
        times_s=times_s[kept],
        frames=frames[kept].astype(np.int64),
        features=features[kept],
        start_s=event.start_s,
        reached_s=event.start_s + float(out_s),
        left_s=event.end_s - float(back_s),
        end_s=event.end_s,
        azimuth_deg=view_azimuth_deg(directions[kept]),
        partial=event.type == EventType.REP_PARTIAL,
        points=None if points is None else points[kept],
    )


def recorded_repetitions(
    poses: Poses, angles: Angles, times_s: Array, frames: NDArray[np.int64], profile: ExerciseProfile
) -> list[Repetition]:
    """Repetitions of one person over a whole recording, counted and cut.

    Args:
        poses: One row per frame, steady already.
        angles: Of those rows.
        times_s: (t,) media clock.
        frames: (t,) indices.
        profile: What to count.
    """
    counter = RepetitionCounter(profile)
    one = np.ones(1, np.int64)
    events = [
        event
        for row, (time_s, index) in enumerate(zip(times_s.tolist(), frames.tolist(), strict=True))
        for event in counter.update(Angles(angles.names, one, angles.value_deg[row : row + 1]), timestamp_s=time_s, frame_index=index)
    ]
    features, directions, points = form_features(poses), facing(poses), body_points(poses)
    told = (e for e in events + counter.flush() if e.type in (EventType.REP_COMPLETED, EventType.REP_PARTIAL))
    cut = (repetition_of(e, profile, times_s=times_s, frames=frames, features=features, directions=directions, points=points) for e in told)
    return [r for r in cut if r is not None]


def _mean(values: Array) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan


def _span(values: Array) -> float:
    return float(np.nanmax(values) - np.nanmin(values)) if np.isfinite(values).any() else 0.0
