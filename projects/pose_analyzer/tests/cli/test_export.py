from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pose_analyzer.biomechanics.opensim import read_motion
from pose_analyzer.cli.app import main
from pose_analyzer.cli.exit_codes import ExitCode
from pose_analyzer.pipeline import PoseSession


@pytest.fixture(scope="module")
def result(tmp_path_factory, athlete_result):
    """The analysis of the athlete as if frames had been given: the size of the pictures is not known."""
    folder = tmp_path_factory.mktemp("unsized")
    session = replace(PoseSession.load(athlete_result), source_info={})
    session.save(folder)
    return folder, session


@pytest.mark.parametrize("name", ["csv", "parquet", "json", "trc", "opensim-mot", "mot"])
def test_a_result_is_written_for_other_tools(result, name, tmp_path, capsys):
    folder, _ = result
    assert main(["export", str(folder), "--format", name, "--out", str(tmp_path / "x" / "file"), "--json"]) == ExitCode.OK
    (path,) = json.loads(capsys.readouterr().out)["files"]
    assert path == str(tmp_path / "x" / "file")
    assert (tmp_path / "x" / "file").stat().st_size > 100


def test_angles_in_the_motion_file_are_those_of_the_session(result, tmp_path):
    folder, session = result
    assert main(["export", str(folder), "-f", "opensim-mot", "-o", str(tmp_path / "x.mot")]) == ExitCode.OK
    motion = read_motion(tmp_path / "x.mot")
    np.testing.assert_allclose(motion["knee_angle_l"], session.series["left_knee_flexion_deg"], atol=1e-6)
    np.testing.assert_allclose(motion["time"], session.series["timestamp_s"], atol=1e-8)


def test_people_of_known_height_stand_on_the_floor(result, tmp_path, capsys):
    folder, _ = result
    capsys.readouterr()
    arguments = ["export", str(folder), "-f", "trc", "-o", str(tmp_path / "x.trc"), "--height", "1.75", "--units", "mm"]
    status = main(arguments)  # frames of an iterable: the session does not know the size of its pictures
    assert status == ExitCode.USAGE
    assert "--size" in capsys.readouterr().err
    assert main([*arguments, "--size", "320x240"]) == ExitCode.OK


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["-f", "xml"], ExitCode.USAGE, "opensim-mot"),
        (["-f", "coco"], ExitCode.USAGE, "--size"),
        (["-f", "coco", "--size", "0x10"], ExitCode.USAGE, "1280x720"),
        (["-f", "trc", "--person", "77"], ExitCode.USAGE, "track id 77"),
        (["-f", "csv", "--units", "mm"], ExitCode.USAGE, "it is for trc"),
        (["-f", "csv", "-o", "/proc/none/x.csv"], ExitCode.SINK, "cannot write"),
    ],
)
def test_a_wrong_call_is_told_in_one_sentence(result, arguments, status, says, capsys):
    folder, _ = result
    assert main(["export", str(folder), *arguments]) == status
    assert says in capsys.readouterr().err.replace("\n", " ")


def test_a_folder_without_a_result_is_named(tmp_path, capsys):
    assert main(["export", str(tmp_path), "-f", "csv"]) == ExitCode.PARTIAL
    assert "no finished result" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["angles", "range", "path", "form", "reference"])
def test_a_result_is_drawn(result, kind, tmp_path):
    folder, _ = result
    assert main(["plot", str(folder), kind, "-o", str(tmp_path / "x.png"), "--dark"]) == ExitCode.OK
    assert (tmp_path / "x.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pie"], "angles, range, path, form, reference"),
        (["path", "--by", "colour"], "speed or repetition"),
        (["path", "--point", "tail"], "there are bar, nose"),
        (["reference", "--repetition", "9"], "there are 1, 2"),
        (["reference", "--reference", "unicycling"], "there is no reference for 'unicycling'"),
        (["angles", "--person", "7"], "track id 7"),
    ],
)
def test_a_plot_that_cannot_be_drawn_says_what_can(result, arguments, says, capsys):
    folder, _ = result
    assert main(["plot", str(folder), *arguments]) == ExitCode.USAGE
    assert says in capsys.readouterr().err.replace("\n", " ")


def test_each_repetition_is_judged_anew_for_the_strip_of_form(result):
    _, session = result
    figure = session.plot_form()
    scores = [t.get_text() for t in figure.axes[0].texts if t.get_text().isdecimal()]
    assert len(scores) == session.repetition_count == 2
