"""Form feedback for everybody in one stream: `FormScorer` scores each repetition that the counter tells of."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from pose_analyzer.errors import ExerciseError
from pose_analyzer.exercise.findings import Finding, FormScore
from pose_analyzer.exercise.judgement import judge
from pose_analyzer.exercise.profile import ExerciseProfile, load_profile
from pose_analyzer.exercise.recording import Repetition, RepetitionRecorder
from pose_analyzer.exercise.reference import Reference
from pose_analyzer.exercise.uncounted import UncountedMovements, resembles
from shared_utils.data_models import Event, EventType, Poses
from shared_utils.errors import ValidationError

_MOST_SCORES = 10_000  # a stream has no end
# So many repetitions without a fault make a slight one of the next unlikely.
_SOME = 2


class FormScorer:
    """Compares repetitions with a reference; tells `form_deviation` events.

    A repetition is judged when the counter tells it, that is when it is over. The same fault of the same person is told
    again only after `cooldown_s`; something slight that the last repetitions of the same person had not is told when it comes again.
    `scores` keeps every repetition all the same. An attempt that is too short for the counter to tell
    (`uncounted`) is judged as well; where that finds why, it is told as `rep_partial`, with the reason.

    A `form_deviation` event's `value` is `degrees`, its `unit` "deg" (or "s"), its `message` one sentence, its `frames` the frame that
    shows the deviation best, its `start_s` and `end_s` the repetition's. Its `data`, all plain JSON:

    | key | what |
    |---|---|
    | `fault` | name of a fault (`faults`), `depth_loss`, `half_range`, `rushed_tempo`, or `deviation` for what has no name |
    | `joint` | part of the score that loses points: `knee`, `trunk`, `back`, `shoulder`, `elbow`, `hip`, `symmetry`, `range`, `tempo` |
    | `side` | "left", "right" (the person's), "both" or "" |
    | `keypoints` | names of the keypoints to colour, for example `["left_hip", "left_knee", "left_ankle"]`; empty for tempo |
    | `phase` | the profile's name of the phase ("bottom"); "all" for tempo |
    | `degrees` | size of the deviation, in `unit` |
    | `value`, `reference_mean`, `reference_spread` | what was measured, and what good repetitions have there, in `unit` |
    | `unit` | "deg" or "s" |
    | `evidence`, `severity` | deviation in spreads; "slight", "clear" or "strong" |
    | `repetition`, `score` | the counter's number (0 = partial); 0..100 of this repetition |
    | `view_deg`, `reference_sample` | view of the reference that served; its sample beside which to draw the evidence, -1 = none |
    | `not_judged` | faults that cannot be seen from here |
    | `level` | "warn" |

    Args:
        reference: How it is done well.
        profile: What is counted; default the profile of the reference's exercise.
        stream_id: Name of the stream in events.
        cooldown_s: Least time between two events of one fault of one person, seconds of the media clock. Default 6.
        min_confidence: Of keypoints, 0..1. Default 0.5.

    Raises:
        ExerciseError: The profile is a hold, which has no repetitions.
        ValidationError: A number is out of range.

    Example:
        >>> from pose_analyzer.exercise.reference import load_reference
        >>> scorer = FormScorer(load_reference("squat"), stream_id="cam")
        >>> from shared_utils.skeletons import BLAZEPOSE_33
        >>> scorer.update(Poses.empty(BLAZEPOSE_33), [], timestamp_s=0.0, frame_index=0)
        []
    """

    def __init__(
        self,
        reference: Reference,
        *,
        profile: ExerciseProfile | None = None,
        stream_id: str = "stream",
        cooldown_s: float = 6.0,
        min_confidence: float = 0.5,
    ) -> None:
        self.reference = reference
        self.profile = profile if profile is not None else load_profile(reference.exercise)
        if self.profile.is_hold:
            raise ExerciseError(f"{self.profile.name} is held, not repeated; form is scored by repetition")
        if not cooldown_s >= 0:
            raise ValidationError(f"cooldown_s must be 0 or more, got {cooldown_s}")
        if not 0 <= min_confidence <= 1:
            raise ValidationError(f"min_confidence must lie in 0..1, got {min_confidence}")
        self.stream_id = stream_id
        self.scores: deque[FormScore] = deque(maxlen=_MOST_SCORES)
        self._cooldown_s = cooldown_s
        self._recorder = RepetitionRecorder(self.profile, min_confidence=min_confidence)
        self._uncounted = UncountedMovements(self.profile, stream_id=stream_id)
        self._told_s: dict[tuple[int, str, str], float] = {}

    def update(self, poses: Poses, events: Iterable[Event], *, timestamp_s: float, frame_index: int) -> list[Event]:
        """Take in a frame.

        Args:
            poses: Tracked, smoothed people; rows of track -1 are ignored.
            events: What the repetition counter told at this frame.
            timestamp_s: Media clock, seconds.
            frame_index: Index of the frame, quoted as evidence.

        Returns:
            `form_deviation` events of the repetitions that ended; `rep_partial` events of attempts that the counter left out, each
            with its `reason` and `uncounted: true` in the data, followed by their own `form_deviation` events.

        Raises:
            ValidationError: `timestamp_s` is not finite.
        """
        if not math.isfinite(timestamp_s):
            raise ValidationError(f"timestamp_s must be finite, got {timestamp_s}")
        counted = list(events)
        found = self._recorder.update(poses, counted, timestamp_s=timestamp_s, frame_index=frame_index)
        left_out = self._uncounted.update(poses, counted, timestamp_s=timestamp_s, frame_index=frame_index)
        return [event for repetition in found for event in self._judged(repetition)] + self._attempts(left_out)

    def flush(self, events: Iterable[Event] = ()) -> list[Event]:
        """End of the stream: judge what the counter's own flush told."""
        counted = list(events)
        told = [event for repetition in self._recorder.cut(counted) for event in self._judged(repetition)]
        return told + self._attempts(self._uncounted.flush(counted))

    def last(self, track_id: int) -> FormScore | None:
        """A person's latest score."""
        return next((s for s in reversed(self.scores) if s.track_id == track_id), None)

    def _judged(self, repetition: Repetition) -> list[Event]:
        return self._told(repetition, judge(repetition, self.reference, self.profile))

    def _told(self, repetition: Repetition, score: FormScore) -> list[Event]:
        earlier = list(islice((s for s in reversed(self.scores) if s.track_id == score.track_id), _SOME))
        self.scores.append(score)
        return [self._event(repetition, score, f) for f in score.findings if _confirmed(f, earlier) and self._due(repetition, f)]

    def _attempts(self, left_out: Iterable[Event]) -> list[Event]:
        """What is said of movements that the counter has left out, if they were meant as the exercise and it is clear what is wrong."""
        out: list[Event] = []
        for event in left_out:
            for repetition in self._recorder.cut([event]):
                share = resembles(repetition, self.reference, self.profile)
                score = judge(repetition, self.reference, self.profile) if share is not None else None
                reason = next((f for f in score.findings if f.fault != "rushed_tempo"), None) if score is not None else None
                if score is None or share is None or reason is None:
                    continue
                data = dict(event.data) | {
                    "share": round(share, 2),
                    "reason": reason.message,
                    "fault": reason.fault,
                    "score": round(score.score, 1),
                }
                out.append(replace(event, message=f"Not counted: {reason.message}", data=data))
                out += self._told(repetition, score)
        return out

    def _due(self, repetition: Repetition, finding: Finding) -> bool:
        key = (repetition.track_id, finding.fault, finding.side)
        last_s = self._told_s.get(key, -math.inf)
        # A clock that has started anew knows nothing of what was told before.
        if last_s <= repetition.end_s < last_s + self._cooldown_s:
            return False
        self._told_s[key] = repetition.end_s
        return True

    def _event(self, repetition: Repetition, score: FormScore, finding: Finding) -> Event:
        data = finding.data() | {"level": "warn", "repetition": score.number, "score": round(score.score, 1)}
        data |= {"view_deg": score.view_deg, "not_judged": list(score.not_judged)}
        return Event(
            type=EventType.FORM_DEVIATION,
            stream_id=self.stream_id,
            track_id=repetition.track_id,
            start_s=repetition.start_s,
            end_s=repetition.end_s,
            value=round(finding.degrees, 2),
            unit=finding.unit,
            frames=(finding.frame,),
            message=finding.message[0].upper() + finding.message[1:],
            data=data,
        )


def _confirmed(finding: Finding, earlier: Sequence[FormScore]) -> bool:
    """Whether to tell a finding, given the person's last scores: one slight deviation in a row of good repetitions is chance."""
    if finding.severity != "slight" or len(earlier) < _SOME:
        return True
    return any(finding.fault == f.fault for s in earlier for f in s.findings)
