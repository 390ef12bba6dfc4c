"""The result of an analysis, with the verbs a user expects of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pose_analyzer import reporting
from pose_analyzer.errors import ExerciseError
from shared_utils.data_models import EventType, Session

if TYPE_CHECKING:
    import supervision as sv
    from matplotlib.figure import Figure
    from ultralytics.engine.results import Results

    from pose_analyzer.exercise import ExerciseProfile, FormScore, Reference
    from pose_analyzer.exercise.recording import Repetition
    from pose_analyzer.pipeline.measures import MovementMeasures
    from pose_analyzer.reporting import ComparedCurves, FramePeople, ThemeName


@dataclass(frozen=True, kw_only=True)
class PoseSession(Session):
    """A `Session` that can plot, print and save itself.

    Example:
        >>> session = PoseSession(source="clip.mp4")
        >>> session.repetition_count
        0
    """

    def plot(
        self,
        path: str | Path | None = None,
        *,
        track_id: int | None = None,
        angles: Sequence[str] | None = None,
        theme: ThemeName = "light",
    ) -> Figure:
        """Angles over time with error bands and repetition marks; also written to `path` as PNG if given.

        Args:
            path: Where to write it.
            track_id: Whose angles; default: who has most repetitions.
            angles: Joints, for example `["knee_flexion"]`; default: the four that moved most.
            theme: "light" or "dark".
        """
        return _written(reporting.plot_session(self, track_id=track_id, angles=angles, theme=theme), path)

    def plot_range(self, path: str | Path | None = None, *, track_id: int | None = None, theme: ThemeName = "light") -> Figure:
        """Range of motion of every joint, left beside right."""
        return _written(reporting.plot_range(self, track_id=track_id, theme=theme), path)

    def plot_path(
        self,
        path: str | Path | None = None,
        *,
        track_id: int | None = None,
        point: str = "bar",
        colour_by: Literal["speed", "repetition"] = "speed",
        height_m: float | None = None,
        theme: ThemeName = "light",
    ) -> Figure:
        """The way of the bar (the middle between the wrists) or of a keypoint, in body heights, or metres given the person's height.

        Raises:
            ChoiceError: There is no such person or point, or it was never seen.
        """
        from pose_analyzer.biomechanics import stature_px

        tall = float("nan")
        if reporting.main_track(self) is not None:
            track_id, own = reporting.person_rows(self, track_id, guess=True)
            found = stature_px(reporting.poses_of(own))
            tall = float(np.median(found[np.isfinite(found)])) if np.isfinite(found).any() else tall
        figure = reporting.plot_path(
            self, stature_px=tall, height_m=height_m, track_id=track_id, point=point, colour_by=colour_by, theme=theme
        )
        return _written(figure, path)

    def plot_form(
        self,
        path: str | Path | None = None,
        *,
        track_id: int | None = None,
        reference: str | Path | None = None,
        theme: ThemeName = "light",
    ) -> Figure:
        """Heat strip of faults against repetitions.

        Every repetition is judged anew where keypoints were kept and there is a reference; else the events speak, which tell a
        fault again only after some seconds.

        Args:
            path: Where to write it.
            track_id: Whose; default: who has most repetitions.
            reference: Name or file; default that of the session's exercise.
            theme: "light" or "dark".
        """
        track_id = reporting.main_track(self) if track_id is None else track_id
        cells, scores = None, []
        if track_id is not None and reporting.skeleton_of(self.series) is not None:
            judged = _judged(self, track_id, reference)
            if judged is not None:
                cells = [
                    reporting.FormCell(end_s=s.end_s, fault=f.fault, side=f.side, amount=abs(f.degrees), unit=f.unit, evidence=f.evidence)
                    for s in judged
                    for f in s.findings
                ]
                scores = [(s.end_s, s.score) for s in judged]
        return _written(reporting.plot_form(self, track_id=track_id, cells=cells, scores=scores, theme=theme), path)

    def plot_reference(
        self,
        path: str | Path | None = None,
        *,
        repetition: int | None = None,
        track_id: int | None = None,
        reference: str | Path | None = None,
        features: Sequence[str] | None = None,
        theme: ThemeName = "light",
    ) -> Figure:
        """A repetition's curves over the reference's mean and spread, phase by phase.

        Args:
            path: Where to write it.
            repetition: Number; default the one that deviates most.
            track_id: Whose; default: who has most repetitions.
            reference: Name or file; default that of the session's exercise.
            features: Of `exercise.features.FORM_FEATURES`; default those that deviate most.
            theme: "light" or "dark".

        Raises:
            ChoiceError: There is no such person, repetition or feature.
            ExerciseError: There is no such reference.
        """
        track_id, _ = reporting.person_rows(self, track_id, guess=True)
        curves = _compared(self, track_id, reference, repetition)
        title = reporting.title_of(self, track_id)
        return _written(reporting.plot_reference(curves, title=title, features=features, theme=theme), path)

    def side_by_side(
        self,
        other: PoseSession,
        path: str | Path,
        *,
        video: str | Path,
        other_video: str | Path,
        labels: tuple[str, str] = ("", ""),
        track_ids: tuple[int | None, int | None] = (None, None),
        drawn: tuple[bool, bool] = (False, False),
        fps: float | None = None,
        progress: Callable[[float], None] | None = None,
        **layout: Any,
    ) -> Path:
        """Write a video of this session beside another, on one clock, each with its skeleton, count and angle.

        Args:
            other: Goes to the right.
            path: MP4 to write.
            video: What this session measured.
            other_video: What the other one measured.
            labels: Above the pictures; default the sources' names.
            track_ids: Whom to compare; default who has most repetitions.
            drawn: Whether a video is an annotated one, which shows skeletons already.
            fps: Pictures per second; default the faster source's, at most 60.
            progress: Called with the seconds written so far.
            **layout: `align`, `offset_s`, `joint` and `height_px` of `reporting.SideBySide`.

        Raises:
            ChoiceError: Nobody was found in one of them, or they cannot be aligned so.
            SourceError: A video cannot be read.
            SinkError: The file cannot be written.
        """
        from pose_analyzer.video import VideoWriter, open_source

        sides = [
            reporting.Side(session=s, label=label, track_id=t, drawn=d, shift_s=_shift_s(s) if d else 0.0)
            for s, label, t, d in zip((self, other), labels, track_ids, drawn, strict=True)
        ]
        layer = reporting.SideBySide(sides[0], sides[1], **layout)
        with open_source(video) as a, open_source(other_video) as b:
            rate = fps or min(max(s.info.nominal_fps or 30.0 for s in (a, b)), 60.0)
            with contextlib.ExitStack() as stack:
                writer = None
                for picture, at_s in layer.pictures(a, b, fps=rate):
                    if writer is None:
                        writer = stack.enter_context(VideoWriter(path, width=picture.shape[1], height=picture.shape[0], fps=rate))
                    writer.write(picture, at_s)
                    if progress is not None:
                        progress(at_s)
        return Path(path)

    def measures(self, *, track_id: int | None = None, height_m: float | None = None) -> MovementMeasures:
        """How one person moved: ranges of motion, symmetry, depth, the hands' way, steadiness.

        Args:
            track_id: Whose; default: who has most repetitions.
            height_m: The person's height, for lengths in metres instead of body heights.

        Raises:
            ChoiceError: There is no such person, or that is no height.
        """
        from pose_analyzer.pipeline.measures import measure_movement

        return measure_movement(self, track_id=track_id, height_m=height_m)

    def save(self, folder: str | Path) -> list[Path]:
        """Write `result.json`, `series.parquet`, `series.csv` and `events.csv` into a folder."""
        return reporting.save_session(self, folder)

    def export(self, path: str | Path, *, format: str, **options: Any) -> list[Path]:  # noqa: A002 - the word everybody uses
        """Write it in another tool's format: csv, parquet, json, coco, mot, trc, opensim-mot.

        Args:
            path: File to write.
            format: Which.
            **options: Fields of `reporting.ExportOptions`, for example `track_id=2`, `units="mm"`.

        Raises:
            ChoiceError: The format or an option does not exist, or the session lacks what is needed.
            SinkError: The file cannot be written.
        """
        return reporting.export_session(self, path, format=format, **options)

    def people(self) -> Iterator[FramePeople]:
        """The people of each frame that shows somebody, as `Poses`.

        Raises:
            ChoiceError: Keypoints were not kept.
        """
        return reporting.frames_of(self.series)

    def to_supervision(self) -> Iterator[tuple[FramePeople, sv.KeyPoints, sv.Detections]]:
        """The people of each frame as supervision's objects."""
        return reporting.to_supervision(self.series)

    def to_ultralytics(self, *, size: tuple[int, int] | None = None) -> Iterator[Results]:
        """The people of each frame as ultralytics' `Results`; `size` is (width, height) px where the session does not know it."""
        return reporting.to_ultralytics(self, size=size)

    @classmethod
    def load(cls, folder: str | Path) -> PoseSession:
        """Read what `save` wrote.

        Raises:
            PoseAnalyzerError: No result there, or a damaged one.
        """
        session = reporting.load_session(folder)
        return cls(**{name: getattr(session, name) for name in Session.__dataclass_fields__})

    def summary(self) -> str:
        """The summary table as text of 100 columns."""
        from io import StringIO

        from rich.console import Console

        out = StringIO()
        Console(file=out, width=100, no_color=True).print(reporting.summary_table(self))
        return out.getvalue()


def _shift_s(session: Session) -> float:
    """Time of the first analysed frame: an annotated video begins there with 0."""
    return float((session.settings.get("video") or {}).get("start_s") or 0.0)


def _written(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        reporting.write_png(figure, path)
    return figure


# --- form, from what was kept -----------------------------------------------------------------------
def _reference_of(session: Session, track_id: int, reference: str | Path | None) -> Reference:
    from pose_analyzer.exercise import load_reference

    name = reference or reporting.exercise_of(session, track_id)
    if not name:
        raise reporting.ChoiceError("no exercise was counted; name a reference to compare with")
    return load_reference(name)


def _repetitions(session: Session, track_id: int, profile: ExerciseProfile) -> list[Repetition]:
    """A person's repetitions as the scorer of form sees them."""
    from pose_analyzer.exercise.features import facing, form_features
    from pose_analyzer.exercise.recording import repetition_of

    own = reporting.person_rows(session, track_id)[1]
    poses = reporting.poses_of(own)
    rows = {"times_s": own["timestamp_s"], "frames": own["frame_index"], "features": form_features(poses), "directions": facing(poses)}
    told = (e for e in session.events if e.track_id == track_id and e.type in (EventType.REP_COMPLETED, EventType.REP_PARTIAL))
    found = (repetition_of(e, profile, **rows) for e in told if e.data.get("exercise", profile.name) == profile.name)
    return [r for r in found if r is not None]


def _judged(session: Session, track_id: int, reference: str | Path | None) -> list[FormScore] | None:
    """Every repetition scored; None without a reference."""
    from pose_analyzer.exercise import load_profile
    from pose_analyzer.exercise.judgement import judge

    try:
        chosen = _reference_of(session, track_id, reference)
    except (ExerciseError, reporting.ChoiceError):
        if reference is not None:
            raise
        return None
    profile = load_profile(chosen.exercise)
    return [judge(r, chosen, profile) for r in _repetitions(session, track_id, profile)]


def _compared(session: Session, track_id: int, reference: str | Path | None, number: int | None) -> ComparedCurves:
    """A person's repetitions at the reference's common length, warped onto it as the scorer does."""
    from pose_analyzer.exercise import load_profile
    from pose_analyzer.exercise.build import WINDOW
    from pose_analyzer.exercise.dtw import onto
    from pose_analyzer.exercise.recording import PHASE_SAMPLES, leading_side

    chosen = _reference_of(session, track_id, reference)
    profile = load_profile(chosen.exercise)
    full = [r for r in _repetitions(session, track_id, profile) if not r.partial]
    if not full:
        raise reporting.ChoiceError(f"no repetition of person {track_id} was seen from its beginning to its end")
    sides = [leading_side(r, profile) for r in full]
    led = max(set(sides), key=sides.count)
    azimuth_deg = float(np.median([r.led_by(led).azimuth_deg for r in full]))
    view = chosen.view(azimuth_deg)
    if view is None:
        raise reporting.ChoiceError(f"the reference of {chosen.exercise} has no view from {azimuth_deg:.0f}°")
    curves, mean = {}, view.mean_at(azimuth_deg)
    for r in full:
        own = r.led_by(led).curves()[:, view.columns]
        seen = np.isfinite(own).all(0)
        warped = np.full(own.shape, np.nan)
        if seen.any():
            warped[:, seen] = onto(mean[:, seen] / view.scale[seen], own[:, seen] / view.scale[seen], own[:, seen], window=WINDOW)[0]
        curves[str(r.number)] = warped
    off = {k: float(np.nanmean(np.abs(c - mean) / np.maximum(view.spread, 1.0))) if np.isfinite(c).any() else -1.0
           for k, c in curves.items()}  # fmt: skip
    other = {"left": "right", "right": "left"} if led == "right" else {}
    names = tuple("_".join([other.get(head, head), *rest]) for head, *rest in (f.split("_") for f in view.features))
    return reporting.ComparedCurves(
        features=names,
        mean=mean,
        spread=view.spread,
        repetitions=curves,
        chosen=max(off, key=lambda k: off[k]) if number is None else str(number),
        phases=tuple((profile.phases[p], n) for p, n in PHASE_SAMPLES.items()),
        main=tuple(n for n in names if n.removeprefix("left_").removeprefix("right_") in _main_features(profile)),
        about=f"reference {chosen.exercise.replace('_', ' ')}, from {abs(view.azimuth_deg):.0f}° ({view.repetitions} good repetitions)",
    )


def _main_features(profile: ExerciseProfile) -> set[str]:
    """What an exercise is about, without side: what is counted, and what its faults show in."""
    from pose_analyzer.exercise.faults import RULES

    return {c.angle for c in profile.cues} | {f for r in RULES if profile.name in r.exercises for f in r.features}
