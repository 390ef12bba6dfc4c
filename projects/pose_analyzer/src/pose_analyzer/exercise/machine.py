"""The repetition state machine: one signal of one person in, repetitions out.

The signal is a level, about 0 at rest and 1 at the turning point of an ordinary repetition. What decides a
repetition is one leg of it, the lift, and the machine turns the signal so that this leg is a rise:

    counts at the turn    (curl)    rest -- rise --> turning point, counted; then back to rest
    counts at the return  (squat)   rest -- out --> turning point -- rise --> rest, counted

- A rise that covers `FULL` of the athlete's range T and has settled is a repetition. A rise that turned
  round or settled before that, but covered the least range, is partial.
- Before the next rise can count, the signal must come back by `REARM` of T (hysteresis).
- T is learned: at first the longer of two ranges, at most a little more than the profile's own (1), then the
  median of the last five. So three short repetitions in a row become the new measure, and one long
  movement, such as kneeling down, does not. A first rise that covers the profile's least range, but less
  than `FULL` of the profile's own, is tentative: it counts if the next is alike (or none comes), and is partial if
  the next shows that the athlete can do more.
- A recording may begin anywhere: a rise that is seen from its low end to its high end counts.

Only past samples and their times matter: the same samples give the same repetitions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, NamedTuple

from pose_analyzer.exercise.extreme import Extreme, Sample

# Shares of the athlete's range T. FULL lies above one half, so that half a repetition is not a whole one, and
# low enough for a tired set that loses a third of its depth.
FULL = 0.55
PARTIAL = 0.3
REARM = 0.33
# Closer to an extreme than this share is "at" it: phases begin and end there.
NEAR = 0.1
# The longest T that one or two movements can set.
LONGEST = 1.2
# At the end of a recording a rise that has not settled counts from this share on.
COMPLETE = 0.8
SETTLE_S = 0.1
STUCK_S = 0.5
# Whoever stands still for this long has found a new rest, however they stand.
STILL_S = 1.0

Phase = Literal["rest", "out", "turn", "back"]
Outcome = Literal["completed", "partial", "abandoned", "tentative"]


@dataclass(frozen=True, slots=True)
class Excursion:
    """One departure from rest and what became of it.

    Args:
        outcome: What became of it; "tentative" comes again as completed or partial, with the same turn.
        start: Last sample at rest; None when it was not seen.
        reached: First sample at the turning point.
        turn: The turning point, or the farthest sample.
        left: Last sample at the turning point.
        end: First sample back at rest; None when it was not seen.
        last: Last sample that belongs to it.
    """

    outcome: Outcome
    start: Sample | None
    reached: Sample
    turn: Sample
    left: Sample
    end: Sample | None
    last: Sample


class RangeMachine:
    """Finds the repetitions in one signal. See the module for the rules.

    Args:
        counts_at: Which leg is the lift.
        min_range: Least range of a repetition, in levels.
        min_phase_s: A rise that takes less than this from near its low end to near its high end is no movement, seconds.
        min_duration_s: A repetition shorter than this is a glitch and is dropped, seconds.
        max_duration_s: A repetition longer than this is abandoned, seconds.
        is_lift: Whether the body did lift something between two samples, the low and the high end of a rise; default: it always did.

    Example:
        >>> import math
        >>> machine = RangeMachine(counts_at="return", min_range=0.4, min_phase_s=0.2, min_duration_s=0.5, max_duration_s=10)
        >>> levels = [0.5 - 0.5 * math.cos(math.pi * i / 15) for i in range(76)]  # there and back in a second, two and a half times
        >>> found = [e for i, level in enumerate(levels) for e in machine.update(Sample(i / 30, i, level))]
        >>> [(e.outcome, e.turn.frame) for e in found + machine.flush()]
        [('completed', 15), ('completed', 45), ('abandoned', 75)]
    """

    def __init__(
        self,
        *,
        counts_at: Literal["turn", "return"],
        min_range: float,
        min_phase_s: float,
        min_duration_s: float,
        max_duration_s: float,
        is_lift: Callable[[Sample, Sample], bool] = lambda low, high: True,
    ) -> None:
        self.count = 0
        self._at_turn = counts_at == "turn"
        self._sign = 1 if self._at_turn else -1
        self._min_range = min_range
        self._min_phase_s = min_phase_s
        self._min_duration_s = min_duration_s
        self._max_duration_s = max_duration_s
        self._is_lift = is_lift
        self._ranges: deque[float] = deque(maxlen=5)
        self._tentative: Excursion | None = None
        self._tentative_range = 0.0
        self._legs: _Legs | None = None

    # --- what the machine knows -------------------------------------------------------------------
    @property
    def range(self) -> float:
        """The athlete's range T as far as it is known, in levels."""
        least, seen = self._min_range / FULL, self._ranges
        if not seen:
            return least
        return max(min(max(seen), LONGEST) if len(seen) < 3 else median(seen), least)

    @property
    def phase(self) -> Phase:
        """Where the movement is: at rest, on its way out, at its turning point, on its way back."""
        legs = self._legs
        if legs is None:
            return "rest"
        near, small = NEAR * self.range, 0.5 * PARTIAL * self.range
        if legs.lifted:
            if self._at_turn:
                return "turn" if legs.high.distance(legs.now) <= near else "back"
            return "rest" if legs.high.distance(legs.now) <= small else "out"
        away = legs.low.distance(legs.now)
        if self._at_turn:
            if legs.pending is not None:
                return "back"
            return "rest" if away <= small else "out"
        if legs.rest_open and legs.rest.distance(legs.now) <= small:
            return "rest"
        if not legs.low.settled(legs.now, near=near, settle_s=SETTLE_S):
            return "out"
        return "turn" if away <= near else "back"

    @property
    def progress(self) -> float:
        """How far from rest to the turning point, 0..1, measured by the athlete's range."""
        legs = self._legs
        if legs is None:
            return 0.0
        if self._at_turn:
            away = self.range - legs.high.distance(legs.now) if legs.lifted else legs.low.distance(legs.now)
        else:
            away = (legs.high if legs.lifted else legs.rest).distance(legs.now)
        return min(max(away / self.range, 0.0), 1.0)

    @property
    def at_rest(self) -> bool:
        """Whether the last sample may still be the start of the next excursion."""
        legs = self._legs
        if legs is None:
            return True
        if self._at_turn:
            return not legs.lifted and legs.pending is None and legs.low.last_near is legs.now
        return (legs.lifted and legs.high.last_near is legs.now) or (legs.rest_open and legs.rest.last_near is legs.now)

    # --- feeding ----------------------------------------------------------------------------------
    def update(self, sample: Sample) -> list[Excursion]:
        """Take in the next sample and tell which excursions it ends."""
        if self._legs is None:
            self._legs = _Legs(self._sign, sample)
            return []
        legs = self._legs
        legs.now = sample
        still = legs.stands_still(sample, within=0.5 * NEAR * self.range)
        return self._above(legs, sample, still) if legs.lifted else self._below(legs, sample, still)

    def flush(self) -> list[Excursion]:
        """End what is under way, as at the end of a recording or when a person is lost; T is forgotten."""
        found = [] if self._legs is None else self._ended(self._legs)
        found += self._resolved(0.0)
        self._legs = None
        self._ranges.clear()
        return found

    def leave(self) -> list[Excursion]:
        """End what is under way, as what follows is no part of the exercise; T is kept."""
        legs, self._legs = self._legs, None
        if legs is None:
            return self._resolved(0.0)
        if legs.pending is not None and legs.high.distance(legs.now) < REARM * self.range:
            # It was no turning point, but the first part of getting up.
            self.count -= not legs.pending.tentative
            self._ranges.pop()
            return self._resolved(0.0)
        return self._told(legs) + self._resolved(0.0)

    def enter(self, sample: Sample) -> None:
        """Begin with somebody who has just got into the position: what looks like the way back from a turn is getting ready."""
        self._legs = _Legs(self._sign, sample)
        if not self._at_turn:
            self._legs.lift()

    # --- the two states ---------------------------------------------------------------------------
    def _above(self, legs: _Legs, sample: Sample, still: bool) -> list[Excursion]:
        """After a lift: wait until the signal has come back far enough for the next."""
        near = NEAR * self.range
        if still and not self._at_turn:
            legs.high = Extreme(self._sign, sample)
        if legs.high.update(sample, near=near) or legs.high.best is sample:
            legs.low = Extreme(-self._sign, sample)
        else:
            legs.low.update(sample, near=near)
        if legs.high.distance(legs.low.best) >= REARM * self.range:
            if legs.counted_from is not None and self._ranges:
                # The lift went on rising after it had counted.
                self._ranges[-1] = max(self._ranges[-1], legs.high.distance(legs.counted_from))
            legs.lower(sample)
        return []

    def _below(self, legs: _Legs, sample: Sample, still: bool) -> list[Excursion]:
        """Before a lift: follow the low end, then the rise from it."""
        reach = self.range
        if legs.rest_open:
            # How far the signal came down from where the recording began decides whether that was a rest.
            if still:
                legs.rest = Extreme(self._sign, sample)
            if legs.rest.distance(sample) < REARM * reach:
                legs.rest.update(sample, near=NEAR * reach)
            else:
                legs.rest_open = False
        if legs.low.update(sample, near=NEAR * reach):
            legs.high = Extreme(self._sign, sample)
        rise = legs.high.distance(legs.low.best)
        near = NEAR * max(reach, rise)
        legs.high.update(sample, near=near)
        rise = legs.high.distance(legs.low.best)
        found = self._returned(legs, sample)
        settled = self._settled(legs, rise)
        if rise >= max(self._min_range, FULL * reach):
            if settled:
                found += self._lifted(legs, rise)
            return found
        partial = rise >= max(self._min_range, PARTIAL * reach)
        if partial and legs.high.distance(sample) >= 0.5 * rise:
            found += self._partial(legs, rise)
            legs.low = Extreme(-self._sign, sample)
            legs.lower(sample)
        elif not self._at_turn and not legs.rest_open and settled and (still or legs.rest.distance(legs.high.best) <= near):
            if partial:
                found += self._partial(legs, rise)
            if partial or legs.rest.distance(legs.high.best) <= near:
                legs.lift()
        elif self._at_turn and still and rise < PARTIAL * reach:
            legs.low, legs.high = Extreme(-self._sign, sample), Extreme(self._sign, sample)
        return found

    # --- decisions --------------------------------------------------------------------------------
    def _lifted(self, legs: _Legs, rise: float) -> list[Excursion]:
        """A lift is over: count it, unless it was too short or too long, or none."""
        if not self._is_lift(legs.low.best, legs.high.best):
            if self._at_turn:
                legs.low, legs.high = Extreme(-self._sign, legs.now), Extreme(self._sign, legs.now)
            else:
                legs.lift()
            return []
        found = self._resolved(rise)
        if rise < FULL * self.range:  # the one before it showed that this is not all
            found += self._partial(legs, rise)
            legs.lift()
            return found
        done = self._excursion(legs, "completed")
        high = legs.high
        glitch, slow = high.first_near.time_s - legs.low.last_near.time_s < self._min_phase_s, False
        if glitch and self._at_turn:
            # Landmarks have leapt, the body has not moved; what goes on from here may be the lift.
            legs.low, legs.high = Extreme(-self._sign, legs.now), Extreme(self._sign, legs.now)
            return found
        if self._at_turn:
            glitch = done.turn.time_s - legs.last_turn_s < self._min_duration_s
            slow = done.start is not None and done.turn.time_s - done.start.time_s > self._max_duration_s
            legs.last_turn_s = done.turn.time_s
        elif done.start is not None:
            duration_s = done.last.time_s - done.start.time_s
            glitch |= duration_s < self._min_duration_s
            slow = duration_s > self._max_duration_s
        low = legs.low.best
        legs.lift()
        if glitch:
            return found
        if slow:
            return [*found, replace(done, outcome="abandoned")]
        tentative = not self._ranges and rise < FULL
        self._ranges.append(rise)
        legs.counted_from = low
        self.count += not tentative
        if self._at_turn:
            legs.pending = _Pending(done.start, high, tentative)
            return found
        return [*found, *self._noted(done, tentative)]

    def _partial(self, legs: _Legs, rise: float) -> list[Excursion]:
        """A rise that was not enough."""
        found = self._resolved(rise)
        self._ranges.append(rise)
        return [*found, self._excursion(legs, "partial")]

    def _noted(self, done: Excursion, tentative: bool) -> list[Excursion]:
        if tentative:
            self._tentative = done = replace(done, outcome="tentative")
            self._tentative_range = self._ranges[-1]
        return [done]

    def _resolved(self, rise: float) -> list[Excursion]:
        """What became of a tentative repetition, now that the next rise is known (0 = none came)."""
        waiting, self._tentative = self._tentative, None
        if waiting is None:
            return []
        if self._tentative_range < FULL * rise:
            self._ranges.clear()
            return [replace(waiting, outcome="partial")]
        self.count += 1
        return [replace(waiting, outcome="completed")]

    def _settled(self, legs: _Legs, rise: float) -> bool:
        """Whether the rise is over. A short one may be a sticking point, so it must rest longer or turn back farther."""
        ordinary = max(self.range, 1.0)
        if rise >= FULL * ordinary:
            return legs.high.settled(legs.now, near=NEAR * ordinary, settle_s=SETTLE_S)
        return legs.high.settled(legs.now, near=max(NEAR * ordinary, 0.25 * rise), settle_s=STUCK_S)

    def _returned(self, legs: _Legs, sample: Sample) -> list[Excursion]:
        """A repetition that counted at its turning point is told once the way back is over."""
        return self._told(legs) if legs.low.settled(sample, near=NEAR * self.range, settle_s=SETTLE_S) else []

    def _told(self, legs: _Legs) -> list[Excursion]:
        """The repetition that counted at its turning point and was not told yet, if there is one."""
        if legs.pending is None:
            return []
        (start, high, tentative), legs.pending = legs.pending, None
        end = None if legs.lifted else legs.low.first_near
        done = Excursion("completed", start, high.first_near, high.best, high.last_near, end, end or legs.now)
        return self._noted(done, tentative)

    def _excursion(self, legs: _Legs, outcome: Outcome) -> Excursion:
        """The excursion that the current low and high make."""
        if self._at_turn:
            turn, start, end = legs.high, legs.low.last_near, None
            return Excursion(outcome, start, turn.first_near, turn.best, turn.last_near, end, legs.now)
        turn, start = legs.low, None if legs.rest_open else legs.rest.last_near
        end = None if outcome == "abandoned" else legs.high.first_near
        return Excursion(outcome, start, turn.first_near, turn.best, turn.last_near, end, end or legs.now)

    def _ended(self, legs: _Legs) -> list[Excursion]:
        """What is under way when no more samples come."""
        found = self._told(legs)
        if legs.lifted:
            return found
        reach, rise = self.range, legs.high.distance(legs.low.best)
        settled = self._settled(legs, rise)
        if rise >= max(self._min_range, FULL * reach) and (settled or (self._ranges and rise >= COMPLETE * reach)):
            found += self._lifted(legs, rise)
            return found + self._told(legs)
        away = rise if self._at_turn else legs.rest.distance(legs.low.best)
        if not legs.rest_open and away >= max(self._min_range, PARTIAL * reach):
            found.append(self._excursion(legs, "abandoned"))
        return found


class _Pending(NamedTuple):
    """A repetition that counted at its turning point and is on its way back."""

    start: Sample | None
    high: Extreme
    tentative: bool


class _Legs:
    """The extremes of the movement that is under way."""

    __slots__ = ("_anchor", "_sign", "counted_from", "high", "last_turn_s", "lifted", "low", "now", "pending", "rest", "rest_open")

    def __init__(self, sign: int, first: Sample) -> None:
        self._sign = sign
        self.lifted = False
        self.low = Extreme(-sign, first)  # lowest since the last lift
        self.high = Extreme(sign, first)  # highest since then
        self.rest = Extreme(sign, first)  # the high end from which the signal came down
        # For repetitions that count at the return: the recording's beginning may or may not be a rest.
        self.rest_open = sign < 0
        self.pending: _Pending | None = None
        self.counted_from: Sample | None = None  # low end of the lift that counted last
        self.last_turn_s = -float("inf")
        self.now = self._anchor = first

    def lower(self, sample: Sample) -> None:
        """The signal has come down from `high`: the next rise may begin."""
        self.lifted, self.rest, self.rest_open = False, self.high, False
        self.counted_from = None
        self.high = Extreme(self._sign, sample)

    def lift(self) -> None:
        """The signal has risen from `low` to `high`: it may come down again."""
        self.lifted, self.low = True, Extreme(-self._sign, self.now)

    def stands_still(self, sample: Sample, *, within: float) -> bool:
        if abs(sample.level - self._anchor.level) > within:
            self._anchor = sample
        return sample.time_s - self._anchor.time_s >= STILL_S
