"""What this machine's memory is used for right now, for a table and for Prometheus."""

from gpu_optimizer.monitoring.collector import MemoryCollector
from gpu_optimizer.monitoring.snapshot import GpuSample, HostSample, Snapshot, SnapshotReader, read_snapshot

__all__ = ["GpuSample", "HostSample", "MemoryCollector", "Snapshot", "SnapshotReader", "read_snapshot"]
