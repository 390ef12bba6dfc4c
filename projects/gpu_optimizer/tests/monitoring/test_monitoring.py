"""Readings and metrics on machines with GPUs, without, and with a driver that goes away; the driver is imitated."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gpu_optimizer.monitoring import MemoryCollector, SnapshotReader, read_snapshot
from shared_utils.metrics import check_name


class Lost(Exception):
    """What the driver raises."""


class Driver:
    """Two GPUs with pynvml's functions: one reports everything in new words, the other little in old ones."""

    nvmlMemory_v2 = 2
    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        self.connections = 0
        self.lost: set[int] = set()
        self.gone = False

    def nvmlInit(self) -> None:
        if self.gone:
            raise Lost("Driver Not Loaded")
        self.connections += 1

    def nvmlShutdown(self) -> None:
        self.connections -= 1

    def nvmlDeviceGetCount(self) -> int:
        if self.gone:
            raise Lost("Driver Not Loaded")
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index in self.lost:
            raise Lost("GPU is lost")
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int | None = None) -> SimpleNamespace:
        if handle == 1 and version is not None:
            raise Lost("Argument Version Mismatch")
        return SimpleNamespace(total=8_000_000_000 * (handle + 1), used=1_500_000_000)

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        return b"GPU-old" if handle else "GPU-new"

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return b"Old Card" if handle else "New Card"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return self._supported(handle, SimpleNamespace(gpu=37, memory=12))

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return self._supported(handle, 61)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self._supported(handle, 215_500)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return self._supported(handle, 300_000)

    def _supported(self, handle: int, value):
        if handle == 1:
            raise Lost("Not Supported")
        return value


def metrics(collector: MemoryCollector) -> dict[tuple[str, str], float]:
    """(metric, GPU or "") -> value, as a Prometheus server would read it."""
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, s.labels.get("gpu", "")): s.value for family in families for s in family.samples}


def test_every_value_of_a_gpu_comes_in_its_unit():
    first, second = SnapshotReader(Driver).read().gpus
    assert (first.index, first.uuid, first.name) == (0, "GPU-new", "New Card")
    assert (first.memory_total_bytes, first.memory_used_bytes) == (8_000_000_000, 1_500_000_000)
    assert (first.utilization_ratio, first.temperature_c, first.power_w, first.power_limit_w) == (0.37, 61.0, 215.5, 300.0)
    assert (second.uuid, second.name, second.memory_total_bytes) == ("GPU-old", "Old Card", 16_000_000_000)


def test_what_a_gpu_does_not_report_is_none_and_has_no_sample():
    second = SnapshotReader(Driver).read().gpus[1]
    assert (second.utilization_ratio, second.temperature_c, second.power_w, second.power_limit_w) == (None, None, None, None)
    found = metrics(MemoryCollector(SnapshotReader(Driver)))
    assert found["gpu_temperature_celsius", "0"] == 61
    assert ("gpu_temperature_celsius", "1") not in found


def test_metrics_carry_every_gpu_and_the_host():
    found = metrics(MemoryCollector(SnapshotReader(Driver)))
    assert found["gpu_up", ""] == 1
    assert found["gpu_memory_used_bytes", "0"] == 1.5e9
    assert found["gpu_memory_total_bytes", "1"] == 16e9
    assert found["gpu_utilization_ratio", "0"] == 0.37
    assert found["gpu_power_watts", "0"] == 215.5
    assert found["gpu_info", "0"] == 1
    assert found["gpu_host_memory_total_bytes", ""] > found["gpu_host_memory_available_bytes", ""] > 0


def test_names_follow_the_rules_of_the_project():
    names = [family.name for family in MemoryCollector(SnapshotReader(Driver)).describe()]
    assert len(names) == len(set(names)) > 8
    for name in names:
        check_name(name)


def no_driver():
    raise OSError("libnvidia-ml.so.1: cannot open shared object file")


def test_without_a_driver_the_host_is_still_read():
    snapshot = SnapshotReader(no_driver).read()
    assert snapshot.gpus == ()
    assert snapshot.gpu_problem == "no NVIDIA driver answers (libnvidia-ml.so.1: cannot open shared object file)"
    found = metrics(MemoryCollector(SnapshotReader(no_driver)))
    assert found["gpu_up", ""] == 0
    assert found["gpu_host_process_resident_bytes", ""] > 1e6
    assert {name for name, gpu in found if gpu} == set()


def test_one_lost_gpu_does_not_hide_the_other():
    driver = Driver()
    driver.lost = {0}
    snapshot = SnapshotReader(lambda: driver).read()
    assert [gpu.index for gpu in snapshot.gpus] == [1]
    assert snapshot.gpu_problem is None


def test_all_gpus_lost_is_told():
    driver = Driver()
    driver.lost = {0, 1}
    assert SnapshotReader(lambda: driver).read().gpu_problem == "GPU 0: GPU is lost; GPU 1: GPU is lost"


def test_a_driver_that_goes_away_and_comes_back_is_found_again():
    driver = Driver()
    reader = SnapshotReader(lambda: driver)
    assert len(reader.read().gpus) == 2
    driver.gone = True
    assert reader.read().gpus == ()
    driver.gone = False
    assert len(reader.read().gpus) == 2
    assert driver.connections == 1
    reader.close()
    assert driver.connections == 0


def test_readings_share_one_connection():
    driver = Driver()
    with SnapshotReader(lambda: driver) as reader:
        for _ in range(5):
            reader.read()
        assert driver.connections == 1


def test_a_registry_refuses_two_collectors_without_reading_them():
    registry = CollectorRegistry()
    registry.register(MemoryCollector(SnapshotReader(no_driver)))
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(MemoryCollector(SnapshotReader(no_driver)))


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the kernel's own count is read from /proc")
def test_the_host_is_what_the_kernel_says():
    stated = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert stated is not None
    host = read_snapshot().host
    assert host.memory_total_bytes == int(stated[1]) * 1024
    resident = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert resident is not None
    assert host.process_resident_bytes == pytest.approx(int(resident[1]) * 1024, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not read_snapshot().gpus, reason="no NVIDIA GPU answers here")
def test_a_real_gpu_has_more_memory_used_after_an_allocation():
    import torch

    before = read_snapshot().gpus[0].memory_used_bytes
    held = torch.empty(256 * 2**20, dtype=torch.uint8, device="cuda:0")
    after = read_snapshot().gpus[0].memory_used_bytes
    assert after - before >= held.numel()
