"""`pose-analyzer synth` and `convert`: commands that make video files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pose_analyzer.cli.analyze import _counted, _progress_bar, _task
from pose_analyzer.cli.common import console
from pose_analyzer.cli.exit_codes import ExitCode


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    app.command("synth")(synth_command)
    app.command("convert")(convert_command)


def synth_command(
    spec: Annotated[Path, typer.Argument(help="YAML description of the scene.", metavar="SPEC.yaml")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Clip to write; its truth goes beside it.")],
) -> int:
    """Film a synthetic scene: a clip and, beside it, its exact truth."""
    from pose_analyzer.synthetic import synthesize

    with _progress_bar(1, quiet=False) as bar, _task(bar, f"filming {spec.name}") as report:
        path = synthesize(spec, out, progress=lambda done, total: report(_counted(done, total)))
    console().print(f"written: {path} and its truth beside it", soft_wrap=True)
    return ExitCode.OK


def convert_command(
    source: Annotated[Path, typer.Argument(help="Any video FFmpeg reads, for example a recorder's .dav file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="MP4 to write. (default: beside the source)", show_default=False)] = None,
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality when pictures must be encoded again: lower is better.")] = 23,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the MP4 if it exists.")] = False,
) -> int:
    """Convert a recording to MP4, keeping its timestamps; pictures are copied unchanged where possible."""
    from pose_analyzer.video import convert

    target = out or source.with_suffix(".mp4")
    with _progress_bar(1, quiet=False) as bar, _task(bar, f"converting {source.name}") as report:
        done = convert(
            source,
            target,
            crf=crf,
            overwrite=overwrite,
            progress=lambda done_s, total_s: report(_counted(round(done_s), None if total_s is None else round(total_s))),
        )
    how = "copied without loss" if done.how == "copied" else "encoded anew"
    console().print(f"written: {done.path} ({how}, {done.frames} pictures, {done.duration_s:.1f} s)", soft_wrap=True)
    if done.damage:
        console().print(f"note: {done.damage}", style="yellow", soft_wrap=True)
        return ExitCode.PARTIAL
    return ExitCode.OK
