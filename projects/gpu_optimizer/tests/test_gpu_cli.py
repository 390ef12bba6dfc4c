"""The command as a user and a program see it; readings are imitated, the terminal is not."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gpu_optimizer import __version__, cli
from gpu_optimizer.monitoring import GpuSample, HostSample, Snapshot
from shared_utils.errors import DeviceError

HOST = HostSample(memory_total_bytes=16 << 30, memory_available_bytes=4 << 30, process_resident_bytes=1 << 28)
FULL = GpuSample(
    index=0,
    uuid="GPU-1",
    name="New Card",
    memory_total_bytes=24 << 30,
    memory_used_bytes=6 << 30,
    utilization_ratio=0.37,
    temperature_c=61,
    power_w=215.5,
    power_limit_w=300,
)
BARE = GpuSample(index=1, uuid="GPU-2", name="Old Card", memory_total_bytes=8 << 30, memory_used_bytes=0)


@pytest.fixture
def machine(monkeypatch):
    """Imitate what a reader finds; waiting takes no time."""

    def imitate(*gpus: GpuSample, problem: str | None = None) -> None:
        snapshot = Snapshot(gpus=gpus, host=HOST, gpu_problem=problem)
        monkeypatch.setattr(cli.SnapshotReader, "read", lambda self: snapshot)
        monkeypatch.setattr(cli.time, "sleep", lambda seconds: None)

    return imitate


def run(*words: str):
    return CliRunner().invoke(cli.app, list(words), env={"COLUMNS": "120"})


def test_the_table_shows_each_gpu_and_the_host(machine):
    machine(FULL, BARE)
    result = run("watch", "--count", "1")
    assert result.exit_code == 0
    first, second, host = (next(row for row in result.output.splitlines() if name in row) for name in ("New Card", "Old Card", "host"))
    assert all(cell in first for cell in ("6.0 GiB", "24.0 GiB", "37%", "61", "216/300"))
    assert second.count(" - ") == 3  # load, temperature and power that it does not report
    assert "12.0 GiB" in host


def test_without_a_gpu_the_reason_stands_below_the_host(machine):
    machine(problem="no NVIDIA driver answers (not found)")
    output = run("watch", "--count", "1").output
    assert "host" in output
    assert "no NVIDIA driver answers (not found)" in output


def test_json_is_one_object_per_reading(machine):
    machine(FULL)
    lines = run("watch", "--count", "3", "--json").output.splitlines()
    assert len(lines) == 3
    found = json.loads(lines[0])
    assert found["gpus"][0]["memory_used_bytes"] == 6 << 30
    assert found["host"]["process_resident_bytes"] == 1 << 28


def test_ctrl_c_ends_a_watch_without_a_trace(machine, monkeypatch):
    machine(FULL)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.time, "sleep", interrupt)
    result = run("watch")
    assert result.exit_code == 0
    assert "Traceback" not in result.output
    assert "Aborted" not in result.output


@pytest.mark.parametrize("words", [("watch", "--interval", "0"), ("watch", "--count", "0"), ("observe",)])
def test_wrong_words_end_with_two(words):
    assert run(*words).exit_code == 2


def test_detect_lists_the_processor_and_gives_json_to_programs():
    assert "cpu" in run("detect").output
    assert json.loads(run("detect", "--json").output)["memory_bytes"] > 0


def test_the_version_is_the_packages():
    assert run("--version").output.strip() == __version__


def test_an_error_of_ours_is_one_line(monkeypatch, capsys):
    def broken() -> None:
        raise DeviceError("the driver is gone")

    monkeypatch.setattr("shared_utils.devices.detect_devices", broken)
    with pytest.raises(SystemExit) as stop:
        cli.main(["detect"])
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: the driver is gone\n"
