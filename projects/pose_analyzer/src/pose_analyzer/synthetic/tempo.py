"""When each repetition happens: a time line from tempo, pauses, fatigue and partial attempts.

An attempt leaves rest at `start_s`, is at its turning point from `turn_start_s` to `turn_end_s`, and is back at rest at
`end_s`. In between, progress `u` goes from 0 (rest) to the attempt's `peak` and back along minimum-jerk curves (T. Flash,
N. Hogan, *J. Neurosci.* 5, 1985), so that speed is zero at both ends; `u` = 1 is the full depth of the exercise.

Phases say where body or weight are, the same for all exercises: `down` is the eccentric part (lowering), `up` the
concentric one (lifting), `bottom` and `top` are the pauses at the low and high end, and the rest before, between and after
repetitions. A squat rests at the top and turns at the bottom; a curl rests at the bottom and turns at the top. Positions
that are held have `hold`, walks `walk`, idle athletes `idle`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pose_analyzer.synthetic.exercises import Exercise
from pose_analyzer.synthetic.motion_spec import FaultSpec, MotionSpec, TempoSpec


class Phase(StrEnum):
    """Where in its motion an athlete is."""

    TOP = "top"
    DOWN = "down"
    BOTTOM = "bottom"
    UP = "up"
    HOLD = "hold"
    WALK = "walk"
    IDLE = "idle"


# Exercises that begin by lifting; all others begin by lowering.
_LIFT_FIRST = frozenset(
    {
        Exercise.BICEP_CURL,
        Exercise.HAMMER_CURL,
        Exercise.OVERHEAD_PRESS,
        Exercise.SIT_UP,
        Exercise.JUMPING_JACK,
        Exercise.LATERAL_RAISE,
        Exercise.PULL_UP,
        Exercise.PLANK,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a repetition, times in seconds of the motion's own clock.

    Args:
        number: Position among the attempts, from 1.
        ordinal: Position among the full repetitions, from 1; 0 for a partial one.
        side: "both", "left" or "right".
        start_s, turn_start_s, turn_end_s, end_s: See the module.
        peak: Progress at the turning point; 1 is full depth.
        partial: Whether it was asked for as a partial one.
        faults: What goes wrong in it.
    """

    number: int
    ordinal: int
    side: str
    start_s: float
    turn_start_s: float
    turn_end_s: float
    end_s: float
    peak: float
    partial: bool
    faults: FaultSpec


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a motion is at one time: progress, phase, and the attempt under way (None at rest)."""

    u: float
    phase: Phase
    attempt: Attempt | None


@dataclass(frozen=True)
class TimeLine:
    """All attempts of one motion.

    Args:
        attempts: In order of time, not overlapping.
        duration_s: Until the end of the last pause.
        lift_first: Whether repetitions begin by lifting.
        held: Whether the turning point is a position to hold, and the only attempt therefore no repetition.

    Example:
        >>> from pose_analyzer.synthetic.spec import MotionSpec, TempoSpec
        >>> tempo = TempoSpec(eccentric_s=2, bottom_pause_s=1, concentric_s=1, top_pause_s=0.5)
        >>> line = time_line(MotionSpec(exercise="squat", reps=2, tempo=tempo, start_delay_s=1))
        >>> [(a.start_s, a.turn_start_s, a.turn_end_s, a.end_s) for a in line.attempts]
        [(1.0, 3.0, 4.0, 5.0), (5.5, 7.5, 8.5, 9.5)]
        >>> line.at(2.0).u, line.at(2.0).phase
        (0.5, <Phase.DOWN: 'down'>)
    """

    attempts: tuple[Attempt, ...]
    duration_s: float
    lift_first: bool
    held: bool = False

    def at(self, time_s: float) -> Progress:
        """Progress at a time of the motion's clock; times outside are rest."""
        outwards, inwards = (Phase.UP, Phase.DOWN) if self.lift_first else (Phase.DOWN, Phase.UP)
        turn, rest = (Phase.TOP, Phase.BOTTOM) if self.lift_first else (Phase.BOTTOM, Phase.TOP)
        i = bisect_right(self.attempts, time_s, key=lambda a: a.start_s) - 1
        if i < 0 or time_s >= self.attempts[i].end_s:
            return Progress(0.0, rest, None)
        a = self.attempts[i]
        if time_s < a.turn_start_s:
            return Progress(a.peak * ease((time_s - a.start_s) / (a.turn_start_s - a.start_s)), outwards, a)
        if time_s <= a.turn_end_s:
            return Progress(a.peak, Phase.HOLD if self.held else turn, a)
        return Progress(a.peak * ease((a.end_s - time_s) / (a.end_s - a.turn_end_s)), inwards, a)


def ease(x: float) -> float:
    """Minimum-jerk progress 0..1 of a movement at share `x` of its time."""
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


def time_line(motion: MotionSpec, *, seed: int = 0) -> TimeLine:
    """The attempts of a motion.

    Args:
        motion: What is done.
        seed: Of the tempo jitter.
    """
    lift_first = motion.exercise in _LIFT_FIRST
    tempo = motion.tempo_in_force
    if motion.held:
        return _hold(motion, tempo, lift_first)
    if not motion.counted:
        return TimeLine((), motion.hold_s, lift_first)
    out_s, turn_s, in_s, rest_s = tempo.eccentric_s, tempo.bottom_pause_s, tempo.concentric_s, tempo.top_pause_s
    if lift_first:
        out_s, turn_s, in_s, rest_s = tempo.concentric_s, tempo.top_pause_s, tempo.eccentric_s, tempo.bottom_pause_s
    rest_deg, depth_deg = motion.depth_range_deg
    jitter = 1.0 + motion.tempo_jitter * np.random.default_rng((seed, 1)).uniform(-1.0, 1.0, motion.reps)
    attempts: list[Attempt] = []
    clock, ordinal = motion.start_delay_s, 0
    for i in range(motion.reps):
        number = i + 1
        faults = motion.faults.during(number)
        tired = i / max(motion.reps - 1, 1)
        slow = (1.0 + motion.fatigue_slowdown * tired) * float(jitter[i])
        move = slow * (1.0 - faults.rushed_tempo)
        partial = motion.partial.get(number, 1.0) < 1.0
        peak = motion.partial.get(number, 1.0) * (1.0 - motion.fatigue_shrink * tired) * (1.0 - faults.half_range)
        peak = max(peak - faults.depth_loss_deg / abs(depth_deg - rest_deg), 0.02)
        ordinal += not partial
        start = clock + motion.pauses.get(number, 0.0)
        turn_start = start + out_s * move
        turn_end = turn_start + turn_s * slow
        end = turn_end + in_s * move
        side = ("left", "right")[i % 2] if motion.side == "alternating" else motion.side
        attempts.append(
            Attempt(
                number=number,
                ordinal=0 if partial else ordinal,
                side=side,
                start_s=start,
                turn_start_s=turn_start,
                turn_end_s=turn_end,
                end_s=end,
                peak=peak,
                partial=partial,
                faults=faults,
            )
        )
        clock = end + rest_s * slow
    return TimeLine(tuple(attempts), clock + motion.end_pause_s, lift_first)


def _hold(motion: MotionSpec, tempo: TempoSpec, lift_first: bool) -> TimeLine:
    into_s, back_s = (tempo.concentric_s, tempo.eccentric_s) if lift_first else (tempo.eccentric_s, tempo.concentric_s)
    rest, depth = motion.depth_range_deg
    loss = motion.faults.depth_loss_deg / abs(depth - rest) if depth != rest else 0.0
    start = motion.start_delay_s
    hold = Attempt(
        number=1,
        ordinal=0,
        side="both",
        start_s=start,
        turn_start_s=start + into_s,
        turn_end_s=start + into_s + motion.hold_s,
        end_s=start + into_s + motion.hold_s + back_s,
        peak=max(1.0 - loss, 0.02),
        partial=False,
        faults=motion.faults,
    )
    return TimeLine((hold,), hold.end_s + motion.end_pause_s, lift_first, held=True)
