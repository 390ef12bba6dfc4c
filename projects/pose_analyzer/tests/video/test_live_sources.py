"""Live sources: newest frames first in line, cameras that vanish and return, and a prompt end."""

from __future__ import annotations

import gc
import threading
import weakref
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from _video_clips import number_in, numbered
from _video_rtsp import RtspCamera

from pose_analyzer.errors import MissingSourceError, SourceError, UnreadableSourceError
from pose_analyzer.video import Backoff, LiveSource, Source, SourceInfo, open_source
from pose_analyzer.video.live import DropOldestQueue, LivePicture
from shared_utils.data_models import EventType

QUICK = Backoff(first_s=0.01, longest_s=0.05)


class HandClock:
    """Moves by its waits only."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def utc(self) -> datetime:
        return datetime.fromtimestamp(1_700_000_000 + self.now_s, UTC)

    def wait(self, seconds: float, interrupt: threading.Event) -> None:
        self.waits.append(seconds)
        self.now_s += seconds


class Script:
    """A connection that gives the pictures it is told to: (camera's time in s, number) each, then ends or fails."""

    def __init__(self, pictures, *, error: Exception | None = None, before=lambda: None) -> None:
        self.info = SourceInfo(
            width=64, height=48, nominal_fps=25.0, frame_count=None, duration_s=None, is_live=True, codec="test", name="camera"
        )
        self.closed = False
        self._pictures, self._error, self._before = pictures, error, before

    def pictures(self):
        for pts_s, number in self._pictures:
            self._before()
            yield LivePicture(pts_s, lambda number=number: numbered(number))
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed = True


def refuse():
    raise MissingSourceError("the camera is away")


def play(connections, *, backoff=None, **options):
    """A live source over the given connections; None in the list is a failed attempt; after the last, it gives up."""
    waiting = list(connections)
    clock = options.pop("clock", HandClock())

    def reconnect():
        return (waiting.pop(0) if waiting else None) or refuse()

    queue_size = options.pop("queue_size", 100)
    backoff = backoff or Backoff(attempts=3, jitter=0)
    first = waiting.pop(0)
    return LiveSource(first, reconnect, stream_id="cam", shown="camera", queue_size=queue_size, backoff=backoff, clock=clock, **options)


def test_frames_carry_number_times_and_id():
    source = play([Script([(5.0, 1), (5.04, 2), (5.08, 3)])])
    frames = list(source)
    assert isinstance(source, Source)
    assert [number_in(frame.image) for frame in frames] == [1, 2, 3]
    assert [frame.index for frame in frames] == [0, 1, 2]
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], [0, 0.04, 0.08])
    assert {frame.stream_id for frame in frames} == {"cam"}
    assert frames[0].wall_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_full_queue_drops_the_oldest_and_counts():
    queue = DropOldestQueue(3)
    for item in range(10):
        queue.put(item)
    queue.end()
    assert [queue.get() for _ in range(4)] == [7, 8, 9, None]
    assert queue.dropped == 7


def test_a_reader_that_is_late_gets_the_newest_frames():
    done = threading.Event()

    class Ended(Script):
        def close(self) -> None:
            super().close()
            done.set()

    source = play([Ended([(n / 25, n) for n in range(10)])], queue_size=2, backoff=Backoff(attempts=1, first_s=0))
    assert done.wait(20)
    frames = list(source)
    assert [number_in(frame.image) for frame in frames] == [8, 9]
    assert [frame.index for frame in frames] == [8, 9]
    assert source.dropped == 8


def test_a_lost_camera_is_told_of_and_its_gap_is_measured():
    clock = HandClock()
    told = []
    source = play(
        [Script([(0.0, 1), (0.04, 2)], error=OSError("wire cut")), None, None, Script([(0.5, 3), (0.54, 4)])],
        clock=clock,
        on_event=told.append,
    )
    frames = list(source)
    assert [number_in(frame.image) for frame in frames] == [1, 2, 3, 4]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    gap_s = 0.5 + 1.0 + 2.0
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], [0, 0.04, 0.04 + gap_s, 0.08 + gap_s])
    events = source.events()
    assert events == told
    assert [event.type for event in events[:2]] == [EventType.STREAM_LOST, EventType.STREAM_RESUMED]
    lost, resumed = events[:2]
    assert lost.start_s == lost.end_s == pytest.approx(0.04)
    assert "wire cut" in lost.message
    assert (resumed.start_s, resumed.end_s, resumed.value, resumed.unit) == pytest.approx((0.04, 3.54, 3.5, "s"))
    assert resumed.data["attempts"] == 3
    assert source.events() == []


def test_the_pauses_grow_to_a_limit_and_stay_below_it_by_chance():
    clock = HandClock()
    source = play([Script([(0.0, 1)])], clock=clock, backoff=Backoff(first_s=1, factor=3, longest_s=10, jitter=0.5, attempts=5))
    list(source)
    assert all(full / 2 <= wait <= full for wait, full in zip(clock.waits, [1, 3, 9, 10, 10], strict=True))
    assert len({round(wait / full, 6) for wait, full in zip(clock.waits, [1, 3, 9, 10, 10], strict=True)}) > 1


def test_giving_up_ends_the_stream_with_a_sentence():
    source = play([Script([(0.0, 1)])])
    assert len(list(source)) == 1
    assert source.damage is not None
    assert "not back after 3 attempts (the camera is away)" in source.damage


def test_end_s_stops_a_live_source():
    source = play([Script([(n / 25, n) for n in range(100)])], end_s=0.2)
    assert [number_in(frame.image) for frame in source] == [0, 1, 2, 3, 4]
    assert source.damage is None


def test_stride_thins_out_captured_frames():
    source = play([Script([(n / 25, n) for n in range(10)])], stride=4)
    assert [(frame.index, number_in(frame.image)) for frame in source] == [(0, 0), (4, 4), (8, 8)]


def test_a_mistake_in_a_hook_reaches_the_reader():
    def broken(event):
        raise ZeroDivisionError

    source = play([Script([(0.0, 1)])], on_event=broken)
    with pytest.raises(ZeroDivisionError):
        list(source)


def test_closing_ends_a_reader_that_waits_and_a_camera_that_hangs():
    release, arrived = threading.Event(), threading.Event()

    class Hanging(Script):
        def pictures(self):
            yield LivePicture(0.0, lambda: numbered(1))
            arrived.set()
            release.wait(60)

    connection = Hanging([])
    source = play([connection])
    next(source)
    reader = threading.Thread(target=lambda: list(source))
    reader.start()
    assert arrived.wait(20)
    source.close()  # returns although the camera is stuck
    assert not release.is_set()
    reader.join(20)
    assert not reader.is_alive()
    release.set()
    source._thread.join(20)
    assert connection.closed


def test_closing_during_a_pause_needs_no_waiting():
    lost = threading.Event()
    source = LiveSource(
        Script([(0.0, 1)]),
        refuse,
        stream_id="cam",
        shown="camera",
        backoff=Backoff(first_s=3600, longest_s=3600),
        on_event=lambda _: lost.set(),
    )
    assert lost.wait(20)
    source.close()
    source._thread.join(20)
    assert not source._thread.is_alive()


def test_a_connection_that_comes_too_late_is_let_go():
    opening, let_go = threading.Event(), threading.Event()
    late = Script([(0.0, 2)] * 5)

    def reconnect():
        opening.set()
        let_go.wait(20)
        return late

    source = LiveSource(Script([(0.0, 1)]), reconnect, stream_id="cam", shown="camera", backoff=Backoff(first_s=0))
    assert opening.wait(20)
    source._closed.set()
    let_go.set()
    source._thread.join(20)
    assert late.closed


def test_thousands_of_reconnections_leave_nothing_behind():
    threads = threading.active_count()
    alive = weakref.WeakSet()

    def reconnect():
        connection = Script([(0.0, 1)], error=OSError("again"))
        alive.add(connection)
        return connection

    source = LiveSource(
        Script([]), reconnect, stream_id="cam", shown="camera", queue_size=2, clock=HandClock(), backoff=Backoff(first_s=0, jitter=0)
    )
    for frame in source:
        if frame.index > 3000:
            break
    source.close()
    source._thread.join(20)
    gc.collect()
    assert len(source.events()) == 1000
    assert len(alive) <= 3
    assert threading.active_count() == threads


def test_a_camera_cannot_be_sought():
    with play([Script([(0.0, 1)])]) as source, pytest.raises(SourceError, match="is live"):
        source.seek(1.0)


@pytest.mark.parametrize("options", [{"factor": 0.5}, {"first_s": -1}, {"jitter": 2}, {"first_s": 5, "longest_s": 1}])
def test_a_senseless_backoff_is_refused(options):
    with pytest.raises(SourceError):
        Backoff(**options)


def test_what_only_recordings_can_do_is_refused():
    with RtspCamera() as camera:
        for options in ({"start_s": 1.0}, {"pace": 1.0}, {"loop": True}):
            with pytest.raises(SourceError, match="for recordings"):
                open_source(camera.url, **options)


def rising(numbers) -> bool:
    return all((b - a) % 250 in range(1, 125) for a, b in pairwise(numbers))


def test_an_rtsp_camera_that_dies_and_returns_is_followed():
    with RtspCamera(login="admin:hunter2") as camera, open_source(camera.url, backoff=QUICK, queue_size=50, read_timeout_s=2) as source:
        before = [next(source) for _ in range(5)]
        assert (source.info.width, source.info.height, source.info.is_live, source.info.codec) == (64, 48, True, "h264")
        camera.die()
        camera.come_back()
        after, told = [], []
        while EventType.STREAM_RESUMED not in told:
            after.append(next(source))
            told += [event.type for event in source.events()]
        events_seen = after[-1]
        later = [next(source) for _ in range(5)]
        times = [frame.timestamp_s for frame in [*before, *after, *later]]
        assert all(a < b for a, b in pairwise(times))
        assert rising([number_in(frame.image) for frame in later])
        assert events_seen.wall_time is not None
        assert camera.played >= 2
        assert "hunter2" not in source.info.name + source.stream_id


def test_an_rtsp_camera_that_falls_silent_counts_as_lost():
    events = []
    resumed = threading.Event()

    def note(event):
        events.append(event)
        if event.type is EventType.STREAM_LOST:
            # The camera recovers once its silence was noticed.
            camera._hanging.clear()
        else:
            resumed.set()

    with RtspCamera() as camera, open_source(camera.url, backoff=QUICK, read_timeout_s=0.3, on_event=note) as source:
        next(source)
        camera.hang()
        for _ in source:
            if resumed.is_set():
                break
    assert [event.type for event in events[:2]] == [EventType.STREAM_LOST, EventType.STREAM_RESUMED]
    assert events[1].value > 0


def test_wrong_credentials_are_told_from_a_missing_camera():
    with RtspCamera(login="admin:hunter2") as camera, pytest.raises(UnreadableSourceError, match="password") as caught:
        open_source(camera.url.replace("hunter2", "swordfish"))
    assert "swordfish" not in str(caught.value)


def test_a_camera_that_accepts_but_never_speaks_is_given_up():
    import socket

    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(MissingSourceError, match="no answer"):
            open_source(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/live", open_timeout_s=0.3)


def test_a_webcam_is_read_like_any_camera(monkeypatch):
    """FFmpeg's own test picture stands in for the device."""
    from pose_analyzer.video import cameras

    monkeypatch.setattr(cameras, "webcam_input", lambda device: ("testsrc=size=64x48:rate=25", "lavfi"))
    with open_source(0) as source:
        frames = [next(source) for _ in range(3)]
    assert source.stream_id == "webcam-0"
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert frames[0].timestamp_s < frames[1].timestamp_s < frames[2].timestamp_s


def test_a_recording_on_a_web_server_is_a_recording(tmp_path, clip):
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(clip.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with open_source(f"http://127.0.0.1:{server.server_port}/{clip.name}", stride=20) as source:
            assert not source.info.is_live
            assert [number_in(frame.image) for frame in source] == [0, 20, 40]
    finally:
        server.shutdown()
        server.server_close()
