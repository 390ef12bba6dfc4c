"""What a training or serving process tells about itself: predictions and their truth, lack of memory, batches, waiting, cost.

`WorkloadMetrics` makes the metrics in a registry; `Monitor` is a registry with everything there is to
know about a process, and serves it to Prometheus.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from gpu_optimizer.errors import MonitoringError
from gpu_optimizer.monitoring.collector import MemoryCollector
from gpu_optimizer.monitoring.snapshot import SnapshotReader
from gpu_optimizer.monitoring.torch_allocator import TorchCollector
from shared_utils.metrics import counter, create_registry, gauge, histogram, safe_label

BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class WorkloadMetrics:
    """The metrics of one process' work; every label `model` is a name of yours, `device` as torch calls it.

    Args:
        registry: Where they belong.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> registry = CollectorRegistry()
        >>> WorkloadMetrics(registry).record_prediction(100, 104, model="resnet50", device="cuda:0")
        >>> registry.get_sample_value("gpu_optimizer_measured_peak_bytes", {"model": "resnet50", "device": "cuda:0"})
        104.0
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("model", "device")
        self._predicted = gauge("gpu_optimizer_predicted_peak_bytes", "Peak memory as planned.", labels, registry=registry)
        self._measured = gauge("gpu_optimizer_measured_peak_bytes", "Peak memory as it was.", labels, registry=registry)
        self._ooms = counter("gpu_optimizer_oom_events_total", "Times memory did not suffice.", labels, registry=registry)
        self._batch = histogram(
            "gpu_optimizer_batch_size", "Examples computed together.", ("model",), registry=registry, buckets=BATCH_BUCKETS
        )
        self._wait = histogram("gpu_optimizer_queue_wait_seconds", "From the request to its batch.", ("model",), registry=registry)
        self._inference = histogram("gpu_optimizer_inference_duration_seconds", "One batch, computed.", labels, registry=registry)
        self._cost = counter("gpu_optimizer_cost_usd_total", "What the work has cost.", ("model",), registry=registry)

    def record_prediction(self, predicted_bytes: int, measured_bytes: int, *, model: str, device: str) -> None:
        """Put a planned peak beside the measured one.

        Raises:
            MonitoringError: One of them is not above 0.
        """
        _require(predicted_bytes > 0 and measured_bytes > 0, f"peaks are above 0 bytes, got {predicted_bytes} and {measured_bytes}")
        self._predicted.labels(safe_label(model), device).set(predicted_bytes)
        self._measured.labels(safe_label(model), device).set(measured_bytes)

    def record_oom(self, *, model: str, device: str) -> None:
        """Memory did not suffice once."""
        self._ooms.labels(safe_label(model), device).inc()

    def record_batch(self, size: int, *, model: str, device: str, duration_s: float, waits_s: tuple[float, ...] = ()) -> None:
        """One batch was computed.

        Args:
            size: Examples in it.
            model: Its name.
            device: Where.
            duration_s: How long it took.
            waits_s: How long each of its requests had waited.

        Raises:
            MonitoringError: The size is below 1 or a time is negative.
        """
        _require(size >= 1, f"a batch has at least 1 example, got {size}")
        _require(duration_s >= 0 and all(wait >= 0 for wait in waits_s), "times are not negative")
        name = safe_label(model)
        self._batch.labels(name).observe(size)
        self._inference.labels(name, device).observe(duration_s)
        for wait_s in waits_s:
            self._wait.labels(name).observe(wait_s)

    def record_cost(self, usd: float, *, model: str) -> None:
        """Some work has cost so much.

        Raises:
            MonitoringError: It is negative.
        """
        _require(usd >= 0, f"a cost is not negative, got {usd}")
        self._cost.labels(safe_label(model)).inc(usd)


class Monitor:
    """Everything there is to watch about this process and its machine, in one registry of its own.

    Args:
        reader: Takes the readings of the GPUs. Default: one of its own.
        processes: Also say what each program on the GPUs holds.

    Example:
        >>> with Monitor() as monitor:
        ...     port = monitor.serve(port=0)
        ...     monitor.work.record_oom(model="demo", device="cpu")
        >>> port > 0
        True
    """

    def __init__(self, reader: SnapshotReader | None = None, *, processes: bool = False) -> None:
        self.registry = create_registry()
        self._reader = reader or SnapshotReader()
        self.registry.register(MemoryCollector(self._reader, processes=processes))
        self.registry.register(TorchCollector())
        self.work = WorkloadMetrics(self.registry)
        """What the process tells about its work."""
        self._stop: Callable[[], None] | None = None

    def serve(self, *, port: int = 9401, host: str = "127.0.0.1") -> int:
        """Answer Prometheus from a thread of its own until `close`.

        Args:
            port: TCP port; 0 takes a free one.
            host: Address to listen on; the default is this machine alone.

        Returns:
            The port.

        Raises:
            MonitoringError: It serves already, or the port is taken.
        """
        _require(self._stop is None, "this monitor serves already; close it first")
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise MonitoringError(f"cannot listen on {host}:{port} ({error.strerror or error}); choose another port, or 0") from error
        self._stop = lambda: _shut(server, thread)
        return server.server_port

    def close(self) -> None:
        """Stop serving and let go of the driver."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()
        self._reader.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _shut(server: WSGIServer, thread: threading.Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise MonitoringError(what)
