"""One reading of every NVIDIA GPU (through NVML) and of the host (through psutil).

Nothing here fails because a GPU is absent or a driver went away: the reading then has no GPUs and
says why. A value that a device does not report is None, never 0.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import psutil

from gpu_optimizer.monitoring.nvml import optional, read_gpu, read_processes
from gpu_optimizer.monitoring.samples import GpuSample, HostSample, ProcessReading, ProcessSample, Snapshot
from gpu_optimizer.monitoring.xid import XidListener


class SnapshotReader:
    """Takes readings; keeps the connection to the driver between them and makes a new one after it broke.

    Safe to use from several threads.

    Args:
        load_nvml: Gives the module `pynvml`. A test passes its own.
        pcie: Also measure the bus of every GPU, which takes 40 ms each.

    Example:
        >>> with SnapshotReader() as reader:
        ...     reader.read().host.process_resident_bytes > 1_000_000
        True
    """

    def __init__(self, load_nvml: Callable[[], ModuleType | Any] | None = None, *, pcie: bool = False) -> None:
        self._load = load_nvml or _pynvml
        self._pcie = pcie
        self._nvml: Any = None
        self._listener: XidListener | None = None
        # Counted before the present connection; a counter must not fall when the driver comes back.
        self._heard: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def read(self) -> Snapshot:
        """Read every device once."""
        with self._lock:
            gpus, problem, unreadable = self._read_gpus()
        return Snapshot(gpus=gpus, host=_read_host(), gpu_problem=problem, unreadable=unreadable)

    def read_processes(self) -> ProcessReading:
        """The programs on every GPU, as they are now."""
        with self._lock:
            count, problem = self._connect()
            found: list[ProcessSample] = []
            told: dict[str, bool] = {}
            for index in range(count):
                answer = optional(lambda index=index: read_processes(self._nvml, index))
                if answer is not None:
                    uuid, processes = answer
                    told[uuid] = processes is not None
                    found.extend(processes or ())
        return ProcessReading(processes=tuple(found), told=told, problem=problem)

    def xid_errors(self) -> dict[tuple[str, int], int]:
        """(uuid, XID) -> how many were reported since this reader first connected; GPUs that report none are absent."""
        with self._lock:
            if self._listener is None:
                return dict(self._heard)
            self._listener.look()
            return dict(self._heard + self._listener.counts)

    def close(self) -> None:
        """Let go of the driver; a later `read` connects again."""
        with self._lock:
            self._disconnect()

    def __enter__(self) -> SnapshotReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> tuple[int, str | None]:
        """Number of GPUs, and when there is none the reason."""
        try:
            if self._nvml is None:
                nvml = self._load()
                nvml.nvmlInit()
                self._nvml = nvml
            count = self._nvml.nvmlDeviceGetCount()
        except Exception as error:  # noqa: BLE001 - pynvml raises OSError, NVMLError and more; none may stop a monitor
            self._disconnect()
            return 0, f"no NVIDIA driver answers ({_words(error)})"
        if self._listener is None:
            self._listener = XidListener(self._nvml, range(count))
        return count, None if count else "the NVIDIA driver knows no GPU"

    def _read_gpus(self) -> tuple[tuple[GpuSample, ...], str | None, tuple[str, ...]]:
        count, problem = self._connect()
        samples, lost = [], []
        for index in range(count):
            try:
                samples.append(read_gpu(self._nvml, index, pcie=self._pcie))
            except Exception as error:  # noqa: BLE001 - one lost GPU must not hide the others
                lost.append(f"GPU {index}: {_words(error)}")
        if count and not samples:
            self._disconnect()
            problem = "; ".join(lost)
        return tuple(samples), problem, tuple(lost)

    def _disconnect(self) -> None:
        nvml, self._nvml = self._nvml, None
        listener, self._listener = self._listener, None
        if listener is not None:
            self._heard += listener.counts
            listener.close()
        if nvml is not None:
            optional(nvml.nvmlShutdown)


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


def _read_host() -> HostSample:
    memory = psutil.virtual_memory()
    return HostSample(
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        process_resident_bytes=psutil.Process().memory_info().rss,
    )


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
