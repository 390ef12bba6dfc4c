"""Accuracy of angles as plain rows, for docs/ACCURACY.md.

    python projects/pose_analyzer/benchmarks/bench_angles.py [--quick] [--cache DIR]

The same measurement as `pose-analyzer audit`; filmed scenes are kept in `out/audit/takes` of the repository.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pose_analyzer.cli.audit import as_markdown
from pose_analyzer.cli.audit_readings import JOINTS, KINDS, readings, summary, tables
from pose_analyzer.cli.audit_scenes import film, scenes
from pose_analyzer.cli.audit_versus import VERDICTS, versus
from pose_analyzer.detection.blazepose.looks import LOOKS

CACHE = Path(__file__).parents[3] / "out" / "audit" / "takes"


def accuracy_rows(*, quick: bool = False, cache: Path | None = CACHE, detector: str = "blazepose") -> dict[str, list[dict[str, Any]]]:
    """Table -> rows; see `pose_analyzer.cli.audit_readings.tables` for the tables and `summary` for the columns."""
    takes = film(scenes("held_out", quick=quick), tuple(dict.fromkeys((detector, "mediapipe"))), cache=cache)
    return tables(readings(takes, detector))


def accuracy_markdown(*, cache: Path | None = CACHE) -> str:
    """The section of docs/ACCURACY.md."""
    takes = list(film(scenes("held_out"), ("blazepose", "mediapipe"), cache=cache))
    text = as_markdown({"detector": "blazepose", "scenes": len(takes), **tables(readings(takes, "blazepose"))})
    # One level down: the document has a title of its own.
    lines = [f"#{line}" if line.startswith("#") else line for line in text.splitlines()]
    lines += ["", "Command: `pose-analyzer audit`; it also draws a Bland-Altman plot for each joint.", "", *looks_markdown(cache=cache)]
    return "\n".join(lines)


def looks_markdown(*, cache: Path | None = CACHE) -> list[str]:
    """What `detection.looks` is worth: errors of the near side by joint, and cells of camera and size against MediaPipe's raw angles."""
    text = [
        "### Several looks",
        "",
        "The same scenes with `detection.looks`: near side, all cameras and sizes; readings that MediaPipe gives too; degrees: median /",
        "95th percentile; then how many cells of azimuth and height are better / alike / worse than MediaPipe's raw angle with the most",
        "looks, told as above.",
        "",
    ]
    cells: dict[tuple[str, str], list[str]] = {}
    for looks in LOOKS:
        name = "blazepose" if looks == 1 else f"blazepose x{looks}"
        found = readings(film(scenes("held_out"), tuple(dict.fromkeys((name, "mediapipe"))), cache=cache), name).where(near=True)
        for row in versus(found.columns, JOINTS, KINDS):
            line = cells.setdefault((row["joint"], row["kind"]), [])
            errors = summary(found.where(joint=row["joint"], kind=row["kind"]))
            line += [_cell(errors, "mediapipe_")] if not line else []
            line.append(_cell(errors, "same_frames_"))
            if looks == max(LOOKS):
                line += [" / ".join(str(row[f"{measure}_{verdict}"]) for verdict in VERDICTS) for measure in ("median", "p95")]
    head = ["joint", "measured", "MediaPipe", *(f"looks: {n}" for n in LOOKS), "cells by median", "cells by 95 %"]
    text += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    text += [f"| {joint.replace('_', ' ')} | {kind} | " + " | ".join(line) + " |" for (joint, kind), line in cells.items()]
    return [*text, "", "Command: `pose-analyzer audit --looks 4`."]


def _cell(row: dict[str, Any], prefix: str) -> str:
    return f"{row[f'{prefix}median_deg']} / {row[f'{prefix}p95_deg']}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three exercises, small pictures")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    print(json.dumps(accuracy_rows(quick=options.quick, cache=options.cache), indent=1))
