"""The live view over a WebSocket: history, readings, pings, slow and rude clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from _fake_nvml import FakeNvml
from _served import served
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gpu_optimizer.api import GpuApiSettings, create_app
from gpu_optimizer.api.live import LiveFeed, Watcher, json_schema
from gpu_optimizer.monitoring import HostSample, Snapshot, SnapshotReader

HOST = HostSample(memory_total_bytes=100, memory_available_bytes=60, process_resident_bytes=5)
EMPTY = Snapshot(gpus=(), host=HOST, gpu_problem="none")


def no_driver():
    raise OSError("no driver")


def open_live(address: str, **options: Any) -> ClientConnection:
    return connect(f"{address.replace('http', 'ws')}/v1/live", open_timeout=20, close_timeout=1, legacy=True, **options)


def heard(client: ClientConnection) -> dict[str, Any]:
    return json.loads(client.recv(timeout=20))


def closing_code(client: ClientConnection) -> int:
    """Read until the other side ends it."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(timeout=20)
    assert client.close_code is not None
    return client.close_code


def serve(**settings: Any):
    nvml = FakeNvml()
    return served(create_app(GpuApiSettings(live_interval_s=0.1, **settings), reader=SnapshotReader(lambda: nvml)))


def test_a_watcher_gets_the_history_and_then_readings():
    with serve() as address, open_live(address) as client:
        hello = heard(client)
        assert (hello["type"], hello["schema_version"], hello["interval_s"]) == ("hello", 1, 0.1)
        first = heard(client)
        assert first["type"] == "reading"
        assert [gpu["uuid"] for gpu in first["gpus"]] == ["GPU-new", "GPU-old"]
        assert first["gpus"][0]["power_w"] == 215.5
        assert heard(client)["time_s"] > first["time_s"]
        with open_live(address) as late:
            history = heard(late)["history"]
    assert len(history["time_s"]) >= 2
    assert history["gpus"][0]["memory_used_bytes"][-1] == 1_500_000_000
    assert all(len(gpu["utilization_ratio"]) == len(history["time_s"]) for gpu in history["gpus"])


def test_a_ping_is_answered_with_its_own_id():
    with serve() as address, open_live(address) as client:
        client.send('{"type": "ping", "id": "abc"}')
        answers = [message for _ in range(20) if (message := heard(client))["type"] == "pong"]
        assert answers[:1] == [{"type": "pong", "id": "abc"}]


@pytest.mark.parametrize(
    ("sent", "code"), [("hello", 1008), ('{"type": "ping", "more": 1}', 1008), ("x" * 2000, 1009), (b"\x00" * 2000, 1009), (b"x", 1008)]
)
def test_a_client_that_says_anything_else_is_let_go(sent, code):
    with serve() as address, open_live(address) as client:
        client.send(sent)
        assert closing_code(client) == code


def test_a_flood_of_pings_is_ended():
    with serve() as address, open_live(address) as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(200):
                client.send('{"type": "ping"}')
        assert closing_code(client) == 1008


def test_one_client_too_many_is_refused_with_a_reason():
    with serve(max_clients=1) as address, open_live(address) as client:
        heard(client)
        with pytest.raises(InvalidStatus) as refusal:
            open_live(address)
        assert refusal.value.response.status_code == 429
        assert "max_clients" in json.loads(refusal.value.response.body or b"{}")["detail"]


def test_a_page_of_another_origin_may_not_watch():
    with serve() as address, pytest.raises(InvalidStatus) as refusal:
        open_live(address, origin="http://elsewhere.example")
    assert refusal.value.response.status_code == 403


def test_clients_leave_nothing_behind_and_the_service_stops_with_them_connected():
    app = create_app(GpuApiSettings(live_interval_s=0.1), reader=SnapshotReader(no_driver))
    with served(app) as address:
        for _ in range(3):
            with open_live(address) as client:
                heard(client)
        held = open_live(address)
        heard(held)
        clients = app.state.registry.get_sample_value("gpu_clients")
        assert clients >= 1
    assert closing_code(held) in (1001, 1012)
    assert app.state.registry.get_sample_value("gpu_clients") == 0


def test_a_slow_client_gets_the_newest_reading_and_the_number_of_those_it_missed():
    async def go() -> list[dict[str, Any]]:
        watcher = Watcher()
        watcher.offer(1, EMPTY, 1.0)
        first = await watcher.take()
        for number in range(2, 7):
            watcher.offer(number, EMPTY, float(number))
        return [json.loads(text) for text in first + await watcher.take()]

    first, second = asyncio.run(go())
    assert (first["time_s"], first["skipped"]) == (1.0, 0)
    assert (second["time_s"], second["skipped"]) == (6.0, 4)


def test_history_has_a_gap_where_a_gpu_did_not_answer_and_keeps_only_so_much():
    nvml = FakeNvml()
    reader = SnapshotReader(lambda: nvml)
    feed = LiveFeed(reader, interval_s=1, history_s=3, max_clients=1)
    for lost in ({0}, set(), {0}, set()):
        nvml.lost = lost
        feed._kept.append((float(len(feed._kept)), reader.read()))
    history = feed.history()
    assert len(history.time_s) == 3
    by_uuid = {gpu.uuid: gpu for gpu in history.gpus}
    assert by_uuid["GPU-new"].memory_used_bytes == [1_500_000_000, None, 1_500_000_000]
    assert by_uuid["GPU-old"].utilization_ratio == [None, None, None]


def test_messages_are_what_the_schema_says():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    with serve() as address, open_live(address) as client:
        client.send('{"type": "ping"}')
        messages = [heard(client) for _ in range(4)]
    assert {message["type"] for message in messages} == {"hello", "reading", "pong"}
    validator = jsonschema.Draft202012Validator({**schema["properties"]["server_to_client"], "$defs": schema["$defs"]})
    for message in messages:
        validator.validate(message)
