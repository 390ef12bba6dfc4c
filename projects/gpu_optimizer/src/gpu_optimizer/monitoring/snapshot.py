"""One reading of every NVIDIA GPU (through NVML) and of the host (through psutil).

Nothing here fails because a GPU is absent or a driver went away: the reading then has no GPUs and
says why. A value that a device does not report is None, never 0.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """One GPU at one moment.

    Args:
        index: Number by which the driver knows it.
        uuid: The same on every start, unlike `index`.
        name: Product name.
        memory_total_bytes: All of its memory.
        memory_used_bytes: What processes hold; the driver's own reserve is not in it where the driver tells the two apart.
        utilization_ratio: Share of the last sampling period with a kernel running, 0 to 1.
        temperature_c: Of the chip, degrees Celsius.
        power_w: Drawn now, watts.
        power_limit_w: Drawn at most, watts.
    """

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    memory_used_bytes: int
    utilization_ratio: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """The host and this process at one moment.

    Args:
        memory_total_bytes: Physical memory.
        memory_available_bytes: What could be given out without swapping.
        process_resident_bytes: Physical memory that this process holds.
    """

    memory_total_bytes: int
    memory_available_bytes: int
    process_resident_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """GPUs and host of one moment.

    Args:
        gpus: By index; empty when none answers.
        host: The host.
        gpu_problem: Why no GPU could be read; None when at least one was.
    """

    gpus: tuple[GpuSample, ...]
    host: HostSample
    gpu_problem: str | None


class SnapshotReader:
    """Takes readings; keeps the connection to the driver between them and makes a new one after it broke.

    Safe to use from several threads.

    Args:
        load_nvml: Gives the module `pynvml`. A test passes its own.

    Example:
        >>> with SnapshotReader() as reader:
        ...     reader.read().host.process_resident_bytes > 1_000_000
        True
    """

    def __init__(self, load_nvml: Callable[[], ModuleType | Any] | None = None) -> None:
        self._load = load_nvml or _pynvml
        self._nvml: Any = None
        self._lock = threading.Lock()

    def read(self) -> Snapshot:
        """Read every device once."""
        with self._lock:
            gpus, problem = self._read_gpus()
        return Snapshot(gpus=gpus, host=_read_host(), gpu_problem=problem)

    def close(self) -> None:
        """Let go of the driver; a later `read` connects again."""
        with self._lock:
            self._disconnect()

    def __enter__(self) -> SnapshotReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_gpus(self) -> tuple[tuple[GpuSample, ...], str | None]:
        try:
            if self._nvml is None:
                nvml = self._load()
                nvml.nvmlInit()
                self._nvml = nvml
            count = self._nvml.nvmlDeviceGetCount()
        except Exception as error:  # noqa: BLE001 - pynvml raises OSError, NVMLError and more; none may stop a monitor
            self._disconnect()
            return (), f"no NVIDIA driver answers ({_words(error)})"
        samples, problems = [], []
        for index in range(count):
            try:
                samples.append(_read_gpu(self._nvml, index))
            except Exception as error:  # noqa: BLE001 - one lost GPU must not hide the others
                problems.append(f"GPU {index}: {_words(error)}")
        if count and not samples:
            self._disconnect()
        problem = None if samples else "; ".join(problems) or "the NVIDIA driver knows no GPU"
        return tuple(samples), problem

    def _disconnect(self) -> None:
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            _optional(nvml.nvmlShutdown)


def read_snapshot() -> Snapshot:
    """One reading, with a connection to the driver of its own.

    Example:
        >>> snapshot = read_snapshot()
        >>> 0 < snapshot.host.memory_available_bytes <= snapshot.host.memory_total_bytes
        True
    """
    with SnapshotReader() as reader:
        return reader.read()


def _pynvml() -> ModuleType:
    import pynvml

    return pynvml


def _read_gpu(nvml: Any, index: int) -> GpuSample:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    # Version 2 tells the driver's reserve from what processes hold; old drivers know only version 1.
    memory = _optional(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)) or nvml.nvmlDeviceGetMemoryInfo(handle)
    rates = _optional(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    celsius = _optional(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
    milliwatts = _optional(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    limit = _optional(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
    return GpuSample(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_total_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        utilization_ratio=None if rates is None else rates.gpu / 100,
        temperature_c=None if celsius is None else float(celsius),
        power_w=None if milliwatts is None else milliwatts / 1000,
        power_limit_w=None if limit is None else limit / 1000,
    )


def _optional(read: Callable[[], Any]) -> Any | None:
    """What a device may not support, or a driver may not know."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - absence is the answer
        return None


def _read_host() -> HostSample:
    memory = psutil.virtual_memory()
    return HostSample(
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        process_resident_bytes=psutil.Process().memory_info().rss,
    )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
