from __future__ import annotations

from pathlib import Path

import pytest

from pose_analyzer.cli.sources import expand
from pose_analyzer.errors import MissingSourceError, NotAVideoError


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_stands_for_its_videos_at_any_depth(tmp_path):
    _touch(tmp_path / "b.mp4", tmp_path / "a.MOV", tmp_path / "sub" / "c.mkv", tmp_path / "notes.txt", tmp_path / ".hidden.mp4")
    jobs = expand([str(tmp_path)])
    assert [(Path(j.source).name, str(j.folder)) for j in jobs] == [("a.MOV", "a"), ("b.mp4", "b"), ("c.mkv", "sub/c")]


def test_a_folder_of_pictures_is_one_source(tmp_path):
    _touch(tmp_path / "frames" / "1.png", tmp_path / "frames" / "2.png")
    (job,) = expand([str(tmp_path / "frames")])
    assert (job.source, str(job.folder)) == (str(tmp_path / "frames"), "frames")


def test_a_folder_with_neither_is_an_error_that_says_what_to_name(tmp_path):
    with pytest.raises(NotAVideoError, match="without videos or pictures"):
        expand([str(tmp_path)])


def test_equal_stems_get_distinct_result_folders(tmp_path):
    names = ["a/squat.mp4", "a/squat.mov", "b/squat.mp4"]
    _touch(*(tmp_path / n for n in names))
    jobs = expand([str(tmp_path / n) for n in names])
    assert len({j.folder for j in jobs}) == 3


def test_the_same_file_named_twice_is_analysed_once(tmp_path):
    _touch(tmp_path / "a.mp4")
    assert len(expand([str(tmp_path / "a.mp4"), str(tmp_path / "." / "a.mp4")])) == 1


def test_globs_expand_by_name_and_an_empty_one_is_an_error(tmp_path):
    _touch(tmp_path / "2.mp4", tmp_path / "1.mp4")
    assert [Path(j.source).name for j in expand([str(tmp_path / "*.mp4")])] == ["1.mp4", "2.mp4"]
    with pytest.raises(MissingSourceError, match="no file matches"):
        expand([str(tmp_path / "*.webm")])


def test_an_existing_file_with_brackets_in_its_name_is_taken_literally(tmp_path):
    _touch(tmp_path / "set [1].mp4")
    assert [Path(j.source).name for j in expand([str(tmp_path / "set [1].mp4")])] == ["set [1].mp4"]


def test_an_address_gives_a_folder_without_credentials():
    (job,) = expand(["rtsp://user:secret@cam.local:554/main?token=abc"])
    assert "secret" not in str(job.folder)
    assert "token" not in str(job.folder)
    assert str(job.folder).startswith("cam.local")
