"""What the bootstrap says on machines that cannot be served; each machine is imitated by programs on PATH."""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(
        (platform.system(), platform.machine()) not in {("Linux", "x86_64"), ("Darwin", "arm64")}, reason="no hashed set for this machine"
    )
]
SUBDIR = "linux-64" if platform.system() == "Linux" else "osx-arm64"
OLD_PYTHON = 'case "$*" in --version) echo "Python 3.9.18" ;; *) exit 1 ;; esac'
REAL_PYTHON = f'exec "{sys.executable}" "$@"'
PLENTY = "echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'; echo 'disk 99999999 1 99999998 1% /'"
LITTLE = "echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'; echo 'disk 1000000 897600 102400 90% /'"


def last_sentence(result) -> str:
    assert result.returncode == 1, result.stderr
    return result.stderr.strip().splitlines()[-1]


def test_another_python_is_refused_by_its_version(checkout, programs, shell):
    machine = programs(python3_11=OLD_PYTHON, python3=OLD_PYTHON, python=OLD_PYTHON)
    result = shell("scripts/bootstrap", cwd=checkout, first=machine, POSE_SET="cpu")
    sentence = last_sentence(result)
    assert "needs Python 3.11, found Python 3.9.18" in sentence
    assert "POSE_PYTHON=" in sentence
    assert result.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()


def test_make_stops_with_the_same_sentence(checkout, programs, shell):
    machine = programs(python3_11=OLD_PYTHON, python3=OLD_PYTHON, python=OLD_PYTHON)
    result = shell("make", "test", cwd=checkout, first=machine, POSE_SET="cpu")
    assert result.returncode == 2
    assert "needs Python 3.11, found Python 3.9.18" in result.stderr


def test_a_chosen_python_with_a_space_in_its_path_is_taken(checkout, programs, shell, tmp_path):
    machine = programs(df=LITTLE, python3_11=OLD_PYTHON, python3=OLD_PYTHON)
    chosen = tmp_path / "my python"
    chosen.write_text(f"#!/bin/sh\n{REAL_PYTHON}\n")
    chosen.chmod(0o755)
    result = shell("scripts/bootstrap", cwd=checkout, first=machine, POSE_SET="cpu", POSE_PYTHON=str(chosen))
    assert "not enough disk space" in last_sentence(result)  # it came past the search for a Python


def test_too_little_disk_is_said_before_anything_is_made(checkout, programs, shell):
    machine = programs(df=LITTLE, python3_11=REAL_PYTHON)
    sentence = last_sentence(shell("scripts/bootstrap", cwd=checkout, first=machine, POSE_SET="cpu"))
    assert "not enough disk space" in sentence
    assert "3500 MB" in sentence
    assert "100 MB free" in sentence
    assert not (checkout / ".venv").exists()


@pytest.mark.skipif(SUBDIR != "linux-64", reason="the system libraries are looked for on Linux")
def test_missing_system_libraries_are_named_with_their_packages(checkout, programs, shell):
    no_libraries = f'case "$*" in *CDLL*libGL*) exit 1 ;; *) {REAL_PYTHON} ;; esac'
    machine = programs(df=PLENTY, python3_11=no_libraries)
    sentence = last_sentence(shell("scripts/bootstrap", cwd=checkout, first=machine, POSE_SET="cpu"))
    assert "OpenCV needs libGL.so.1:" in sentence
    assert "libgl1" in sentence
    assert "libglib2.0-0" in sentence
    assert not (checkout / ".venv").exists()


def imitated_venv(checkout: Path, uv: str, pip: str) -> str:
    """Body of a python3.11 whose `venv` writes a tiny environment: its pip and its uv do what is asked here."""
    inner = checkout.parent / "inner-python"
    inner.write_text(f'#!/bin/sh\ncase "$*" in *"pip install"*) {pip} ;; *) {REAL_PYTHON} ;; esac\n')
    inner.chmod(0o755)
    tool = checkout.parent / "inner-uv"
    tool.write_text(f"#!/bin/sh\n{uv}\n")
    tool.chmod(0o755)
    prefix = f"{checkout}/.venv"
    make = f"mkdir -p '{prefix}/bin'; cp '{inner}' '{prefix}/bin/python'; cp '{tool}' '{prefix}/bin/uv'"
    make += f"; echo '{prefix}' >'{prefix}/bin/activate'; touch '{prefix}/pyvenv.cfg'"
    return f'case "$*" in *"-m venv"*) {make} ;; *) {REAL_PYTHON} ;; esac'


def locked_uv(checkout: Path) -> str:
    text = (checkout / f"config/requirements/cpu-{SUBDIR}.txt").read_text()
    return next(line for line in text.splitlines() if line.startswith("uv==")).split("==")[1].split()[0]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("error: Failed to fetch: https://index.example/simple/av/\n  Caused by: dns error: failed to lookup", "cannot be reached"),
        ("error: Failed to write: No space left on device (os error 28)", "the disk is full"),
        ("error: Hash mismatch for av==1", "not the locked one"),
        ("error: something new", "the lines above say why"),
    ],
)
def test_a_failing_install_ends_in_one_reason(checkout, programs, shell, said, sentence):
    uv = f"""case "$*" in --version) echo "uv {locked_uv(checkout)}" ;; *) printf '%s\\n' '{said}' >&2; exit 1 ;; esac"""
    machine = programs(df=PLENTY, python3_11=imitated_venv(checkout, uv, "exit 1"))
    result = shell("scripts/bootstrap", cwd=checkout, first=machine, POSE_SET="cpu")
    assert last_sentence(result).startswith(f"bootstrap: could not install cpu-{SUBDIR}:")
    assert sentence in last_sentence(result)
    assert said.splitlines()[0] in result.stderr
    assert not (checkout / ".venv/.pose-stamp").exists()
    assert not (checkout / ".bootstrap.lock").exists()


def test_an_index_that_does_not_answer_is_said_by_a_real_pip(checkout, programs, shell):
    inner = f'exec "{sys.executable}" "$@"'  # the pip of this environment, asked through a closed port
    machine = programs(df=PLENTY, python3_11=imitated_venv(checkout, "exit 1", inner))
    nothing_else = {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", "PIP_NO_CACHE_DIR": "1", "PIP_TARGET": str(checkout / "target")}
    closed_port = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    result = shell("scripts/bootstrap", cwd=checkout, first=machine, POSE_SET="cpu", **closed_port, **nothing_else)
    assert last_sentence(result).startswith("bootstrap: could not install uv")
    assert "cannot be reached" in last_sentence(result)
    assert "PIP_INDEX_URL" in last_sentence(result)


def test_a_finished_environment_is_left_alone_and_a_changed_set_is_installed_again(checkout, programs, shell):
    uv = f"""case "$*" in --version) echo "uv {locked_uv(checkout)}" ;; *) echo "Installed 3 packages in 1ms" >&2 ;; esac"""
    machine = programs(df=PLENTY, python3_11=imitated_venv(checkout, uv, "exit 1"))
    first = shell("scripts/bootstrap", cwd=checkout, first=machine, POSE_SET="cpu")
    assert first.returncode == 0, first.stderr
    assert f"installing cpu-{SUBDIR}" in first.stderr
    assert "Installed 3 packages" in first.stderr
    again = shell("scripts/bootstrap", cwd=checkout, first=machine)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    requirements = checkout / f"config/requirements/cpu-{SUBDIR}.txt"
    requirements.write_text(requirements.read_text() + f"zzz==1 --hash=sha256:{hashlib.sha256(b'').hexdigest()}\n")
    assert f"installing cpu-{SUBDIR}" in shell("scripts/bootstrap", cwd=checkout, first=machine).stderr


def test_an_unknown_set_is_refused_with_the_choices(checkout, programs, shell):
    machine = programs(df=PLENTY, python3_11=REAL_PYTHON)
    sentence = last_sentence(shell("scripts/bootstrap", cwd=checkout, first=machine, POSE_SET="tpu"))
    assert "POSE_SET=tpu" in sentence
    assert "cpu, cuda (Linux) or mps (macOS)" in sentence
