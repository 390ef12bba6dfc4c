"""What memory is used for right now: readings of the machine, of torch and of the work, for a table and for Prometheus."""

from gpu_optimizer.monitoring.collector import MemoryCollector
from gpu_optimizer.monitoring.samples import EccErrors, GpuSample, HostSample, MigSample, ProcessReading, ProcessSample, Snapshot
from gpu_optimizer.monitoring.snapshot import SnapshotReader, read_snapshot
from gpu_optimizer.monitoring.torch_allocator import AllocatorSample, TorchCollector, read_allocators
from gpu_optimizer.monitoring.workload import Monitor, WorkloadMetrics

__all__ = [
    "AllocatorSample",
    "EccErrors",
    "GpuSample",
    "HostSample",
    "MemoryCollector",
    "MigSample",
    "Monitor",
    "ProcessReading",
    "ProcessSample",
    "Snapshot",
    "SnapshotReader",
    "TorchCollector",
    "WorkloadMetrics",
    "read_allocators",
    "read_snapshot",
]
