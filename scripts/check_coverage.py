"""Fail when a package's share of covered lines is below its floor, and say which package it is.

    python scripts/check_coverage.py out/coverage.json [--floor 85]

Reads coverage.py's JSON report. Each folder projects/<package>/src is one package; a package
without a single line in the report was never imported, which is a failure as well.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path, PurePath

ROOT = Path(__file__).resolve().parent.parent
FLOOR_PERCENT = 85.0


def covered_lines(report: dict) -> dict[str, tuple[int, int]]:
    """Package -> (lines covered, lines there are), by the folder that follows `src` in each path."""
    totals: dict[str, tuple[int, int]] = {}
    for name, entry in report["files"].items():
        parts = PurePath(name.replace("\\", "/")).parts
        if "src" not in parts[:-1]:
            continue
        package = parts[parts.index("src") + 1]
        hit, all_lines = totals.get(package, (0, 0))
        summary = entry["summary"]
        totals[package] = (hit + summary["covered_lines"], all_lines + summary["num_statements"])
    return totals


def check(report: dict, packages: list[str], floor_percent: float = FLOOR_PERCENT) -> tuple[list[str], bool]:
    """One line per package, and whether all of them reach the floor."""
    totals, lines, good = covered_lines(report), [], True
    for package in packages:
        hit, all_lines = totals.get(package, (0, 0))
        percent = 100.0 * hit / all_lines if all_lines else 0.0
        enough = all_lines > 0 and percent >= floor_percent
        good &= enough
        verdict = "ok" if enough else f"BELOW {floor_percent:g} %" if all_lines else "NO LINE of it was measured"
        lines.append(f"coverage {package:16} {percent:6.2f} % of {all_lines} lines: {verdict}")
    return lines, good


def own_packages(root: Path = ROOT) -> list[str]:
    return sorted(path.name for path in root.glob("projects/*/src/*") if (path / "__init__.py").is_file())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, nargs="?", default=ROOT / "out" / "coverage.json")
    parser.add_argument("--floor", type=float, default=FLOOR_PERCENT, help="percent of lines (default %(default)s)")
    arguments = parser.parse_args()
    try:
        report = json.loads(arguments.report.read_text())
    except (OSError, json.JSONDecodeError) as error:
        sys.exit(f"check_coverage: {arguments.report} is not a coverage report ({error}); run `make test` first")
    lines, good = check(report, own_packages(), arguments.floor)
    print("\n".join(lines))
    return not good


if __name__ == "__main__":
    sys.exit(main())
