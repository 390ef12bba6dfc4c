"""A served process: it listens, answers, and stops without cutting off a request."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx
import pytest

from shared_utils.errors import ConfigError
from shared_utils.service import ServiceSettings, create_service, run_service
from shared_utils.service.run import _listen

PROGRAM = """
import asyncio, sys
from fastapi import APIRouter
from shared_utils.logging import setup_logging
from shared_utils.service import ServiceSettings, create_service, run_service

router = APIRouter()

@router.get("/slow")
async def slow():
    print("request running", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    return {"done": True}

setup_logging("INFO", json=True)
settings = ServiceSettings(port=0, shutdown_timeout_s=20)
run_service(create_service("Demo", "1", settings=settings, routers=[router]), on_listening=lambda address: print(address, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished_before_the_service_stops(number, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert httpx.get(f"{address}/healthz", timeout=30).json() == {"status": "ok"}
            answers: list[httpx.Response] = []
            client = threading.Thread(target=lambda: answers.append(httpx.get(f"{address}/slow", timeout=30)))
            client.start()
            assert process.stdout.readline() == "request running\n"
            os.kill(process.pid, number)
            process.stdin.write("\n")
            process.stdin.flush()
            client.join(30)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert answers[0].json() == {"done": True}
    assert "server" not in answers[0].headers
    assert out == "ended\n"
    assert process.returncode == 0
    assert "service_stopped" in err
    assert "Traceback" not in err


def test_a_port_in_use_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1 port {port}: .*choose another port"):
            run_service(create_service("Demo", "1"), ServiceSettings(port=port))


def test_an_address_of_nobody_is_one_sentence():
    token = "correct-horse-battery-staple"
    with pytest.raises(ConfigError, match="no such address"):
        run_service(create_service("Demo", "1"), ServiceSettings(host="no.such.host.invalid", token=token))
    with pytest.raises(ConfigError, match="cannot listen on 192"):
        run_service(create_service("Demo", "1"), ServiceSettings(host="192.0.2.1", token=token, port=0))


def test_listening_for_others_without_a_token_is_refused():
    with pytest.raises(ConfigError, match="needs a token"):
        run_service(create_service("Demo", "1"), ServiceSettings(host="0.0.0.0"))


def test_a_service_that_cannot_start_says_so():
    @asynccontextmanager
    async def broken(app):
        raise RuntimeError("no model")
        yield

    with ThreadPoolExecutor(1) as pool:  # signals belong to the main thread, which pytest needs
        serving = pool.submit(run_service, create_service("Demo", "1", lifespan=broken), ServiceSettings(port=0))
        with pytest.raises(ConfigError, match="did not start"):
            serving.result(30)


def test_signals_are_handled_as_before_after_it_ended():
    @asynccontextmanager
    async def ends_itself(app):
        signal.raise_signal(signal.SIGTERM)
        yield

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    addresses = []
    run_service(create_service("Demo", "1", lifespan=ends_itself), ServiceSettings(port=0, host="localhost"), on_listening=addresses.append)
    assert addresses[0].startswith("http://localhost:")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own name for the option is Linux'")
def test_the_kernel_keeps_little_for_a_client_that_reads_slowly():
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, 25) == 64 * 2**10
