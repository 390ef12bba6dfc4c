"""Readings and metrics on machines with GPUs, without, and with a driver that lets go; the driver is imitated."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from _fake_nvml import GIB, FakeNvml, process
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gpu_optimizer.monitoring import EccErrors, MemoryCollector, MigSample, SnapshotReader, read_snapshot
from shared_utils.metrics import check_name


def no_driver():
    raise OSError("libnvidia-ml.so.1: cannot open shared object file")


@pytest.fixture
def driver() -> FakeNvml:
    return FakeNvml()


@pytest.fixture
def reader(driver) -> SnapshotReader:
    return SnapshotReader(lambda: driver)


def samples(collector: MemoryCollector) -> list:
    registry = CollectorRegistry()
    registry.register(collector)
    return [s for family in text_string_to_metric_families(generate_latest(registry).decode()) for s in family.samples]


def metrics(collector: MemoryCollector) -> dict[tuple[str, str], float]:
    """(metric, GPU or "") -> value, as a Prometheus server would read it."""
    return {(s.name, s.labels.get("gpu", "")): s.value for s in samples(collector)}


# --- values and units -------------------------------------------------------------------------------
def test_every_value_of_a_gpu_comes_in_its_unit(reader):
    first, second = reader.read().gpus
    assert (first.index, first.uuid, first.name) == (0, "GPU-new", "New Card")
    assert (first.memory_total_bytes, first.memory_used_bytes, first.memory_reserved_bytes) == (8_000_000_000, 1_500_000_000, 300_000_000)
    assert (first.utilization_ratio, first.memory_utilization_ratio, first.temperature_c) == (0.37, 0.12, 61.0)
    assert (first.graphics_clock_hz, first.memory_clock_hz, first.fan_ratio) == (1.98e9, 2.619e9, 0.45)
    assert first.clock_limits == ("power_cap", "thermal_hardware")
    assert first.ecc == EccErrors(corrected=3, uncorrected=0, corrected_ever=40, uncorrected_ever=2)
    assert (second.uuid, second.name, second.memory_total_bytes) == ("GPU-old", "Old Card", 16_000_000_000)


def test_power_is_in_watts_although_the_driver_says_milliwatts(reader):
    first = reader.read().gpus[0]
    assert (first.power_w, first.power_limit_w) == (215.5, 300.0)
    assert metrics(MemoryCollector(reader))["gpu_power_watts", "0"] == 215.5


def test_the_bus_is_measured_only_when_asked_for(driver, reader):
    assert reader.read().gpus[0].pcie_sent_bytes_per_s is None
    busy = SnapshotReader(lambda: driver, pcie=True).read().gpus[0]
    assert (busy.pcie_sent_bytes_per_s, busy.pcie_received_bytes_per_s) == (2000 * 1024, 100 * 1024)


def test_what_a_gpu_does_not_report_is_none_and_has_no_sample(reader):
    second = reader.read().gpus[1]
    assert (second.utilization_ratio, second.temperature_c, second.power_w, second.ecc, second.clock_limits) == (None,) * 5
    found = metrics(MemoryCollector(reader))
    assert found["gpu_temperature_celsius", "0"] == 61
    assert ("gpu_temperature_celsius", "1") not in found
    assert ("gpu_clock_limited", "1") not in found


def test_metrics_carry_every_gpu_and_the_host(reader):
    found = metrics(MemoryCollector(reader))
    assert found["gpu_up", ""] == 1
    assert found["gpu_memory_used_bytes", "0"] == 1.5e9
    assert found["gpu_memory_reserved_bytes", "0"] == 3e8
    assert found["gpu_memory_total_bytes", "1"] == 16e9
    assert found["gpu_utilization_ratio", "0"] == 0.37
    assert found["gpu_info", "0"] == 1
    assert found["gpu_host_memory_total_bytes", ""] > found["gpu_host_memory_available_bytes", ""] > 0
    assert ("gpu_problem_info", "") not in found


def test_clock_limits_and_memory_errors_have_a_series_each(reader):
    found = samples(MemoryCollector(reader))
    limited = {s.labels["reason"]: s.value for s in found if s.name == "gpu_clock_limited"}
    assert {reason for reason, on in limited.items() if on} == {"power_cap", "thermal_hardware"}
    assert limited["idle"] == 0
    errors = {(s.labels["kind"], s.labels["since"]): s.value for s in found if s.name == "gpu_ecc_errors_total"}
    assert errors["corrected", "ever"] == 40
    assert errors["uncorrected", "driver_load"] == 0


def test_names_follow_the_rules_of_the_project(reader):
    names = [family.name for family in MemoryCollector(reader).describe()]
    assert len(names) == len(set(names)) > 20
    for name in names:
        check_name(name)


# --- what is not there ------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FakeNvml.OPTIONAL)
def test_a_call_that_is_not_supported_costs_only_its_own_value(driver, name):
    driver.unsupported = {name}
    snapshot = SnapshotReader(lambda: driver, pcie=True).read()
    assert [gpu.index for gpu in snapshot.gpus] == [0, 1]
    assert (snapshot.gpu_problem, snapshot.unreadable) == (None, ())


def test_a_gpu_that_supports_nothing_is_still_listed(driver, reader):
    driver.unsupported = set(FakeNvml.OPTIONAL)
    first = reader.read().gpus[0]
    assert (first.uuid, first.name, first.memory_total_bytes, first.memory_used_bytes) == ("GPU-new", "NVIDIA GPU", None, None)
    found = metrics(MemoryCollector(reader))
    assert found["gpu_up", ""] == 1
    assert ("gpu_memory_used_bytes", "0") not in found


def test_without_a_driver_the_host_is_still_read_and_the_reason_is_a_label():
    snapshot = SnapshotReader(no_driver).read()
    assert snapshot.gpus == ()
    assert snapshot.gpu_problem == "no NVIDIA driver answers (libnvidia-ml.so.1: cannot open shared object file)"
    found = samples(MemoryCollector(SnapshotReader(no_driver), processes=True))
    values = {s.name: s.value for s in found}
    assert values["gpu_up"] == 0
    assert values["gpu_host_process_resident_bytes"] > 1e6
    assert [s.labels["reason"] for s in found if s.name == "gpu_problem_info"] == [snapshot.gpu_problem]
    assert not [s for s in found if "gpu" in s.labels]


def test_one_lost_gpu_does_not_hide_the_other_and_is_told(driver, reader):
    driver.lost = {0}
    snapshot = reader.read()
    assert [gpu.index for gpu in snapshot.gpus] == [1]
    assert snapshot.gpu_problem is None
    assert snapshot.unreadable == ("GPU 0: GPU is lost",)
    assert metrics(MemoryCollector(reader))["gpu_unreadable", ""] == 1


def test_all_gpus_lost_is_told(driver, reader):
    driver.lost = {0, 1}
    assert reader.read().gpu_problem == "GPU 0: GPU is lost; GPU 1: GPU is lost"


def test_a_driver_that_goes_away_and_comes_back_is_found_again(driver, reader):
    assert len(reader.read().gpus) == 2
    driver.gone = True
    assert reader.read().gpus == ()
    driver.gone = False
    assert len(reader.read().gpus) == 2
    assert driver.connections == 1
    reader.close()
    assert driver.connections == 0


@pytest.mark.parametrize("calls", range(0, 60, 3))
def test_a_driver_that_goes_away_in_the_middle_of_a_reading_never_raises(driver, calls):
    reader = SnapshotReader(lambda: driver, pcie=True)
    driver.calls_left = calls
    first = reader.read()
    assert first.gpus or first.gpu_problem
    assert reader.read_processes().processes == ()
    assert reader.xid_errors() == {}
    reader.close()


def test_readings_share_one_connection(driver, reader):
    with reader:
        for _ in range(5):
            reader.read()
        assert driver.connections == 1


# --- MIG --------------------------------------------------------------------------------------------
def test_mig_instances_are_listed_and_empty_slots_are_not(driver, reader):
    driver.mig = True
    driver.unsupported = {"nvmlDeviceGetUtilizationRates"}  # as on every GPU that is shared out
    first = reader.read().gpus[0]
    assert first.mig == tuple(
        MigSample(uuid=f"MIG-{slot}", name="New Card MIG 1g.10gb", memory_total_bytes=10 * GIB, memory_used_bytes=GIB) for slot in (0, 3)
    )
    assert first.utilization_ratio is None
    used = [s for s in samples(MemoryCollector(reader)) if s.name == "gpu_mig_memory_used_bytes"]
    assert [s.labels["mig_uuid"] for s in used] == ["MIG-0", "MIG-3"]


# --- processes --------------------------------------------------------------------------------------
def test_processes_are_told_only_when_asked_for(driver, reader):
    driver.running = {0: [process(os.getpid(), 2 * GIB)]}
    assert not [s for s in samples(MemoryCollector(reader)) if s.name.startswith("gpu_process")]
    found = samples(MemoryCollector(reader, processes=True))
    (used,) = [s for s in found if s.name == "gpu_process_memory_used_bytes"]
    assert (used.value, used.labels["gpu"]) == (2 * GIB, "0")
    assert "pid" not in used.labels
    success = {s.labels["gpu"]: s.value for s in found if s.name == "gpu_process_read_success"}
    assert success == {"0": 1.0, "1": 0.0}


def test_dead_pid_leaves_no_series_behind(driver, reader):
    collector = MemoryCollector(reader, processes=True)
    driver.running = {0: [process(os.getpid(), GIB)]}
    assert any(s.name == "gpu_process_memory_used_bytes" for s in samples(collector))
    driver.running = {}
    assert not any(s.name == "gpu_process_memory_used_bytes" for s in samples(collector))


def test_a_pid_of_another_namespace_has_no_name_and_counts_as_unknown(driver, reader):
    driver.running = {0: [process(2**22 + 17, GIB), process(os.getpid(), None)]}
    reading = reader.read_processes()
    assert [(p.pid, p.memory_used_bytes) for p in reading.processes] == [(2**22 + 17, GIB), (os.getpid(), None)]
    assert reading.processes[0].name is None
    found = [s for s in samples(MemoryCollector(reader, processes=True)) if s.name == "gpu_process_memory_used_bytes"]
    assert [s.labels["program"] for s in found] == ["unknown"]


def test_a_program_on_both_lists_counts_once(driver, reader, monkeypatch):
    driver.running = {0: [process(os.getpid(), GIB)]}
    monkeypatch.setattr(driver, "nvmlDeviceGetGraphicsRunningProcesses", lambda handle: [process(os.getpid(), GIB)])
    assert [p.kind for p in reader.read_processes().processes if p.gpu == 0] == ["compute"]


# --- XID --------------------------------------------------------------------------------------------
def test_faults_are_counted_by_gpu_and_number(driver, reader):
    reader.read()
    driver.events.extend([(0, 79), (0, 79), (0, 31)])
    assert reader.xid_errors() == {("GPU-new", 79): 2, ("GPU-new", 31): 1}
    found = {(s.labels["uuid"], s.labels["xid"]): s.value for s in samples(MemoryCollector(reader)) if s.name == "gpu_xid_errors_total"}
    assert found == {("GPU-new", "79"): 2.0, ("GPU-new", "31"): 1.0}


def test_counted_faults_do_not_fall_when_the_driver_comes_back(driver, reader):
    reader.read()
    driver.events.append((0, 79))
    reader.xid_errors()
    driver.gone = True
    reader.read()
    driver.gone = False
    reader.read()
    driver.events.append((0, 79))
    assert reader.xid_errors() == {("GPU-new", 79): 2}


# --- the rest ---------------------------------------------------------------------------------------
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

    before = read_snapshot().gpus[0].memory_used_bytes or 0
    held = torch.empty(256 * 2**20, dtype=torch.uint8, device="cuda:0")
    after = read_snapshot().gpus[0].memory_used_bytes or 0
    assert after - before >= held.numel()


# --- the imitation is true to pynvml ------------------------------------------------------------------
def test_every_name_that_is_asked_for_is_in_pynvml():
    import pynvml

    from gpu_optimizer.monitoring import nvml, snapshot, xid

    sources = "".join(Path(module.__file__).read_text() for module in (nvml, snapshot, xid))
    names = set(re.findall(r"\bnvml\.((?:nvml|NVML_)\w+)", sources)) | set(re.findall(r"\b_nvml\.((?:nvml|NVML_)\w+)", sources))
    assert len(names) > 20
    assert {name for name in names if not hasattr(pynvml, name)} == set()


def test_bits_and_numbers_are_those_of_nvml():
    import pynvml

    from gpu_optimizer.monitoring import nvml

    theirs = {
        "idle": pynvml.nvmlClocksEventReasonGpuIdle,
        "application_clocks": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
        "power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
        "hardware_slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
        "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
        "thermal_software": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
        "thermal_hardware": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
        "power_brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
        "display_clocks": pynvml.nvmlClocksEventReasonDisplayClockSetting,
    }
    assert theirs == nvml.CLOCK_LIMITS
    assert (nvml._CORRECTED, nvml._UNCORRECTED) == (pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
    assert (nvml._VOLATILE, nvml._AGGREGATE) == (pynvml.NVML_VOLATILE_ECC, pynvml.NVML_AGGREGATE_ECC)
    assert (nvml._GRAPHICS, nvml._MEMORY) == (pynvml.NVML_CLOCK_GRAPHICS, pynvml.NVML_CLOCK_MEM)
    assert (nvml._SENT, nvml._RECEIVED) == (pynvml.NVML_PCIE_UTIL_TX_BYTES, pynvml.NVML_PCIE_UTIL_RX_BYTES)


def test_the_allocators_statistics_have_torchs_names():
    """On a machine with CUDA torch says itself which keys there are; elsewhere its documentation does."""
    import torch

    from gpu_optimizer.monitoring import torch_allocator

    text = (torch.cuda.memory_stats.__doc__ or "") + (torch.cuda.memory_snapshot.__doc__ or "")
    source = Path(torch_allocator.__file__).read_text()
    for key in re.findall(r'number\("([\w.]+)"\)', source):
        assert key.split(".")[0] in text, key
