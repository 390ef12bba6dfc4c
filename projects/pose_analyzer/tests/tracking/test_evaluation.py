"""Scores against an independent implementation (motmetrics) and against arithmetic by hand; the command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from pose_analyzer.cli import track_eval
from pose_analyzer.tracking import create_tracker
from pose_analyzer.tracking.evaluation import MotSequence, evaluate_sequence, open_sequence, read_mot, score_mot, write_mot
from shared_utils.errors import ValidationError

SEQUENCE = Path(os.environ.get("POSE_TEST_DATA", Path(__file__).parents[4] / "../shared/data")) / "mot/TUD-Stadtmitte"


def _walk(ids_by_frame, path: Path) -> Path:
    """Two people who never move, 200 px apart, under given ids."""
    lines = [f"{f},{i},{1 + 200 * k},1,50,100,1,1,1,1" for f, ids in enumerate(ids_by_frame, 1) for k, i in enumerate(ids)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_perfect_result_scores_one(tmp_path):
    truth = _walk([(1, 2)] * 6, tmp_path / "gt.txt")
    score = score_mot(truth, read_mot(truth), length=6)
    assert (score.hota, score.mota, score.idf1, score.id_switches, score.ids) == (1.0, 1.0, 1.0, 0, 2)


def test_two_who_swap_half_way_are_two_switches_and_half_an_idf1(tmp_path):
    truth = _walk([(1, 2)] * 6, tmp_path / "gt.txt")
    result = read_mot(_walk([(1, 2)] * 3 + [(2, 1)] * 3, tmp_path / "result.txt"))
    score = score_mot(truth, result, length=6)
    assert score.id_switches == 2
    assert score.mota == pytest.approx(1 - 2 / 12)
    assert score.idf1 == pytest.approx(0.5)


def test_results_survive_a_file(tmp_path):
    rows = {2: np.array([[1, 10.5, 20.25, 30.5, 60.75, 0.5], [-1, 0, 0, 5, 5, 0.9]])}
    write_mot(rows, tmp_path / "r.txt")
    back = read_mot(tmp_path / "r.txt")
    np.testing.assert_allclose(back[2], rows[2][:1])


@pytest.mark.parametrize("text", ["not,a,file\n", "1,2,3\n", "1,1,1,1,-5,5,1,1,1,1\n", "1,1,nan,1,5,5,1,1,1,1\n", "0,1,1,1,5,5,1,1,1,1\n"])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(ValidationError, match=r"x\.txt"):
        read_mot(tmp_path / "x.txt")


def test_a_folder_without_truth_and_trackers_without_detections_are_named(tmp_path):
    with pytest.raises(ValidationError, match="there is no truth"):
        open_sequence(tmp_path)
    truth = _walk([(1, 2)] * 3, tmp_path / "gt.txt")
    with pytest.raises(ValidationError, match="trackers need detections"):
        evaluate_sequence(MotSequence(truth=truth), {"oks": lambda: create_tracker("oks")}, {}, fps=25)


@pytest.mark.footage
def test_a_known_result_scores_what_motmetrics_says():
    import motmetrics

    if not SEQUENCE.exists():
        pytest.skip(f"needs the sequence {SEQUENCE}")
    truth, result = (read_mot(SEQUENCE / name) for name in ("motmetrics_gt.txt", "motmetrics_test.txt"))
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in range(1, 180):
        actual, found = (rows.get(frame, np.zeros((0, 6))) for rows in (truth, result))
        xywh = [np.concatenate([b[:, 1:3], b[:, 3:5] - b[:, 1:3]], axis=1) for b in (actual, found)]
        distance = motmetrics.distances.iou_matrix(*xywh, max_iou=0.5)
        accumulator.update(actual[:, 0].tolist(), found[:, 0].tolist(), distance)
    theirs = motmetrics.metrics.create().compute(accumulator, metrics=["mota", "idf1"], name="s").loc["s"]
    ours = score_mot(SEQUENCE / "motmetrics_gt.txt", result, length=179)
    assert ours.mota == pytest.approx(theirs["mota"], abs=0.005)
    assert ours.idf1 == pytest.approx(theirs["idf1"], abs=0.005)


@pytest.fixture
def command():
    app = typer.Typer()
    track_eval.register(app)
    app.command("other")(lambda: None)
    return lambda *arguments: CliRunner().invoke(app, ["track-eval", *map(str, arguments)])


@pytest.mark.footage
def test_every_tracker_is_at_or_above_the_bytetrack_of_the_trackers_package(command):
    if not SEQUENCE.exists():
        pytest.skip(f"needs the sequence {SEQUENCE}")
    done = command(SEQUENCE / "mot15_gt.txt", "--detections", SEQUENCE / "sort_det.txt", "--fps", 25, "-t", "all", "--peer", "--json")
    assert done.exit_code == 0, done.output
    scores = json.loads(done.stdout)
    peer = scores.pop("trackers: bytetrack")
    assert set(scores) == {"bytetrack", "botsort", "deepsort", "oks"}
    for score in scores.values():
        assert all(score[key] >= peer[key] for key in ("hota", "mota", "idf1"))
        assert score["id_switches"] <= peer["id_switches"]


def test_the_command_runs_on_a_folder_and_keeps_the_results(tmp_path, command):
    (tmp_path / "gt").mkdir()
    (tmp_path / "det").mkdir()
    _walk([(1, 2)] * 8, tmp_path / "gt/gt.txt")
    _walk([(-1, -1)] * 8, tmp_path / "det/det.txt")
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nname=x\nframeRate=10\nseqLength=8\n")
    done = command(tmp_path, "--tracker", "oks", "--keep", tmp_path / "kept")
    assert done.exit_code == 0, done.output
    assert "100.0" in done.stdout
    assert {i for rows in read_mot(tmp_path / "kept/oks.txt").values() for i in rows[:, 0]} == {1, 2}


@pytest.mark.parametrize(("arguments", "words"), [(("-t", "sort"), "there is no tracker"), ((), "nothing to score")])
def test_a_wrong_call_is_explained(tmp_path, command, arguments, words):
    truth = _walk([(1, 2)] * 3, tmp_path / "gt.txt")
    done = command(truth, *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
