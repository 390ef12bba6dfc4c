"""Both services on one machine at the same time, each a process of its own, scraped as Prometheus does it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families


@contextlib.contextmanager
def running(module: str, **settings: str) -> Iterator[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("HTTP_API_")} | settings
    command = [sys.executable, "-m", module, "--port", "0", "--log-level", "ERROR"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as service:
        try:
            assert service.stdout is not None
            line = service.stdout.readline()
            yield next(word for word in line.split() if word.startswith("http://"))
            service.send_signal(signal.SIGTERM)
            assert service.wait(60) == 0
        finally:
            service.kill()


def scraped(address: str) -> dict[str, str]:
    """Name of every family -> its type."""
    text = httpx.get(f"{address}/metrics", timeout=60).text
    return {family.name: family.type for family in text_string_to_metric_families(text)}


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_both_services_run_side_by_side_and_are_scraped(tmp_path: Path):
    pose = running("pose_analyzer.api.main", HTTP_API_DATA_DIR=str(tmp_path), HTTP_API_DEMO="false")
    with pose as pose_address, running("gpu_optimizer.api.main") as gpu_address:
        assert pose_address != gpu_address
        for address in (pose_address, gpu_address):
            assert httpx.get(f"{address}/healthz", timeout=60).json() == {"status": "ok"}
            assert httpx.get(address, timeout=60).headers["content-type"].startswith("text/html")
        pose_metrics, gpu_metrics = scraped(pose_address), scraped(gpu_address)
    assert "pose_streams" in pose_metrics
    assert {"gpu_up", "gpu_host_memory_total_bytes", "gpu_jobs", "gpu_optimizer_oom_events"} <= set(gpu_metrics)
    shared = set(pose_metrics) & set(gpu_metrics)
    assert not {name for name in shared if name.startswith(("pose_", "gpu_"))}
