"""`pose-analyzer export`: a result folder in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pose_analyzer.cli.common import JsonOption, console, print_json
from pose_analyzer.cli.exit_codes import ExitCode
from shared_utils.errors import ConfigError

if TYPE_CHECKING:
    from pose_analyzer.biomechanics import GroundPlane
    from pose_analyzer.pipeline import PoseSession

_HELP = "csv, parquet, json, coco, mot (MOT Challenge), trc (OpenSim markers) or opensim-mot (OpenSim joint angles)."


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command("export")(export_command)


def export_command(
    folder: Annotated[Path, typer.Argument(help="Folder that analyze wrote.", metavar="RESULT_FOLDER")],
    format_: Annotated[str, typer.Option("--format", "-f", help=_HELP)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; mot takes a folder, too. (default: in RESULT_FOLDER)", show_default=False),
    ] = None,
    person: Annotated[int | None, typer.Option("--person", "-p", help="Track id of one person.", show_default=False)] = None,
    keypoints: Annotated[str, typer.Option(help="coco: coco_17, or native for the detector's own set.")] = "coco_17",
    size: Annotated[
        str | None, typer.Option(help="coco, mot, trc with --height: WIDTHxHEIGHT in px, where the result lacks it.", show_default=False)
    ] = None,
    ground_truth: Annotated[bool, typer.Option("--ground-truth", help="mot: columns of a gt.txt.")] = False,
    units: Annotated[str, typer.Option(help="trc: m or mm.")] = "m",
    floor: Annotated[
        bool, typer.Option("--floor", help="trc: lowest foot at Y = 0; default the hips' middle is the origin of every frame.")
    ] = False,
    height: Annotated[
        float | None,
        typer.Option("--height", help="trc: everybody's height in m; places people on the floor they stand on.", show_default=False),
    ] = None,
    fov: Annotated[float, typer.Option("--fov", help="trc with --height: vertical angle of view, degrees.")] = 50.0,
    rate: Annotated[
        float | None, typer.Option("--rate", help="trc, opensim-mot: rows per second. (default: as filmed)", show_default=False)
    ] = None,
    even: Annotated[bool, typer.Option("--even", help="opensim-mot: even times; default those of the frames.")] = False,
    space: Annotated[
        str, typer.Option(help="opensim-mot: angles of the image plane (image), of landmarks in space (3d) or of lifted ones (lifted).")
    ] = "image",
    names: Annotated[str, typer.Option(help="opensim-mot: opensim's coordinates, or all angles under their own names (own).")] = "opensim",
    as_json: JsonOption = False,
) -> int:
    """Write a result for other tools: COCO, MOT Challenge, OpenSim, tables."""
    from pose_analyzer.pipeline import PoseSession
    from pose_analyzer.reporting import EXPORT_FORMATS, export_session

    session = PoseSession.load(folder)
    pixels = None if size is None else _size(size)
    takes = EXPORT_FORMATS[format_].takes if format_ in EXPORT_FORMATS else ()
    options: dict[str, Any] = {
        "track_id": person,
        "keypoints": keypoints,
        "size": None if height is not None and "ground" in takes else pixels,
        "ground_truth": ground_truth,
        "units": units,
        "floor": floor,
        "ground": None if height is None else _ground(session, height, fov, pixels),
        "rate_hz": rate,
        "even": even,
        "space": space,
        "names": names,
    }
    usual = f"export{EXPORT_FORMATS[format_].suffix}" if format_ in EXPORT_FORMATS else "export"
    written = export_session(session, folder / usual if out is None else out, format=format_, **options)
    if as_json:
        print_json({"format": format_, "files": [str(p) for p in written]})
    else:
        console().print("written: " + ", ".join(map(str, written)), soft_wrap=True, markup=False)
    return ExitCode.OK


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise ConfigError(f"--size must be WIDTHxHEIGHT in px, for example 1280x720; got {text!r}")
    return int(parts[0]), int(parts[1])


def _ground(session: PoseSession, height_m: float, fov_deg: float, size: tuple[int, int] | None) -> GroundPlane:
    """The floor under the people of a session."""
    from pose_analyzer.biomechanics import GroundPlane, focal_px_from_fov
    from pose_analyzer.reporting.people import picture_size

    width, height = picture_size(session, size)
    poses = [frame.poses for frame in session.people()]
    focal_px = focal_px_from_fov(height, fov_deg)
    return GroundPlane.from_people(poses, height_m=height_m, focal_px=focal_px, width=width, height=height)
