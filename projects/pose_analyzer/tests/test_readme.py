"""Every Python example and every command of the READMEs runs as written."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from pose_analyzer.cli import main
from pose_analyzer.synthetic import scene_for, write_clip

ROOT = Path(__file__).resolve().parents[3]
READMES = {"root": ROOT / "README.md", "package": ROOT / "projects" / "pose_analyzer" / "README.md"}


def _blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", READMES[readme].read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory, athlete_clip):
    """What a reader has at hand by then: clips, a result, a reference."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "clips").mkdir()
    for name in ("squat.mp4", "clips/one.mp4", "monday.mp4", "friday.mp4"):
        shutil.copy(athlete_clip, folder / name)
    write_clip(scene_for("squat", reps=4, azimuth_deg=40, width=320, height=240, fps=15), folder / "coach.mp4")
    assert main(["analyze", str(folder / "squat.mp4"), "--exercise", "squat", "--out", str(folder / "out" / "analyze")]) == 0
    assert main(["reference", "build", "squat", "--from", str(folder / "coach.mp4"), "-o", str(folder / "coach.json")]) == 0
    return folder


@pytest.fixture
def beside_a_clip(tmp_path, monkeypatch, a_folder):
    shutil.copytree(a_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("readme", "number"), [(r, n) for r in READMES for n in range(len(_blocks(r, "python")))])
def test_python_examples_run(readme, number, beside_a_clip, capsys):
    code = _blocks(readme, "python")[number]
    exec(compile(code, f"{readme} README, example {number}", "exec"), {"__name__": "__main__"})
    if "plot(" in code:
        assert (beside_a_clip / "angles.png").stat().st_size > 10_000
    if "event.message" in code:
        assert "Repetition 2" in capsys.readouterr().out


def _commands() -> list[str]:
    lines = (line.split("#")[0].strip() for block in _blocks("root", "sh") for line in block.splitlines())
    # A webcam is not everywhere, and make is tried by the tests of the scripts.
    return [line for line in lines if line.startswith("pose-analyzer") and " live 0" not in line]


@pytest.mark.parametrize("command", _commands())
def test_commands_run(command, beside_a_clip):
    assert main(shlex.split(command)[1:]) == 0
