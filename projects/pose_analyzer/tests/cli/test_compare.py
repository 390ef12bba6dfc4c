from __future__ import annotations

import shutil

import numpy as np
import pytest

from pose_analyzer.cli.app import main
from pose_analyzer.cli.exit_codes import ExitCode
from pose_analyzer.pipeline import PoseSession
from pose_analyzer.video import open_source


def _pictures(path):
    with open_source(path) as source:
        return source.info, [(f.timestamp_s, f.image) for f in source]


def test_two_results_become_one_video_on_one_clock(athlete_result, athlete_clip, tmp_path):
    out = tmp_path / "deep" / "out.mp4"
    arguments = ["compare", str(athlete_result), str(athlete_result), "-o", str(out), "--height-px", "180"]
    assert main([*arguments, "--video-a", str(athlete_clip), "--video-b", str(athlete_clip), "--fps", "10"]) == ExitCode.OK
    info, pictures = _pictures(out)
    series = PoseSession.load(athlete_result).series
    assert info.width == 240 + 4 + 240  # 320x240 at 180 px height, twice, and the gap
    assert info.duration_s == pytest.approx(float(np.ptp(series["timestamp_s"])), abs=0.15)
    image = pictures[len(pictures) // 2][1].astype(int)
    left, right = image[13:193, :240], image[13:193, 244:484]  # the same film on the same clock on both sides
    assert np.abs(left - right).mean() < 3.0


def test_the_annotated_video_stands_in_for_one_that_is_gone(athlete_result, tmp_path):
    arguments = ["compare", str(athlete_result), str(athlete_result), "-o", str(tmp_path / "o.mp4"), "--height-px", "120", "--fps", "5"]
    assert main(arguments) == ExitCode.OK
    assert (tmp_path / "o.mp4").stat().st_size > 1000


def test_a_result_without_any_video_asks_for_one(athlete_result, tmp_path, capsys):
    bare = tmp_path / "bare"
    shutil.copytree(athlete_result, bare)
    (bare / "overlay.mp4").unlink()
    assert main(["compare", str(bare), str(athlete_result), "-o", str(tmp_path / "o.mp4")]) == ExitCode.SOURCE
    assert "--video-a" in capsys.readouterr().err
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--align", "magic"], "auto, repetitions, dtw, start, offset"),
        (["--angle", "toe"], "was not seen in both"),
        (["--person-a", "7"], "track id 7"),
        (["--align", "dtw", "--offset", "1"], "align=offset"),
    ],
)
def test_a_comparison_that_cannot_be_made_says_why(athlete_result, arguments, says, tmp_path, capsys):
    assert main(["compare", str(athlete_result), str(athlete_result), "-o", str(tmp_path / "o.mp4"), *arguments]) == ExitCode.USAGE
    assert says in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "o.mp4").exists()
