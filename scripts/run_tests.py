"""Run the tests the way CI does: both workers, coverage, floor per package, notebooks.

    python scripts/run_tests.py            everything; exit 1 if a test fails or a package is under its floor
    python scripts/run_tests.py WORDS      pytest WORDS and nothing more (no coverage, no notebooks)

Pytest's own closing line stands in the output; the coverage of each package follows it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import check_coverage

ROOT = Path(__file__).resolve().parent.parent
WORKERS = "2"


# MediaPipe brings its own copies of native libraries. In one process with everything else they bring the
# interpreter down now and then, so the detectors' tests have processes of their own.
APART = "projects/pose_analyzer/tests/detection"


def suites(root: Path, report: Path) -> list[list[str]]:
    """Words of the pytest runs: the detectors, then the packages, the scripts and, where there are some, the notebooks."""
    common = ["-q", "-n", WORKERS, "--dist", "loadfile", "--cov", "--cov-report=", "--durations=12"]
    rest = ["--cov-append", f"--cov-report=json:{report}", f"--ignore={APART}", "projects", "scripts/tests"]
    if any((root / "notebooks").glob("*.ipynb")):
        rest += ["--nbmake", "notebooks"]
    return [[*common, APART], [*common, *rest]]


def main(words: list[str]) -> int:
    report = ROOT / "out" / "coverage.json"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    # Two workers share the cores already; a thread pool per worker on top only makes them wait.
    env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **os.environ}
    code = 0
    for suite in [words] if words else suites(ROOT, report):
        code = subprocess.run([sys.executable, "-m", "pytest", *suite], cwd=ROOT, env=env, check=False).returncode or code
    if words:
        return code
    if not report.is_file():
        print("coverage: no report was written", file=sys.stderr)
        return code or 1
    lines, good = check_coverage.check(json.loads(report.read_text()), check_coverage.own_packages())
    print("\n".join(lines))
    return code or int(not good)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
