"""The coverage floor holds for each package by itself."""

from __future__ import annotations

import json
import sys

import check_coverage


def report(**lines: tuple[int, int]) -> dict:
    """A coverage report with two files per package, the lines split between them."""
    files = {}
    for package, (hit, total) in lines.items():
        files[f"projects/x/src/{package}/a.py"] = {"summary": {"covered_lines": hit - 1, "num_statements": total - 2}}
        files[f"projects/x/src/{package}/sub/b.py"] = {"summary": {"covered_lines": 1, "num_statements": 2}}
    return {"files": files}


def test_a_package_below_the_floor_is_named_though_the_others_are_full():
    lines, good = check_coverage.check(report(alpha=(100, 100), beta=(849, 1000)), ["alpha", "beta"])
    assert not good
    assert lines == [
        "coverage alpha            100.00 % of 100 lines: ok",
        "coverage beta              84.90 % of 1000 lines: BELOW 85 %",
    ]


def test_exactly_the_floor_is_enough():
    assert check_coverage.check(report(alpha=(850, 1000)), ["alpha"])[1]


def test_a_package_that_was_never_measured_fails():
    lines, good = check_coverage.check(report(alpha=(10, 10)), ["alpha", "gamma"])
    assert not good
    assert "gamma" in lines[1]
    assert "NO LINE" in lines[1]


def test_the_packages_are_those_of_the_repository():
    assert check_coverage.own_packages() == ["gpu_optimizer", "pose_analyzer", "shared_utils"]


def test_the_command_says_what_to_do_without_a_report(shell, root, tmp_path):
    result = shell(sys.executable, root / "scripts/check_coverage.py", tmp_path / "none.json")
    assert result.returncode == 1
    assert "run `make test` first" in result.stderr


def test_the_command_fails_by_its_exit_code(shell, root, tmp_path):
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report(gpu_optimizer=(90, 100), pose_analyzer=(90, 100), shared_utils=(80, 100))))
    assert shell(sys.executable, root / "scripts/check_coverage.py", path).returncode == 1
    assert shell(sys.executable, root / "scripts/check_coverage.py", path, "--floor", "80").returncode == 0
