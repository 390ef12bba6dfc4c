"""The readings as Prometheus metrics, taken when somebody asks for them; names follow `shared_utils.metrics`.

A value that a device does not report has no sample, so that a missing sensor never reads as 0, and every
scrape starts from nothing, so that a process or GPU that went away leaves no series behind. `METRICS`
lists what there is; labels are `gpu` (the driver's number) and `uuid`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gpu_optimizer.monitoring.nvml import CLOCK_LIMITS
from gpu_optimizer.monitoring.samples import GpuSample, ProcessReading, Snapshot
from gpu_optimizer.monitoring.snapshot import SnapshotReader

_GPU = ("gpu", "uuid")
Family = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series.

    Args:
        name: Without `_total`, which a counter gets.
        help: What it measures.
        labels: Names of its labels.
        field: Path of the value in a `GpuSample` or `HostSample`, where it is one.
        is_counter: It only grows.
    """

    name: str
    help: str
    labels: tuple[str, ...] = _GPU
    field: str = ""
    is_counter: bool = False

    def family(self) -> Family:
        """Without samples."""
        kind = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        return kind(self.name, self.help, labels=self.labels)


_GPU_VALUES = (
    Metric("gpu_memory_used_bytes", "Memory that processes hold on this GPU.", field="memory_used_bytes"),
    Metric("gpu_memory_total_bytes", "All memory of this GPU.", field="memory_total_bytes"),
    Metric("gpu_memory_reserved_bytes", "Memory that the driver keeps for itself.", field="memory_reserved_bytes"),
    Metric("gpu_utilization_ratio", "Share of time with a kernel running, 0 to 1.", field="utilization_ratio"),
    Metric("gpu_memory_utilization_ratio", "Share of time with memory read or written, 0 to 1.", field="memory_utilization_ratio"),
    Metric("gpu_temperature_celsius", "Temperature of the chip.", field="temperature_c"),
    Metric("gpu_power_watts", "Power drawn now.", field="power_w"),
    Metric("gpu_power_limit_watts", "Power drawn at most.", field="power_limit_w"),
    Metric("gpu_graphics_clock_hertz", "Clock of the processors.", field="graphics_clock_hz"),
    Metric("gpu_memory_clock_hertz", "Clock of the memory.", field="memory_clock_hz"),
    Metric("gpu_fan_ratio", "Speed of the first fan, 0 to 1.", field="fan_ratio"),
    Metric("gpu_pcie_send_rate_bytes", "Bytes per second to the host; only when asked for.", field="pcie_sent_bytes_per_s"),
    Metric("gpu_pcie_receive_rate_bytes", "Bytes per second from the host; only when asked for.", field="pcie_received_bytes_per_s"),
)
_HOST_VALUES = (
    Metric("gpu_host_memory_total_bytes", "Physical memory of the host.", (), "memory_total_bytes"),
    Metric("gpu_host_memory_available_bytes", "Memory that could be given out without swapping.", (), "memory_available_bytes"),
    Metric("gpu_host_process_resident_bytes", "Physical memory that this process holds.", (), "process_resident_bytes"),
)
_UP = Metric("gpu_up", "1 when at least one NVIDIA GPU answers, else 0.", ())
_PROBLEM = Metric("gpu_problem_info", "Why no GPU could be read; absent when one was; always 1.", ("reason",))
_UNREADABLE = Metric("gpu_unreadable", "GPUs that the driver counts and that do not answer.", ())
_INFO = Metric("gpu_info", "Names of the GPUs; always 1.", (*_GPU, "name"))
_LIMITED = Metric("gpu_clock_limited", "1 when the clocks are held down for this reason.", (*_GPU, "reason"))
_ECC = Metric(
    "gpu_ecc_errors", "Memory errors, corrected or not, since the driver was loaded or ever.", (*_GPU, "kind", "since"), is_counter=True
)
_XID = Metric("gpu_xid_errors", "Faults that the driver reported since this process listens.", ("uuid", "xid"), is_counter=True)
_MIG_USED = Metric("gpu_mig_memory_used_bytes", "Memory that processes hold of a MIG instance.", (*_GPU, "mig_uuid", "profile"))
_MIG_TOTAL = Metric("gpu_mig_memory_total_bytes", "All memory of a MIG instance.", (*_GPU, "mig_uuid", "profile"))
_PROCESS = Metric("gpu_process_memory_used_bytes", "Memory of all processes of one program; only when asked for.", (*_GPU, "program"))
_PROCESS_READ = Metric("gpu_process_read_success", "1 when the driver named the processes on this GPU; only when asked for.")

METRICS = (
    *(_UP, _PROBLEM, _UNREADABLE, _INFO),
    *_GPU_VALUES,
    *(_LIMITED, _ECC, _XID, _MIG_USED, _MIG_TOTAL, _PROCESS, _PROCESS_READ),
    *_HOST_VALUES,
)


class MemoryCollector(Collector):
    """A collector to register with a Prometheus registry. Without a GPU it gives the host, `gpu_up 0` and the reason.

    Args:
        reader: Takes the readings. Default: one of its own.
        processes: Also say what each program holds; off by default, as names of programs tell about people.

    Example:
        >>> from prometheus_client import CollectorRegistry, generate_latest
        >>> registry = CollectorRegistry()
        >>> registry.register(MemoryCollector())
        >>> b"gpu_host_memory_total_bytes" in generate_latest(registry)
        True
    """

    def __init__(self, reader: SnapshotReader | None = None, *, processes: bool = False) -> None:
        self._reader = reader or SnapshotReader()
        self._processes = processes

    def describe(self) -> Iterator[Family]:
        """The metrics without samples; a registry refuses a second collector with the same names by them."""
        return (metric.family() for metric in METRICS)

    def collect(self) -> Iterator[Family]:
        """Read every device once and give the metrics."""
        scrape = _Scrape()
        snapshot = self._reader.read()
        _add_snapshot(scrape, snapshot)
        for (uuid, xid), count in self._reader.xid_errors().items():
            scrape.add(_XID, (uuid, str(xid)), count)
        if self._processes and snapshot.gpus:
            _add_processes(scrape, self._reader.read_processes(), snapshot.gpus)
        yield from scrape.families.values()


class _Scrape:
    """The families of one scrape."""

    def __init__(self) -> None:
        self.families = {metric.name: metric.family() for metric in METRICS}

    def add(self, metric: Metric, labels: Iterable[str], value: float | None) -> None:
        if value is not None:
            self.families[metric.name].add_metric(list(labels), float(value))


def _add_snapshot(scrape: _Scrape, snapshot: Snapshot) -> None:
    scrape.add(_UP, (), bool(snapshot.gpus))
    scrape.add(_UNREADABLE, (), len(snapshot.unreadable))
    if snapshot.gpu_problem is not None:
        scrape.add(_PROBLEM, (snapshot.gpu_problem[:120],), 1)
    for metric in _HOST_VALUES:
        scrape.add(metric, (), attrgetter(metric.field)(snapshot.host))
    for gpu in snapshot.gpus:
        _add_gpu(scrape, gpu)


def _add_gpu(scrape: _Scrape, gpu: GpuSample) -> None:
    labels = (str(gpu.index), gpu.uuid)
    scrape.add(_INFO, (*labels, gpu.name), 1)
    for metric in _GPU_VALUES:
        scrape.add(metric, labels, attrgetter(metric.field)(gpu))
    for reason in CLOCK_LIMITS if gpu.clock_limits is not None else ():
        scrape.add(_LIMITED, (*labels, reason), reason in (gpu.clock_limits or ()))
    if gpu.ecc is not None:
        for kind in ("corrected", "uncorrected"):
            scrape.add(_ECC, (*labels, kind, "driver_load"), getattr(gpu.ecc, kind))
            scrape.add(_ECC, (*labels, kind, "ever"), getattr(gpu.ecc, f"{kind}_ever"))
    for part in gpu.mig:
        scrape.add(_MIG_USED, (*labels, part.uuid, part.name), part.memory_used_bytes)
        scrape.add(_MIG_TOTAL, (*labels, part.uuid, part.name), part.memory_total_bytes)


def _add_processes(scrape: _Scrape, reading: ProcessReading, gpus: tuple[GpuSample, ...]) -> None:
    # By program, not by process: a process id per series would leave one behind for each that ever ran.
    used: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    for process in reading.processes:
        if process.memory_used_bytes is not None:
            used[str(process.gpu), process.uuid, process.name or "unknown"] += process.memory_used_bytes
    for labels, count in used.items():
        scrape.add(_PROCESS, labels, count)
    for gpu in gpus:
        scrape.add(_PROCESS_READ, (str(gpu.index), gpu.uuid), reading.told.get(gpu.uuid, False))
