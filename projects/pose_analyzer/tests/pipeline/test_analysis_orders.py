"""What a measuring process does with an order to analyse: limits by decoding, results whole or not at all."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from pose_analyzer.errors import ExerciseError, SinkError, WorkerError
from pose_analyzer.pipeline.workers.analysis import Order, run
from pose_analyzer.video import VideoWriter

RESULTS = {"result.json", "series.parquet", "series.csv", "events.csv", "overlay.mp4", "angles.png"}


class Line:
    """The line to a service that keeps what it hears, and can ask for an end after so many messages."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.said: list[dict] = []
        self.stop_requested = threading.Event()
        self._stop_after = stop_after
        if stop_after == 0:
            self.stop_requested.set()

    def send(self, header, payload: bytes = b"") -> None:
        self.said.append(json.loads(json.dumps(header)))
        if self._stop_after == len(self.said):
            self.stop_requested.set()

    @property
    def last(self) -> dict:
        return self.said[-1]


@pytest.fixture
def order(athlete_clip, tmp_path):
    """An order with room for changes."""

    def make(**changes) -> dict:
        fields = {
            "task": "measure",
            "source": str(athlete_clip),
            "label": "my clip.mp4",
            "stream_id": "s1",
            "exercise": "squat",
            "work": str(tmp_path / "work" / "s1-1"),
            "out": str(tmp_path / "sessions" / "s1"),
            "max_duration_s": 60.0,
            "max_pixels": 100_000,
        }
        (tmp_path / "sessions").mkdir(exist_ok=True)
        return Order(**{**fields, **changes}).message()

    return make


def left(tmp_path: Path) -> set[str]:
    return {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}


def bare_stream(path: Path, frames: int) -> Path:
    """H.264 without a container: nothing announces how long it is."""
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"bf": "0"}
        for number in range(frames):
            image = np.full((48, 64, 3), number % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_look_at_a_recording_tells_what_it_announces(order, tmp_path):
    line = Line()
    run(line, order(task="probe"))
    assert [m["type"] for m in line.said] == ["probed"]
    assert (line.last["width"], line.last["height"], line.last["codec"]) == (320, 240, "h264")
    assert left(tmp_path) == set()


def test_results_appear_whole_and_progress_is_told_on_the_way(order, tmp_path):
    (tmp_path / "sessions" / "s1").mkdir(parents=True)
    (tmp_path / "sessions" / "s1" / "half.json").write_text("an earlier attempt's")
    line = Line()
    run(line, order())
    assert line.last["type"] == "done"
    assert (line.last["repetitions"], line.last["complete"], line.last["notes"]) == (2, True, [])
    steps = [m["frames"] for m in line.said if m["type"] == "progress"]
    assert steps == sorted(steps)
    assert len(steps) >= 1
    assert {p.name for p in (tmp_path / "sessions" / "s1").iterdir()} == RESULTS
    assert not (tmp_path / "work" / "s1-1").exists()
    result = json.loads((tmp_path / "sessions" / "s1" / "result.json").read_text())
    assert (result["source"]["name"], result["stream_id"], len(result["source"]["sha256"])) == ("my clip.mp4", "s1", 64)


@pytest.mark.parametrize("stop_after", [0, 1])
def test_a_stop_is_understood_and_leaves_nothing(order, tmp_path, stop_after):
    line = Line(stop_after=stop_after)
    run(line, order())
    assert line.last["type"] == "stopped"
    assert left(tmp_path) == set()


def test_length_is_judged_by_what_is_decoded(order, tmp_path):
    source = bare_stream(tmp_path / "bare.h264", frames=60)
    look, measure = Line(), Line()
    run(look, order(task="probe", source=str(source), max_duration_s=1.0))
    assert (look.last["type"], look.last["duration_s"]) == ("probed", None)
    run(measure, order(source=str(source), max_duration_s=1.0))
    assert (measure.last["type"], measure.last["reason"]) == ("refused", "too_long")
    assert "my clip.mp4: recordings of up to 1 s" in measure.last["detail"]
    assert left(tmp_path) == {"bare.h264"}


def test_a_header_that_announces_too_much_is_refused_at_first_sight(order):
    line = Line()
    run(line, order(task="probe", max_duration_s=1.0))
    assert (line.last["type"], line.last["reason"]) == ("refused", "too_long")


@pytest.mark.parametrize("task", ["probe", "measure"])
def test_pictures_above_the_limit_are_refused(order, tmp_path, task):
    line = Line()
    run(line, order(task=task, max_pixels=10_000))
    assert (line.last["type"], line.last["reason"]) == ("refused", "damaged")
    assert "10000 px" in line.last["detail"]
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"just words " * 100, "not_a_video"), (b"\0\0\0\x20ftypisom" + bytes(50), "damaged")]
)
def test_what_is_no_recording_is_refused_without_a_path(order, tmp_path, content, reason):
    (tmp_path / "upload").write_bytes(content)
    line = Line()
    run(line, order(task="probe", source=str(tmp_path / "upload")))
    assert (line.last["type"], line.last["reason"]) == ("refused", reason)
    assert str(tmp_path) not in line.last["detail"]
    assert line.last["detail"].startswith("my clip.mp4")


def test_a_damaged_end_is_noted_and_what_came_before_is_kept(order, tmp_path):
    path = tmp_path / "cut.mkv"
    with VideoWriter(tmp_path / "whole.mp4", width=64, height=48, fps=10) as writer:
        for number in range(40):
            writer.write(np.full((48, 64, 3), number, np.uint8), number / 10)
    with av.open(str(tmp_path / "whole.mp4")) as source, av.open(str(path), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    line = Line()
    run(line, order(source=str(path), exercise=None))
    assert (line.last["type"], line.last["complete"]) == ("done", False)
    assert len(line.last["notes"]) == 1
    assert 0 < line.last["frames"] < 40


def test_an_exercise_that_is_none_is_no_fault_of_the_recording(order, tmp_path):
    with pytest.raises(ExerciseError):
        run(Line(), order(exercise="no such"))
    assert left(tmp_path) == set()


def test_results_that_cannot_be_kept_are_told_so_without_a_path(order, tmp_path):
    (tmp_path / "work").write_text("a file where a folder should be")
    with pytest.raises(SinkError) as told:
        run(Line(), order())
    assert str(tmp_path) not in str(told.value)


@pytest.mark.parametrize("message", [{"type": "analyze"}, {"type": "analyze", "task": "measure", "source": "x"}])
def test_an_order_without_its_fields_is_none(message):
    with pytest.raises(WorkerError, match="no order"):
        run(Line(), message)
