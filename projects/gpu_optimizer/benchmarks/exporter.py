"""How long a scrape of /metrics takes, and what a watcher's reading costs.

    python projects/gpu_optimizer/benchmarks/exporter.py

NVML is imitated where GPUs are asked for that are not here: its own time is then left out, and the row says so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from gpu_optimizer.monitoring import MemoryCollector, SnapshotReader, TorchCollector, WorkloadMetrics
from gpu_optimizer.monitoring.table import snapshot_values

GOAL_MS = 100.0
"""A scrape is to take a hundredth of the shortest usual interval, 10 s."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A driver with so many GPUs that answers at once."""

    gpus: int

    nvmlMemory_v2 = 2
    NVML_TEMPERATURE_GPU = 0
    nvmlEventTypeXidCriticalError = 8

    def __getattr__(self, name: str) -> Callable[..., Any]:
        values: dict[str, Any] = {
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=80 << 30, used=20 << 30, reserved=1 << 30),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=50, memory=20),
            "nvmlDeviceGetMigMode": [0, 0],
            "nvmlDeviceGetName": "Imitated",
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=1, usedGpuMemory=1 << 30)],
            "nvmlDeviceGetGraphicsRunningProcesses": [],
        }
        if name == "nvmlDeviceGetCount":
            return lambda: self.gpus
        if name == "nvmlDeviceGetUUID":
            return lambda handle: f"GPU-{handle}"
        if name == "nvmlDeviceGetHandleByIndex":
            return lambda index: index
        if name == "nvmlEventSetWait_v2":
            return _nothing_happened
        return lambda *args, **kwargs: values.get(name, 1)


def _nothing_happened(events: Any, timeout_ms: int) -> None:
    raise TimeoutError


def _registry(reader: SnapshotReader, *, processes: bool) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    registry.register(MemoryCollector(reader, processes=processes))
    registry.register(TorchCollector())
    work = WorkloadMetrics(registry)
    for model in range(4):
        work.record_batch(8, model=f"model-{model}", device="cuda:0", duration_s=0.01, waits_s=(0.001,))
    return registry


def _median_ms(act: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """On the clock and of the processor; on a busy machine they differ."""
    act()
    times = []
    for _ in range(rounds):
        started, worked = time.perf_counter(), time.thread_time()
        act()
        times.append((time.perf_counter() - started, time.thread_time() - worked))
    wall, cpu = zip(*times, strict=True)
    return statistics.median(wall) * 1000, statistics.median(cpu) * 1000


def rows(rounds: int = 50) -> Iterator[dict[str, Any]]:
    """One row per case: what, milliseconds, bytes of the answer."""
    real = SnapshotReader()
    found = real.read()
    here = f"{len(found.gpus)} GPUs" if found.gpus else "no GPU"
    cases = [(f"this machine ({here})", real, False)]
    cases += [(f"{n} GPUs, driver imitated", SnapshotReader(lambda n=n: Answer(n)), False) for n in (1, 8)]
    cases += [("8 GPUs with programs, driver imitated", SnapshotReader(lambda: Answer(8)), True)]
    for what, reader, processes in cases:
        registry = _registry(reader, processes=processes)
        size = len(generate_latest(registry))
        scrape_ms, scrape_cpu_ms = _median_ms(lambda registry=registry: generate_latest(registry), rounds)
        reading_ms, _ = _median_ms(lambda reader=reader: snapshot_values(reader.read()), rounds)
        yield {
            "case": what,
            "scrape_ms": scrape_ms,
            "scrape_cpu_ms": scrape_cpu_ms,
            "reading_ms": reading_ms,
            "bytes": size,
            "goal_ms": GOAL_MS,
        }
        reader.close()


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    lines = [
        "| case | scrape, ms | of the processor, ms | one reading, ms | answer, bytes | goal: 100 ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        verdict = "met" if row["scrape_ms"] <= row["goal_ms"] else "missed"
        figures = f"{row['scrape_ms']:.1f} | {row['scrape_cpu_ms']:.1f} | {row['reading_ms']:.2f} | {row['bytes']}"
        lines.append(f"| {row['case']} | {figures} | {verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(list(rows())))
