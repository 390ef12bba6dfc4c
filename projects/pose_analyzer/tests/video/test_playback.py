"""Stride, range, seek, loop and pace, proved by the number that every picture carries."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from _video_clips import make_clip, number_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pose_analyzer.errors import SourceError
from pose_analyzer.video import Source, open_source


def seen(source) -> list[tuple[int, int, float]]:
    """(number in the picture, index, time in ms) of all frames."""
    return [(number_in(frame.image), frame.index, round(frame.timestamp_s * 1000)) for frame in source]


def truth(numbers) -> list[tuple[int, int, int]]:
    return [(n, n, n * 40) for n in numbers]


class HandClock:
    """A clock that moves only when somebody waits, or when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits: list[float] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, UTC)

    def wait(self, seconds: float, interrupt: threading.Event) -> None:
        self.waits.append(seconds)
        self.now_s += seconds


def test_a_source_fits_the_protocol(clip):
    with open_source(clip) as source:
        assert isinstance(source, Source)


@pytest.mark.parametrize("stride", [1, 2, 7, 59, 60, 1000])
def test_stride_delivers_every_nth_frame_with_its_true_number(clip, stride):
    with open_source(clip, stride=stride) as source:
        assert seen(source) == truth(range(0, 60, stride))


@pytest.mark.parametrize(
    ("start_s", "end_s", "numbers"),
    [
        (None, None, range(60)),
        (0.0, 0.4, range(10)),
        (0.4, None, range(10, 60)),  # on a key frame
        (0.36, 0.8, range(9, 20)),  # the last picture before one
        (0.37, 0.81, range(10, 21)),  # between pictures
        (2.36, None, range(59, 60)),  # the last picture
        (3.0, None, range(0)),  # beyond the end
        (0.4, 99, range(10, 60)),
    ],
)
def test_a_range_is_cut_exactly(clip, start_s, end_s, numbers):
    with open_source(clip, start_s=start_s, end_s=end_s) as source:
        assert seen(source) == truth(numbers)


def test_stride_picks_the_same_frames_wherever_playback_starts(clip):
    with open_source(clip, stride=7, start_s=0.5) as source:
        assert seen(source) == truth(range(14, 60, 7))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(targets=st.lists(st.integers(0, 59), min_size=1, max_size=4))
def test_seek_lands_on_the_picture_forwards_and_backwards(clip, targets):
    with open_source(clip) as source:
        for target in targets:
            source.seek(target / 25)
            frame = next(source)
            assert (number_in(frame.image), frame.index) == (target, target)
            assert frame.timestamp_s == pytest.approx(target / 25, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [
        ("a.mkv", "libx264", None),
        ("a.webm", "libvpx", None),
        ("a.avi", "libx264", None),
        ("a.avi", "mjpeg", None),
        ("a.ts", "libx264", "mpegts"),
        ("a.h264", "libx264", "h264"),
    ],
)
def test_seek_is_exact_in_every_container(tmp_path, name, codec, form):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make_clip(tmp_path / name, codec=codec, form=form, frames=40, gop=12, pix_fmt=pix_fmt)
    with open_source(path) as source:
        for target in (25, 3, 39, 0, 12):
            source.seek(target / 25)
            frame = next(source)
            assert (number_in(frame.image), frame.index) == (target, target), target


def test_seek_in_a_variable_rate_goes_by_time_not_by_number(tmp_path):
    pts = [0, 40, 50, 200, 201, 1000, 1033, 1100]
    path = make_clip(tmp_path / "vfr.mkv", frames=len(pts), pts=pts, time_base=Fraction(1, 1000), gop=3)
    with open_source(path) as source:
        source.seek(0.202)
        frame = next(source)
    assert (number_in(frame.image), frame.index) == (5, 5)
    assert frame.timestamp_s == pytest.approx(1.0)


def test_iteration_goes_on_after_the_end_by_seeking(clip):
    with open_source(clip) as source:
        assert len(list(source)) == 60
        assert list(source) == []
        source.seek(2.32)
        assert seen(source) == truth([58, 59])


def test_a_loop_goes_on_without_end_and_time_keeps_rising(clip):
    with open_source(clip, loop=True, start_s=2.2) as source:
        frames = [next(source) for _ in range(12)]
    assert [number_in(frame.image) for frame in frames] == [55, 56, 57, 58, 59] * 2 + [55, 56]
    assert [frame.index for frame in frames] == list(range(55, 67))
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], np.arange(55, 67) / 25, atol=1e-9)


def test_a_loop_over_a_range_with_stride_repeats_the_same_pictures(clip):
    with open_source(clip, loop=True, start_s=0.4, end_s=0.8, stride=4) as source:
        frames = [next(source) for _ in range(6)]
    assert [number_in(frame.image) for frame in frames] == [12, 16, 12, 16, 12, 16]
    assert [frame.index for frame in frames] == [12, 16, 22, 26, 32, 36]
    np.testing.assert_allclose(np.diff([frame.timestamp_s for frame in frames]), [0.16, 0.24] * 2 + [0.16], atol=1e-9)


def test_a_loop_over_nothing_ends(clip):
    with open_source(clip, loop=True, start_s=0.41, end_s=0.43) as source:
        assert list(source) == []


def test_seek_within_a_loop_returns_to_the_files_own_time(clip):
    with open_source(clip, loop=True, start_s=2.2) as source:
        for _ in range(8):
            next(source)
        source.seek(2.32)
        frames = [next(source) for _ in range(4)]
    assert [number_in(frame.image) for frame in frames] == [58, 59, 55, 56]
    assert [frame.index for frame in frames] == [58, 59, 60, 61]


def test_natural_pace_waits_for_each_pictures_moment(clip):
    clock = HandClock()
    with open_source(clip, pace=1.0, end_s=0.2, clock=clock) as source:
        arrivals = [clock.now_s for _ in source]
    np.testing.assert_allclose(arrivals, 100 + np.arange(5) * 0.04, atol=1e-9)


def test_double_pace_halves_the_waits(clip):
    clock = HandClock()
    with open_source(clip, pace=2.0, end_s=0.2, clock=clock) as source:
        list(source)
    assert clock.now_s - 100 == pytest.approx(0.08)


def test_a_slow_reader_does_not_wait_and_loses_nothing(clip):
    clock = HandClock()
    numbers = []
    with open_source(clip, pace=1.0, end_s=0.4, clock=clock) as source:
        for frame in source:
            numbers.append(number_in(frame.image))
            clock.now_s += 0.1
    assert numbers == list(range(10))
    assert clock.waits == []


def test_a_seek_does_not_make_the_pace_catch_up(clip):
    clock = HandClock()
    with open_source(clip, pace=1.0, clock=clock) as source:
        next(source)
        source.seek(2.0)
        next(source)
        next(source)
    assert sum(clock.waits) == pytest.approx(0.04)


def test_closing_wakes_a_source_that_waits_for_its_pace(clip):
    source = open_source(clip, pace=1e-6)
    next(source)
    got = []
    reader = threading.Thread(target=lambda: got.extend(source))
    reader.start()
    source.close()
    reader.join(20)
    assert not reader.is_alive()


def test_a_closed_source_ends_and_closing_twice_is_fine(clip):
    source = open_source(clip)
    next(source)
    source.close()
    source.close()
    assert list(source) == []
    with pytest.raises(SourceError, match="closed"):
        source.seek(0)


def test_a_signal_handler_may_close_in_the_middle_of_a_frame(clip):
    class Interrupted(HandClock):
        def wait(self, seconds: float, interrupt: threading.Event) -> None:
            signal.raise_signal(signal.SIGUSR1)

    source = open_source(clip, pace=1.0, clock=Interrupted())
    before = signal.signal(signal.SIGUSR1, lambda *_: source.close())
    try:
        assert len(list(source)) == 2
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_leaving_early_releases_the_file(clip):
    def handles() -> int:
        return sum(1 for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and str(clip) in str(link.readlink()))

    if not Path("/proc/self/fd").exists():
        pytest.skip("open files are counted through /proc, which only Linux has")
    with open_source(clip, loop=True) as source:
        next(source)
        assert handles() == 1
    assert handles() == 0


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 0},
        {"stride": -1},
        {"stride": 1.5},
        {"start_s": -1},
        {"end_s": 0},
        {"start_s": 2, "end_s": 1},
        {"start_s": float("nan")},
        {"pace": 0},
        {"pace": -1},
        {"fps": 0},
        {"queue_size": 0},
        {"open_timeout_s": 0},
        {"size": (0, 5)},
    ],
    ids=str,
)
def test_senseless_arguments_are_refused_by_name(clip, options):
    with pytest.raises(SourceError) as caught:
        open_source(clip, **options)
    assert next(iter(options)).split("_timeout")[0].rstrip("_s") in str(caught.value) or "limit" in str(caught.value)


def test_seek_to_a_senseless_time_is_refused(clip):
    with open_source(clip) as source:
        for time_s in (-1, float("inf"), float("nan")):
            with pytest.raises(SourceError, match="0 s or later"):
                source.seek(time_s)
