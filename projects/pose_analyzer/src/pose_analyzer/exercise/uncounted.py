"""Movements that the counter leaves out: too short to be a repetition, yet meant as one.

Somebody who goes down by a third of a squat, or whose knees cave in until they hardly bend, gets no count and must still be told why.
`UncountedMovements` watches the whole posture leave its rest and come back to it, whatever joint moves, and hands over what no
repetition of the counter covers as `rep_partial` events. Whether such a movement is an attempt at the exercise is decided by
`resembles`: the body must change in the direction in which the reference changes it, by a part of the way. A gesture does not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pose_analyzer.exercise.features import SIDES, Array, body_points
from pose_analyzer.exercise.profile import ExerciseProfile
from pose_analyzer.exercise.recording import PHASE_OF_SAMPLE, Repetition, body_size, leading_side
from pose_analyzer.exercise.reference import Reference
from shared_utils.data_models import Event, EventType, Poses

# Shares of the body's size (trunk, thigh and shank together) by which points move.
_STILL, _LEAVES, _LEAST = 0.015, 0.03, 0.04
# Back at rest: this share of the farthest, or less than what is no movement.
_BACK = 0.25
# Within this share of the farthest point somebody is at the turning point.
_AT_TURN = 0.9
# Bodies do not grow; their longest view is looked for now and then.
_SIZED_EVERY = 10
_STEADY_S, _STILL_S, _LEAST_S = 0.1, 0.25, 0.5
# So long the counter may take to tell a repetition that is over.
_WAIT_S = 2.5
_ATTEMPT = (0.12, 0.95)
_LEAST_LIKENESS = 0.6
_PHASES = np.array(PHASE_OF_SAMPLE)
_ENDS = [0, 1, -2, -1]


@dataclass(slots=True)
class _Person:
    """What is known of one person's movement.

    Args:
        size: Of the body, px; 0 = not known yet.
        frames: How often the person was seen.
        recent: (time, posture) of the last moments, for what is still.
        rest: Posture to come back to.
        path: (time, frame, distance from rest) since it was left.
        farthest: The greatest of these distances.
        waiting: Movements that the counter may yet tell.
        told: (start, end) of what the counter told.
    """

    size: float = 0.0
    frames: int = 0
    recent: deque[tuple[float, Array]] = field(default_factory=deque)
    rest: Array | None = None
    path: list[tuple[float, int, float]] = field(default_factory=list)
    farthest: float = 0.0
    waiting: list[Event] = field(default_factory=list)
    told: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=16))
    last_s: float = -math.inf


class UncountedMovements:
    """Departures from rest and returns to it that the counter does not tell of.

    Args:
        profile: What is counted.
        stream_id: Name of the stream in events.

    Example:
        >>> from pose_analyzer.exercise.profile import load_profile
        >>> from shared_utils.skeletons import BLAZEPOSE_33
        >>> watch = UncountedMovements(load_profile("squat"), stream_id="cam")
        >>> watch.update(Poses.empty(BLAZEPOSE_33), [], timestamp_s=0.0, frame_index=0)
        []
    """

    def __init__(self, profile: ExerciseProfile, *, stream_id: str = "stream") -> None:
        self.profile = profile
        self.stream_id = stream_id
        self._people: dict[int, _Person] = {}

    def update(self, poses: Poses, events: Iterable[Event], *, timestamp_s: float, frame_index: int) -> list[Event]:
        """Take in a frame and what the counter told at it.

        Returns:
            `rep_partial` events, in the form of the counter's, of movements that are over and that it did not tell.
        """
        self._note(events)
        for track_id in [t for t, p in self._people.items() if not p.last_s <= timestamp_s <= p.last_s + self.profile.max_gap_s]:
            del self._people[track_id]
        rows = np.flatnonzero(poses.track_ids >= 0)
        if not len(rows):
            return []
        points = body_points(poses)
        for row in rows.tolist():
            track_id = int(poses.track_ids[row])
            found = self._moved(self._people.setdefault(track_id, _Person()), points[row], timestamp_s, frame_index, track_id)
            if found is not None:
                self._people[track_id].waiting.append(found)
        return self._due(timestamp_s - _WAIT_S)

    def flush(self, events: Iterable[Event] = ()) -> list[Event]:
        """End of the stream: what is left, given what the counter's own flush told."""
        self._note(events)
        return self._due(math.inf)

    def _note(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.type in (EventType.REP_COMPLETED, EventType.REP_PARTIAL) and event.track_id in self._people:
                self._people[event.track_id].told.append((event.start_s, event.end_s))

    def _due(self, until_s: float) -> list[Event]:
        """Movements that ended before a time and that the counter has left out."""
        out: list[Event] = []
        for person in self._people.values():
            ended = [e for e in person.waiting if e.end_s <= until_s]
            person.waiting = [e for e in person.waiting if e.end_s > until_s]
            out += [e for e in ended if not any(e.start_s < end and e.end_s > start for start, end in person.told)]
        return out

    def _moved(self, person: _Person, points: Array, now: float, frame: int, track_id: int) -> Event | None:
        """One person's next posture; the movement that it ends."""
        person.last_s = now
        person.frames += 1
        if person.size <= 0 or person.frames % _SIZED_EVERY == 0:
            person.size = max(person.size, body_size(points[None]))
        if person.size <= 0 or not np.isfinite(points).any():
            return None
        posture = (points - np.nanmean(points, axis=0)) / person.size
        if person.recent:  # noise is no movement
            before_s, before = person.recent[-1]
            mixed = before + (posture - before) * -math.expm1((before_s - now) / _STEADY_S)
            posture = np.where(np.isfinite(mixed), mixed, np.where(np.isfinite(posture), posture, before))
        person.recent.append((now, posture))
        while person.recent[0][0] < now - _STILL_S - 0.05:
            person.recent.popleft()
        is_still = now - person.recent[0][0] >= _STILL_S and all(
            _apart(posture, person.recent[i][1]) < _STILL for i in (0, len(person.recent) // 2)
        )
        if person.rest is None:
            person.rest = posture if is_still else None
            return None
        away = _apart(posture, person.rest)
        farthest = person.farthest
        person.path.append((now, frame, away))
        person.farthest = max(farthest, away)
        if farthest < _LEAVES and away < _LEAVES:
            # Not gone yet: people shift about, and rest moves with them.
            person.path, person.farthest = person.path[-1:], away
            person.rest = posture if is_still else person.rest
            return None
        is_back = away < max(_BACK * farthest, _STILL)
        if is_still and not is_back and now - person.path[0][0] > self.profile.max_duration_s:
            person.rest, person.path, person.farthest = posture, [], 0.0  # a new place
        elif is_back:
            path, person.path, person.farthest = person.path, [], 0.0
            return self._event(path, track_id) if farthest >= _LEAST and path[-1][0] - path[0][0] >= _LEAST_S else None
        return None

    def _event(self, path: list[tuple[float, int, float]], track_id: int) -> Event:
        times, frames = [t for t, _, _ in path], [f for _, f, _ in path]
        away = np.array([d for _, _, d in path])
        top = np.flatnonzero(away >= _AT_TURN * away.max())
        out_s, back_s = times[top[0]] - times[0], times[-1] - times[top[-1]]
        lowering, lifting = (out_s, back_s) if self.profile.rest == "top" else (back_s, out_s)
        peak = int(away.argmax())
        return Event(
            type=EventType.REP_PARTIAL,
            stream_id=self.stream_id,
            track_id=track_id,
            start_s=times[0],
            end_s=times[-1],
            frames=(frames[0], frames[peak], frames[-1]),
            message=f"Not counted: a movement of {times[-1] - times[0]:.1f} s",
            data={
                "exercise": self.profile.name,
                "eccentric_s": round(lowering, 6),
                "concentric_s": round(lifting, 6),
                "pause_s": round(times[top[-1]] - times[top[0]], 6),
                "peak_time_s": times[peak],
                "uncounted": True,
            },
        )


def resembles(repetition: Repetition, reference: Reference, profile: ExerciseProfile) -> float | None:
    """The share of the way that an attempt at the exercise goes, or None where a movement is none.

    Args:
        repetition: The movement.
        reference: How the exercise goes.
        profile: For the leading side.
    """
    turned = repetition.led_by(leading_side(repetition, profile))
    view = reference.view(turned.azimuth_deg)
    if view is None:
        return None
    curves = turned.curves()[:, view.columns]
    seen = np.isfinite(curves).all(0)
    if not seen.any():
        return None
    weight = 1.0 / view.phase_spread["turn"][seen]
    own, wanted = (_change(c) * weight for c in (curves[:, seen], view.mean_at(turned.azimuth_deg)[:, seen]))
    length = float(np.linalg.norm(own) * np.linalg.norm(wanted))
    if not length or float(own @ wanted) < _LEAST_LIKENESS * length:
        return None
    share = float(own @ wanted) / float(wanted @ wanted)
    return share if _ATTEMPT[0] <= share <= _ATTEMPT[1] else None


def _change(curves: Array) -> Array:
    """(d,) degrees from rest to the turning point."""
    return curves[_PHASES == "turn"].mean(0) - curves[_ENDS].mean(0)


def _apart(a: Array, b: Array) -> float:
    """How far postures lie apart: of the point of each side that moved farthest, the nearer one where both are seen.

    One point that leaps is no movement; of a limb that moves, two points or two sides do.
    """
    off = a - b
    moved = off[:, 0] ** 2 + off[:, 1] ** 2
    known = moved[moved == moved]  # not NaN
    return math.sqrt(np.partition(known, -len(SIDES))[-len(SIDES)]) if len(known) >= len(SIDES) else 0.0
