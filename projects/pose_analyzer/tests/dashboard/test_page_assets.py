"""What the files of the page promise: nothing from elsewhere, nothing inline, modules that parse, colours that can be read."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from _page_files import PageFiles

from pose_analyzer import dashboard
from pose_analyzer.dashboard import PAGE

STATIC = Path(dashboard.__file__).parent / "static"
FILES = PageFiles(PAGE, STATIC)


@pytest.mark.parametrize("check", PageFiles.CHECKS)
def test_the_page_keeps_the_rules_of_the_house(check: str):
    assert getattr(FILES, check)() == []


def test_nothing_is_served_but_the_page_the_shared_files_and_plotly():
    assert set(PAGE.asset_paths()) - {"plotly.min.js"} == set(FILES.files) - {"index.html"}


def test_an_installed_package_has_them_all(tmp_path: Path):
    project = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=project, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    own = [path for path in STATIC.rglob("*") if path.is_file()]
    assert len(own) > 20
    assert {f"pose_analyzer/dashboard/static/{path.relative_to(STATIC).as_posix()}" for path in own} <= inside


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
def test_text_stands_out_from_its_ground_as_wcag_aa_asks(theme: str):
    inks = ("text", "muted", "good", "warn", "bad", "info", "left-ink", "right-ink")
    pairs = [(ink, ground) for ink in inks for ground in ("surface", "raised")]
    pairs += [
        ("text", "ground"),
        ("muted", "ground"),
        ("on-accent", "accent"),
        ("accent", "accent-soft"),
        ("good", "accent-soft"),
        ("text", "hover"),
    ]
    assert FILES.weak_contrasts(theme, pairs) == {}
