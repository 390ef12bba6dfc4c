"""Drift between manifest, lock, requirements and packages is caught: one file is changed, one sentence appears."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import check_lock
import pytest


def test_this_workspace_agrees(root):
    errors, sets = check_lock.check(root)
    assert errors == []
    assert set(sets) == {"cpu-linux-64", "cuda-linux-64", "cpu-osx-arm64", "mps-osx-arm64"}


def drifted(checkout: Path, name: str, pattern: str, replacement: str) -> list[str]:
    path = checkout / name
    before = path.read_text()
    after = re.sub(pattern, replacement, before, count=1, flags=re.MULTILINE)
    assert after != before, f"{pattern!r} is not in {name}"
    path.write_text(after)
    return check_lock.check(checkout)[0]


CPU, CUDA, MPS = (f"config/requirements/{stem}.txt" for stem in ("cpu-linux-64", "cuda-linux-64", "mps-osx-arm64"))
POSE = "projects/pose_analyzer/pyproject.toml"


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "sentence"),
    [
        pytest.param(CPU, r"^scipy==\S+", "scipy==0.0.1", "scipy is ", id="one set holds another release"),
        pytest.param(CPU, r"^scipy==.*\n", "", "scipy is not in config/requirements/cpu-linux-64.txt", id="a package is gone"),
        pytest.param(CUDA, r"^(nvidia-cublas)==\S+.*$", r"\1==1.0", "not a pinned, hashed line", id="a hash is gone"),
        pytest.param(MPS, r"^rich==", "aaa-rich==", "lines are not sorted", id="lines out of order"),
        pytest.param(CPU, r"^rich==(.*)$", r"rich==\1\nrich==\1", "rich twice", id="a package twice"),
        pytest.param("config/requirements/app.in", r"^rich$", "rich>=999", "rich>=999 is not met", id="a bound that no set meets"),
        pytest.param(
            "config/requirements/dev.in", r"^hatchling$", "hatchling\njax", "jax is listed in", id="an excluded package is asked for"
        ),
        pytest.param(POSE, r'^  "scipy",$', '  "scipy>=999",', "scipy>=999 is not met", id="a project asks for more"),
        pytest.param(POSE, r'^  "scipy",$', '  "not-in-any-set",', "not-in-any-set is not in", id="a project asks for a stranger"),
        pytest.param(POSE, r'requires-python = ".*"', 'requires-python = ">=3.12"', "does not admit 3.11", id="another Python"),
        pytest.param("pixi.toml", r'macos = "14.0"', 'macos = "15.0"', "__osx=15.0 is not what is locked", id="another macOS"),
        pytest.param("pixi.toml", r'cuda = "13.0"', 'cuda = "12.0"', "__cuda=12.0 is not what is locked", id="another CUDA"),
        pytest.param(
            "pixi.toml", r'^pip = "\*"', 'pip = "*"\nnumpy = "*"', "numpy is not locked", id="a conda dependency that is not locked"
        ),
        pytest.param("pixi.toml", r'python = "3.11.\*"', 'python = "3.12.*"', "is not 3.12.*", id="another conda Python"),
        pytest.param("pixi.toml", r"^mps = .*$", "", "environments differ", id="an environment is gone"),
        pytest.param("pixi.toml", r"^\[feature.cpu\]$", '[feature.cpu]\npypi-dependencies = {rich = "*"}', "belong in", id="a PyPI table"),
        pytest.param(
            "pixi.toml", "requirements/mps-osx-arm64.txt", "requirements/none.txt", "none.txt does not exist", id="a set that is not there"
        ),
        pytest.param("pixi.lock", r"^version: 7", "version: 6", "expected version 7", id="another lock version"),
        pytest.param("pixi.lock", r"/packaging-[0-9.]+-", "/packaging-1.0-", "conda has 1.0", id="conda's packaging differs"),
        pytest.param(
            "pixi.lock",
            r"^(- conda: .*/libgl-.*\n(?:  build_number: .*\n)?)  sha256: .*$",
            r"\1",
            "no record for",
            id="a record loses its hash",
        ),
        pytest.param("pixi.lock", r"^      - conda: .*/libglib-.*\n", "", "libglib is not locked", id="an environment loses a row"),
        pytest.param(
            "Makefile", r"^help:", "# https://" + ".".join(["pypi", "org"]) + "/simple\nhelp:", "Makefile:", id="a registry is named"
        ),
    ],
)
def test_drift_is_named(checkout, name, pattern, replacement, sentence):
    errors = drifted(checkout, name, pattern, replacement)
    assert any(sentence in error for error in errors), errors


def test_the_command_fails_on_drift_and_prints_it(checkout, shell):
    (checkout / "pixi.toml").write_text((checkout / "pixi.toml").read_text().replace('cuda = "13.0"', 'cuda = "12.0"'))
    result = shell(sys.executable, "scripts/check_lock.py", "--root", checkout)
    assert result.returncode == 1
    assert "pixi.lock: linux-64-cuda: __cuda=12.0 is not what is locked" in result.stdout
