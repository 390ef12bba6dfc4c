"""Video files of every container, with every oddity of pixels and times that phones and recorders produce."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from _video_clips import make_clip, number_in, numbered

from pose_analyzer.video import open_source, read_picture

CONTAINERS = [
    ("a.mp4", "libx264", None, "yuv420p"),
    ("a.mov", "libx264", None, "yuv420p"),
    ("a.mov", "mpeg4", None, "yuv420p"),
    ("a.mkv", "libx264", None, "yuv420p"),
    ("a.mkv", "libx265", None, "yuv420p"),
    ("a.webm", "libvpx", None, "yuv420p"),
    ("a.webm", "libvpx-vp9", None, "yuv420p"),
    ("a.avi", "mpeg4", None, "yuv420p"),
    ("a.avi", "mjpeg", None, "yuvj420p"),
    ("a.avi", "libx264", None, "yuv420p"),
    ("a.ts", "libx264", "mpegts", "yuv420p"),
    ("a.flv", "flv", None, "yuv420p"),
    ("a.h264", "libx264", "h264", "yuv420p"),
    ("a.gif", "gif", None, "rgb8"),
]


@pytest.mark.parametrize(("name", "codec", "form", "pix_fmt"), CONTAINERS, ids=lambda value: str(value))
def test_every_container_gives_every_picture_at_its_time(tmp_path, name, codec, form, pix_fmt):
    path = make_clip(tmp_path / name, codec=codec, form=form, pix_fmt=pix_fmt, frames=20, gop=6)
    with open_source(path) as source:
        frames = list(source)
    assert [number_in(frame.image) for frame in frames] == list(range(20))
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], np.arange(20) / 25, atol=1e-3)
    assert source.damage is None
    assert (source.info.width, source.info.height, source.info.is_live, source.dropped) == (64, 48, False, 0)
    assert source.info.nominal_fps == pytest.approx(25)


def test_a_variable_rate_keeps_its_times(tmp_path):
    pts = [0, 40, 50, 200, 201, 1000, 1033]
    path = make_clip(tmp_path / "vfr.mkv", frames=len(pts), pts=pts, time_base=Fraction(1, 1000))
    with open_source(path) as source:
        times = [frame.timestamp_s for frame in source]
    np.testing.assert_allclose(times, np.array(pts) / 1000, atol=1e-9)


def test_time_starts_at_zero_whatever_the_clock_of_the_file(tmp_path):
    path = make_clip(tmp_path / "late.mkv", frames=3, pts=[90_000, 90_040, 90_080], time_base=Fraction(1, 1000))
    with open_source(path) as source:
        np.testing.assert_allclose([frame.timestamp_s for frame in source], [0, 0.04, 0.08], atol=1e-9)


def test_a_bare_stream_without_times_gets_them_from_its_rate_and_says_so(tmp_path):
    path = make_clip(tmp_path / "a.h264", form="h264", frames=10)
    with open_source(path) as source:
        times = [frame.timestamp_s for frame in source]
    np.testing.assert_allclose(times, np.arange(10) / 25, atol=1e-9)
    assert source.timing.missing == 10


def test_the_name_of_a_file_does_not_matter(tmp_path):
    for name in ("clip.txt", "clip.jpg", "no extension", "%03d.png", "a:b.m3u8"):
        path = make_clip(tmp_path / name, form="mp4", frames=2)
        with open_source(path) as source:
            assert [number_in(frame.image) for frame in source] == [0, 1], name


def corners(size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    image[height // 2 :, width // 2 :] = 255
    return image


def signs(image: np.ndarray) -> list[list[str]]:
    """The colours of the four quarters, by name."""
    height, width = image.shape[:2]
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    return [[names[tuple((image[y, x] > 128).astype(int))] for x in (width // 4, 3 * width // 4)] for y in (height // 4, 3 * height // 4)]


@pytest.mark.parametrize(
    ("turn", "size", "expected"),
    [
        ((0, False, False), (64, 48), [["red", "green"], ["blue", "white"]]),
        ((90, False, False), (48, 64), [["green", "white"], ["red", "blue"]]),  # counter-clockwise
        ((180, False, False), (64, 48), [["white", "blue"], ["green", "red"]]),
        ((270, False, False), (48, 64), [["blue", "red"], ["white", "green"]]),
        ((0, True, False), (64, 48), [["green", "red"], ["white", "blue"]]),  # mirrored
        ((0, False, True), (64, 48), [["blue", "white"], ["red", "green"]]),  # upside down, mirrored
        ((45, False, False), None, None),  # no right angle: snapped, but never refused
    ],
)
def test_rotation_metadata_is_applied(tmp_path, turn, size, expected):
    path = make_clip(tmp_path / "turned.mp4", images=[corners()] * 2, turn=turn, pix_fmt="yuv444p")
    with open_source(path) as source:
        image = next(source).image
    assert (source.info.width, source.info.height) == (image.shape[1], image.shape[0])
    if expected is not None:
        assert (image.shape[1], image.shape[0]) == size
        assert signs(image) == expected
    assert image.flags.c_contiguous


@pytest.mark.parametrize(
    ("sar", "size"),
    [
        (Fraction(2), (128, 48)),  # anamorphic: widened
        (Fraction(1, 2), (64, 96)),  # tall: heightened
        (Fraction(16, 11), (93, 48)),  # PAL widescreen
        (Fraction(100), (64, 48)),  # absurd: ignored
    ],
)
def test_pixels_come_out_square(tmp_path, sar, size):
    path = make_clip(tmp_path / "sar.mp4", frames=2, sar=sar)
    with open_source(path) as source:
        frames = list(source)
    assert [(frame.width, frame.height) for frame in frames] == [size] * 2
    assert [number_in(frame.image) for frame in frames] == [0, 1]


def test_square_pixels_and_rotation_combine_in_the_right_order(tmp_path):
    path = make_clip(tmp_path / "both.mp4", images=[corners()] * 2, sar=Fraction(2), turn=(90, False, False), pix_fmt="yuv444p")
    with open_source(path) as source:
        image = next(source).image
    assert image.shape == (128, 48, 3)
    assert signs(image) == [["green", "white"], ["red", "blue"]]


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size"),
    [
        ("ffv1", "yuv420p", (63, 47)),  # odd both ways
        ("libx264", "yuv444p", (65, 49)),
        ("libx264", "yuv420p10le", (64, 48)),  # 10 bit
        ("libx264", "yuv422p", (64, 48)),
        ("libx264", "gray", (64, 48)),
        ("ffv1", "gray16le", (64, 48)),
        ("ffv1", "yuva420p", (64, 48)),  # alpha
        ("png", "rgba", (63, 47)),
        ("ffv1", "bgr0", (64, 48)),
    ],
)
def test_every_pixel_format_becomes_rgb(tmp_path, codec, pix_fmt, size):
    name = "a.mov" if codec == "png" else "a.mkv"
    path = make_clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt, images=[numbered(i, size) for i in range(5)])
    with open_source(path) as source:
        frames = list(source)
    assert [number_in(frame.image) for frame in frames] == list(range(5))
    assert {(frame.image.shape, frame.image.dtype.name) for frame in frames} == {((size[1], size[0], 3), "uint8")}


def test_colours_survive_by_the_streams_own_tags(tmp_path):
    wanted = np.full((48, 64, 3), (200, 30, 60), np.uint8)
    for space, name in ((1, "bt709"), (6, "smpte170m")):
        path = tmp_path / f"{name}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
            stream.codec_context.colorspace, stream.codec_context.color_range = space, 1
            frame = av.VideoFrame.from_ndarray(wanted, format="rgb24")
            target = "itu709" if space == 1 else "itu601"
            frame = frame.reformat(format="yuv444p", dst_colorspace=target, dst_color_range="MPEG")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with open_source(path) as source:
            assert np.abs(next(source).image.astype(int) - wanted).max() <= 3, name


def test_an_interlaced_picture_shows_one_moment(tmp_path):
    woven = np.zeros((48, 64, 3), np.uint8)
    woven[0::2, 10:20] = 255  # the limb in the first field
    woven[1::2, 40:50] = 255  # and half a frame later
    path = make_clip(tmp_path / "i.mkv", images=[woven] * 3, pix_fmt="yuv444p", options={"x264-params": "tff=1", "crf": "5"})
    with open_source(path) as source:
        image = next(source).image
    assert image[10:40, 12:18].min() > 200
    assert image[10:40, 42:48].max() < 60


def test_a_still_picture_is_a_source_of_one_frame(tmp_path):
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), corners()[:, :, ::-1])
    with open_source(path) as source:
        frames = list(source)
    assert [(frame.index, frame.timestamp_s) for frame in frames] == [(0, 0.0)]
    assert signs(frames[0].image) == [["red", "green"], ["blue", "white"]]
    assert (source.info.frame_count, source.info.duration_s, source.info.nominal_fps) == (1, None, None)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
def test_pictures_of_every_kind_are_read(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    cv2.imwrite(str(path), corners()[:, :, ::-1])
    assert signs(read_picture(path)) == [["red", "green"], ["blue", "white"]]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [["red", "green"], ["blue", "white"]]),
        (2, [["green", "red"], ["white", "blue"]]),
        (3, [["white", "blue"], ["green", "red"]]),
        (4, [["blue", "white"], ["red", "green"]]),
        (5, [["red", "blue"], ["green", "white"]]),
        (6, [["blue", "red"], ["white", "green"]]),
        (7, [["white", "green"], ["blue", "red"]]),
        (8, [["green", "white"], ["red", "blue"]]),
    ],
)
@pytest.mark.parametrize("order", ["little", "big"])
def test_the_orientation_in_a_photograph_is_applied(tmp_path, orientation, expected, order):
    jpeg = cv2.imencode(".jpg", corners()[:, :, ::-1])[1].tobytes()
    # One entry, orientation: number of row 0 and column 0 as Exif 2.3, section 4.6.4 A, lists them.
    fields = [(42, 2), (8, 4), (1, 2), (0x0112, 2), (3, 2), (1, 4), (orientation, 2), (0, 2), (0, 4)]
    exif = b"Exif\0\0" + (b"II" if order == "little" else b"MM") + b"".join(value.to_bytes(size, order) for value, size in fields)
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    assert signs(read_picture(path)) == expected
    assert signs(cv2.imread(str(path))[:, :, ::-1]) == expected  # OpenCV agrees


def test_a_change_of_size_on_the_way_is_fitted_into_the_first_size(tmp_path):
    first = make_clip(tmp_path / "a.ts", form="mpegts", frames=5, size=(64, 48))
    second = make_clip(tmp_path / "b.ts", form="mpegts", frames=5, size=(96, 96), pts=list(range(10, 15)))
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with open_source(path) as source:
        frames = list(source)
    assert {(frame.width, frame.height) for frame in frames} == {(64, 48)}
    assert [number_in(frame.image) for frame in frames[:5]] == list(range(5))
    square = frames[-1].image
    assert number_in(square[:, 8:56]) == 4
    assert square[:, :8].max() < 30


def test_joined_recordings_keep_rising_in_time(tmp_path):
    first = make_clip(tmp_path / "a.ts", form="mpegts", frames=50, pts=list(range(100, 150)))
    second = make_clip(tmp_path / "b.ts", form="mpegts", frames=10)
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with open_source(path) as source:
        times = [frame.timestamp_s for frame in source]
    steps = np.diff(times)
    assert len(times) == 60
    assert (steps > 0).all()
    assert (steps < 0.1).all()
    assert source.timing.breaks == 1


def test_the_number_of_decoder_threads_changes_nothing(clip):
    def digest(threads: int) -> list[tuple[int, float, bytes]]:
        with open_source(clip, decode_threads=threads) as source:
            return [(frame.index, frame.timestamp_s, frame.image.tobytes()) for frame in source]

    assert digest(1) == digest(2) == digest(7)


def test_a_second_video_or_cover_art_does_not_mislead(tmp_path):
    path = make_clip(tmp_path / "a.mkv", frames=5, sound=True)
    with open_source(path) as source:
        assert [number_in(frame.image) for frame in source] == list(range(5))
