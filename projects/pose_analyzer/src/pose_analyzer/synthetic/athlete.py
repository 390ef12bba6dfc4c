"""One athlete of a scene: a body with its shape and programme, put into the world at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_analyzer.synthetic.anthropometry import dimensions
from pose_analyzer.synthetic.exercises import Exercise
from pose_analyzer.synthetic.kinematics import Figure
from pose_analyzer.synthetic.landmarks import landmark_offsets
from pose_analyzer.synthetic.motions import Moment, Walking, program
from pose_analyzer.synthetic.render.primitives import Primitives
from pose_analyzer.synthetic.render.room import Box
from pose_analyzer.synthetic.shape import body_shape, equipment_shape, posed
from pose_analyzer.synthetic.spec import AthleteSpec
from pose_analyzer.synthetic.tempo import Phase, Progress, time_line
from pose_analyzer.synthetic.truth import Repetition

Array = NDArray[np.float64]

_DUMBBELLS = (Exercise.BICEP_CURL, Exercise.HAMMER_CURL, Exercise.OVERHEAD_PRESS, Exercise.LATERAL_RAISE)
_ON_MAT = (Exercise.PUSH_UP, Exercise.PLANK, Exercise.SIT_UP)


@dataclass(frozen=True, slots=True)
class Instant:
    """An athlete at one time: posture, landmarks (33, 3) in the world, and where in the motion that is."""

    figure: Figure
    landmarks_m: Array
    progress: Progress
    motion_time_s: float


class Athlete:
    """Everything about one athlete that does not change during the clip.

    Args:
        spec: Who, what, where.
        track_id: Identity in the truth.
        person: Index among the scene's athletes.
        seed: Of this athlete's small movements and jitter.
    """

    def __init__(self, spec: AthleteSpec, *, track_id: int, person: int, seed: int) -> None:
        self.spec, self.track_id, self.person = spec, track_id, person
        self.motion = spec.motion
        self.lengths = dimensions(spec.body)
        self.program = program(self.lengths, self.motion, seed)
        self.line = time_line(self.motion, seed=seed)
        self.walks = isinstance(self.program, Walking)
        self.motion_s = self.program.duration_s if isinstance(self.program, Walking) else self.line.duration_s
        self.leaves_s = spec.leaves_s
        if self.leaves_s is None and self.walks:
            self.leaves_s = spec.enters_s + self.motion_s
        self.segments, self.offsets = landmark_offsets(self.lengths)
        held = self._equipment()
        fists = held is not None or self.motion.exercise is Exercise.PULL_UP
        body = body_shape(spec.body, self.lengths, fists=fists, person=person)
        self.shape = body if held is None else Primitives.concatenate([body, held])

    def _equipment(self) -> Primitives | None:
        exercise = self.motion.exercise
        if exercise is Exercise.PULL_UP:
            return equipment_shape("pull_up_bar", self.lengths, person=self.person)
        if not self.motion.equipment:
            return None
        if exercise in _DUMBBELLS:
            return equipment_shape("dumbbells", self.lengths, person=self.person)
        if exercise is Exercise.DEADLIFT:
            return equipment_shape("barbell", self.lengths, person=self.person)
        return None

    @property
    def last_s(self) -> float:
        """Media clock at which the motion has ended or the athlete is gone."""
        end = self.spec.enters_s + self.motion_s
        return end if self.leaves_s is None else min(end, self.leaves_s) if self.walks else self.leaves_s

    def present(self, time_s: float) -> bool:
        """Whether the athlete is there."""
        return self.spec.enters_s <= time_s and (self.leaves_s is None or time_s < self.leaves_s)

    def at(self, time_s: float) -> Instant:
        """The athlete at a time of the media clock."""
        t = time_s - self.spec.enters_s
        progress = self.progress(t)
        attempt = progress.attempt
        if attempt is None:
            moment = Moment(t, side=self.motion.side if self.motion.side != "alternating" else "right")
        else:
            share = progress.u / attempt.peak
            moment = Moment(t, u=progress.u, share=share, side=attempt.side, faults=attempt.faults)
        figure = Figure(self.lengths)
        self.program.pose(figure, moment)
        if not self.walks:
            figure.move(self.spec.heading_deg, np.array([*self.spec.position_m, 0.0]))
        return Instant(figure, figure.points(self.segments, self.offsets), progress, t)

    def progress(self, motion_time_s: float) -> Progress:
        """Phase and attempt at a time of the motion's clock."""
        if self.motion.exercise is Exercise.WALKING:
            return Progress(0.0, Phase.WALK, None)
        if self.motion.exercise is Exercise.IDLE:
            return Progress(0.0, Phase.IDLE, None)
        return self.line.at(motion_time_s)

    def primitives(self, instant: Instant) -> Primitives:
        """Body and equipment in the world."""
        return posed(self.shape, instant.figure)

    def boxes(self, camera_position: Array) -> tuple[Box, ...]:
        """What stands under or behind the athlete: a mat, a wall (not drawn when the camera is behind it)."""
        heading, place = self.spec.heading_deg, self.spec.position_m
        h = self.lengths.height
        if self.motion.exercise in _ON_MAT and self.motion.equipment:
            return (Box((-0.62 * h, -0.30, 0.0), (0.62 * h, 0.30, 0.012), "#35507a", heading, place),)
        if self.motion.exercise is Exercise.WALL_SIT:
            a = np.radians(heading)
            ahead = (camera_position[0] - place[0]) * np.cos(a) + (camera_position[1] - place[1]) * np.sin(a)
            back = -0.072 * h * self.spec.body.build**0.9
            if ahead > back:
                return (Box((back - 0.15, -1.1, 0.0), (back, 1.1, 2.3), "#b9b4a8", heading, place),)
        return ()

    def repetitions(self, clip_end_s: float) -> tuple[Repetition, ...]:
        """True attempts (or the hold), times on the media clock; those that begin after the athlete or the clip is gone are left out."""
        enters = self.spec.enters_s
        end = clip_end_s if self.leaves_s is None else min(clip_end_s, self.leaves_s)
        return tuple(
            Repetition(
                track_id=self.track_id,
                exercise=self.motion.exercise.value,
                number=a.number,
                ordinal=a.ordinal,
                side=a.side,
                start_s=enters + a.start_s,
                turn_start_s=enters + a.turn_start_s,
                turn_end_s=enters + a.turn_end_s,
                end_s=enters + a.end_s,
                partial=a.partial,
                range_share=a.peak,
                complete=enters + a.end_s <= end + 1e-9,
                faults=a.faults.active(),
            )
            for a in self.line.attempts
            if enters + a.start_s < end
        )
