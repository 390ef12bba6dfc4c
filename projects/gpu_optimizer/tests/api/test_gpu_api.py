"""The API as a client sees it: in this process, and once as a server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import anyio
import httpx
import pytest

from gpu_optimizer.api import create_app
from gpu_optimizer.api.main import main
from gpu_optimizer.monitoring import SnapshotReader
from shared_utils.devices import Device, DeviceKind, Precision


def get(app: Any, path: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return anyio.run(ask)


def no_driver() -> None:
    raise OSError("no driver")


@pytest.fixture
def app():
    return create_app(reader=SnapshotReader(no_driver))


def test_devices_are_listed_with_their_formats(app, monkeypatch):
    gpu = Device(
        DeviceKind.CUDA, 1, "NVIDIA L4", 24 << 30, precisions=frozenset({Precision.FP32, Precision.BF16}), compute_capability=(8, 9)
    )
    monkeypatch.setattr("gpu_optimizer.api.machine.detect_devices", lambda: [gpu, Device(DeviceKind.CPU, 0, "A Processor", None, cores=4)])
    assert get(app, "/v1/devices").json() == [
        {"device": "cuda:1", "name": "NVIDIA L4", "memory_bytes": 24 << 30, "precisions": ["bf16", "fp32"], "compute_capability": "8.9"},
        {"device": "cpu", "name": "A Processor", "memory_bytes": None, "precisions": ["fp32"], "compute_capability": None},
    ]


def test_memory_without_a_gpu_says_why_and_gives_the_host(app):
    body = get(app, "/v1/memory").json()
    assert body["gpus"] == []
    assert body["gpu_problem"] == "no NVIDIA driver answers (no driver)"
    assert body["host"]["memory_total_bytes"] > body["host"]["memory_available_bytes"] > 0


def test_metrics_hold_the_readings_and_the_requests(app):
    get(app, "/v1/memory")
    text = get(app, "/metrics").text
    assert "\ngpu_up 0.0\n" in text
    assert "\ngpu_host_memory_total_bytes " in text
    assert 'gpu_http_requests_total{method="GET",route="/v1/memory",status="200"} 1.0' in text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs"])
def test_the_service_pages_answer(app, path):
    assert get(app, path).status_code == 200


def test_an_unknown_path_is_a_problem_document(app):
    answer = get(app, "/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (404, "application/problem+json")


def test_two_applications_do_not_share_metrics():
    first, second = create_app(reader=SnapshotReader(no_driver)), create_app(reader=SnapshotReader(no_driver))
    get(first, "/v1/memory")
    assert "/v1/memory" not in get(second, "/metrics").text


def test_listening_for_others_without_a_token_is_refused(capsys, monkeypatch):
    monkeypatch.delenv("HTTP_API_TOKEN", raising=False)
    assert main(["--host", "0.0.0.0", "--port", "0"]) == 2
    assert "listening on 0.0.0.0 needs a token" in capsys.readouterr().err


def test_a_misspelt_setting_is_named(capsys, tmp_path):
    (tmp_path / "service.yml").write_text("prot: 8002\n")
    assert main(["--config", str(tmp_path / "service.yml")]) == 2
    assert "did you mean port" in capsys.readouterr().err


def test_a_server_of_its_own_answers_and_stops_when_told():
    command = [sys.executable, "-m", "gpu_optimizer.api.main", "--port", "0", "--log-level", "WARNING"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("HTTP_API_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[4]
            assert httpx.get(f"{address}/healthz", timeout=60).json() == {"status": "ok"}
            server.send_signal(signal.SIGTERM)
            _, errors = server.communicate(timeout=60)
        finally:
            server.kill()
    assert server.returncode == 0
    assert "RuntimeWarning" not in errors
    assert "Traceback" not in errors
