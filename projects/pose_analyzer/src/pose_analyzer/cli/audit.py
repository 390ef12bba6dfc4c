"""`pose-analyzer audit`: how accurate the angles are, measured on scenes whose truth is known; and the calibration of their bands.

Results go to a folder: `audit.json` (all tables), `audit.md` (the main ones) and one Bland-Altman plot per joint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pose_analyzer.cli.common import JsonOption, console, console_err, print_json
from pose_analyzer.cli.exit_codes import ExitCode
from shared_utils.errors import ConfigError

if TYPE_CHECKING:
    from pose_analyzer.cli.audit_readings import Readings

SAGITTAL_GOAL_DEG = 3.0
"""Median error of knee, hip and elbow on the near side, seen from the side."""


_VERSUS = (
    "Near side; a cell is one azimuth at one picture height, 13 scenes. Better or worse is what keeps its sign in 95 % of draws of "
    "whole scenes with replacement. `lifted` is the best estimate in space; `picture` and `space` are the same network's landmarks."
)


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command("audit")(audit_command)


def audit_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for tables and plots.")] = Path("out/audit"),
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder that keeps filmed scenes; default inside --out.", show_default=False)
    ] = None,
    detector: Annotated[str, typer.Option("--detector", "-d", help="blazepose or mediapipe.")] = "blazepose",
    looks: Annotated[int, typer.Option("--looks", help="Looks of blazepose at each person: 1, 2 or 4.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Three exercises from the side and the front, small pictures.")] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Fit error bands on the calibration scenes and write them to this file.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Measure the accuracy of angles against exact truth, beside the raw angles of MediaPipe's landmarks.

    The first run films 130 scenes (about 10 minutes on one core); later runs with the same cache take one. A calibration films 273.
    """
    from pose_analyzer.cli.audit_readings import readings, tables
    from pose_analyzer.cli.audit_scenes import film, scenes

    if looks != 1 and detector != "blazepose":
        raise ConfigError(f"--looks {looks} needs the detector blazepose, not {detector}")
    cache = out / "takes" if cache is None else cache
    if looks != 1:
        detector = f"{detector} x{looks}"
    if calibrate is not None:
        return _calibrate(calibrate, cache, detector, quick)
    wanted = scenes("held_out", quick=quick)
    takes = list(film(wanted, tuple(dict.fromkeys((detector, "mediapipe"))), cache=cache, progress=_teller(len(wanted))))
    found = readings(takes, detector)
    result = {"detector": detector, "scenes": len(takes), "readings": len(found), **tables(found)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "audit.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (out / "audit.md").write_text(as_markdown(result), encoding="utf-8")
    plots = plot_agreement(found, out)
    if as_json:
        print_json(result)
    else:
        console().print(as_markdown(result), markup=False, soft_wrap=True)
        console().print(f"written: {out / 'audit.json'}, {out / 'audit.md'} and {len(plots)} plots", soft_wrap=True)
    return ExitCode.OK


def _calibrate(path: Path, cache: Path, detector: str, quick: bool) -> int:
    from pose_analyzer.cli.audit_calibrate import calibrate
    from pose_analyzer.cli.audit_scenes import film, scenes

    wanted = scenes("calibration", quick=quick)
    takes = list(film(wanted, (detector,), cache=cache, progress=_teller(len(wanted))))
    command = f"pose-analyzer audit --calibrate {path.name}" + (" --quick" if quick else "")
    if detector != "blazepose":
        command += f" --detector {detector}"
    model = calibrate(takes, detector, command=command)
    path.write_text(model.to_json(), encoding="utf-8")
    console().print(f"written: {path} ({model.about['frames']} frames of {len(takes)} scenes)", soft_wrap=True)
    return ExitCode.OK


def _teller(total: int) -> Any:
    done = 0

    def tell(scene: Any) -> None:
        nonlocal done
        done += 1
        console_err().print(f"[{done}/{total}] {scene.exercise} {scene.azimuth_deg:g}° {scene.height_px} px", markup=False)

    return tell


def as_markdown(result: dict[str, Any]) -> str:
    """The main tables for people."""
    text = ["# Accuracy of angles", "", f"{result['scenes']} scenes, detector {result['detector']}; degrees, median / 95th percentile.", ""]
    text += ["## Near side, camera at the side", ""]
    head = ["joint", "measured", "picture height", "error", "strict evidence", "given", "MediaPipe", f"median ≤ {SAGITTAL_GOAL_DEG:g}°"]
    text += _table(
        head,
        [
            [
                _words(r["joint"]),
                r["kind"],
                f"{r['height_px']} px",
                _cell(r, ""),
                _cell(r, "strict_"),
                f"{100 * r['strict_share']:.0f} %",
                _cell(r, "mediapipe_"),
                _goal(r),
            ]
            for r in result["sagittal"]
        ],
    )
    for name, by, title in (
        ("by_azimuth", "azimuth_deg", "Near side, by camera azimuth"),
        ("by_exercise", "exercise", "Near side, by exercise"),
        ("by_height", "height_px", "Near side, all azimuths, by picture height"),
    ):
        text += [f"## {title}", "", "Ours, then MediaPipe's raw landmarks on the same frames.", ""]
        rows = result[name]
        values = list(dict.fromkeys(r[by] for r in rows))
        cells = {(r["joint"], r["kind"], r[by]): f"{_cell(r, '')} · {_cell(r, 'mediapipe_')}" for r in rows}
        keys = list(dict.fromkeys((r["joint"], r["kind"]) for r in rows))
        text += _table(["joint", "measured", *map(str, values)], [[_words(j), k, *(cells[j, k, v] for v in values)] for j, k in keys])
    text += ["## Against MediaPipe's raw angles", "", _VERSUS, ""]
    text += _table(
        ["joint", "measured", "cells", *(f"{m} {v}" for m in ("median", "95 %") for v in ("better", "alike", "worse")), "worse where"],
        [
            [
                *(_words(r["joint"]), r["kind"], str(r["cells"])),
                *(str(r[f"{m}_{v}"]) for m in ("median", "p95") for v in ("better", "alike", "worse")),
                "; ".join(r["worse_cells"]) or "–",
            ]
            for r in result["versus"]
            if r["cells"]
        ],
    )
    text += ["## Bands", "", "Share of readings within one and two standard deviations (goals 68 ± 8 % and 95 ± 4 %), behind the", ""]
    text[-2] += " default filter; scenes, bodies and cameras that the bands were not learnt on."
    text += _table(
        ["joint", "measured", "1 σ", "2 σ", "median σ", "met"],
        [
            [
                _words(r["joint"]),
                r["kind"],
                f"{100 * r['within_1_sigma']:.0f} %",
                f"{100 * r['within_2_sigma']:.0f} %",
                f"{r['median_sigma_deg']:.1f}°",
                "yes" if r["met"] else "no",
            ]
            for r in result["coverage"]
            if r["count"]
        ],
    )
    return "\n".join(text).rstrip() + "\n"


def plot_agreement(found: Readings, out: Path) -> list[Path]:
    """One Bland-Altman plot per joint and kind: difference to the truth over the mean of both, bias and limits."""
    import numpy as np
    from matplotlib.figure import Figure

    from pose_analyzer.biomechanics.agreement import agreement
    from pose_analyzer.cli.audit_readings import JOINTS, KINDS

    paths = []
    for joint in JOINTS:
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        for axes, kind in zip(figure.subplots(1, len(KINDS), sharey=True), KINDS, strict=True):
            chosen = found.where(joint=joint, kind=kind, near=True)
            error, true = chosen["error_deg"], chosen["true_deg"]
            keep = np.flatnonzero(np.isfinite(error))[:: max(len(error) // 4000, 1)]
            axes.plot((true + error / 2)[keep], error[keep], ".", markersize=1.5, alpha=0.4, rasterized=True)
            agreed = agreement(true + error, true)
            for value, style in ((agreed.bias, "-"), (agreed.lower, "--"), (agreed.upper, "--")):
                axes.axhline(value, color="black", linestyle=style, linewidth=0.8)
            axes.set_title(f"{_words(joint)}, {kind}: {agreed.bias:+.1f}° ({agreed.lower:.0f} .. {agreed.upper:.0f})", fontsize=9)
            axes.set_xlabel("mean of measured and true, degrees")
            axes.set_ylim(-60, 60)
        figure.axes[0].set_ylabel("measured - true, degrees")
        path = out / f"bland_altman_{joint}.png"
        figure.savefig(path, dpi=110, metadata={"Software": None})
        paths.append(path)
    return paths


def _cell(row: dict[str, Any], prefix: str) -> str:
    median, p95 = row[f"{prefix}median_deg"], row[f"{prefix}p95_deg"]
    return "–" if median is None else f"{median:.1f} / {p95:.1f}"


def _goal(row: dict[str, Any]) -> str:
    if row["kind"] != "picture" or row["joint"] == "shoulder_elevation" or row["median_deg"] is None:
        return ""
    return "yes" if row["median_deg"] <= SAGITTAL_GOAL_DEG else "no"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(r) + " |" for r in rows), ""]
