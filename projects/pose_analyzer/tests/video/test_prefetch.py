"""Decoding ahead changes when frames are decoded, and nothing else."""

from __future__ import annotations

import threading

import pytest
from _video_clips import number_in

from pose_analyzer.errors import SourceError
from pose_analyzer.video import Source, open_source, prefetch
from pose_analyzer.video.info import TimingReport


class Failing:
    """Three frames of a clip, then an error."""

    def __init__(self, source, error: Exception) -> None:
        self._source, self._error = source, error
        self.info, self.stream_id, self.damage, self.dropped, self.timing = source.info, "failing", None, 0, TimingReport()
        self.left, self.closed = 3, False

    def __iter__(self):
        return self

    def __next__(self):
        if self.left == 0:
            raise self._error
        self.left -= 1
        return next(self._source)

    def close(self) -> None:
        self.closed = True
        self._source.close()


def test_all_frames_come_in_order(clip):
    with open_source(clip) as plain:
        expected = [(frame.index, frame.timestamp_s, frame.image.tobytes()) for frame in plain]
    for size in (1, 3, 100):
        with prefetch(open_source(clip), size=size) as ahead:
            assert isinstance(ahead, Source)
            assert [(frame.index, frame.timestamp_s, frame.image.tobytes()) for frame in ahead] == expected
            assert list(ahead) == []


def test_it_does_read_ahead_but_not_further_than_told(clip):
    got = []
    enough = threading.Event()

    class Counting(Failing):
        def __next__(self):
            frame = next(self._source)
            got.append(frame.index)
            if len(got) == 5:
                enough.set()
            return frame

    with prefetch(Counting(open_source(clip), OSError()), size=3) as ahead:
        next(ahead)
        # One handed out, three ready, one in the thread's hand.
        assert enough.wait(20)
        assert got == [0, 1, 2, 3, 4]


def test_an_error_arrives_after_the_frames_before_it(clip):
    source = Failing(open_source(clip), ZeroDivisionError("broken"))
    frames = []
    with pytest.raises(ZeroDivisionError, match="broken"), prefetch(source) as ahead:  # noqa: PT012
        for frame in ahead:
            frames.append(number_in(frame.image))
    assert frames == [0, 1, 2]
    assert source.closed


def test_leaving_early_stops_the_thread_and_closes_the_source(clip):
    before = threading.active_count()
    with prefetch(open_source(clip, loop=True), size=2) as ahead:
        next(ahead)
        inner = ahead._source
    assert threading.active_count() == before
    assert list(inner) == []
    assert list(ahead) == []


def test_closing_from_elsewhere_ends_a_reader_that_waits(clip):
    ahead = prefetch(open_source(clip, pace=1e-6))
    next(ahead)
    reader = threading.Thread(target=lambda: list(ahead))
    reader.start()
    ahead.close()
    reader.join(20)
    assert not reader.is_alive()


def test_seek_forgets_what_was_ready(clip):
    with prefetch(open_source(clip)) as ahead:
        next(ahead)
        ahead.seek(1.6)
        assert [number_in(frame.image) for frame in ahead] == list(range(40, 60))
        ahead.seek(0.0)
        assert number_in(next(ahead).image) == 0


def test_no_room_at_all_is_refused(clip):
    with open_source(clip) as source, pytest.raises(SourceError, match="1 frame"):
        prefetch(source, size=0)
