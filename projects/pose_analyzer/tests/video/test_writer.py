"""Written videos: true times, the same bytes each time, and never half a file."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from _video_clips import number_in, numbered

from pose_analyzer.errors import SinkError
from pose_analyzer.video import VideoWriter, open_source


def write(path, times, *, size=(64, 48), **options):
    with VideoWriter(path, width=size[0], height=size[1], **options) as writer:
        for number, time_s in enumerate(times):
            writer.write(numbered(number, size), time_s)
    return path


def read(path):
    with open_source(path) as source:
        return [(number_in(frame.image), frame.timestamp_s) for frame in source], source.info


def test_a_variable_rate_comes_back_as_it_was(tmp_path):
    times = [0.0, 0.033, 0.1, 0.101, 2.5, 2.533]
    frames, info = read(write(tmp_path / "a.mp4", times))
    assert [number for number, _ in frames] == list(range(6))
    np.testing.assert_allclose([time_s for _, time_s in frames], times, atol=1 / 90_000)
    assert (info.codec, info.frame_count) == ("h264", 6)


def test_the_first_picture_is_the_files_zero(tmp_path):
    frames, _ = read(write(tmp_path / "a.mp4", [100.0, 100.04, 100.08]))
    np.testing.assert_allclose([time_s for _, time_s in frames], [0, 0.04, 0.08], atol=1 / 90_000)


def test_pictures_without_times_follow_the_rate(tmp_path):
    frames, info = read(write(tmp_path / "a.mp4", [None] * 10, fps=12.5))
    np.testing.assert_allclose([time_s for _, time_s in frames], np.arange(10) / 12.5, atol=1e-4)
    assert info.nominal_fps == pytest.approx(12.5)
    assert info.duration_s == pytest.approx(0.8)


def test_the_last_picture_stands_for_one_nominal_period(tmp_path):
    _, info = read(write(tmp_path / "a.mp4", [0.0, 0.1, 0.2], fps=10))
    assert info.duration_s == pytest.approx(0.3, abs=1e-3)


def test_the_same_pictures_give_the_same_bytes(tmp_path):
    first = write(tmp_path / "a.mp4", [i / 30 for i in range(20)], size=(640, 480))
    second = write(tmp_path / "other name.mp4", [i / 30 for i in range(20)], size=(640, 480))
    assert first.read_bytes() == second.read_bytes()
    # x264 notes in the stream what it was told: nothing that depends on the machine or is known not to repeat itself.
    assert b"threads=4" in first.read_bytes()
    assert b"mbtree=0" in first.read_bytes()


def test_players_can_begin_before_the_end_has_come(tmp_path):
    data = write(tmp_path / "a.mp4", [0.0, 0.1]).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("size", [(63, 47), (1, 1), (65, 48)])
def test_odd_sizes_are_padded_to_even_ones(tmp_path, size):
    with VideoWriter(tmp_path / "a.mp4", width=size[0], height=size[1]) as writer:
        writer.write(np.full((size[1], size[0], 3), 200, np.uint8), 0.0)
    with open_source(tmp_path / "a.mp4") as source:
        image = next(source).image
    assert image.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    assert abs(int(image.min()) - 200) < 6


def test_colours_come_back(tmp_path):
    wanted = np.full((48, 64, 3), (200, 30, 60), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, crf=5) as writer:
        writer.write(wanted, 0.0)
    with open_source(tmp_path / "a.mp4") as source:
        assert np.abs(next(source).image.astype(int) - wanted).max() <= 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range, context.pix_fmt) == (1, 1, "yuv420p")


def test_nothing_appears_under_the_name_before_it_is_complete(tmp_path):
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, width=64, height=48)
    for number in range(30):
        writer.write(numbered(number), number / 30)
        assert not path.exists()
    writer.close()
    writer.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_keeps_the_pictures_so_far(tmp_path, error):
    path = tmp_path / "a.mp4"
    with pytest.raises(error), VideoWriter(path, width=64, height=48) as writer:  # noqa: PT012
        for number in range(10):
            if number == 7:
                raise error
            writer.write(numbered(number), number / 30)
    frames, _ = read(path)
    assert [number for number, _ in frames] == list(range(7))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


def test_without_a_picture_there_is_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_by_a_complete_one(tmp_path):
    path = write(tmp_path / "a.mp4", [0.0])
    before = path.read_bytes()
    writer = VideoWriter(path, width=64, height=48)
    for number in range(5):
        writer.write(numbered(number), number / 30)
    assert path.read_bytes() == before
    writer.close()
    assert len(read(path)[0]) == 5


def test_missing_folders_are_made(tmp_path):
    assert write(tmp_path / "new" / "folder" / "a.mp4", [0.0]).is_file()


def test_equal_times_are_kept_apart_by_a_tick(tmp_path):
    frames, _ = read(write(tmp_path / "a.mp4", [0.0, 0.0, 0.0, 0.04]))
    assert [number for number, _ in frames] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "picture",
    [np.zeros((48, 65, 3), np.uint8), np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3), np.float32), "picture", None],
    ids=["size", "grey", "float", "text", "none"],
)
def test_a_wrong_picture_is_refused_and_the_file_stays_good(tmp_path, picture):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48) as writer:
        writer.write(numbered(0), 0.0)
        with pytest.raises(SinkError, match=r"\(48, 64, 3\) uint8 RGB"):
            writer.write(picture, 0.1)
        writer.write(numbered(1), 0.1)
    assert [number for number, _ in read(tmp_path / "a.mp4")[0]] == [0, 1]


@pytest.mark.parametrize("time_s", [0.5, float("nan"), float("inf")])
def test_time_must_not_run_backwards(tmp_path, time_s):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48) as writer:
        writer.write(numbered(0), 1.0)
        with pytest.raises(SinkError, match="backwards"):
            writer.write(numbered(1), time_s)


@pytest.mark.parametrize("options", [{"width": 0}, {"height": -2}, {"width": 99_999}, {"crf": 60}, {"fps": 0}, {"fps": float("nan")}])
def test_senseless_settings_are_refused(tmp_path, options):
    with pytest.raises(SinkError):
        VideoWriter(tmp_path / "a.mp4", **{"width": 64, "height": 48, **options})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_preset_is_refused_without_a_trace(tmp_path):
    with pytest.raises(SinkError), VideoWriter(tmp_path / "a.mp4", width=64, height=48, preset="warp") as writer:
        writer.write(numbered(0), 0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "a.mp4", width=64, height=48)
    with pytest.raises(SinkError, match="is a folder"):
        VideoWriter(tmp_path, width=64, height=48)


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48)

    class Full:
        def mux(self, packets):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    writer.write(numbered(0), 0.0)
    monkeypatch.setattr(writer, "_container", Full())
    with pytest.raises(SinkError, match="No space left"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_writing_to_a_closed_writer_is_refused(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48)
    writer.close()
    with pytest.raises(SinkError, match="closed"):
        writer.write(numbered(0), 0.0)


def test_rotation_for_players_is_written(tmp_path):
    path = write(tmp_path / "a.mp4", [0.0, 0.1], rotation_deg=90)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation == 90


def test_without_x264_it_says_so_and_writes_mpeg4(tmp_path, monkeypatch):
    monkeypatch.setattr(av.codec, "codecs_available", av.codec.codecs_available - {"libx264"})
    with pytest.warns(RuntimeWarning, match="no libx264"):
        path = write(tmp_path / "a.mp4", [0.0, 0.04, 0.08])
    frames, info = read(path)
    assert [number for number, _ in frames] == [0, 1, 2]
    assert info.codec == "mpeg4"
    assert Fraction(1, 25) == pytest.approx(frames[1][1], abs=1e-3)
