"""Streams in a measuring process: what is counted, what is said, and what a hostile source or a slow reader costs."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_analyzer.errors import SourceError
from pose_analyzer.pipeline import Pipeline
from pose_analyzer.pipeline.workers import WorkerLimits, WorkerProcess
from pose_analyzer.pipeline.workers import process as process_module
from pose_analyzer.pipeline.workers.pictures import decode_picture, picture_size

LIMITS = WorkerLimits(memory_bytes=4 * 2**30)


def converse(order: dict, talk: Callable[[WorkerProcess], Any]) -> Any:
    """Give a process its order and talk with it."""

    async def run():
        worker = await WorkerProcess.start(limits=LIMITS)
        try:
            await worker.send(order)
            return await talk(worker)
        finally:
            await worker.stop(grace_s=1.0)

    return asyncio.run(run())


async def everything(worker: WorkerProcess) -> tuple[list[tuple[dict, bytes]], str | None]:
    said = []
    while (message := await worker.receive(silence_s=60)) is not None:
        said.append(message)
    return said, worker.end


async def busy(process: psutil.Process, seconds: float) -> None:
    """Until a process has worked for so long."""
    until_s = sum(process.cpu_times()[:2]) + seconds
    while sum(process.cpu_times()[:2]) < until_s:
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def measured(athlete_clip):
    """All that is said of the recording, and how it ended."""
    return converse(file_order(athlete_clip), everything)


def file_order(path, **more) -> dict:
    return {"type": "stream", "stream_id": "s", "exercise": "squat", "source": {"kind": "file", "path": str(path), **more}}


# --- recordings ---------------------------------------------------------------------------------
def test_a_recording_is_measured_to_its_end_and_counted(measured, athlete_scene):
    said, end = measured
    kinds = [header["type"] for header, _ in said if header["type"] != "alive"]
    frames = [header for header, _ in said if header["type"] == "frame"]
    events = [event for header, _ in said for event in header.get("events", [])]
    assert (kinds[0], kinds[-1], end) == ("opened", "finished", None)
    # What is not measured was counted as dropped, and what was measured is said or counted as skipped.
    assert frames[-1]["frames"] == sum(1 + frame["skipped"] for frame in frames)
    assert frames[-1]["frame_index"] == len(athlete_scene) - 1
    assert frames[-1]["frames"] + frames[-1]["dropped"] == len(athlete_scene)
    assert sum(event["type"] == "rep_completed" for event in events) == 2
    assert all(payload == b"" for _, payload in said)


def test_a_person_is_described_in_pixels_of_the_source(measured, athlete_scene):
    said, _ = measured
    shoulder = next(header for header, _ in said if header["type"] == "opened")["skeleton"]["keypoints"].index("left_shoulder")
    errors = []
    for header, _ in said:
        for person in header.get("people", []):
            x, y, confidence = person["keypoints"][shoulder]
            truth = athlete_scene.truth_at(header["frame_index"]).joints_xy[0, shoulder]
            errors.append(np.hypot(x - truth[0], y - truth[1]))
            assert 0 <= confidence <= 1
            assert set(person) == {"track_id", "box", "score", "keypoints", "angles", "angle_sigma", "repetition"}
    height_px = 240
    assert np.median(errors) < 0.05 * height_px


def test_pictures_are_encoded_only_while_somebody_looks(athlete_clip):
    async def talk(worker):
        sizes = {"before": [], "watched": [], "after": []}
        phase = "before"
        while (message := await worker.receive(silence_s=60)) is not None:
            header, payload = message
            if header["type"] != "frame":
                continue
            assert sum(image["bytes"] for image in header["images"]) == len(payload)
            if phase == "before" and not payload:
                phase = "watched"
                await worker.send({"type": "watch", "widths": [160, 5000]})
            elif phase == "watched" and payload:
                first = header["images"][0]
                picture = cv2.imdecode(np.frombuffer(payload[: first["bytes"]], np.uint8), cv2.IMREAD_COLOR)
                sizes["watched"] = [(image["width"]) for image in header["images"]], picture.shape
                phase = "after"
                await worker.send({"type": "watch", "widths": []})
            elif phase == "after" and not payload:
                return sizes["watched"]
        return None

    # 5000 px are wished for, the source has 320.
    assert converse(file_order(athlete_clip, loop=True), talk) == ([160, 320], (120, 160, 3))


def test_a_reader_that_stops_reading_costs_frames_not_memory(athlete_clip, monkeypatch):
    # What the reader's own side takes in before it stops: a few messages.
    monkeypatch.setattr(process_module, "_BUFFER_BYTES", 2**14)

    async def talk(worker):
        process = psutil.Process(worker.pid)
        numbers = []
        while (message := await worker.receive(silence_s=60)) is not None and len(numbers) < 3:
            numbers += [message[0]["frames"]] if message[0]["type"] == "frame" else []
        await worker.send({"type": "watch", "widths": [320]})
        while (message := await worker.receive(silence_s=60)) is not None and not message[1]:
            pass
        await busy(process, 0.5)
        before = process.memory_info().rss
        await busy(process, 2.0)  # nothing is read: pipes fill up after a few messages
        grown = process.memory_info().rss - before
        skipped = 0
        while (message := await worker.receive(silence_s=60)) is not None:
            skipped = max(skipped, message[0].get("skipped", 0))
            if skipped:
                break
        return grown, skipped

    # At twenty times its pace a few hundred frames come by meanwhile.
    grown, skipped = converse(file_order(athlete_clip, loop=True, pace=20.0), talk)
    assert skipped > 0
    assert grown < 50e6


def test_a_damaged_recording_ends_with_a_reason(athlete_clip, tmp_path):
    # Matroska, as an MP4 that is cut off has lost its index.
    import av

    whole = tmp_path / "whole.mkv"
    with av.open(athlete_clip) as source, av.open(whole, "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    said, end = converse(file_order(cut, pace=50.0), everything)
    finished = said[-1][0]
    assert (finished["type"], end) == ("finished", None)
    assert finished["reason"]
    assert "source_damaged" in [event["type"] for event in finished["events"]]


@pytest.mark.parametrize("content", [b"", b"\0" * 5000], ids=["empty", "zeros"])
def test_a_file_that_is_no_video_is_refused_with_a_sentence(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    said, end = converse(file_order(path), everything)
    assert said[-1][0]["code"] == "refused"
    assert end == said[-1][0]["detail"]


def test_a_picture_larger_than_allowed_is_not_decoded(athlete_clip):
    _, end = converse({**file_order(athlete_clip), "max_pixels": 10_000}, everything)
    assert "max_pixels" in (end or "")


def test_a_webcam_that_is_not_there_is_said_so():
    _, end = converse({"type": "stream", "stream_id": "s", "source": {"kind": "camera", "address": 61}}, everything)
    assert "webcam 61" in (end or "")
    assert "no" in (end or "")


# --- the demo -----------------------------------------------------------------------------------
def test_the_demo_stands_still_while_it_is_paused():
    async def talk(worker):
        times = []
        while (message := await worker.receive(silence_s=60)) is not None and len(times) < 5:
            times += [message[0]["timestamp_s"]] if message[0]["type"] == "frame" else []
        await worker.send({"type": "pause"})
        silent = 0
        while silent < 2 and (message := await worker.receive(silence_s=60)) is not None:
            silent = silent + 1 if message[0]["type"] == "alive" else 0
            times += [message[0]["timestamp_s"]] if message[0]["type"] == "frame" else []
        await worker.send({"type": "resume"})
        while (message := await worker.receive(silence_s=60)) is not None and message[0]["type"] != "frame":
            pass
        return times[-1], message[0]["timestamp_s"]

    before, after = converse({"type": "stream", "stream_id": "demo", "exercise": "squat", "source": {"kind": "demo"}}, talk)
    # Two seconds and more of silence are not two seconds of exercise.
    assert 0 < after - before < 1.0


# --- gaps ---------------------------------------------------------------------------------------
def test_after_a_restart_ids_and_counts_begin_again(athlete_scene):
    frames = [frame for frame, _ in athlete_scene.frames()]
    with Pipeline(exercise="squat", stream_id="cam") as pipeline:
        first = [pipeline.process(frame) for frame in frames[:-5]]
        ended = pipeline.restart()
        second = [pipeline.process(frame) for frame in frames]
    assert max(u.repetitions[1].count for u in first if u.repetitions) == 2
    assert "person_left" in [event.type for event in ended]
    assert {t for u in second for t in u.tracked.track_ids.tolist()} == {1}
    assert next(u.repetitions[1].count for u in second if u.repetitions) == 0
    entered = [event for update in second for event in update.events if event.type == "person_entered"]
    assert [event.track_id for event in entered] == [1]


# --- pictures that are sent ---------------------------------------------------------------------
def encoded(kind: str = ".jpg", width: int = 64, height: int = 48, value: int = 90) -> bytes:
    return cv2.imencode(kind, np.full((height, width, 3), value, np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("kind", "options"), [(".jpg", []), (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]), (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101])]
)
@pytest.mark.parametrize(("width", "height"), [(16, 16), (641, 33), (33, 641), (1920, 1080)])
def test_the_size_in_the_header_is_the_size_of_the_picture(kind, options, width, height):
    image = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    data = cv2.imencode(kind, image, options)[1].tobytes()
    assert picture_size(data) == (width, height)
    assert decode_picture(data, max_pixels=4_000_000).shape == (height, width, 3)


def test_colours_are_red_green_blue():
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 2] = 250  # OpenCV's order is blue, green, red
    red = decode_picture(cv2.imencode(".jpg", image)[1].tobytes(), max_pixels=10_000)
    assert red[16, 16, 0] > 240
    assert red[16, 16, 1:].max() < 15


def test_a_picture_that_announces_more_than_allowed_is_refused_before_decoding(monkeypatch):
    data = bytearray(encoded())
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, 60_000, 60_000)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(SourceError, match="60000x60000"):
        decode_picture(bytes(data), max_pixels=8_000_000)


@given(st.binary(max_size=200) | st.integers(0, 700).map(lambda n: encoded()[:n]) | st.integers(0, 100).map(lambda n: encoded(".webp")[:n]))
@settings(max_examples=150, deadline=None)
def test_whatever_is_no_whole_picture_is_an_error_of_ours(data):
    if data == encoded() or data == encoded(".webp"):
        return
    with pytest.raises(SourceError):
        decode_picture(data, max_pixels=100_000)


def test_pushed_pictures_are_answered_one_by_one_and_bad_ones_named(athlete_scene):
    pictures = [cv2.imencode(".jpg", frame.image[:, :, ::-1])[1].tobytes() for frame, _ in athlete_scene.frames()]

    async def talk(worker):
        answers, events = [], []
        opened = await worker.receive(silence_s=60)
        for i, data in enumerate([pictures[0][:100], b"", *pictures]):
            await worker.send({"type": "picture", "frame_id": i, "timestamp_s": i / 15}, data)
            header, _ = await worker.receive(silence_s=60)
            answers.append((header["type"], header["frame_id"]))
            events += header.get("events", [])
        await worker.send({"type": "finish"})
        header, _ = await worker.receive(silence_s=60)
        return opened[0]["type"], answers, [event["type"] for event in events + header["events"]]

    opened, answers, events = converse({"type": "push", "stream_id": "live", "exercise": "squat"}, talk)
    assert opened == "opened"
    assert answers[:3] == [("bad_picture", 0), ("bad_picture", 1), ("frame", 2)]
    assert [kind for kind, _ in answers[2:]] == ["frame"] * len(pictures)
    assert events.count("rep_completed") == 2


def test_a_mirrored_picture_gives_the_same_sides_at_mirrored_places(athlete_scene):
    frames = [frame.image for frame, _ in athlete_scene.frames()][:12]

    async def talk(worker, images):
        await worker.receive(silence_s=60)
        for i, image in enumerate(images):
            await worker.send(
                {"type": "picture", "frame_id": i, "timestamp_s": i / 15},
                cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes(),
            )
            header, _ = await worker.receive(silence_s=60)
        return header["people"][0]

    plain = converse({"type": "push", "stream_id": "live"}, lambda w: talk(w, frames))
    mirrored = converse({"type": "push", "stream_id": "live", "mirror": True}, lambda w: talk(w, [image[:, ::-1] for image in frames]))
    width = frames[0].shape[1]
    ours, theirs = (np.array([k[:2] for k in person["keypoints"]]) for person in (plain, mirrored))
    assert np.abs(ours - (theirs * (-1, 1) + (width, 0))).max() < 3.0
    assert mirrored["box"][0] < mirrored["box"][2]
    for name, value in plain["angles"].items():
        if value is not None and mirrored["angles"][name] is not None and "lean" not in name:
            assert value == pytest.approx(mirrored["angles"][name], abs=5.0)
