"""Folders of pictures played as a recording."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from _video_clips import number_in, numbered

from pose_analyzer.errors import DamagedSourceError
from pose_analyzer.video import open_source


def fill(folder, names, size=(64, 48)):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), numbered(number, size))
    return folder


def test_pictures_play_in_the_order_people_number_them(tmp_path):
    folder = fill(tmp_path / "f", ["p1.png", "p2.jpg", "p9.png", "p10.bmp", "p100.png"])
    with open_source(folder, fps=10) as source:
        frames = list(source)
    assert [number_in(frame.image) for frame in frames] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], [0, 0.1, 0.2, 0.3, 0.4])
    assert (source.info.frame_count, source.info.nominal_fps, source.info.name) == (5, 10, "f")
    assert source.info.duration_s == pytest.approx(0.5)


def test_other_files_hidden_files_and_folders_do_not_disturb(tmp_path):
    folder = fill(tmp_path / "f", ["a.png", "b.png"])
    (folder / "notes.txt").write_text("text")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (folder / ".hidden.png").write_bytes(b"junk")
    (folder / "empty.png").touch()
    (folder / "sub").mkdir()
    with open_source(folder) as source:
        assert len(list(source)) == 2
    assert source.damage is None


def test_stride_range_and_loop_work_as_for_videos(tmp_path):
    folder = fill(tmp_path / "f", [f"{i:02}.png" for i in range(10)])
    with open_source(folder, fps=10, stride=2, start_s=0.2, end_s=0.7, loop=True) as source:
        frames = [next(source) for _ in range(5)]
        source.seek(0.6)
        assert number_in(next(source).image) == 6
    assert [number_in(frame.image) for frame in frames] == [2, 4, 6, 2, 4]
    np.testing.assert_allclose(np.diff([frame.timestamp_s for frame in frames]), [0.2, 0.2, 0.1, 0.2])


def test_another_size_is_fitted_into_the_first_with_its_shape_kept(tmp_path):
    folder = fill(tmp_path / "f", ["a.png"])
    cv2.imwrite(str(folder / "b.png"), np.full((96, 96, 3), 255, np.uint8))
    with open_source(folder) as source:
        second = list(source)[1].image
    assert second.shape == (48, 64, 3)
    assert second[:, :8].max() == second[:, 56:].max() == 0
    assert second[:, 8:56].min() == 255


def test_a_damaged_picture_costs_itself_only(tmp_path):
    folder = fill(tmp_path / "f", ["1.jpg", "2.jpg", "3.jpg"])
    (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:80])
    with open_source(folder, fps=10) as source:
        frames = list(source)
    assert [(number_in(frame.image), frame.index) for frame in frames] == [(0, 0), (2, 2)]
    assert frames[1].timestamp_s == pytest.approx(0.2)
    assert source.damage is not None
    assert source.damage.startswith("2.jpg could not be decoded")


def test_a_damaged_first_picture_is_passed_over(tmp_path):
    folder = fill(tmp_path / "f", ["1.jpg", "2.jpg"])
    (folder / "1.jpg").write_bytes((folder / "1.jpg").read_bytes()[:80])
    with open_source(folder) as source:
        assert [frame.index for frame in source] == [1]


def test_a_folder_of_damaged_pictures_is_damaged(tmp_path):
    folder = fill(tmp_path / "f", ["1.jpg"])
    (folder / "1.jpg").write_bytes((folder / "1.jpg").read_bytes()[:80])
    with pytest.raises(DamagedSourceError, match="none of its 1 pictures"):
        open_source(folder)
