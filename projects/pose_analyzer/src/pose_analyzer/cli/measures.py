"""`pose-analyzer measures`: how somebody moved, out of a result folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pose_analyzer.cli.common import JsonOption, console, print_json
from pose_analyzer.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.table import Table

    from pose_analyzer.pipeline.measures import MovementMeasures


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command("measures")(measures_command)


def measures_command(
    folder: Annotated[Path, typer.Argument(help="Folder that analyze wrote.", metavar="RESULT_FOLDER")],
    person: Annotated[
        int | None, typer.Option("--person", "-p", help="Track id; default: who has most repetitions.", show_default=False)
    ] = None,
    height: Annotated[
        float | None, typer.Option("--height", help="The person's height in m, for lengths in metres.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Ranges of motion, symmetry, tempo, depth, the bar's way and steadiness of one person."""
    from pose_analyzer.pipeline import PoseSession
    from pose_analyzer.pipeline.measures import measure_movement

    found = measure_movement(PoseSession.load(folder), track_id=person, height_m=height)
    if as_json:
        print_json(found.to_dict())
        return ExitCode.OK
    for table in (ranges_table(found), repetitions_table(found)):
        console().print(table)
    if math.isfinite(found.sway):
        console().print(f"sway of the feet: {found.sway:.3f} {found.unit}")
    return ExitCode.OK


def ranges_table(found: MovementMeasures) -> Table:
    """Range of motion of each joint, left beside right."""
    from rich.table import Table

    table = Table(title=f"person {found.track_id}: range of motion, degrees", title_justify="left", title_style="bold")
    for name in ("joint", "left", "right", "diff", "imbalance %", "lag s"):
        table.add_column(name, justify="left" if name == "joint" else "right", no_wrap=name in ("joint", "left", "right"))
    joints = list(dict.fromkeys(name.partition("_")[2] for name in found.ranges_deg))
    for joint in joints:
        sides = [found.ranges_deg.get(f"{side}_{joint}") for side in ("left", "right")]
        cells = ["-" if r is None else f"{r[0]:.0f} .. {r[1]:.0f} ({r[2]:.0f})" for r in sides]
        both = found.symmetry.get(joint, {})
        figures = [(both.get("range_difference_deg"), 1, ".0f"), (both.get("imbalance"), 100, ".0f"), (both.get("lag_s"), 1, ".2f")]
        table.add_row(joint.replace("_", " "), *cells, *(_number(value, factor, form) for value, factor, form in figures))
    return table


def repetitions_table(found: MovementMeasures) -> Table:
    """Every repetition: range, tempo, depth, the hands' way, form."""
    from rich.table import Table

    table = Table(
        title=f"repetitions; depth of the hips below the knees, rise and drift of the hands in {found.unit}",
        title_justify="left",
        title_style="bold",
    )
    for name in ("#", "start s", "range °", "down s", "pause s", "up s", "depth", "rise", "drift", "form"):
        table.add_column(name, justify="right")
    for r in found.repetitions:
        seconds = (r.eccentric_s, r.pause_s, r.concentric_s)
        table.add_row(
            str(r.number),
            f"{r.start_s:.2f}",
            _number(r.range_deg, 1, ".0f"),
            *(_number(value, 1, ".2f") for value in seconds),
            *(_number(value, 1, "+.3f" if value is r.depth else ".3f") for value in (r.depth, r.path_rise, r.path_drift)),
            _number(r.form_score, 1, ".0f"),
        )
    return table


def _number(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(factor * value, form)
