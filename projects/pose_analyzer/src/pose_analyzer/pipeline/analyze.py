"""Analyse one source from end to end and keep the result.

`analyze("squat.mp4", exercise="squat")` returns a `PoseSession`; with `out=` it also writes the result
files, the annotated video and the plot. What was measured until an interruption is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose_analyzer import __version__, reporting
from pose_analyzer.detection import PoseDetector
from pose_analyzer.pipeline.recorder import SeriesRecorder
from pose_analyzer.pipeline.session import PoseSession
from pose_analyzer.pipeline.stream import AUTO, Pipeline, Update
from pose_analyzer.settings import PoseSettings
from pose_analyzer.video import Source, VideoWriter, open_source
from shared_utils.data_models import Event, Frame
from shared_utils.logging import redact

VIDEO_FILE, PLOT_FILE = "overlay.mp4", "angles.png"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far an analysis is.

    Args:
        frames: Frames analysed.
        total: Frames expected, None when unknown (live sources).
        timestamp_s: Media clock of the last frame.
        repetitions: Completed so far, everybody's.
        people: People in the last frame.
    """

    frames: int
    total: int | None
    timestamp_s: float
    repetitions: int
    people: int


class Abandon(Exception):  # not an error
    """Raised by a progress callback: end the analysis and keep nothing."""


def analyze(
    source: Source | str | Path | int | Iterable[Frame],
    *,
    exercise: str | Path | None = None,
    out: str | Path | None = None,
    settings: PoseSettings | None = None,
    detector: PoseDetector | None = None,
    device: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    max_seconds: float | None = None,
) -> PoseSession:
    """Measure a source and return the session.

    Args:
        source: A file, a folder of pictures, a webcam number, an address, an open `Source` or frames.
        exercise: Profile to count by; None measures angles only.
        out: Folder for `result.json`, `series.parquet`, `series.csv`, `events.csv`, `overlay.mp4` and
            `angles.png`; None writes nothing.
        settings: Default: defaults and environment.
        detector: A ready detector, to share it between calls.
        device: Short for `overrides={"detection.device": ...}`.
        overrides: Single settings by dotted key.
        progress: Called after every frame. It may raise `Abandon`, which passes through.
        max_seconds: Stop after this much media time; needed for live sources that never end.

    Returns:
        The session. `session.complete` is False when the source was damaged, and `session.notes` says so.

    Raises:
        SourceError: The source cannot be opened, or nothing in it can be decoded.
        ConfigError: A setting is wrong.
        KeyboardInterrupt: On Ctrl-C, after what was measured has been written to `out`.

    Example:
        >>> from pose_analyzer.synthetic import scene_for
        >>> scene = scene_for("squat", reps=1, width=320, height=240)
        >>> session = analyze((frame for frame, _ in scene.frames()), exercise="squat")
        >>> session.repetition_count
        1
    """
    with ExitStack() as stack:
        pipeline = stack.enter_context(Pipeline(settings, detector=detector, exercise=exercise, device=device, overrides=overrides))
        video = pipeline.settings.video
        path = Path(source) if isinstance(source, str | Path) and Path(source).is_file() else None
        if isinstance(source, str | Path | int):
            source = stack.enter_context(open_source(source, stride=video.stride, start_s=video.start_s, end_s=video.end_s))
        run = _Run(pipeline, source, path, None if out is None else Path(out))
        try:
            run.consume(progress, max_seconds)
        except Abandon:
            run.abandon()
            raise
        except BaseException as stop:
            # Whatever stops it - Ctrl-C, a damaged tail, a failing stage - what was measured is kept.
            if run.frames:
                run.finish(_reason(stop))
            else:
                run.abandon()
            raise
        return run.finish(_damage(source))


class _Run:
    """The state of one analysis: what is recorded, where it is written."""

    def __init__(self, pipeline: Pipeline, source: Source | Iterable[Frame], path: Path | None, out: Path | None) -> None:
        self._pipeline, self._source, self._path, self._out = pipeline, source, path, out
        wanted = pipeline.settings
        self._recorder = SeriesRecorder(
            keypoints=wanted.output.keypoints, errors=wanted.angles.errors, min_confidence=wanted.angles.min_confidence
        )
        self._events: list[Event] = []
        self._writer: VideoWriter | None = None
        self._cues = reporting.FormCues()
        self.frames = 0
        self._first_s = self._last_s = 0.0
        self._repetitions: dict[int, int] = {}

    def consume(self, progress: Callable[[Progress], None] | None, max_seconds: float | None) -> None:
        total = _expected_frames(self._source, self._pipeline.settings)
        last: Update | None = None
        for update in self._pipeline.run(self._source):
            # The last update of a run repeats its frame to carry the events of the stream's end.
            is_new = last is None or update.frame is not last.frame
            self._note(update, is_new=is_new)
            last = update
            if progress is not None:
                progress(
                    Progress(
                        frames=self.frames,
                        total=total,
                        timestamp_s=update.frame.timestamp_s,
                        repetitions=sum(self._repetitions.values()),
                        people=len(update.tracked),
                    )
                )
            if max_seconds is not None and update.frame.timestamp_s - self._first_s >= max_seconds:
                self._events.extend(self._pipeline.flush())
                break

    def _note(self, update: Update, *, is_new: bool) -> None:
        self._events.extend(update.events)
        for event in update.events:
            if event.type == "rep_completed":
                self._repetitions[event.track_id] = self._repetitions.get(event.track_id, 0) + 1
        if not is_new:
            return
        if self.frames == 0:
            self._first_s = update.frame.timestamp_s
        self.frames += 1
        self._last_s = update.frame.timestamp_s
        states = update.repetitions
        counts = [
            (states[t].count, states[t].phase, states[t].signal_deg) if t in states else (0, "", float("nan"))
            for t in update.tracked.track_ids.tolist()
        ]
        self._recorder.add(update.frame, update.tracked, update.angles, counts)
        if self._out is not None and self._pipeline.settings.output.video:
            self._write_picture(update)

    def _write_picture(self, update: Update) -> None:
        if self._writer is None and self._out is not None:
            self._out.mkdir(parents=True, exist_ok=True)
            info = getattr(self._source, "info", None)
            self._writer = VideoWriter(
                self._out / VIDEO_FILE,
                width=update.frame.width,
                height=update.frame.height,
                fps=getattr(info, "nominal_fps", None),
            )
        if self._writer is not None:
            self._cues.take(update.events, timestamp_s=update.frame.timestamp_s)
            picture = annotate(update, exercise=self._pipeline.settings.exercise.name, cues=self._cues)
            self._writer.write(picture, update.frame.timestamp_s)

    def finish(self, damage: str | None) -> PoseSession:
        if self._writer is not None:
            self._writer.close()
        session = self._session(damage)
        if self._out is not None:
            session.save(self._out)
            if self._pipeline.settings.output.plot:
                session.plot(self._out / PLOT_FILE)
        return session

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.discard()

    def _session(self, damage: str | None) -> PoseSession:
        notes = [damage] if damage else []
        notes += [f"the stage {stage!r} failed on {count} frames" for stage, count in sorted(self._pipeline.failures.items())]
        return PoseSession(
            source=source_name(self._source),
            source_info=_source_info(self._source, self._path),
            stream_id=self._pipeline.stream_id,
            duration_s=self._last_s - self._first_s,
            frames=self.frames,
            complete=damage is None,
            settings=self._pipeline.settings.model_dump(mode="json"),
            models=dict(self._pipeline.detector.models),
            software_version=__version__,
            events=tuple(sorted(self._events, key=lambda e: (e.end_s, e.start_s, e.track_id))),
            series=self._recorder.series(),
            notes=tuple(notes),
        )


def annotate(update: Update, *, exercise: str | None = None, cues: reporting.FormCues | None = None) -> Any:
    """The frame of an update with everything measured drawn onto it: (H, W, 3) uint8 RGB.

    Args:
        update: Of the pipeline.
        exercise: What is counted, for the title.
        cues: What form feedback has named lately; it colours joints and is written below.
    """
    several = len(update.repetitions) > 1
    status = []
    for track_id, state in sorted(update.repetitions.items()):
        title = (state.exercise if exercise == AUTO else Path(exercise or "").stem).replace("_", " ")
        status.append(
            reporting.PersonStatus(
                track_id=track_id,
                title=f"{title} · {track_id}" if several else title,
                count=state.count,
                phase=state.phase,
                progress=state.progress,
            )
        )
    caption = f"{update.frame.timestamp_s:.2f} s"
    now = update.frame.timestamp_s
    marks, sentences = ({}, []) if cues is None else (cues.marks(now), cues.sentences(now))
    return reporting.draw_overlay(
        update.frame.image, update.poses, update.angles, status=status, caption=caption, marks=marks, sentences=sentences
    )


def source_name(source: Any) -> str:
    """What to call a source in results: its file name or its address without credentials."""
    info = getattr(source, "info", None)
    return redact(str(getattr(info, "name", ""))) or "frames"


def file_fingerprint(path: Path) -> str:
    """sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _source_info(source: Any, path: Path | None) -> dict[str, Any]:
    info = getattr(source, "info", None)
    if info is None:
        return {}
    names = ("width", "height", "nominal_fps", "frame_count", "duration_s", "is_live", "codec")
    facts = {name: getattr(info, name, None) for name in names}
    if path is not None:
        facts["sha256"] = file_fingerprint(path)
    return facts


def _expected_frames(source: Any, settings: PoseSettings) -> int | None:
    info = getattr(source, "info", None)
    if info is None or info.is_live or not info.frame_count:
        return None
    total = info.frame_count
    if info.duration_s:
        start, end = settings.video.start_s or 0.0, min(settings.video.end_s or info.duration_s, info.duration_s)
        total = round(total * max(end - start, 0.0) / info.duration_s)
    return max(-(-total // settings.video.stride), 1)


def _damage(source: Any) -> str | None:
    return getattr(source, "damage", None)


def _reason(stop: BaseException) -> str:
    return "stopped by the user" if isinstance(stop, KeyboardInterrupt) else f"stopped: {redact(str(stop)) or type(stop).__name__}"
