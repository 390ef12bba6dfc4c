"""`pose-analyzer reference build|show|compare|train`: references of form, from the athlete or from a user's own clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pose_analyzer.cli.common import JsonOption, console, print_json
from pose_analyzer.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from pose_analyzer.exercise.findings import FormScore
    from pose_analyzer.exercise.reference import Reference


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    group = typer.Typer(no_args_is_help=True, help="References of form: what good repetitions look like.")
    group.command("build")(build_command)
    group.command("show")(show_command)
    group.command("compare")(compare_command)
    group.command("train")(train_command)
    app.add_typer(group, name="reference")


def build_command(
    exercise: Annotated[str, typer.Argument(help="Exercise, for example squat.")],
    clip: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Video of good repetitions; may be repeated. (default: the athlete)", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write. (default: data/pose_references/)", show_default=False)
    ] = None,
    people: Annotated[int, typer.Option(min=2, max=200, help="Sets of the athlete, each with another body.")] = 16,
    reps: Annotated[int, typer.Option(min=1, max=20, help="Repetitions of each set of the athlete.")] = 2,
) -> int:
    """Build a reference from good repetitions: those of the athlete, or those of your own clips."""
    from pose_analyzer.cli.reference_athlete import athlete_reference, clip_reference
    from pose_analyzer.exercise import load_profile

    name = load_profile(exercise).name
    target = out or _default_folder() / f"{name}.json"
    reference = clip_reference(name, clip) if clip else athlete_reference(name, people=people, reps=reps)
    path = reference.save(target)
    directions = ", ".join(f"{v.azimuth_deg:g}° ({v.repetitions})" for v in reference.views)
    console().print(f"written: {path}; views (repetitions): {directions}", soft_wrap=True)
    return ExitCode.OK


def show_command(
    name: Annotated[str, typer.Argument(help="Exercise, or a reference's JSON file.")],
    as_json: JsonOption = False,
) -> int:
    """Show a reference: its views, what each shows, its values at the turning point."""
    from pose_analyzer.exercise.reference import load_reference

    reference = load_reference(name)
    rows = _rows(reference)
    if as_json:
        print_json({"exercise": reference.exercise, "source": reference.source, "limits": dict(reference.limits), "views": rows})
        return ExitCode.OK
    from rich.table import Table

    table = Table(title=f"{reference.exercise}: {reference.source}")
    for column in ("view", "repetitions", "feature", "at the turn", "spread", "from", "to"):
        table.add_column(column, justify="left" if column == "feature" else "right")
    for row in rows:
        for i, (feature, f) in enumerate(row["features"].items()):
            head = (f"{row['azimuth_deg']:g}°", str(row["repetitions"])) if i == 0 else ("", "")
            table.add_row(*head, feature, *(f"{f[k]:.0f}°" for k in ("turn", "spread", "least", "most")))
    console().print(table)
    return ExitCode.OK


def compare_command(
    source: Annotated[Path, typer.Argument(help="Video of somebody doing the exercise.")],
    name: Annotated[str, typer.Option("--reference", "-r", help="Exercise, or a reference's JSON file.")],
    as_json: JsonOption = False,
) -> int:
    """Score every repetition of a clip against a reference."""
    from pose_analyzer.cli.reference_athlete import score_clip
    from pose_analyzer.exercise.reference import load_reference

    scores = score_clip(source, load_reference(name))
    if as_json:
        print_json([_plain(s) for s in scores])
        return ExitCode.OK
    if not scores:
        console().print("no repetition was seen from its beginning to its end")
        return ExitCode.PARTIAL
    for s in scores:
        head = f"person {s.track_id}, repetition {s.number or 'partial'} ({s.start_s:.1f} to {s.end_s:.1f} s)"
        if s.score != s.score:  # NaN
            console().print(f"{head}: no reference for this view ({s.azimuth_deg:.0f}°)")
            continue
        lost = ", ".join(f"{joint} -{points:.0f}" for joint, points in sorted(s.parts.items(), key=lambda p: -p[1]) if points >= 0.5)
        console().print(f"{head}: {s.score:.0f} of 100" + (f" ({lost})" if lost else ""), soft_wrap=True)
        for finding in s.findings:
            console().print(f"  frame {finding.frame}: {finding.message}", soft_wrap=True)
        if s.not_judged:
            console().print(f"  not to be seen from here: {', '.join(s.not_judged)}", style="dim")
    return ExitCode.OK


def train_command(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write. (default: by the references)")] = None,
    people: Annotated[int, typer.Option(min=2, max=200, help="Athletes per exercise.")] = 5,
) -> int:
    """Train the recogniser of exercises on the athlete."""
    from pose_analyzer.cli.recognizer_training import athlete_model
    from pose_analyzer.exercise.recognizer import MODEL_FILE

    model = athlete_model(people=people)
    path = model.save(out or _default_folder() / MODEL_FILE)
    console().print(f"written: {path}; it knows {', '.join(model.labels)}", soft_wrap=True)
    return ExitCode.OK


def _default_folder() -> Path:
    from pose_analyzer.exercise.reference import reference_folders

    folders = reference_folders()
    return folders[0] if folders else Path("data/pose_references")


def _rows(reference: Reference) -> list[dict[str, Any]]:
    from pose_analyzer.exercise.recording import PHASE_OF_SAMPLE

    turn = [i for i, p in enumerate(PHASE_OF_SAMPLE) if p == "turn"]
    return [
        {
            "azimuth_deg": v.azimuth_deg,
            "repetitions": v.repetitions,
            "distance_limit": v.distance_limit,
            "faults_known": sorted(v.signatures),
            "features": {
                name: {
                    "turn": float(v.mean[turn, i].mean()),
                    "spread": float(v.phase_spread["turn"][i]),
                    "least": float(v.mean[:, i].min()),
                    "most": float(v.mean[:, i].max()),
                }
                for i, name in enumerate(v.features)
            },
        }
        for v in reference.views
    ]


def _plain(s: FormScore) -> dict[str, Any]:
    known = s.score == s.score
    return {
        "track_id": s.track_id,
        "repetition": s.number,
        "start_s": s.start_s,
        "end_s": s.end_s,
        "score": round(s.score, 1) if known else None,
        "parts": {k: round(v, 2) for k, v in s.parts.items()},
        "view_deg": s.view_deg if known else None,
        "unusual": s.unusual,
        "findings": [f.data() | {"frame": f.frame, "message": f.message} for f in s.findings],
        "not_judged": list(s.not_judged),
    }
