"""`pose-analyzer track-eval`: how well people keep their identity, in MOT Challenge's terms."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pose_analyzer.cli.common import JsonOption, console, print_json
from pose_analyzer.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from pose_analyzer.tracking.evaluation import MotScore

_NAMES = ("bytetrack", "botsort", "deepsort", "oks")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command("track-eval")(track_eval_command)


def track_eval_command(
    truth: Annotated[Path, typer.Argument(help="A MOT Challenge folder (gt/gt.txt, det/det.txt, seqinfo.ini) or its gt.txt.")],
    results: Annotated[list[Path] | None, typer.Argument(help="Results to score, in MOT Challenge's form.", show_default=False)] = None,
    trackers: Annotated[
        list[str] | None,
        typer.Option("--tracker", "-t", help="Run on the detections: bytetrack, botsort, deepsort, oks or all.", show_default=False),
    ] = None,
    detections: Annotated[
        Path | None, typer.Option("--detections", help="Detections, det.txt. (default: the folder's)", show_default=False)
    ] = None,
    tracker_config: Annotated[
        Path | None, typer.Option("--tracker-config", help="YAML with the settings of the one tracker asked for.", show_default=False)
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=1000, help="Frames per second. (default: seqinfo.ini's, else 25)", show_default=False)
    ] = None,
    benchmark: Annotated[
        Literal["MOT15", "MOT16", "MOT17", "MOT20"], typer.Option(help="Whose rules for what is left out; MOT15 leaves nothing out.")
    ] = "MOT15",
    peer: Annotated[bool, typer.Option("--peer", help="Score the `trackers` package's ByteTrack on the same detections too.")] = False,
    keep: Annotated[Path | None, typer.Option("--keep", help="Folder for the trackers' results.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> int:
    """Score identities: HOTA, MOTA, IDF1 and switches, by TrackEval.

    Scores result files, and trackers that are run here on the sequence's detections.
    """
    from dataclasses import replace

    from pose_analyzer.tracking import create_tracker
    from pose_analyzer.tracking.evaluation import evaluate_sequence, open_sequence

    names = list(_NAMES) if trackers and "all" in trackers else list(dict.fromkeys(trackers or []))
    unknown = [name for name in names if name not in _NAMES]
    if unknown:
        raise typer.BadParameter(f"there is no tracker {unknown[0]!r}; there are {', '.join(_NAMES)} and all", param_hint="--tracker")
    if tracker_config is not None and len(names) != 1:
        raise typer.BadParameter("goes with exactly one --tracker", param_hint="--tracker-config")
    if not names and not results and not peer:
        raise typer.BadParameter("nothing to score; give result files, --tracker or --peer", param_hint="RESULTS")
    sequence = open_sequence(truth)
    if detections is not None:
        sequence = replace(sequence, detections=detections)
    scores = evaluate_sequence(
        sequence,
        {name: partial(create_tracker, name, config=tracker_config) for name in names},  # type: ignore[arg-type]
        {path.stem if [p.stem for p in results or []].count(path.stem) == 1 else str(path): path for path in results or []},
        fps=fps or sequence.fps or 25.0,
        benchmark=benchmark,
        peer=peer,
        keep=keep,
    )
    _show(scores, as_json=as_json)
    return ExitCode.OK


def _show(scores: dict[str, MotScore], *, as_json: bool) -> None:
    if as_json:
        print_json({name: asdict(score) for name, score in scores.items()})
        return
    from rich.table import Table

    table = Table()
    for name in ("tracker", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "switches", "ids", "people"):
        table.add_column(name, justify="left" if name == "tracker" else "right")
    for name, s in scores.items():
        ratios = [f"{100 * value:.1f}" for value in (s.hota, s.det_a, s.ass_a, s.mota, s.idf1)]
        table.add_row(name, *ratios, str(s.id_switches), str(s.ids), str(s.true_people))
    console().print(table)
