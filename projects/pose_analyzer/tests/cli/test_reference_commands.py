"""`pose-analyzer reference`: from one clip to a reference, from another one to feedback and its picture."""

from __future__ import annotations

import json

import pytest

from pose_analyzer.cli import main
from pose_analyzer.synthetic import scene_for, write_clip

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A good set of four squats, and one of two that lean far forward, of the same person by the same camera."""
    folder = tmp_path_factory.mktemp("clips")
    how = {"azimuth_deg": 80, "seed": 7700, "fps": 12, "width": 300, "height": 320}
    good = write_clip(scene_for("squat", reps=4, **how), folder / "good.mp4")
    return good, write_clip(scene_for("squat", reps=2, faults={"forward_lean_deg": 28}, **how), folder / "bad.mp4")


def test_a_user_builds_a_reference_from_one_clip_and_reads_feedback_on_another(clips, tmp_path, capsys):
    good, bad = clips
    reference, picture = tmp_path / "mine.json", tmp_path / "evidence.png"
    assert main(["reference", "build", "squat", "--from", str(good), "-o", str(reference)]) == 0
    assert main(["reference", "compare", str(bad), "-r", str(reference), "-o", str(picture)]) == 0
    told = capsys.readouterr().out
    assert "the trunk leans" in told
    assert picture.read_bytes()[:4] == PNG
    assert main(["reference", "compare", str(bad), "-r", str(reference), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [{f["fault"] for f in r["findings"]} & {"forward_lean"} for r in rows] == [{"forward_lean"}] * 2
    assert all(abs(100 - sum(r["parts"].values()) - r["score"]) < 0.1 for r in rows)


def test_a_reference_is_shown_as_a_table_and_as_a_picture(tmp_path, capsys):
    assert main(["reference", "show", "squat"]) == 0
    assert "trunk_lean" in capsys.readouterr().out
    assert main(["reference", "show", "squat", "-o", str(tmp_path / "squat.png"), "--view", "0"]) == 0
    assert (tmp_path / "squat.png").read_bytes()[:4] == PNG


def test_a_missing_reference_names_those_there_are(capsys):
    assert main(["reference", "show", "unicycling"]) != 0
    assert "squat" in capsys.readouterr().err


def test_what_the_athlete_cannot_show_is_said_with_the_way_out(tmp_path, capsys):
    assert main(["reference", "build", "bench_press", "-o", str(tmp_path / "x.json")]) != 0
    assert "--from" in capsys.readouterr().err
