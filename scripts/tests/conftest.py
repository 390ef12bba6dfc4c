"""Fixtures for the tests of scripts/: the scripts as modules, and folders of programs that imitate a machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def programs(tmp_path: Path) -> Callable[..., Path]:
    """Write shell programs into a folder that can stand first on PATH."""
    folder = tmp_path / "programs"

    def write(**bodies: str) -> Path:
        folder.mkdir(exist_ok=True)
        for name, body in bodies.items():
            path = folder / name.replace("_", ".", 1) if name.startswith("python3_") else folder / name
            path.write_text(f"#!/bin/sh\n{body}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return folder

    return write


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the bootstrap reads, in a folder whose name has a space; no environment in it."""
    copy = tmp_path / "a checkout"
    for name in ["scripts", "config/requirements"]:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    for manifest in ROOT.glob("projects/*/pyproject.toml"):
        target = copy / manifest.relative_to(ROOT)
        target.parent.mkdir(parents=True)
        shutil.copy(manifest, target)
    for name in ["Makefile", "pixi.toml", "pixi.lock"]:
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def shell() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command with `first` in front of PATH and no choice of the caller's environment left in it."""

    def run(*command: str | Path, cwd: Path = ROOT, first: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("POSE_", "PIP_", "UV_", "PIXI_", "CONDA_", "TMUX"))}
        path = os.pathsep.join([*([str(first)] if first else []), kept["PATH"]])
        words = [str(word) for word in command]
        return subprocess.run(
            words,
            cwd=cwd,
            env=kept | {"PATH": path} | env,
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    return run
