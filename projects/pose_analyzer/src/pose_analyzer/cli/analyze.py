"""`pose-analyzer analyze` and `pose-analyzer demo`: sources in, result folders out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pose_analyzer.cli.common import (
    ConfigOption,
    DetectorOption,
    DeviceOption,
    ExerciseOption,
    JsonOption,
    ModelOption,
    PeopleOption,
    SetOption,
    console,
    console_err,
    print_json,
    settings_from,
    stoppable,
)
from pose_analyzer.cli.exit_codes import ExitCode, code_of
from pose_analyzer.cli.sources import Job, expand
from pose_analyzer.errors import PoseAnalyzerError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from pose_analyzer.pipeline import PoseSession, Progress
    from pose_analyzer.settings import PoseSettings


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.command("analyze")(analyze_command)
    app.command("demo")(demo_command)


def analyze_command(
    inputs: Annotated[list[str], typer.Argument(help="Files, folders, globs or addresses.", metavar="SOURCE...")],
    exercise: ExerciseOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results, one sub-folder per source.")] = Path("out/analyze"),
    detector: DetectorOption = None,
    device: DeviceOption = None,
    model: ModelOption = None,
    max_people: PeopleOption = None,
    stride: Annotated[int | None, typer.Option(help="Analyse every n-th frame.", show_default=False)] = None,
    start: Annotated[float | None, typer.Option(help="Begin at this time, s.", show_default=False)] = None,
    end: Annotated[float | None, typer.Option(help="Stop at this time, s.", show_default=False)] = None,
    video: Annotated[bool | None, typer.Option("--video/--no-video", help="Write the annotated video.", show_default=False)] = None,
    plot: Annotated[bool | None, typer.Option("--plot/--no-plot", help="Write the angle plot.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Analyse again what is already complete and unchanged.")] = False,
    max_seconds: Annotated[float | None, typer.Option(help="Stop each source after this much of it, s.", show_default=False)] = None,
    config: ConfigOption = None,
    pairs: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Measure videos: poses, angles, repetitions, events, annotated video, plot.

    Sources whose results are complete and unchanged are skipped, so an interrupted run is resumed by
    giving the same command again.
    """
    more = {"video.stride": stride, "video.start_s": start, "video.end_s": end, "output.video": video, "output.plot": plot}
    settings = settings_from(
        config, pairs, exercise=exercise, detector=detector, device=device, model=model, max_people=max_people, more=more
    )
    _check_exercise(settings)
    jobs = expand(inputs)
    rows: list[dict[str, Any]] = []
    status = ExitCode.OK
    try:
        with stoppable() as check, _detector(settings) as shared, _progress_bar(len(jobs), quiet=as_json) as bar:
            for job in jobs:
                check()
                place = out / job.folder
                row, code = _analyze_one(job, place, settings, shared, bar, check, force=force, max_seconds=max_seconds, quiet=as_json)
                rows.append(row)
                status = max(status, code)
    except KeyboardInterrupt:
        status = ExitCode.INTERRUPTED
        console_err().print(f"stopped; results so far are in {out}. The same command goes on from here.", style="yellow", soft_wrap=True)
    if as_json:
        print_json(rows)
    elif len(jobs) > 1:
        console().print(_overview(rows))
    return status


def _analyze_one(
    job: Job,
    folder: Path,
    settings: PoseSettings,
    detector: Any,
    bar: Bar | None,
    check: Callable[[], None],
    *,
    force: bool,
    max_seconds: float | None,
    quiet: bool,
) -> tuple[dict[str, Any], ExitCode]:
    from pose_analyzer.pipeline import analyze
    from shared_utils.logging import redact

    name = redact(job.source)
    row: dict[str, Any] = {"source": name, "out": str(folder)}
    try:
        session = None if force else _finished(job, folder, settings, detector)
        skipped = session is not None
        if session is None:
            with _task(bar, Path(name).name) as report:

                def tell(progress: Progress) -> None:
                    check()
                    report(progress)

                session = analyze(job.source, out=folder, settings=settings, detector=detector, progress=tell, max_seconds=max_seconds)
    except PoseAnalyzerError as error:
        code = code_of(error)
        console_err().print(f"error: {redact(str(error))}", style="bold red", markup=False, soft_wrap=True)
        return row | {"error": redact(str(error)), "complete": False, "exit_code": int(code)}, code
    if not quiet:
        from pose_analyzer.reporting import summary_table

        console().print(summary_table(session))
        console().print(f"[dim]{'unchanged, kept' if skipped else 'written'}:[/dim] {folder}\n", soft_wrap=True)
    code = ExitCode.OK if session.complete else ExitCode.PARTIAL
    row |= {
        "complete": session.complete,
        "skipped": skipped,
        "frames": session.frames,
        "duration_s": round(session.duration_s, 3),
        "repetition_count": session.repetition_count,
        "events": len(session.events),
        "notes": list(session.notes),
        "exit_code": int(code),
    }
    return row, code


def demo_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the clip and its results.")] = Path("out/demo"),
    as_json: JsonOption = False,
) -> int:
    """Film the built-in athlete, analyse the clip and compare with the truth."""
    from pose_analyzer.pipeline import analyze
    from pose_analyzer.pipeline.demo import compare_with_truth, demo_scene
    from pose_analyzer.reporting import summary_table
    from pose_analyzer.synthetic import write_clip

    scene, exercise = demo_scene()
    clip = out / "demo.mp4"
    out.mkdir(parents=True, exist_ok=True)
    with _progress_bar(2, quiet=as_json) as bar:
        with _task(bar, "filming the athlete") as report_frames:
            write_clip(scene, clip, progress=lambda done, total: report_frames(_counted(done, total)))
        with _task(bar, "measuring") as report:
            session = analyze(clip, exercise=exercise, out=out, progress=report)
    comparison = compare_with_truth(session, scene)
    if as_json:
        print_json({"out": str(out), "repetition_count": session.repetition_count, "truth": comparison})
        return ExitCode.OK
    screen = console()
    screen.print(summary_table(session))
    screen.print(
        f"truth: {comparison['repetitions']} repetitions; knee angle off by {comparison['knee_error_deg']:.1f}° (median), "
        f"landmarks by {comparison['landmark_error_px']:.1f} px (median at {comparison['height_px']} px height)",
        style="cyan",
    )
    for name, what in _DEMO_FILES.items():
        screen.print(f"  {out / name}  [dim]{what}[/dim]", soft_wrap=True)
    return ExitCode.OK


_DEMO_FILES = {
    "demo.mp4": "the clip",
    "overlay.mp4": "the clip with skeleton, angles and counter",
    "angles.png": "joint angles with repetition marks",
    "result.json": "everything, for programs",
    "series.csv": "angles and counts by frame",
    "series.parquet": "the same with every keypoint",
    "events.csv": "what happened, one row each",
}


# --- resuming ---------------------------------------------------------------------------------------
def _finished(job: Job, folder: Path, settings: PoseSettings, detector: Any) -> PoseSession | None:
    """The session in `folder` if it is complete and made from the same file, settings, models and version."""
    from pose_analyzer import __version__
    from pose_analyzer.pipeline import PoseSession
    from pose_analyzer.pipeline.analyze import file_fingerprint

    path = Path(job.source)
    if not (folder / "result.json").exists() or not path.is_file():
        return None
    try:
        session = PoseSession.load(folder)
    except PoseAnalyzerError:
        return None
    same = (
        session.complete
        and session.software_version == __version__
        and json.loads(json.dumps(session.settings)) == json.loads(json.dumps(settings.model_dump(mode="json")))
        and dict(session.models) == dict(detector.models)
        and session.source_info.get("sha256") == file_fingerprint(path)
    )
    return session if same else None


@contextlib.contextmanager
def _detector(settings: PoseSettings) -> Iterator[Any]:
    from pose_analyzer.pipeline.stream import make_detector

    detector = make_detector(settings)
    try:
        yield detector
    finally:
        detector.close()


def _check_exercise(settings: PoseSettings) -> None:
    """Refuse an unknown exercise before hours of decoding."""
    from pose_analyzer.exercise import load_profile
    from pose_analyzer.pipeline.stream import AUTO

    if settings.exercise.name not in (None, AUTO):
        load_profile(settings.exercise.name)


# --- progress ---------------------------------------------------------------------------------------
@contextlib.contextmanager
def _progress_bar(jobs: int, *, quiet: bool) -> Iterator[Bar | None]:
    screen = console_err()
    if quiet or not screen.is_terminal or jobs == 0:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[found]}"),
    )
    with Progress(*columns, console=screen, transient=True) as bar:
        yield bar


@contextlib.contextmanager
def _task(bar: Bar | None, title: str) -> Iterator[Callable[[Progress], None]]:
    if bar is None:
        yield lambda _: None
        return
    task = bar.add_task(title, total=None, rate="", found="")

    def report(p: Progress) -> None:
        speed = bar.tasks[bar.task_ids.index(task)].speed
        found = f"{p.repetitions} reps · {p.people} in view" if p.people or p.repetitions else ""
        bar.update(task, completed=p.frames, total=p.total, rate=f"{speed:.0f} frames/s" if speed else "", found=found)

    try:
        yield report
    finally:
        bar.remove_task(task)


def _counted(done: int, total: int | None) -> Progress:
    from pose_analyzer.pipeline import Progress

    return Progress(frames=done, total=total, timestamp_s=0.0, repetitions=0, people=0)


def _overview(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(title=f"{len(rows)} sources", title_justify="left")
    table.add_column("source", overflow="fold")
    for name in ("frames", "length s", "repetitions"):
        table.add_column(name, justify="right")
    table.add_column("result", overflow="fold")
    for row in rows:
        result = row.get("error") or ("complete" if row["complete"] else "; ".join(row["notes"]))
        numbers = (str(row.get(k, "-")) for k in ("frames", "duration_s", "repetition_count"))
        table.add_row(row["source"], *numbers, result)
    return table
