"""Network cameras for real: GStreamer's RTSP server, unplugged, cut off, and back."""

from __future__ import annotations

import json
import time

import httpx
import psutil
import pytest
from _gst_camera import GstCamera, lengthen, why_not
from _stream_service import Served, serve_streams
from websockets.sync.client import connect

from pose_analyzer.api.messages import server_messages

FIRST_FRAME_S, UNPLUGGED_S, RECONNECTS = 2.0, 10.0, 10
GROWTH_BYTES = 30e6

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def recording(tmp_path_factory, athlete_clip):
    """Some minutes of squats."""
    return lengthen(athlete_clip, tmp_path_factory.mktemp("camera") / "long.mp4", times=40)


@pytest.fixture
def camera(recording):
    with GstCamera(recording) as camera:
        yield camera


class Watching:
    """A watcher of one stream that notes everything."""

    def __init__(self, service: Served, stream_id: str) -> None:
        self._socket = connect(f"{service.sockets}/v1/streams/{stream_id}/live", max_size=None).__enter__()
        self.states: list[str] = []
        self.events: list[dict] = []
        self.frames: list[dict] = []

    def until(self, wanted) -> dict:
        """The first message for which `wanted` holds."""
        while True:
            text = self._socket.recv(timeout=60)
            server_messages.validate_json(text)
            message = json.loads(text)
            self.events += message.get("events", [])
            if message["type"] == "frame":
                self.frames.append(message)
            if message["type"] == "state":
                self.states.append(message["state"])
            if wanted(message):
                return message

    def frame_with_somebody(self) -> dict:
        return self.until(lambda m: m["type"] == "frame" and any(p["track_id"] > 0 for p in m["people"]))

    def state(self, name: str) -> dict:
        return self.until(lambda m: m["type"] == "state" and m["state"] == name)

    def close(self) -> None:
        self._socket.close()


def start(service: Served, camera: GstCamera) -> str:
    body = {"source": {"kind": "rtsp", "url": camera.url}, "exercise": "squat"}
    answer = httpx.post(f"{service.address}/v1/streams", json=body, timeout=60)
    assert answer.status_code == 201
    assert "topsecret" not in answer.text
    return answer.json()["id"]


def view_of(service: Served, stream_id: str) -> httpx.Response:
    return httpx.get(f"{service.address}/v1/streams/{stream_id}", timeout=60)


def test_a_camera_that_is_unplugged_for_ten_seconds_comes_back_by_itself(tmp_path, camera):
    with serve_streams(tmp_path) as service:
        service.call(service.manager._pool._waiting[0].wait_ready)
        asked_s = time.monotonic()
        stream_id = start(service, camera)
        watching = Watching(service, stream_id)
        watching.until(lambda m: m["type"] == "frame")
        first_frame_s = time.monotonic() - asked_s
        before = watching.frame_with_somebody()

        camera.unplug()
        lost = watching.state("lost")
        assert view_of(service, stream_id).json()["state"] == "lost"
        time.sleep(max(UNPLUGGED_S - (time.monotonic() - asked_s - first_frame_s), 0.0))
        camera.plug_in()
        back = watching.state("live")
        after = watching.frame_with_somebody()
        watching.close()

        # A quarter to half a second with a measuring process at hand; the promise to users is two.
        assert first_frame_s < FIRST_FRAME_S
        assert "was lost" in lost["reason"]
        resumed = next(event for event in back["events"] if event["type"] == "stream_resumed")
        # Measured by the media clock: not shorter than the silence until it was noticed, not longer than the outage and one attempt.
        assert 5.0 <= resumed["value"] <= UNPLUGGED_S + 15.0
        assert resumed["start_s"] >= before["timestamp_s"] - 0.001  # events are told in milliseconds
        assert after["timestamp_s"] >= resumed["end_s"] - 0.001
        # Everybody has left at the gap; who is there now is new, numbered from 1, with nothing counted.
        kinds = [event["type"] for event in watching.events]
        assert "person_left" in kinds
        assert kinds[kinds.index("stream_resumed") :].count("person_entered") == 1
        person = next(p for p in after["people"] if p["track_id"] > 0)
        assert (person["track_id"], person["repetition"]["count"]) == (1, 0)
        view = view_of(service, stream_id)
        assert (view.json()["state"], view.json()["gaps"], view.json()["error"]) == ("live", 1, None)
        listed = httpx.get(f"{service.address}/v1/streams/{stream_id}/events", timeout=60)
        assert {"stream_lost", "stream_resumed"} <= {event["type"] for event in listed.json()["items"]}
        metrics = httpx.get(f"{service.address}/metrics", timeout=60).text
        assert f'pose_stream_gaps_total{{stream="{stream_id}"}} 1.0' in metrics
        assert not [text for text in (view.text, listed.text, metrics, json.dumps([lost, back])) if "topsecret" in text]


def test_ten_reconnects_cost_no_memory(tmp_path, camera):
    with serve_streams(tmp_path, spares=0) as service:
        stream_id = start(service, camera)
        watching = Watching(service, stream_id)
        watching.frame_with_somebody()
        worker = service.manager.get(stream_id)._worker
        assert worker is not None
        process = psutil.Process(worker.pid)
        sizes, handles, threads = [], [], []
        for _ in range(RECONNECTS + 1):
            camera.die()
            watching.state("lost")
            camera.come_back()
            watching.state("live")
            watching.frame_with_somebody()
            sizes.append(process.memory_info().rss)
            handles.append(process.num_fds())
            threads.append(process.num_threads())
        watching.close()
        # The first time may still allocate what all later ones use.
        assert sizes[-1] - sizes[0] < GROWTH_BYTES, [round(size / 1e6) for size in sizes]
        assert max(handles[1:]) - handles[0] <= 2, handles
        assert max(threads[1:]) - threads[0] <= 2, threads
        assert watching.states.count("lost") == RECONNECTS + 1
        assert view_of(service, stream_id).json()["gaps"] == RECONNECTS + 1
