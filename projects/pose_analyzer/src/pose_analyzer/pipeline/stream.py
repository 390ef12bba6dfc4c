"""One stream from frames to measurements: detect, identify, smooth, measure, count, judge.

`Pipeline(...).run(source)` yields one `Update` per frame. The pipeline holds the state of one stream;
a second stream needs a second pipeline (they may share a detector). The walk is causal: an update
depends on the frames up to it and on nothing else, so a live stream and a file give the same result.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pose_analyzer.biomechanics import joint_angles, picture_errors, strict
from pose_analyzer.detection import MultiScaleDetector, PoseDetector, create_detector
from pose_analyzer.errors import PipelineError
from pose_analyzer.exercise import RepetitionCounter, RepState, load_profile
from pose_analyzer.exercise.auto import AutoCounter
from pose_analyzer.pipeline.feedback import FormFeedback
from pose_analyzer.pipeline.placement import PlacementAnalyzer
from pose_analyzer.pipeline.presence import PresenceAnalyzer
from pose_analyzer.settings import PoseSettings, SmoothingSettings, load_pose_settings
from pose_analyzer.smoothing import FilterChain, GapFiller, PoseFilter, SwapRepair, create_filter
from pose_analyzer.tracking import create_tracker
from pose_analyzer.video import Source, open_source, prefetch
from shared_utils.data_models import Angles, Event, Frame, Origin, Poses
from shared_utils.errors import ConfigError, ValidationError
from shared_utils.logging import get_logger

_log = get_logger(__name__)
AUTO = "auto"
"""Instead of an exercise: recognise it."""
# A stage that fails on this many frames in a row will not recover by itself.
_MAX_FAILURES_IN_A_ROW = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """What one frame gave.

    Args:
        frame: The frame.
        poses: Everybody found, smoothed; `track_ids` is -1 for people not confirmed yet.
        angles: Angles of the confirmed people, in the rows of `tracked`.
        tracked: The confirmed people among `poses`.
        events: What happened at this frame.
        repetitions: Track id -> state of the repetition counter; empty without an exercise.
        timings_s: Stage -> seconds it took (wall clock, for monitoring only).
    """

    frame: Frame
    poses: Poses
    angles: Angles
    tracked: Poses
    events: tuple[Event, ...] = ()
    repetitions: Mapping[int, RepState] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)

    def with_errors(self) -> Angles:
        """`angles` with the standard deviation of those in the picture, worked out when it is asked for."""
        return self.angles if self.angles.sigma_deg is not None else picture_errors(self.angles, self.tracked)


class Pipeline:
    """Measures the people of one stream.

    Args:
        settings: The settings tree; default: defaults, environment.
        detector: A ready detector to use (not closed by the pipeline), or None to make one from the
            settings.
        stream_id: Name in events and updates.
        **overrides: Single settings by short name: `exercise`, `device`, `max_people`, or by dotted key
            in a dict `overrides={"detection.threads": 1}`.

    Raises:
        ConfigError: A setting is unknown or out of range.
        DetectorError: The detector cannot be made.
        ExerciseError: There is no such exercise.

    Example:
        >>> from pose_analyzer.synthetic import scene_for
        >>> scene = scene_for("squat", reps=1, width=320, height=240)
        >>> with Pipeline(exercise="squat") as pipeline:
        ...     first = next(pipeline.run(frame for frame, _ in scene.frames()))
        >>> len(first.poses)
        1
    """

    def __init__(
        self,
        settings: PoseSettings | None = None,
        *,
        detector: PoseDetector | None = None,
        stream_id: str | None = None,
        exercise: str | Path | None = None,
        device: str | None = None,
        max_people: int | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        short = {
            "exercise.name": None if exercise is None else str(exercise),
            "detection.device": device,
            "detection.max_people": max_people,
        }
        changes = {k: v for k, v in short.items() if v is not None} | dict(overrides or {})
        self.settings = _with_changes(settings, changes)
        name = self.settings.exercise.name
        self._is_auto = name == AUTO
        self._profile = None if name is None or self._is_auto else load_profile(name)
        self._owns_detector = detector is None
        self.detector = detector if detector is not None else make_detector(self.settings)
        self._stream_id = stream_id
        self.failures: Counter[str] = Counter()
        self._failed_in_a_row = 0
        self._reset(stream_id or "stream")

    @property
    def stream_id(self) -> str:
        """Name of the stream in events."""
        return self._current_stream

    def _reset(self, stream_id: str) -> None:
        s = self.settings
        self._current_stream = stream_id
        self._tracker = create_tracker(s.tracking.name, config=s.tracking.config)
        self._filter = make_filter(s.smoothing) if s.smoothing.enabled else None
        self._presence = PresenceAnalyzer(stream_id, leave_s=s.tracking.leave_s)
        self._counter: AutoCounter | RepetitionCounter | None = None
        if self._is_auto:
            self._counter = AutoCounter(stream_id=stream_id)
        elif self._profile is not None:
            self._counter = RepetitionCounter(self._profile, stream_id=stream_id)
        judged = s.exercise.form and self._counter is not None
        self._form = FormFeedback(self._profile, stream_id, reference=s.exercise.reference) if judged else None
        self._placement = PlacementAnalyzer(stream_id, None if self._profile is None else self._profile.name)
        self.detector.forget(stream_id)

    # --- use ----------------------------------------------------------------------------------------
    def run(self, source: Source | str | Path | int | Iterable[Frame]) -> Iterator[Update]:
        """Measure a source from its beginning to its end, one update per frame.

        Args:
            source: An open `Source`, what `open_source` takes (path, address, webcam number), or any
                iterable of frames. A source opened here is closed here.

        Yields:
            One update per frame. After the last frame, an update that repeats it when something
            ended with the stream (a repetition in progress).

        Raises:
            SourceError: The source cannot be opened or decoded at all.
            PipelineError: A stage fails on 30 frames in a row.
        """
        with contextlib.ExitStack() as stack:
            frames, stream_id = self._open(source, stack)
            self._reset(self._stream_id or stream_id)
            last: Update | None = None
            for frame in frames:
                last = self.process(frame)
                yield last
            final = self.flush()
            if final and last is not None:
                yield Update(frame=last.frame, poses=last.poses, angles=last.angles, tracked=last.tracked, events=tuple(final))

    def _open(self, source: Any, stack: contextlib.ExitStack) -> tuple[Iterable[Frame], str]:
        video = self.settings.video
        if isinstance(source, str | Path | int):
            source = stack.enter_context(open_source(source, stride=video.stride, start_s=video.start_s, end_s=video.end_s))
        stream_id = getattr(source, "stream_id", "stream")
        info = getattr(source, "info", None)
        if video.prefetch and info is not None and not info.is_live:
            ahead = prefetch(source, size=video.prefetch)
            stack.callback(getattr(ahead, "close", lambda: None))
            return ahead, stream_id
        return source, stream_id

    def process(self, frame: Frame) -> Update:
        """Measure one frame. Frames come in the order of time.

        A stage that fails costs this frame: it is counted in `failures` and logged once per stage.

        Raises:
            PipelineError: A stage failed on 30 frames in a row.
        """
        timings: dict[str, float] = {}
        now = frame.timestamp_s
        repetitions: dict[int, RepState] = {}
        try:
            with _stage("detect", timings):
                poses = self.detector.detect([frame.image], stream_ids=[self._current_stream])[0]
            with _stage("track", timings):
                poses = self._tracker.update(poses, timestamp_s=now, image=frame.image)
            with _stage("smooth", timings):
                poses = poses if self._filter is None else self._filter.update(poses, timestamp_s=now)
            with _stage("measure", timings):
                known = poses.track_ids >= 0
                tracked = poses if known.all() else poses[known]
                angles = self._measure(tracked, now)
            with _stage("count", timings):
                # Who is merely predicted is not here.
                events = self._presence.update(tracked.track_ids[tracked.origin == Origin.DETECTED].tolist(), frame)
                counted = self._count(angles, tracked, frame)
                if self._counter is not None:
                    repetitions = {t: self._counter.state(t) for t in tracked.track_ids.tolist()}
            with _stage("judge", timings):
                if self._form is not None:
                    counted = self._form.update(tracked, counted, timestamp_s=now, frame_index=frame.index)
                events += counted
                events += self._placement.update(tracked, angles, frame)
                if self.settings.angles.evidence == "strict":  # only now: counting does well with less certain readings
                    angles = strict(angles, tracked)
        except _StageFailedError as failure:
            self._note_failure(failure, frame)
            nobody = Poses.empty(self.detector.skeleton)
            return Update(frame=frame, poses=nobody, tracked=nobody, angles=joint_angles(nobody, timestamp_s=now), timings_s=timings)
        self._failed_in_a_row = 0
        return Update(
            frame=frame,
            poses=poses,
            tracked=tracked,
            angles=angles,
            events=tuple(events),
            repetitions=repetitions,
            timings_s=timings,
        )

    def _count(self, angles: Angles, people: Poses, frame: Frame) -> list[Event]:
        if self._counter is None:
            return []
        return self._counter.update(angles, people, timestamp_s=frame.timestamp_s, frame_index=frame.index)

    def _measure(self, people: Poses, now: float) -> Angles:
        wanted = self.settings.angles
        angles = joint_angles(people, timestamp_s=now, min_confidence=wanted.min_confidence, planes=wanted.planes)
        return picture_errors(angles, people) if wanted.evidence == "strict" else angles

    def flush(self) -> list[Event]:
        """End of the stream: what is still in progress becomes events."""
        return self._finished() + self._presence.flush()

    def _finished(self) -> list[Event]:
        counted = [] if self._counter is None else self._counter.flush()
        return counted if self._form is None else self._form.flush(counted)

    def restart(self) -> list[Event]:
        """Begin anew within the stream, as after a gap in which people may have changed places.

        Nobody is known any more: track ids and counts start again.

        Returns:
            What ended: repetitions under way, people who left when they were last seen.
        """
        events = self._finished() + self._presence.dismiss()
        self._reset(self._current_stream)
        return events

    def _note_failure(self, failure: _StageFailedError, frame: Frame) -> None:
        cause = failure.__cause__
        self.failures[failure.stage] += 1
        self._failed_in_a_row += 1
        if self.failures[failure.stage] == 1:
            _log.warning("stage failed on a frame", stage=failure.stage, frame=frame.index, error=str(cause), exc_info=cause)
        if self._failed_in_a_row >= _MAX_FAILURES_IN_A_ROW:
            raise PipelineError(
                f"the stage {failure.stage!r} failed on {self._failed_in_a_row} frames in a row, last at {frame.timestamp_s:.2f} s: {cause}"
            ) from cause

    def close(self) -> None:
        """Release the detector if the pipeline made it."""
        if self._owns_detector:
            self.detector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _StageFailedError(Exception):
    """Carries the name of the stage from the place of failure to the frame loop."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


@contextlib.contextmanager
def _stage(name: str, timings: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    except Exception as error:
        raise _StageFailedError(name) from error
    finally:
        timings[name] = time.perf_counter() - start


def _with_changes(settings: PoseSettings | None, changes: Mapping[str, Any]) -> PoseSettings:
    if settings is None:
        return load_pose_settings(overrides=changes)
    flat = {f"{section}.{key}": value for section, values in settings.model_dump().items() for key, value in values.items()}
    return load_pose_settings(overrides=flat | dict(changes))


def make_detector(settings: PoseSettings, *, precision: Literal["f32", "bf16"] | None = None) -> PoseDetector:
    """The detector that the settings name.

    Args:
        settings: The whole tree; `detection` is read.
        precision: What BlazePose computes in; None takes its own. Other detectors have no choice.
    """
    d = settings.detection
    options: dict[str, Any] = {}
    if d.name == "blazepose":
        options = {"threads": d.threads or None, "upsampling": "linear" if d.multi_scale == "off" else "cubic", "looks": d.looks}
        options |= {} if precision is None else {"precision": precision}
    elif d.looks != 1:
        raise ConfigError(f"detection.looks = {d.looks} needs the detector blazepose, not {d.name}; leave it at 1")
    detector = create_detector(d.name, device=d.device, max_people=d.max_people, model=d.model, **options)
    if d.multi_scale == "off":
        return detector
    return MultiScaleDetector(
        detector, mode=d.multi_scale, max_people=d.max_people, min_person_px=d.min_person_px, tiles_per_frame=d.tiles_per_frame
    )


def make_filter(settings: SmoothingSettings) -> PoseFilter:
    """The filter that the settings name.

    Raises:
        ConfigError: A value is given that the filter does not have.
    """
    stages = {"enabled", "name", "fill_gaps_s", "repair_swaps"}
    given = {k: v for k, v in settings.model_dump(exclude=stages).items() if v is not None}
    try:
        chain: list[PoseFilter] = [create_filter(settings.name, **given)]
    except ValidationError as error:
        raise ConfigError(f"smoothing: {error}") from error
    if settings.repair_swaps:
        chain.insert(0, SwapRepair())
    if settings.fill_gaps_s:
        chain.append(GapFiller(max_gap_s=settings.fill_gaps_s))
    return chain[0] if len(chain) == 1 else FilterChain(chain)
