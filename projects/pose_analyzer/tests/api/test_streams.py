"""Streams over HTTP and WebSocket: what a client gets, and what a hostile or slow one cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from itertools import pairwise

import cv2
import httpx
import numpy as np
import pytest
from _stream_service import Served, serve_streams
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pose_analyzer.api.messages import server_messages

TERMINAL = {"finished", "failed", "stopped"}


@pytest.fixture(scope="module")
def service(tmp_path_factory, athlete_clip):
    """One service for the module: the recordings' folder holds the athlete's clip."""
    media = tmp_path_factory.mktemp("media")
    (media / "squat.mp4").write_bytes(athlete_clip.read_bytes())
    (media / "broken.mp4").write_bytes(b"no video at all")
    (media / ".hidden.mp4").write_bytes(athlete_clip.read_bytes())
    recordings = {"a" * 32: athlete_clip}
    with serve_streams(
        tmp_path_factory.mktemp("data"), media=recordings.get, media_dir=media, max_streams=4, max_clients=6, max_message_bytes=200_000
    ) as served:
        yield served


@pytest.fixture
def client(service):
    with httpx.Client(base_url=service.address, timeout=60) as client:
        yield client
        for stream in client.get("/v1/streams").json()["items"]:
            client.delete(f"/v1/streams/{stream['id']}")


def start(client: httpx.Client, source: dict, **more) -> dict:
    answer = client.post("/v1/streams", json={"source": source, **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/streams/{answer.json()['id']}"
    return answer.json()


def live(service: Served, path: str) -> ClientConnection:
    return connect(f"{service.sockets}{path}", max_size=None, open_timeout=30)


def watch(service: Served, stream_id: str, query: str = "") -> list:
    """Everything until the stream is over; pictures as bytes, every text checked against its model."""
    said = []
    with live(service, f"/v1/streams/{stream_id}/live{query}") as socket:
        try:
            while True:
                message = socket.recv(timeout=60)
                said.append(message if isinstance(message, bytes) else json.loads(message))
                if isinstance(message, str):
                    server_messages.validate_json(message)
        except ConnectionClosed:
            said.append({"type": "closed", "code": socket.close_code})
    return said


def jpeg(image: np.ndarray | None = None) -> bytes:
    return cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8) if image is None else image)[1].tobytes()


def receive(socket: ClientConnection, *kinds: str) -> dict:
    """The next message of one of these kinds."""
    while True:
        text = socket.recv(timeout=60)
        server_messages.validate_json(text)
        if json.loads(text)["type"] in kinds:
            return json.loads(text)


def push_until_closed(socket: ClientConnection, messages: list) -> int | None:
    """Send all, then read until the service hangs up; its close code."""
    with contextlib.suppress(ConnectionClosed):
        for message in messages:
            socket.send(message)
        while True:
            socket.recv(timeout=60)
    return socket.close_code


# --- streams ------------------------------------------------------------------------------------
def test_a_recording_is_shown_from_hello_to_its_end(service, client, athlete_scene):
    stream = start(client, {"kind": "file", "name": "squat.mp4"}, exercise="squat", name="rack 3")
    said = watch(service, stream["id"], "?images=1&width=200")
    texts = [message for message in said if isinstance(message, dict)]
    frames = [message for message in texts if message["type"] == "frame"]
    assert texts[0]["type"] == "hello"
    assert (texts[0]["exercise"]["name"], texts[0]["exercise"]["signal_angle"]) == ("squat", "knee_flexion")
    assert len(texts[0]["skeleton"]["keypoints"]) == len(frames[0]["people"][0]["keypoints"])
    assert set(frames[-1]["people"][0]["angles"]) == set(texts[0]["angle_names"])
    assert (texts[-2]["type"], texts[-2]["state"], texts[-1]["code"]) == ("state", "finished", 1000)
    events = [event["type"] for message in texts if message["type"] in ("frame", "state") for event in message["events"]]
    assert events.count("rep_completed") == 2
    # Every picture follows the frame that announces it, no wider than asked for.
    for message, after in pairwise(said):
        is_announced = isinstance(message, dict) and message["type"] == "frame" and message["image"]
        assert isinstance(after, bytes) == is_announced
    widths = {cv2.imdecode(np.frombuffer(m, np.uint8), cv2.IMREAD_COLOR).shape[1] for m in said if isinstance(m, bytes)}
    assert widths == {160}
    view = client.get(f"/v1/streams/{stream['id']}").json()
    assert (view["state"], view["error"], view["repetitions"], view["name"]) == ("finished", None, 2, "rack 3")
    assert view["frames"] + view["dropped"] == len(athlete_scene)
    assert 0 < view["latency_s"]["p50"] <= view["latency_s"]["p99"]


def test_a_late_watcher_is_told_what_was_missed(service, client):
    stream = start(client, {"kind": "file", "analysis_id": "a" * 32}, exercise="squat")
    watch(service, stream["id"])
    hello, *rest = watch(service, stream["id"])
    assert [event["type"] for event in hello["history"]["events"]].count("rep_completed") == 2
    series = hello["history"]["series"]["1"]
    steps = np.diff(series["timestamp_s"])
    assert len(steps) > 30
    assert steps.min() > 0.9 / 15
    knee = np.array(series["angles"]["left_knee_flexion_deg"], float)
    assert len(knee) == len(steps) + 1
    assert np.nanmax(knee) - np.nanmin(knee) > 40
    assert rest == [{"type": "closed", "code": 1000}]


def test_events_are_listed_in_pages(service, client):
    stream = start(client, {"kind": "file", "name": "squat.mp4"}, exercise="squat")
    watch(service, stream["id"])
    path = f"/v1/streams/{stream['id']}/events"
    whole = client.get(path).json()
    assert whole["next_cursor"] is None
    paged, cursor = [], None
    while True:
        page = client.get(path, params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        paged += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert paged == whole["items"]
    reps = client.get(path, params={"type": "rep_completed"}).json()["items"]
    assert [event["value"] for event in reps] == [1, 2]
    assert [event.to_dict() for stream_id, event in service.events if stream_id == stream["id"]] == whole["items"]
    assert [ended.state for ended in service.ended if ended.id == stream["id"]] == ["finished"]


def test_a_deleted_stream_is_gone_with_its_metrics_and_its_process(service, client):
    stream = start(client, {"kind": "file", "name": "squat.mp4", "loop": True})
    with live(service, f"/v1/streams/{stream['id']}/live") as socket:
        receive(socket, "frame")
        assert f'pose_frames_total{{stream="{stream["id"]}"}}' in client.get("/metrics").text
        assert client.delete(f"/v1/streams/{stream['id']}").status_code == 204
        assert receive(socket, "state")["state"] == "stopped"
        with pytest.raises(ConnectionClosed):
            receive(socket, "frame")
        assert socket.close_code == 1000
    assert client.get(f"/v1/streams/{stream['id']}").status_code == 404
    assert stream["id"] not in client.get("/metrics").text
    assert client.get("/v1/streams").json()["items"] == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"kind": "file", "name": "broken.mp4"}, "not a video"),
        ({"kind": "webcam", "index": 61}, "webcam 61"),
        ({"kind": "rtsp", "url": "rtsp://admin:topsecret@127.0.0.1:9/ch1?token=abc"}, "cannot be reached"),
    ],
    ids=["file", "webcam", "camera"],
)
def test_a_source_that_cannot_be_opened_fails_with_a_sentence(service, client, source, words):
    stream = start(client, source)
    state = watch(service, stream["id"])[-2]
    view = client.get(f"/v1/streams/{stream['id']}")
    assert (view.json()["state"], view.json()["frames"]) == ("failed", 0)
    assert words in view.json()["error"]
    assert "topsecret" not in view.text + json.dumps(stream) + json.dumps(state)
    assert str(service.manager._settings.media_dir) not in view.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"source": {"kind": "file", "name": "../squat.mp4"}}, 404),
        ({"source": {"kind": "file", "name": ".hidden.mp4"}}, 404),
        ({"source": {"kind": "file", "name": "squat.mp4\0"}}, 404),
        ({"source": {"kind": "file", "analysis_id": "b" * 32}}, 404),
        ({"source": {"kind": "file", "analysis_id": "../" + "a" * 29}}, 422),
        ({"source": {"kind": "file", "name": "squat.mp4", "analysis_id": "a" * 32}}, 422),
        ({"source": {"kind": "rtsp", "url": "http://127.0.0.1/"}}, 422),
        ({"source": {"kind": "rtsp", "url": "rtsp:///nowhere"}}, 422),
        ({"source": {"kind": "webcam", "index": True}}, 422),
        ({"source": {"kind": "demo"}, "exercise": "/etc/passwd"}, 422),
        ({"source": {"kind": "demo"}, "colour": "red"}, 422),
    ],
)
def test_a_wrong_request_starts_nothing(client, body, status):
    answer = client.post("/v1/streams", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/streams").json()["items"] == []


def test_one_stream_too_many_is_refused_and_ended_ones_do_not_count(service, client):
    done = start(client, {"kind": "file", "name": "broken.mp4"})
    watch(service, done["id"])
    running = [start(client, {"kind": "file", "name": "squat.mp4", "loop": True}) for _ in range(4)]
    answer = client.post("/v1/streams", json={"source": {"kind": "demo"}})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
    with live(service, "/v1/live") as socket, pytest.raises(ConnectionClosed):
        socket.recv(timeout=60)
    assert socket.close_code == 1013
    states = client.get("/metrics").text
    assert 'pose_streams{state="failed"} 1.0' in states
    assert len(running) == 4


def test_one_client_too_many_is_turned_away(service, client):
    stream = start(client, {"kind": "file", "name": "squat.mp4", "loop": True})
    path = f"/v1/streams/{stream['id']}/live"
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(live(service, path)) for _ in range(6)]
        assert all(receive(socket, "hello") for socket in sockets)
        assert client.get(f"/v1/streams/{stream['id']}").json()["clients"] == 6
        one_more = stack.enter_context(live(service, path))
        with pytest.raises(ConnectionClosed):
            one_more.recv(timeout=60)
        assert one_more.close_code == 1013


def test_a_watcher_that_does_not_read_slows_nobody_and_is_skipped_ahead(service, client):
    stream = start(client, {"kind": "file", "name": "squat.mp4", "loop": True}, exercise="squat")
    path = f"/v1/streams/{stream['id']}/live?images=1"
    with live(service, path) as quick, connect(service.sockets + path, max_size=None, max_queue=1, close_timeout=1) as slow:
        slow.recv(timeout=60)
        first = receive_frame(quick)
        last = first
        while last["frame_index"] < first["frame_index"] + 25:
            last = receive_frame(quick)
            assert last["skipped"] < 30
        watchers = list(service.manager.get(stream["id"]).watchers)
        assert all(len(w._events) <= 500 for w in watchers)


def receive_frame(socket: ClientConnection) -> dict:
    while isinstance(message := socket.recv(timeout=60), bytes) or json.loads(message)["type"] != "frame":
        pass
    return json.loads(message)


def test_a_watcher_who_sends_pictures_or_floods_is_let_go(service, client):
    stream = start(client, {"kind": "file", "name": "squat.mp4", "loop": True})
    for messages in ([b"\0"], ["{}"] * 2000, ["x" * 150_000]):
        with live(service, f"/v1/streams/{stream['id']}/live") as socket:
            assert push_until_closed(socket, messages) in (1008, 1009)
    assert client.get(f"/v1/streams/{stream['id']}").json()["state"] in ("live", "starting")


def test_an_unknown_stream_cannot_be_watched(service):
    with pytest.raises(Exception, match="404"):
        live(service, "/v1/streams/none/live")


# --- own pictures -------------------------------------------------------------------------------
def test_own_pictures_are_measured_and_counted(service, athlete_scene):
    with live(service, "/v1/live") as socket:
        socket.send(json.dumps({"type": "start", "exercise": "squat", "max_people": 1}))
        hello = receive(socket, "hello")
        assert (hello["stream"]["kind"], hello["exercise"]["name"]) == ("push", "squat")
        counts = []
        for i, (frame, _) in enumerate(athlete_scene.frames()):
            socket.send(json.dumps({"type": "frame", "frame_id": 1000 + i, "timestamp_s": i / 15}))
            socket.send(jpeg(frame.image[:, :, ::-1]))
            answer = receive(socket, "frame")
            assert (answer["frame_id"], answer["image"]) == (1000 + i, False)
            counts += [person["repetition"]["count"] for person in answer["people"] if person["repetition"]]
        socket.send(json.dumps({"type": "stop"}))
        summary = receive(socket, "summary")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)
        assert socket.close_code == 1000
    assert counts[-1] == summary["repetitions"] == 2
    assert summary["frames"] == len(athlete_scene)


def test_the_newest_picture_wins_and_pictures_need_no_announcement(service):
    with live(service, "/v1/live") as socket:
        for _ in range(40):
            socket.send(jpeg())
        answers = [receive(socket, "frame")]
        while answers[-1]["frame_id"] < 40:
            answers.append(receive(socket, "frame"))
    assert len(answers) + sum(answer["skipped"] for answer in answers) == 40
    assert len(answers) < 40
    assert all(answer["age_s"] >= 0 for answer in answers)


def test_a_second_start_begins_anew(service, athlete_scene):
    pictures = [jpeg(frame.image[:, :, ::-1]) for frame, _ in athlete_scene.frames()]
    with live(service, "/v1/live") as socket:
        for exercise in ("squat", "push_up"):
            socket.send(json.dumps({"type": "start", "exercise": exercise}))
            assert receive(socket, "hello")["exercise"]["name"] == exercise
            people: list = []
            for i, picture in enumerate(pictures[:40] if exercise == "squat" else pictures[:10]):
                socket.send(json.dumps({"type": "frame", "frame_id": i, "timestamp_s": i / 15}))
                socket.send(picture)
                people = receive(socket, "frame")["people"]
            assert {person["track_id"] for person in people} <= {1, -1}
        socket.send(json.dumps({"type": "stop"}))
        assert receive(socket, "summary")["repetitions"] == 0


HOSTILE = [
    *("", "{", "null", "[]", '"start"', "{}", '{"type": 7}', '{"type": "dance"}', "[" * 20_000, '{"type": "' + "x" * 5000 + '"}'),
    *('{"type": "start", "exercise": 7}', '{"type": "start", "exercise": "../../etc/passwd"}', '{"type": "start", "mirror": "yes"}'),
    *('{"type": "start", "max_people": 1000}', '{"type": "frame"}', '{"type": "frame", "frame_id": -1}'),
    *('{"type": "frame", "frame_id": "1"}', '{"type": "frame", "frame_id": 1, "timestamp_s": NaN}'),
    *('{"type": "frame", "frame_id": 1, "timestamp_s": 1e999}', '{"type": "frame", "frame_id": 1e300}'),
]


def test_hostile_texts_are_answered_and_a_good_picture_still_counts(service):
    with live(service, "/v1/live") as socket:
        for message in HOSTILE[:-1]:
            socket.send(message)
            error = receive(socket, "error")
            assert error["code"] == "bad_message"
            assert len(error["detail"]) < 1500
        socket.send(jpeg())
        receive(socket, "frame")
        assert push_until_closed(socket, HOSTILE) == 1008


def test_twenty_bad_pictures_in_a_row_are_enough(service):
    whole = jpeg()
    with live(service, "/v1/live") as socket:
        codes = []
        try:
            for i in range(30):
                socket.send(whole[: 20 + i])
                codes.append(receive(socket, "error")["code"])
        except ConnectionClosed:
            pass
        assert (codes, socket.close_code) == (["bad_picture"] * 20, 1008)


@pytest.mark.parametrize(
    ("messages", "code"), [([bytes(300_000)], 1009), (["x" * 100_000], 1009), ([b""] * 3000, 1008)], ids=["huge", "long", "flood"]
)
def test_too_much_is_cut_off_and_the_next_client_is_served(service, messages, code):
    with live(service, "/v1/live") as socket:
        assert push_until_closed(socket, messages) == code
    with live(service, "/v1/live") as socket:
        socket.send(jpeg())
        receive(socket, "frame")


# --- the demo, and the end ----------------------------------------------------------------------
def test_the_demo_is_there_at_once_rests_unwatched_and_stops_with_the_service(tmp_path):
    with serve_streams(tmp_path, demo=True, demo_idle_s=0.5) as service, httpx.Client(base_url=service.address, timeout=60) as client:
        assert [stream["id"] for stream in client.get("/v1/streams").json()["items"]] == ["demo"]
        with live(service, "/v1/streams/demo/live") as socket:
            receive(socket, "frame")
        # Unwatched, it soon measures no more: two looks in a row see the same number.
        seen = [-1, -2]
        while seen[-1] != seen[-2]:
            with httpx.Client(base_url=service.address, timeout=60) as other:
                seen.append(other.get("/v1/streams/demo").json()["frames"])
            service.call(lambda: _beat())
        with live(service, "/v1/streams/demo/live") as socket:
            receive(socket, "frame")
            loop = service.loop
            running = service.manager.get("demo")._worker
    assert running is not None
    assert not running.is_running
    assert loop.is_closed()


async def _beat() -> None:
    await asyncio.sleep(1.0)


def test_a_service_for_others_opens_listed_cameras_only(tmp_path):
    settings = {"host": "0.0.0.0", "token": "t" * 20, "spares": 0}
    for hosts, url, status in (
        (None, "rtsp://10.0.0.7/1", 403),
        (("cam.example",), "rtsp://10.0.0.7/1", 403),
        (("cam.example",), "rtsp://10.0.0.7#@cam.example/1", 403),
        (("127.0.0.1:9",), "rtsp://u:p@127.0.0.1:9/1", 201),
    ):
        with serve_streams(tmp_path, stream_hosts=hosts, **settings) as service:
            answer = httpx.post(
                f"{service.address}/v1/streams",
                json={"source": {"kind": "rtsp", "url": url}},
                headers={"Authorization": "Bearer " + "t" * 20},
                timeout=60,
            )
            assert answer.status_code == status, (hosts, url, answer.text)
