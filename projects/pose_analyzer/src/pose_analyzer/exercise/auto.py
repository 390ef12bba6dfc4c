"""Repetitions of whatever somebody does: `AutoCounter` recognises the exercise and counts it, what was done before that included.

Per person
    the readings of the last seconds are kept. As soon as an exercise is likely, a counter of that exercise is fed with them and goes on
    from there unseen (a *trial*). When the exercise is clear and its trial has seen a set begin (`CLEAR_REPS` repetitions of about the
    same duration, `CLEAR_S` in all, `RHYTHM_REPS` fast ones, or a hold), it is told: an `exercise_recognized` event, then everything
    that its trial has counted. From there on events come as from a `RepetitionCounter`.
Another exercise
    takes over when it is clear, the old one is not any more, and its own trial, which begins where the old one counted last, has seen
    repetitions of it. What the old one counted while it was no longer likely is held back until then: it is told if the old one
    goes on after all, and dropped if the new one takes over, as those are the new one's repetitions.
What is none
    Arms that go up and down while the legs walk or dance are no set, however much they look like one: joints that an exercise leaves alone
    (`ExerciseProfile.still`) have to rest while its repetitions are done, as far as the view shows them.
The end
    (of the stream, or of a person) is decided by all that was seen: an exercise that was likely on the whole and was done at least
    once is told then. "unknown" counts nothing.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

import numpy as np

from pose_analyzer.exercise.body import Bodies
from pose_analyzer.exercise.counter import RepetitionCounter, RepState
from pose_analyzer.exercise.network import UNKNOWN, Array, ExerciseModel
from pose_analyzer.exercise.profile import load_profile
from pose_analyzer.exercise.recognizer import KEPT_S, ExerciseRecognizer
from shared_utils.data_models import Angles, Event, EventType, Poses
from shared_utils.errors import ValidationError

PAST_S = KEPT_S
"""Readings that are kept for an exercise to come, seconds."""
CLEAR_REPS = 2
CLEAR_S = 2.5
"""Least repetitions of a set, and the least time that they take in all: two jumps are no set of jumping jacks, two squats are one."""
RHYTHM_REPS = 4
"""So many repetitions that are alike are a set however fast they are."""

# Probability at which a trial begins, at which an exercise is clear, and below which it is over.
_LIKELY, _CLEAR, _OVER = 0.4, 0.75, 0.25
# At the end: mean probability over everything, for several repetitions and for one.
_LIKELY_IN_ALL, _CLEAR_IN_ALL = 0.65, 0.75
# One repetition is enough at the end if it was a slow one that was watched for a while.
_SINGLE_S, _SINGLE_LOOKS = 1.5, 6
# Repetitions of a set differ in duration by less than this factor from its median: of two, one takes at most twice as long.
_STEADY = 1.5
# Joints at rest move by less than this, for all but a tenth of the time at either end; seen for a shorter share they say nothing.
_REST_DEG, _REST_SEEN = 30.0, 0.5
# An exercise that somebody in the stream has just done needs less: people do sets, and cameras are cut.
_HABIT_S = 60.0
_HABIT_BONUS = 0.15
# A person unseen for this long is gone.
_GONE_S = 5.0
_RESTART_S = 1.0
_MOST_TRIALS = 3


class AutoCounter:
    """Counts the repetitions of everybody in one stream, whatever they do.

    Args:
        model: Network of the recogniser; default the one that lies with the references.
        stream_id: Name of the stream in events.

    Raises:
        ExerciseError: There is no model.

    Example:
        >>> from pose_analyzer.biomechanics import joint_angles
        >>> from pose_analyzer.synthetic import scene_for
        >>> from pose_analyzer.synthetic.observed import observed
        >>> counter, events = AutoCounter(stream_id="cam"), []
        >>> for poses, t, i in observed(scene_for("squat", azimuth_deg=60, reps=3, fps=15)):
        ...     events += counter.update(joint_angles(poses, timestamp_s=t), poses, timestamp_s=t, frame_index=i)
        >>> events += counter.flush()
        >>> [e.type.value for e in events], counter.state(1).exercise
        (['exercise_recognized', 'rep_completed', 'rep_completed', 'rep_completed'], 'squat')
    """

    def __init__(self, model: ExerciseModel | None = None, *, stream_id: str = "stream") -> None:
        self.stream_id = stream_id
        self._recognizer = ExerciseRecognizer(model)
        self._people: dict[int, _Athlete] = {}
        self._states: dict[int, RepState] = {}
        self._habit: dict[str, float] = {}
        self._bodies = Bodies()
        self._last_s = -math.inf

    def update(self, angles: Angles, poses: Poses, *, timestamp_s: float, frame_index: int) -> list[Event]:
        """Take in one frame.

        Args:
            angles: One row per track, as for `RepetitionCounter`; rows of track -1 are not counted.
            poses: The same people, tracked and smoothed.
            timestamp_s: Media clock of the frame in seconds. A frame that is not later than the last one is ignored,
                unless it lies a second or more back: then the clock has started anew, and what was under way is ended.
            frame_index: Its index, quoted in events.

        Returns:
            What has just become known, by track. Events may lie some seconds back.

        Raises:
            ValidationError: `timestamp_s` is not finite.
            ExerciseError: An angle that an exercise needs is not measured.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        events: list[Event] = []
        if timestamp_s < self._last_s - _RESTART_S:
            events += self.flush()
        elif timestamp_s <= self._last_s:
            return []
        self._last_s = timestamp_s
        self._recognizer.update(poses, timestamp_s=timestamp_s)
        angles = self._bodies.add_to(angles, poses, timestamp_s=timestamp_s)
        for track_id in [t for t, a in self._people.items() if timestamp_s - a.seen_s > _GONE_S]:
            events += self._leave(track_id)
        for row, track_id in enumerate(angles.track_ids.tolist()):
            if track_id < 0:
                continue
            if track_id not in self._people:
                self._people[track_id] = _Athlete(track_id, self.stream_id, angles.names, self._recognizer)
            events += self._people[track_id].update(angles.value_deg[row], timestamp_s, frame_index, self._habits(timestamp_s))
        self._note(events, timestamp_s)
        return events

    def flush(self) -> list[Event]:
        """End what is under way, as at the end of the stream. Counts stay."""
        # First those who are sure: what they did says what the others may have done.
        order = sorted(self._people, key=lambda t: self._people[t].exercise == UNKNOWN)
        events = [event for track_id in order for event in self._leave(track_id)]
        self._last_s = -math.inf
        return events

    def state(self, track_id: int) -> RepState:
        """Where an athlete is in the exercise that was recognised; without one, at rest with no repetitions of "unknown"."""
        person = self._people.get(track_id)
        return self._states.get(track_id, _NOTHING) if person is None else person.state

    def _leave(self, track_id: int) -> list[Event]:
        person = self._people.pop(track_id)
        events = person.end(self._habits(person.seen_s))
        self._recognizer.forget(track_id)
        self._states[track_id] = person.state
        self._note(events, person.seen_s)
        return events

    def _habits(self, time_s: float) -> frozenset[str]:
        return frozenset(e for e, last_s in self._habit.items() if abs(time_s - last_s) <= _HABIT_S)

    def _note(self, events: list[Event], time_s: float) -> None:
        for event in events:
            self._habit[event.data["exercise"]] = time_s


_NOTHING = RepState("rest", 0, math.nan, 0.0, UNKNOWN)


class _Trial:
    """A counter of one exercise for one person, and what it has told so far."""

    def __init__(self, exercise: str, track_id: int, stream_id: str, names: tuple[str, ...]) -> None:
        self.exercise = exercise
        self.counter = RepetitionCounter(load_profile(exercise), stream_id=stream_id)
        self.told: list[Event] = []
        self._track_id, self._names = track_id, names
        self._one = np.array([track_id], np.int64)

    def feed(self, values_deg: Array, time_s: float, frame: int) -> None:
        angles = Angles(self._names, self._one, values_deg[None])
        self.told += self.counter.update(angles, timestamp_s=time_s, frame_index=frame)

    @property
    def state(self) -> RepState:
        return self.counter.state(self._track_id)

    @property
    def repetitions(self) -> tuple[int, float]:
        """How many of the repetitions in `told` are alike in duration, and how long these took in all.

        One of which the beginning or the end was not seen is alike unless it is longer than the others.
        """
        done = [e for e in self.told if e.type in _DONE]
        whole = [e for e in done if None not in (e.data.get("eccentric_s", 0.0), e.data.get("concentric_s", 0.0))]
        usual = median(e.end_s - e.start_s for e in whole or done) if done else 0.0
        lasting = [(e.end_s - e.start_s, e in whole) for e in done]
        alike = [s for s, is_whole in lasting if s <= usual * _STEADY and (s >= usual / _STEADY or not is_whole)]
        return len(alike), sum(alike)

    @property
    def is_set(self) -> bool:
        """Whether somebody is at it, and did not just move like that once or twice."""
        if self.counter.profile.is_hold:
            return self.state.count >= 1
        number, seconds = self.repetitions
        return number >= RHYTHM_REPS or (number >= CLEAR_REPS and seconds >= CLEAR_S)

    def take(self) -> list[Event]:
        """Events since the last call."""
        told, self.told = self.told, []
        return told


class _Athlete:
    """One person: readings of the last seconds, trials, the exercise that was recognised."""

    def __init__(self, track_id: int, stream_id: str, names: tuple[str, ...], recognizer: ExerciseRecognizer) -> None:
        self.exercise = UNKNOWN
        self.seen_s = -math.inf
        self._track_id, self._stream_id, self._names = track_id, stream_id, names
        self._recognizer = recognizer
        self._past: deque[tuple[float, int, Array]] = deque()
        self._trials: dict[str, _Trial] = {}
        self._current: _Trial | None = None
        self._held_back: list[Event] = []
        self._counted_s = -math.inf  # up to here repetitions have been told
        self._judged = 0

    @property
    def state(self) -> RepState:
        return _NOTHING if self._current is None else self._current.state

    def update(self, values_deg: Array, time_s: float, frame: int, habits: frozenset[str]) -> list[Event]:
        self.seen_s = time_s
        self._past.append((time_s, frame, values_deg))
        while self._past[0][0] < time_s - PAST_S:
            self._past.popleft()
        for trial in self._trials.values():
            trial.feed(values_deg, time_s, frame)
        if self._current is not None:
            self._current.feed(values_deg, time_s, frame)
        judged = self._recognizer.described(self._track_id)
        if judged == self._judged and (self._current is None or not self._current.told):
            return []
        self._judged = judged
        chances = self._recognizer.probabilities(self._track_id)
        return [] if chances is None else self._decide(chances, habits)

    def end(self, habits: frozenset[str]) -> list[Event]:
        """The person is gone: what all that was seen says."""
        events: list[Event] = []
        mean = self._recognizer.mean(self._track_id)
        if self._current is None and mean is not None:
            events += self._decide_in_all(mean, habits)
        if self._current is not None:
            self._current.told += self._current.counter.flush()
            events += self._held_back + self._current.take()
            self._held_back = []
        return events

    # --- decisions --------------------------------------------------------------------------------
    def _decide(self, chances: Array, habits: frozenset[str]) -> list[Event]:
        best = self._recognizer.clear(chances, least=_LIKELY)
        self._try(best)
        events: list[Event] = []
        trial = self._trials.get(best)
        if trial is not None:
            chance = self._recognizer.support(chances, best)
            # A hold is one thing for seconds on end; half a movement by chance is not taken for it.
            least = _CLEAR - (_HABIT_BONUS if best in habits or trial.counter.profile.is_hold else 0.0)
            over = self._current is None or self._recognizer.support(chances, self.exercise) < _OVER
            if chance >= least and trial.is_set and over and self._was_likely(trial) and self._others_rest(trial):
                events += self._take_over(trial, chance)
        return events + self._tell(chances)

    def _was_likely(self, trial: _Trial) -> bool:
        """Whether the exercise was likely, on the whole, while its repetitions were done: not just now, after something else."""
        first_s = min((e.start_s for e in trial.told), default=self.seen_s)
        mean = self._recognizer.since(self._track_id, first_s)
        return mean is not None and self._recognizer.support(mean, trial.exercise) >= _LIKELY

    def _others_rest(self, trial: _Trial) -> bool:
        """Whether the joints that an exercise leaves alone did rest while its repetitions were done, as far as that was seen."""
        angles = trial.counter.profile.still
        first_s = min((e.start_s for e in trial.told if e.type in _DONE), default=self.seen_s)
        rows = [values for time_s, _, values in self._past if time_s >= first_s] if angles else []
        if not rows:
            return True
        columns = {n: np.array([r[i] for r in rows]) for i, n in enumerate(self._names) if n.removesuffix("_deg").endswith(angles)}
        for angle in angles:
            left, right = (columns.get(f"{side}_{angle}_deg", np.zeros(0)) for side in ("left", "right"))
            # Both may bend together to help along; who steps bends one and then the other.
            if any(_ranges(x) >= _REST_DEG for x in ((left - right,) if _is_seen(left - right) else (left, right))):
                return False
        return True

    def _try(self, best: str) -> None:
        """Begin a trial of a likely exercise that has none, with the readings since the last repetition that was told."""
        if best in (UNKNOWN, self.exercise) or best in self._trials:
            return
        if len(self._trials) >= _MOST_TRIALS:
            del self._trials[next(iter(self._trials))]
        trial = _Trial(best, self._track_id, self._stream_id, self._names)
        for time_s, frame, values in self._past:
            if time_s > self._counted_s:
                trial.feed(values, time_s, frame)
        self._trials[best] = trial

    def _take_over(self, trial: _Trial, chance: float) -> list[Event]:
        """A new exercise: close the old one, begin to tell the new one."""
        events: list[Event] = []
        if self._current is not None:
            # What the old one counted since it was likely last belongs to the new one, as far as that saw it, too.
            first_s = min((e.start_s for e in trial.told), default=math.inf)
            events = [e for e in self._held_back if e.end_s <= first_s]
        self._held_back = []
        previous, self.exercise = self.exercise, trial.exercise
        self._current = trial
        self._trials = {}
        return [*events, self._recognized(trial, previous, chance)]

    def _tell(self, chances: Array) -> list[Event]:
        """What the recognised exercise has counted, unless it may be another one's."""
        if self._current is None:
            return []
        self._held_back += self._current.take()
        other = self._recognizer.clear(chances, least=_CLEAR)
        if other not in (UNKNOWN, self.exercise) and self._recognizer.support(chances, self.exercise) < _OVER:
            return []
        events, self._held_back = self._held_back, []
        if any(e.type in _DONE for e in events):
            self._counted_s = max(e.end_s for e in events if e.type in _DONE)
            self._trials = {}
        return events

    def _decide_in_all(self, mean: Array, habits: frozenset[str]) -> list[Event]:
        best = self._recognizer.clear(mean, least=_LIKELY_IN_ALL - _HABIT_BONUS)
        self._try(best)
        trial = self._trials.get(best)
        if trial is None:
            return []
        trial.told += trial.counter.flush()
        chance = self._recognizer.support(mean, best)
        least = (_LIKELY_IN_ALL if trial.is_set else _CLEAR_IN_ALL) - (_HABIT_BONUS if best in habits else 0.0)
        number, seconds = trial.repetitions
        watched = self._recognizer.described(self._track_id) >= _SINGLE_LOOKS
        seen = trial.is_set or (number == 1 and seconds >= _SINGLE_S and watched)
        return self._take_over(trial, chance) if seen and chance >= least and self._others_rest(trial) else []

    def _recognized(self, trial: _Trial, previous: str, chance: float) -> Event:
        name = trial.exercise.replace("_", " ")
        first = min((e.start_s for e in trial.told), default=self.seen_s)
        return Event(
            type=EventType.EXERCISE_RECOGNIZED,
            stream_id=self._stream_id,
            track_id=self._track_id,
            start_s=first,
            end_s=self.seen_s,
            value=round(chance, 3),
            frames=(self._past[-1][1],) if self._past else (),
            message=f"Recognised: {name}",
            data={"exercise": trial.exercise, "previous": previous},
        )


_DONE = (EventType.REP_COMPLETED, EventType.HOLD_COMPLETED)


def _is_seen(values: Array) -> bool:
    return len(values) > 0 and float(np.isfinite(values).mean()) >= _REST_SEEN


def _ranges(values: Array) -> float:
    """Degrees from the tenth to the ninetieth percentile; 0 of what was not seen."""
    if not _is_seen(values):
        return 0.0
    low, high = np.quantile(values[np.isfinite(values)], (0.1, 0.9))
    return float(high - low)
