"""The machine profile is written where asked, for each kind of machine."""

from __future__ import annotations

import json

import detect_gpu
import pytest
import yaml

from shared_utils.devices import Device, DeviceKind, Precision

GPUS = {
    "cuda": Device(
        DeviceKind.CUDA, 0, "NVIDIA L4", 24 << 30, precisions=frozenset({Precision.FP32, Precision.BF16}), compute_capability=(8, 9)
    ),
    "mps": Device(DeviceKind.MPS, 0, "Apple M4 GPU", 16 << 30),
}
CPU = Device(DeviceKind.CPU, 0, "A Processor", 8 << 30, cores=4)


@pytest.fixture
def machine(monkeypatch):
    """Imitate a machine with the named accelerators."""

    def imitate(*kinds: str) -> None:
        devices = [*(GPUS[kind] for kind in kinds), CPU]
        monkeypatch.setattr("shared_utils.devices.machine.detect_devices", lambda: devices)
        monkeypatch.setattr("shared_utils.devices.detect.detect_devices", lambda: devices)
        monkeypatch.setattr(detect_gpu, "detect_devices", lambda: devices)

    return imitate


@pytest.mark.parametrize(("kinds", "environment"), [(("cuda",), "cuda"), (("mps",), "mps"), ((), "cpu")])
def test_each_kind_of_machine_is_written_and_told_its_environment(machine, kinds, environment, tmp_path, capsys):
    machine(*kinds)
    target = tmp_path / "new folder" / "machine.yml"
    assert detect_gpu.main(["--output", str(target)]) == 0
    written = yaml.safe_load(target.read_text())
    assert [row["device"].split(":")[0] for row in written["accelerators"]] == list(kinds)
    text = capsys.readouterr().out
    assert f"environment for this machine: {environment} (" in text
    assert f"written to {target}" in text


def test_a_missing_accelerator_comes_with_its_reason(machine, tmp_path, capsys):
    machine()
    detect_gpu.main(["--output", str(tmp_path / "machine.yml")])
    text = capsys.readouterr().out
    assert "there is no cuda here: " in text
    assert "there is no mps here: " in text


def test_json_is_what_was_written(tmp_path, capsys):
    target = tmp_path / "machine.yml"
    assert detect_gpu.main(["--json", "--output", str(target)]) == 0
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(target.read_text())


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert detect_gpu.main(["--output", str(blocked / "machine.yml")]) == 1
    assert capsys.readouterr().err.startswith("detect_gpu: cannot write the machine profile")


def test_the_profile_is_not_tracked(shell):
    assert shell("git", "check-ignore", "config/machine.yml").stdout.strip() == "config/machine.yml"
