"""What .ci/run does on a bare machine, with the machine's programs imitated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORD = 'echo "$(basename "$0") $*" >>"$CALLS"'


@pytest.fixture
def ci(tmp_path, programs, shell):
    """Run a copy of .ci/run; returns the result and the calls it made."""
    script = tmp_path / "a checkout" / ".ci" / "run"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", script)
    calls = tmp_path / "calls"

    def run(libraries: str = "", user: str = "0", make: str = RECORD):
        imitated = {"ldconfig": f"echo '{libraries}'", "id": f"echo {user}", "make": make, "apt-get": RECORD, "rsync": "true"}
        machine = programs(**imitated)
        result = shell(script, first=machine, CALLS=str(calls))
        return result, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_a_bare_debian_gets_the_two_libraries_before_the_checks(ci):
    result, calls = ci()
    assert result.returncode == 0, result.stderr
    assert calls[0].startswith("apt-get update")
    assert calls[1].startswith("apt-get install")
    assert calls[1].endswith("libgl1 libglib2.0-0")
    assert calls[2:] == ["make lint", "make test"]


def test_only_what_is_missing_is_installed(ci):
    _, calls = ci(libraries="libGL.so.1 (libc6,x86-64) => /lib/libGL.so.1")
    assert calls[1].endswith("--no-install-recommends libglib2.0-0")


def test_a_complete_machine_installs_nothing(ci):
    _, calls = ci(libraries="libGL.so.1 libgthread-2.0.so.0")
    assert calls == ["make lint", "make test"]


def test_somebody_else_than_root_installs_nothing(ci):
    _, calls = ci(user="1000")
    assert calls == ["make lint", "make test"]


def test_a_failing_lint_still_lets_the_tests_speak_and_fails(ci):
    result, calls = ci(user="1000", make=f'{RECORD}; [ "$1" != lint ]')
    assert result.returncode == 1
    assert calls == ["make lint", "make test"]
    assert "ci: failed: lint" in result.stderr
