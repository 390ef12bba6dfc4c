"""`pose-analyzer compare`: two recordings beside each other, on one clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pose_analyzer.cli.common import ExerciseOption, console, console_err, stoppable
from pose_analyzer.cli.exit_codes import ExitCode
from pose_analyzer.errors import MissingSourceError

if TYPE_CHECKING:
    from pose_analyzer.pipeline import PoseSession


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command("compare")(compare_command)


def compare_command(
    first: Annotated[Path, typer.Argument(help="Result folder or video; goes to the left, and its clock leads.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Result folder or video; goes to the right.", metavar="B")],
    out: Annotated[Path, typer.Option("--out", "-o", help="MP4 to write.")] = Path("out/compare.mp4"),
    exercise: ExerciseOption = None,
    align: Annotated[str, typer.Option(help="auto, repetitions, dtw, start or offset.")] = "auto",
    offset: Annotated[float, typer.Option(help="What happens at t in A happens at t + offset in B, s.")] = 0.0,
    angle: Annotated[str | None, typer.Option("--angle", "-a", help="Joint to show. (default: moves most)", show_default=False)] = None,
    person_a: Annotated[int | None, typer.Option(help="Track id in A. (default: most repetitions)", show_default=False)] = None,
    person_b: Annotated[int | None, typer.Option(help="Track id in B. (default: most repetitions)", show_default=False)] = None,
    video_a: Annotated[Path | None, typer.Option(help="What A measured. (default: looked for beside it)", show_default=False)] = None,
    video_b: Annotated[Path | None, typer.Option(help="What B measured. (default: looked for beside it)", show_default=False)] = None,
    label_a: Annotated[str, typer.Option(help="Name of A. (default: its source)", show_default=False)] = "",
    label_b: Annotated[str, typer.Option(help="Name of B. (default: its source)", show_default=False)] = "",
    height_px: Annotated[int, typer.Option(help="Height of both pictures, px.")] = 540,
    fps: Annotated[float | None, typer.Option(help="Pictures per second. (default: the faster source's)", show_default=False)] = None,
) -> int:
    """Write a video of two recordings side by side: same height, same phase, skeleton, count and angle.

    Videos are analysed first; give --exercise to count and to align them by repetitions. Of a result folder the measured video is
    looked for in it, beside it and here; failing that, its annotated video is shown.
    """
    with stoppable() as check:
        a, path_a, drawn_a = _measured(first, exercise, video_a, check)
        b, path_b, drawn_b = _measured(second, exercise, video_b, check)

        def tell(_: float) -> None:
            check()

        with console_err().status("drawing"):
            a.side_by_side(
                b,
                out,
                video=path_a,
                other_video=path_b,
                labels=(label_a, label_b),
                track_ids=(person_a, person_b),
                drawn=(drawn_a, drawn_b),
                fps=fps,
                progress=tell,
                align=align,
                offset_s=offset,
                joint=angle,
                height_px=height_px,
            )
    console().print(f"written: {out}", soft_wrap=True, markup=False)
    return ExitCode.OK


def _measured(place: Path, exercise: str | None, video: Path | None, check: Callable[[], None]) -> tuple[PoseSession, Path, bool]:
    """A session, its video, and whether that shows skeletons already."""
    from pose_analyzer.pipeline import PoseSession, Progress, analyze

    if place.is_dir():
        session = PoseSession.load(place)
        path, drawn = _video_of(session, place) if video is None else (video, False)
        return session, path, drawn

    def tell(progress: Progress) -> None:
        check()

    with console_err().status(f"measuring {place.name}"):
        return analyze(place, exercise=exercise, progress=tell), place, False


def _video_of(session: PoseSession, folder: Path) -> tuple[Path, bool]:
    """The video that was measured, if it lies about unchanged; else the annotated one.

    Raises:
        MissingSourceError: There is neither.
    """
    from pose_analyzer.pipeline.analyze import VIDEO_FILE, file_fingerprint

    known = session.source_info.get("sha256")
    for path in (folder / session.source, folder.parent / session.source, Path(session.source)):
        if path.is_file() and (known is None or file_fingerprint(path) == known):
            return path, False
    if (folder / VIDEO_FILE).is_file():
        return folder / VIDEO_FILE, True
    raise MissingSourceError(
        f"the video {session.source} of {folder} was not found, nor an annotated one; give it by --video-a or --video-b"
    )
