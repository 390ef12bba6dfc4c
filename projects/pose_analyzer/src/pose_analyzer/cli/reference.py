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
    from pose_analyzer.pipeline.references import Comparison


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
    people: Annotated[int, typer.Option(min=2, max=40, help="Athletes for each view, each with another body.")] = 4,
    kept: Annotated[
        Path | None, typer.Option("--cache", help="Folder of the athlete's detections. (default: the user's cache)", show_default=False)
    ] = None,
) -> int:
    """Build a reference from good repetitions: those of the athlete, filmed and detected, or those of your own clips."""
    from platformdirs import user_cache_path

    from pose_analyzer.exercise import load_profile
    from pose_analyzer.pipeline.references import athlete_reference, clip_reference

    name = load_profile(exercise).name
    target = out or _default_folder() / f"{name}.json"
    if clip:
        reference = clip_reference(name, clip)
    else:
        folder = kept or user_cache_path("pose-analyzer", appauthor=False) / "takes"
        with console().status(f"{name}: the athlete is filmed") as status:
            reference = athlete_reference(
                name, people=people, folder=folder, told=lambda done, n: status.update(f"{name}: {done} of {n} sets are filmed")
            )
    path = reference.save(target)
    directions = ", ".join(f"{v.azimuth_deg:g}° ({v.repetitions})" for v in reference.views)
    console().print(f"written: {path}; views (repetitions): {directions}", soft_wrap=True)
    return ExitCode.OK


def show_command(
    name: Annotated[str, typer.Argument(help="Exercise, or a reference's JSON file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="PNG to write: the body and its curves.", show_default=False)] = None,
    view: Annotated[float | None, typer.Option(help="View of the picture, degrees. (default: the clearest)", show_default=False)] = None,
    as_json: JsonOption = False,
) -> int:
    """Show a reference: its views, what each shows, its values at the turning point; as a picture, too."""
    from pose_analyzer.exercise.reference import load_reference

    reference = load_reference(name)
    if out is not None:
        from pose_analyzer.exercise.reference_plot import save_reference_plot

        console().print(f"written: {save_reference_plot(reference, out, view_deg=view)}", soft_wrap=True)
        return ExitCode.OK
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
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG to write: evidence beside the reference's body.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Score every repetition of a clip against a reference."""
    from pose_analyzer.exercise.reference import load_reference
    from pose_analyzer.pipeline.references import compare_clip

    comparison = compare_clip(source, load_reference(name))
    drawn = None if out is None else _draw_evidence(comparison, out)
    if as_json:
        print_json([_plain(s) for s in comparison.scores])
        return ExitCode.OK
    if not comparison.scores:
        console().print("no repetition was seen from its beginning to its end")
        return ExitCode.PARTIAL
    for s in comparison.scores:
        _print_score(s)
    if out is not None:
        console().print(f"written: {drawn}" if drawn else "no evidence to draw: nothing was found", soft_wrap=True)
    return ExitCode.OK


def _print_score(s: FormScore) -> None:
    head = f"person {s.track_id}, repetition {s.number or 'partial'} ({s.start_s:.1f} to {s.end_s:.1f} s)"
    if s.score != s.score:  # NaN
        console().print(f"{head}: no reference for this view ({s.azimuth_deg:.0f}°)")
        return
    lost = ", ".join(f"{joint} -{points:.0f}" for joint, points in sorted(s.parts.items(), key=lambda p: -p[1]) if points >= 0.5)
    console().print(f"{head}: {s.score:.0f} of 100" + (f" ({lost})" if lost else ""), soft_wrap=True)
    for finding in s.findings:
        console().print(f"  frame {finding.frame}: {finding.message}", soft_wrap=True)
    if s.not_judged:
        hidden = ", ".join(n.replace("_", " ") for n in s.not_judged)
        console().print(f"  cannot be seen from here: {hidden}", style="dim", soft_wrap=True)


def _draw_evidence(comparison: Comparison, out: Path) -> Path | None:
    """The PNG's path; None when there is nothing to draw."""
    from PIL import Image

    from pose_analyzer.pipeline.references import evidence_sheet

    sheet = evidence_sheet(comparison)
    if sheet is None:
        return None
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(out, format="PNG")
    return out


def train_command(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write. (default: by the references)")] = None,
    people: Annotated[int, typer.Option(min=5, max=5000, help="Performances of each exercise, each in another style.")] = 450,
) -> int:
    """Train the recogniser of exercises on stick figures; takes some minutes."""
    from pose_analyzer.cli.recognizer_training import figure_model
    from pose_analyzer.exercise.recognizer import MODEL_FILE

    model = figure_model(people=people)
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
