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
from pose_analyzer.cli.audit_readings import readings, tables
from pose_analyzer.cli.audit_scenes import film, scenes

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
    return "\n".join([*lines, "", "Command: `pose-analyzer audit`; it also draws a Bland-Altman plot for each joint."])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three exercises, small pictures")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    print(json.dumps(accuracy_rows(quick=options.quick, cache=options.cache), indent=1))
