"""Readings of one GPU through NVML. Functions take the module `pynvml` and a handle; what a GPU lacks is None.

NVML's units are turned into ours here and nowhere else: milliwatts, megahertz, percent, kilobytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psutil

from gpu_optimizer.monitoring.samples import EccErrors, GpuSample, MigSample, ProcessSample

T = TypeVar("T")

CLOCK_LIMITS = {
    "idle": 0x1,
    "application_clocks": 0x2,
    "power_cap": 0x4,
    "hardware_slowdown": 0x8,
    "sync_boost": 0x10,
    "thermal_software": 0x20,
    "thermal_hardware": 0x40,
    "power_brake": 0x80,
    "display_clocks": 0x100,
}
"""Why clocks are limited -> NVML's bit (nvml.h, nvmlClocksEventReason*); the names are ours."""

_CORRECTED, _UNCORRECTED = 0, 1
_VOLATILE, _AGGREGATE = 0, 1
_GRAPHICS, _MEMORY = 0, 2
_SENT, _RECEIVED = 0, 1
# NVML says KB/s; as nvitop, we take 1024 of bytes.
_KILO = 1024


def read_gpu(nvml: Any, index: int, *, pcie: bool = False) -> GpuSample:
    """One GPU now.

    Args:
        nvml: The module `pynvml`.
        index: Number by which the driver knows it.
        pcie: Also measure the bus, which takes 40 ms.

    Raises:
        Exception: What the driver raises when the GPU itself cannot be reached.
    """
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    uuid = text_of(nvml.nvmlDeviceGetUUID(handle))
    memory = _memory(nvml, handle)
    rates = optional(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    return GpuSample(
        index=index,
        uuid=uuid,
        name=optional(lambda: text_of(nvml.nvmlDeviceGetName(handle))) or "NVIDIA GPU",
        memory_total_bytes=None if memory is None else int(memory.total),
        memory_used_bytes=None if memory is None else int(memory.used),
        memory_reserved_bytes=None if memory is None else optional(lambda: int(memory.reserved)),
        utilization_ratio=None if rates is None else rates.gpu / 100,
        memory_utilization_ratio=None if rates is None else optional(lambda: rates.memory / 100),
        temperature_c=optional(lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
        power_w=optional(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        power_limit_w=optional(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        graphics_clock_hz=optional(lambda: nvml.nvmlDeviceGetClockInfo(handle, _GRAPHICS) * 1e6),
        memory_clock_hz=optional(lambda: nvml.nvmlDeviceGetClockInfo(handle, _MEMORY) * 1e6),
        fan_ratio=optional(lambda: nvml.nvmlDeviceGetFanSpeed(handle) / 100),
        pcie_sent_bytes_per_s=_bus(nvml, handle, _SENT) if pcie else None,
        pcie_received_bytes_per_s=_bus(nvml, handle, _RECEIVED) if pcie else None,
        clock_limits=optional(lambda: clock_limits_of(_limit_bits(nvml, handle))),
        ecc=_ecc(nvml, handle),
        mig=tuple(_mig(nvml, handle)),
    )


def read_processes(nvml: Any, index: int) -> tuple[str, list[ProcessSample] | None]:
    """The uuid of a GPU and the programs on it, largest first; None where the driver does not tell.

    Raises:
        Exception: What the driver raises when the GPU itself cannot be reached.
    """
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    uuid = text_of(nvml.nvmlDeviceGetUUID(handle))
    compute = optional(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    graphics = optional(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
    if compute is None and graphics is None:
        return uuid, None
    # A program that draws and computes stands in both lists with the same memory: once is enough.
    found: dict[int, ProcessSample] = {}
    for kind, processes in (("compute", compute), ("graphics", graphics)):
        for process in processes or ():
            used = None if process.usedGpuMemory is None else int(process.usedGpuMemory)
            sample = ProcessSample(gpu=index, uuid=uuid, pid=process.pid, name=_program(process.pid), kind=kind, memory_used_bytes=used)
            found.setdefault(process.pid, sample)
    return uuid, sorted(found.values(), key=lambda p: (-(p.memory_used_bytes or 0), p.pid))


def clock_limits_of(bits: int) -> tuple[str, ...]:
    """The words of a bit mask.

    Example:
        >>> clock_limits_of(0x4 | 0x40)
        ('power_cap', 'thermal_hardware')
    """
    return tuple(name for name, bit in CLOCK_LIMITS.items() if bits & bit)


def optional(read: Callable[[], T]) -> T | None:
    """What a device may not support, or a driver may not know."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - absence is the answer; pynvml raises NVMLError, AttributeError and more
        return None


def text_of(value: str | bytes) -> str:
    """Older drivers' bytes as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _memory(nvml: Any, handle: Any) -> Any | None:
    # Version 2 tells the driver's reserve from what processes hold; old drivers know only version 1.
    found = optional(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2))
    return found or optional(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))


def _bus(nvml: Any, handle: Any, direction: int) -> float | None:
    return optional(lambda: float(nvml.nvmlDeviceGetPcieThroughput(handle, direction) * _KILO))


def _limit_bits(nvml: Any, handle: Any) -> int:
    # Renamed with driver 535; the old name stays for older modules.
    read = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None) or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
    return int(read(handle))


def _ecc(nvml: Any, handle: Any) -> EccErrors | None:
    def count(kind: int, since: int) -> int | None:
        return optional(lambda: int(nvml.nvmlDeviceGetTotalEccErrors(handle, kind, since)))

    found = EccErrors(
        corrected=count(_CORRECTED, _VOLATILE),
        uncorrected=count(_UNCORRECTED, _VOLATILE),
        corrected_ever=count(_CORRECTED, _AGGREGATE),
        uncorrected_ever=count(_UNCORRECTED, _AGGREGATE),
    )
    return None if found == EccErrors() else found


def _mig(nvml: Any, handle: Any) -> Iterator[MigSample]:
    mode = optional(lambda: nvml.nvmlDeviceGetMigMode(handle))
    if not mode or not mode[0]:
        return
    for slot in range(optional(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
        part = optional(lambda slot=slot: nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot))
        uuid = None if part is None else optional(lambda part=part: text_of(nvml.nvmlDeviceGetUUID(part)))
        if uuid is None:  # an empty slot
            continue
        memory = _memory(nvml, part)
        yield MigSample(
            uuid=uuid,
            name=optional(lambda part=part: text_of(nvml.nvmlDeviceGetName(part))) or "MIG instance",
            memory_total_bytes=None if memory is None else int(memory.total),
            memory_used_bytes=None if memory is None else int(memory.used),
        )


def _program(pid: int) -> str | None:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return None
