"""`pose-analyzer plot`: pictures of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pose_analyzer.cli.common import console
from pose_analyzer.cli.exit_codes import ExitCode
from shared_utils.errors import ConfigError

_KINDS = {
    "angles": "angles over time with error bands",
    "range": "range of motion, left and right",
    "path": "way of the bar or a joint",
    "form": "faults by repetition",
    "reference": "a repetition beside its reference",
}


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command("plot")(plot_command)


def plot_command(
    folder: Annotated[Path, typer.Argument(help="Folder that analyze wrote.", metavar="RESULT_FOLDER")],
    kind: Annotated[str, typer.Argument(help="; ".join(f"{k}: {v}" for k, v in _KINDS.items()) + ".")] = "angles",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG to write. (default: KIND.png in RESULT_FOLDER)", show_default=False)
    ] = None,
    person: Annotated[int | None, typer.Option("--person", "-p", help="Track id. (default: most repetitions)", show_default=False)] = None,
    dark: Annotated[bool, typer.Option("--dark", help="Light on dark.")] = False,
    angle: Annotated[
        list[str] | None,
        typer.Option("--angle", "-a", help="angles: a joint, for example knee_flexion; may be repeated.", show_default=False),
    ] = None,
    point: Annotated[str, typer.Option(help="path: bar (middle between the wrists) or a keypoint, for example left_wrist.")] = "bar",
    colour_by: Annotated[str, typer.Option("--by", help="path: speed or repetition.")] = "speed",
    height: Annotated[
        float | None, typer.Option("--height", help="path: the person's height, m; body heights else.", show_default=False)
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", "-r", help="form, reference: name or file. (default: by exercise)", show_default=False)
    ] = None,
    repetition: Annotated[
        int | None, typer.Option("--repetition", "-n", help="reference: its number. (default: deviates most)", show_default=False)
    ] = None,
) -> int:
    """Draw a result: angles, range of motion, path of the bar, form, comparison with the reference."""
    from pose_analyzer.pipeline import PoseSession

    if kind not in _KINDS:
        raise ConfigError(f"there is no plot {kind!r}; there are {', '.join(_KINDS)}")
    if colour_by not in ("speed", "repetition"):
        raise ConfigError(f"--by must be speed or repetition, got {colour_by!r}")
    session = PoseSession.load(folder)
    path = folder / f"{kind}.png" if out is None else out
    common: dict[str, Any] = {"track_id": person, "theme": "dark" if dark else "light"}
    if kind == "angles":
        session.plot(path, angles=angle or None, **common)
    elif kind == "range":
        session.plot_range(path, **common)
    elif kind == "path":
        session.plot_path(path, point=point, colour_by="repetition" if colour_by == "repetition" else "speed", height_m=height, **common)
    elif kind == "form":
        session.plot_form(path, reference=reference, **common)
    else:
        session.plot_reference(path, reference=reference, repetition=repetition, **common)
    console().print(f"written: {path}", soft_wrap=True, markup=False)
    return ExitCode.OK
