"""Angles in, repetitions and holds out: `RepetitionCounter` keeps one state per track and tells events.

What counts
    A repetition counts once its lift (the concentric part) has been seen from its low end to its high end: a
    squat or push-up when the athlete is up again, a curl or sit-up when the top is reached. So a recording that
    begins at the bottom of a push-up counts the first press, and one that ends with the weights up counts the
    last curl. `state(track).count` rises at that moment. The event comes then, too, for exercises that
    count at the return; for those that count at the turn it follows when the way back is over, as
    it tells how long that took.
What does not
    Less than `FULL` (60 %) of the athlete's own range is `rep_partial` (for the first one: of the profile's range, unless
    the next is no longer, in which case both count); a repetition that the end of the recording, a gap or
    the time limit cut off is `rep_abandoned`; less than the profile's least range is nothing at all.
Where
    Some exercises are done in a position (`ExerciseProfile.where`): a push-up with the trunk about level, a pull-up with the hands above
    the shoulders. Somebody who is seen out of it gets ready, rests or leaves: nothing counts, and what was under way is over.
Missing readings
    pause everything. After `max_gap_s` the repetition under way is ended and the athlete's range forgotten, as a
    new camera position may follow; the count stays.
Another camera
    within a recording (`cuts`) does the same at once: what was under way is told as if the recording ended, and the new view begins like
    a recording, anywhere. A zoom is no other view, and a hold goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.exercise.body import Bodies
from pose_analyzer.exercise.cuts import ViewWatch
from pose_analyzer.exercise.extreme import Sample
from pose_analyzer.exercise.hold import Held, HoldTimer
from pose_analyzer.exercise.machine import Excursion, RangeMachine
from pose_analyzer.exercise.place import Heights, Whereabouts
from pose_analyzer.exercise.profile import ExerciseProfile
from pose_analyzer.exercise.signal import CueSignal, MedianWindow, Reading
from shared_utils.data_models import Angles, Event, EventType, Poses
from shared_utils.errors import ValidationError

# A detector that has just found somebody, for example in a fade, is still guessing.
_WARM_UP_S = 0.2


@dataclass(frozen=True, slots=True)
class RepState:
    """Where one athlete is now.

    Args:
        phase: `top`, `down` (eccentric), `bottom`, `up` (concentric) for repetitions; `hold` or `rest` for holds.
        count: Repetitions, or holds, so far; the one under way is included as soon as it counts.
        signal_deg: The first cue's angle, mean of what is seen of it, degrees; NaN = no reading.
        progress: Way from rest to the turning point, 0..1; for a hold the share of the least duration.
        exercise: What is counted; "unknown" before an `AutoCounter` has recognised it.
    """

    phase: str
    count: int
    signal_deg: float
    progress: float
    exercise: str = ""


class RepetitionCounter:
    """Counts the repetitions of everybody in one stream.

    Args:
        profile: What to count.
        stream_id: Name of the stream in events.

    Example:
        >>> from pose_analyzer.exercise import load_profile
        >>> counter = RepetitionCounter(load_profile("squat"), stream_id="cam")
        >>> names = ("left_knee_flexion_deg", "left_leg_fold_deg", "left_hip_flexion_deg")
        >>> for i in range(90):  # three seconds at 30 frames/s: down and up once a second
        ...     knee = 50 - 50 * math.cos(2 * math.pi * i / 30)
        ...     angles = Angles(names, np.array([1]), np.full((1, 3), knee))
        ...     _ = counter.update(angles, timestamp_s=i / 30, frame_index=i)
        >>> [event.message for event in counter.flush()], counter.state(1).count
        (['Repetition 3 in 0.8 s, range 99°'], 3)
    """

    def __init__(self, profile: ExerciseProfile, *, stream_id: str = "stream") -> None:
        self.profile = profile
        self.stream_id = stream_id
        self._tracks: dict[int, _Repetitions | _Holds] = {}
        self._counts: dict[int, int] = {}
        self._last_s = -math.inf
        self._bodies = Bodies()
        self._watches: dict[int, ViewWatch] = {}

    def update(self, angles: Angles, poses: Poses | None = None, *, timestamp_s: float, frame_index: int) -> list[Event]:
        """Take in the angles of one frame.

        Args:
            angles: One row per track; rows of track -1 are not counted.
            poses: The same people. With them an exercise whose joints are out of the picture is counted by how the body sinks, where
                its profile says how far it does, and more changes of the camera are noticed.
            timestamp_s: Media clock of the frame in seconds. A frame that is not later than the last one is ignored,
                unless it lies more than `max_gap_s` back: then the clock has started anew, and so does everything
                but the counts.
            frame_index: Its index, quoted in events.

        Returns:
            What has just ended, by track in the order of their appearance.

        Raises:
            ValidationError: `timestamp_s` is not finite.
            ExerciseError: A cue of the profile is not among the angles.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        events: list[Event] = []
        if timestamp_s < self._last_s - self.profile.max_gap_s:
            events += self.flush()
        elif timestamp_s <= self._last_s:
            return []
        self._last_s = timestamp_s
        if poses is not None:
            angles = self._bodies.add_to(angles, poses, timestamp_s=timestamp_s)
        rows = {int(t): i for i, t in enumerate(angles.track_ids) if t >= 0}
        for track_id in list(self._tracks):
            if self._tracks[track_id].gap_s(timestamp_s) > self.profile.max_gap_s:
                events += self._end(track_id)
            elif track_id not in rows:
                self._tracks[track_id].miss()
        for track_id, row in rows.items():
            view = "same" if self.profile.is_hold else self._watch(track_id, angles.names).look(angles.value_deg[row], timestamp_s)
            if view != "same" and track_id in self._tracks:
                if view == "suspect":
                    self._tracks[track_id].miss()
                    continue
                events += self._end(track_id)
            if track_id not in self._tracks:
                kind = _Holds if self.profile.is_hold else _Repetitions
                self._tracks[track_id] = kind(self.profile, angles.names, self.stream_id, track_id, self._counts.get(track_id, 0))
            events += self._tracks[track_id].update(angles.value_deg[row], timestamp_s, frame_index)
        return events

    def _watch(self, track_id: int, names: tuple[str, ...]) -> ViewWatch:
        if track_id not in self._watches:
            self._watches[track_id] = ViewWatch(names)
        return self._watches[track_id]

    def flush(self) -> list[Event]:
        """End what is under way, as at the end of the stream. Counts stay."""
        events = [event for track_id in list(self._tracks) for event in self._end(track_id)]
        self._last_s = -math.inf
        return events

    def state(self, track_id: int) -> RepState:
        """Where an athlete is; one who is not (or no longer) followed is at rest with the count so far."""
        track = self._tracks.get(track_id)
        if track is None:
            phase = "rest" if self.profile.is_hold else self.profile.phases["rest"]
            return RepState(phase, self._counts.get(track_id, 0), math.nan, 0.0, self.profile.name)
        return track.state

    def _end(self, track_id: int) -> list[Event]:
        track = self._tracks.pop(track_id)
        events = track.flush()
        self._watches.pop(track_id, None)
        self._counts[track_id] = track.state.count
        return events


class _Repetitions:
    """One athlete's repetitions: signal, spike removal, state machine, events."""

    def __init__(self, profile: ExerciseProfile, names: tuple[str, ...], stream_id: str, track_id: int, count: int) -> None:
        self._profile = profile
        self._stream_id, self._track_id = stream_id, track_id
        self._signal = CueSignal(profile.cues, profile.sides, names, sinks_pct=profile.sinks_pct)
        self._window = MedianWindow()
        self._whereabouts = Whereabouts(profile.where, names)
        self._heights = Heights(profile.sinks_pct, names)
        self._enters = False
        self._machine = RangeMachine(
            counts_at=profile.counts_at,
            min_range=profile.min_range_deg / profile.nominal_range_deg,
            min_phase_s=profile.min_phase_s,
            min_duration_s=profile.min_duration_s,
            max_duration_s=profile.max_duration_s,
            is_lift=lambda low, high: self._heights.lifted(low.time_s, high.time_s),
        )
        self._counted_before = self._told = count
        self._span = _Span()
        self._tentative: tuple[Excursion, _Span] | None = None
        self._reading: Reading | None = None
        self._found_s, self._seen_s = math.inf, -math.inf

    @property
    def state(self) -> RepState:
        degrees = math.nan if self._reading is None else self._reading.degrees
        phase = self._profile.phases[self._machine.phase]
        return RepState(phase, self._counted_before + self._machine.count, degrees, self._machine.progress, self._profile.name)

    def gap_s(self, timestamp_s: float) -> float:
        return timestamp_s - self._seen_s if math.isfinite(self._seen_s) else 0.0

    def update(self, values_deg: NDArray[np.float64], time_s: float, frame: int) -> list[Event]:
        self._reading = self._signal.read(values_deg, time_s=time_s, frame=frame)
        if self._reading is None:
            self.miss()
            return []
        self._seen_s = time_s
        self._found_s = min(self._found_s, time_s)
        if time_s - self._found_s < _WARM_UP_S:
            return []
        self._heights.note(values_deg, time_s)
        there = self._whereabouts.look(values_deg, time_s=time_s, frame=frame)
        if there != "there":
            return self._leave() if there == "left" else []
        middle = self._window.update(self._reading)
        return [] if middle is None else self._feed(middle)

    def miss(self) -> None:
        """A frame without a reading: nothing moves."""
        self._reading = None
        self._span.missed += 1

    def flush(self) -> list[Event]:
        events = [event for middle in self._window.drain() for event in self._feed(middle)]
        return events + self._told_of(self._machine.flush())

    def _leave(self) -> list[Event]:
        """Out of the position: what was under way is no repetition."""
        events = self._told_of(self._machine.leave())
        self._window, self._span, self._enters = MedianWindow(), _Span(), True
        return events

    def _feed(self, reading: Reading) -> list[Event]:
        sample = Sample(reading.time_s, reading.frame, reading.level)
        if self._enters:
            self._machine.enter(sample)
            self._enters = False
        excursions = self._machine.update(sample)
        self._span.add(reading)
        events = self._told_of(excursions)
        if excursions or self._machine.at_rest:
            self._span = _Span()
            self._span.add(reading)
        return events

    def _told_of(self, excursions: list[Excursion]) -> list[Event]:
        events: list[Event] = []
        for e in excursions:
            if e.outcome == "tentative":
                self._tentative = e, self._span
            elif self._tentative is not None and e.turn is self._tentative[0].turn:
                events.append(self._event(e, self._tentative[1]))
            else:
                events.append(self._event(e, self._span))
        return events

    def _event(self, e: Excursion, span: _Span) -> Event:
        first, last = e.start or e.reached, e.last
        out_s = None if e.start is None else round(e.reached.time_s - e.start.time_s, 6)
        back_s = None if e.end is None else round(e.end.time_s - e.left.time_s, 6)
        eccentric_s, concentric_s = (out_s, back_s) if self._profile.rest == "top" else (back_s, out_s)
        data = {
            "exercise": self._profile.name,
            "range_deg": span.range_deg,
            "min_deg": _rounded(span.low_deg),
            "max_deg": _rounded(span.high_deg),
            "eccentric_s": eccentric_s,
            "concentric_s": concentric_s,
            "pause_s": round(e.left.time_s - e.reached.time_s, 6),
            "peak_time_s": e.turn.time_s,
            "side": span.side,
            "confidence": round(span.confidence, 3),
        }
        duration_s, range_deg = last.time_s - first.time_s, span.range_deg
        reach = "" if range_deg is None else f", range {range_deg:.0f}°"
        value: float | None = None
        if e.outcome == "completed":
            self._told += 1
            value = float(self._told)
            kind, text = EventType.REP_COMPLETED, f"Repetition {self._told} in {duration_s:.1f} s{reach}"
        elif e.outcome == "partial":
            kind, text = EventType.REP_PARTIAL, f"Partial repetition in {duration_s:.1f} s{reach.replace('range', 'range only')}"
        else:
            kind, text = EventType.REP_ABANDONED, f"Repetition abandoned after {duration_s:.1f} s"
        return Event(
            type=kind,
            stream_id=self._stream_id,
            track_id=self._track_id,
            start_s=first.time_s,
            end_s=last.time_s,
            value=value,
            frames=(first.frame, e.turn.frame, last.frame),
            message=text,
            data=data,
        )


class _Holds:
    """One athlete's holds: timer and events."""

    def __init__(self, profile: ExerciseProfile, names: tuple[str, ...], stream_id: str, track_id: int, count: int) -> None:
        self._profile = profile
        self._stream_id, self._track_id = stream_id, track_id
        self._timer = HoldTimer(profile, names)
        self._told = count
        self._seen_s = -math.inf

    @property
    def state(self) -> RepState:
        held_s, least_s = self._timer.held_s, self._profile.min_duration_s
        counts = held_s >= least_s and held_s > 0
        progress = 1.0 if counts else held_s / max(least_s, 1e-9)
        return RepState("hold" if held_s > 0 else "rest", self._told + counts, self._timer.degrees, progress, self._profile.name)

    def gap_s(self, timestamp_s: float) -> float:
        return timestamp_s - self._seen_s if math.isfinite(self._seen_s) else 0.0

    def miss(self) -> None:
        """A frame without a reading interrupts a hold only when it is followed by too many more."""

    def update(self, values_deg: NDArray[np.float64], time_s: float, frame: int) -> list[Event]:
        reading, held = self._timer.update(values_deg, time_s=time_s, frame=frame)
        if reading is not None:
            self._seen_s = time_s
        return [self._event(h) for h in held]

    def flush(self) -> list[Event]:
        return [self._event(h) for h in self._timer.flush()]

    def _event(self, held: Held) -> Event:
        self._told += 1
        duration_s = round(held.last.time_s - held.start.time_s, 6)
        return Event(
            type=EventType.HOLD_COMPLETED,
            stream_id=self._stream_id,
            track_id=self._track_id,
            start_s=held.start.time_s,
            end_s=held.last.time_s,
            value=duration_s,
            unit="s",
            frames=(held.start.frame, held.last.frame),
            message=f"Hold {self._told} of {duration_s:.1f} s",
            data={"exercise": self._profile.name, "ordinal": self._told},
        )


class _Span:
    """What was seen since the last rest."""

    __slots__ = ("_left", "_right", "high_deg", "low_deg", "missed", "seen")

    def __init__(self) -> None:
        self.low_deg, self.high_deg = math.inf, -math.inf
        self.seen = self.missed = 0
        self._left = [math.inf, -math.inf]
        self._right = [math.inf, -math.inf]

    def add(self, reading: Reading) -> None:
        self.seen += 1
        if not math.isnan(reading.degrees):
            self.low_deg, self.high_deg = min(self.low_deg, reading.degrees), max(self.high_deg, reading.degrees)
        for bounds, level in ((self._left, reading.left), (self._right, reading.right)):
            if not math.isnan(level):
                bounds[:] = min(bounds[0], level), max(bounds[1], level)

    @property
    def range_deg(self) -> float | None:
        """How far the first cue's angle moved; None if it was not seen."""
        return _rounded(self.high_deg - self.low_deg)

    @property
    def confidence(self) -> float:
        """Share of the frames with a reading, 0..1."""
        return self.seen / max(self.seen + self.missed, 1)

    @property
    def side(self) -> str:
        """The side that did (or showed) it: "both" unless one moved less than half as far as the other."""
        left, right = self._left[1] - self._left[0], self._right[1] - self._right[0]
        if min(left, right) >= 0.5 * max(left, right):
            return "both"
        return "left" if left > right else "right"


def _rounded(degrees: float) -> float | None:
    return round(degrees, 3) if math.isfinite(degrees) else None
