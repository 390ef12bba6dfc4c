"""The readings as Prometheus metrics, taken when somebody asks for them; names follow `shared_utils.metrics`.

| metric | labels | unit |
|---|---|---|
| `gpu_up` | | 1 when at least one GPU answers, else 0 |
| `gpu_info` | gpu, uuid, name | always 1 |
| `gpu_memory_used_bytes`, `gpu_memory_total_bytes` | gpu, uuid | bytes |
| `gpu_utilization_ratio` | gpu, uuid | 0 to 1 |
| `gpu_temperature_celsius` | gpu, uuid | degrees Celsius |
| `gpu_power_watts`, `gpu_power_limit_watts` | gpu, uuid | watts |
| `gpu_host_memory_total_bytes`, `gpu_host_memory_available_bytes` | | bytes |
| `gpu_host_process_resident_bytes` | | bytes of this process |

A value that a device does not report has no sample, so that a missing sensor never reads as 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gpu_optimizer.monitoring.snapshot import GpuSample, Snapshot, SnapshotReader

_GPU_LABELS = ("gpu", "uuid")
_GPU_GAUGES = {
    "gpu_memory_used_bytes": ("memory_used_bytes", "Memory held on this GPU."),
    "gpu_memory_total_bytes": ("memory_total_bytes", "All memory of this GPU."),
    "gpu_utilization_ratio": ("utilization_ratio", "Share of time with a kernel running, 0 to 1."),
    "gpu_temperature_celsius": ("temperature_c", "Temperature of the chip."),
    "gpu_power_watts": ("power_w", "Power drawn now."),
    "gpu_power_limit_watts": ("power_limit_w", "Power drawn at most."),
}
_HOST_GAUGES = {
    "gpu_host_memory_total_bytes": ("memory_total_bytes", "Physical memory of the host."),
    "gpu_host_memory_available_bytes": ("memory_available_bytes", "Memory that could be given out without swapping."),
    "gpu_host_process_resident_bytes": ("process_resident_bytes", "Physical memory that this process holds."),
}


class MemoryCollector(Collector):
    """A collector to register with a Prometheus registry. Without a GPU it gives the host and `gpu_up 0`.

    Args:
        reader: Takes the readings. Default: one of its own.

    Example:
        >>> from prometheus_client import CollectorRegistry, generate_latest
        >>> registry = CollectorRegistry()
        >>> registry.register(MemoryCollector())
        >>> b"gpu_host_memory_total_bytes" in generate_latest(registry)
        True
    """

    def __init__(self, reader: SnapshotReader | None = None) -> None:
        self._reader = reader or SnapshotReader()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metrics without samples; a registry refuses a second collector with the same names by them."""
        yield from _families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read every device once and give the metrics."""
        snapshot = self._reader.read()
        families = {family.name: family for family in _families()}
        _fill(families, snapshot)
        yield from families.values()


def _families() -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily("gpu_up", "1 when at least one NVIDIA GPU answers, else 0.")
    yield GaugeMetricFamily("gpu_info", "Names of the GPUs; always 1.", labels=(*_GPU_LABELS, "name"))
    for name, (_, text) in _GPU_GAUGES.items():
        yield GaugeMetricFamily(name, text, labels=_GPU_LABELS)
    for name, (_, text) in _HOST_GAUGES.items():
        yield GaugeMetricFamily(name, text)


def _fill(families: dict[str, GaugeMetricFamily], snapshot: Snapshot) -> None:
    families["gpu_up"].add_metric([], float(bool(snapshot.gpus)))
    for gpu in snapshot.gpus:
        labels = _labels(gpu)
        families["gpu_info"].add_metric([*labels, gpu.name], 1.0)
        for name, (field, _) in _GPU_GAUGES.items():
            value = getattr(gpu, field)
            if value is not None:
                families[name].add_metric(labels, float(value))
    for name, (field, _) in _HOST_GAUGES.items():
        families[name].add_metric([], float(getattr(snapshot.host, field)))


def _labels(gpu: GpuSample) -> list[str]:
    return [str(gpu.index), gpu.uuid]
