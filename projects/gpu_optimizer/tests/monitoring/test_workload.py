"""torch's allocator and what a process tells of its work; torch's CUDA is imitated where there is none."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from types import SimpleNamespace

import pytest
from _fake_nvml import FakeCuda
from prometheus_client import CollectorRegistry

from gpu_optimizer.errors import MonitoringError
from gpu_optimizer.monitoring import Monitor, SnapshotReader, TorchCollector, WorkloadMetrics, read_allocators, read_snapshot
from shared_utils.metrics import check_name

MIB = 2**20
HEAP = ((8 * MIB, "active_allocated"), (2 * MIB, "inactive"), (6 * MIB, "inactive"), (4 * MIB, "active_pending_free"))
LABELS = {"device": "cuda:0", "uuid": "GPU-1234-abcd"}


def no_driver():
    raise OSError("no driver")


# --- torch ------------------------------------------------------------------------------------------
def test_fragmentation_is_the_share_of_free_memory_outside_the_largest_free_block():
    (sample,) = read_allocators(SimpleNamespace(cuda=FakeCuda(blocks=HEAP)))
    assert (sample.device, sample.uuid) == ("cuda:0", "GPU-1234-abcd")
    assert (sample.allocated_bytes, sample.reserved_bytes) == (8 * MIB, 20 * MIB)
    assert (sample.free_bytes, sample.largest_free_bytes) == (8 * MIB, 6 * MIB)  # what waits for a stream is not free
    assert sample.fragmentation_ratio == 0.25


def test_a_full_heap_is_not_fragmented():
    (sample,) = read_allocators(SimpleNamespace(cuda=FakeCuda(blocks=((MIB, "active_allocated"),))))
    assert sample.fragmentation_ratio == 0


def test_a_process_that_has_not_touched_cuda_is_left_so():
    cuda = FakeCuda(initialized=False)
    assert read_allocators(SimpleNamespace(cuda=cuda)) == ()
    assert cuda.asked == []


def test_torch_that_is_half_imported_is_no_torch():
    assert read_allocators(SimpleNamespace()) == ()


def test_a_scrape_does_not_import_torch():
    code = (
        "import sys; from gpu_optimizer.monitoring import Monitor; from prometheus_client import generate_latest;"
        "m = Monitor(); generate_latest(m.registry); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_the_allocator_is_exported_under_the_names_of_the_convention():
    registry = CollectorRegistry()
    registry.register(TorchCollector(lambda: read_allocators(SimpleNamespace(cuda=FakeCuda(blocks=HEAP)))))
    assert registry.get_sample_value("gpu_optimizer_memory_allocated_bytes", LABELS) == 8 * MIB
    assert registry.get_sample_value("gpu_optimizer_memory_reserved_bytes", LABELS) == 20 * MIB
    assert registry.get_sample_value("gpu_optimizer_memory_fragmentation_ratio", LABELS) == 0.25
    assert registry.get_sample_value("gpu_optimizer_allocator_out_of_memory_total", LABELS) == 2
    assert registry.get_sample_value("gpu_optimizer_allocator_retries_total", LABELS) == 5
    for family in TorchCollector(lambda: ()).describe():
        check_name(family.name)


@pytest.mark.gpu
@pytest.mark.skipif(not read_snapshot().gpus, reason="no NVIDIA GPU answers here")
def test_the_real_allocator_says_what_torch_says():
    import torch

    held = torch.empty(64 * MIB, dtype=torch.uint8, device="cuda:0")
    sample = read_allocators()[0]
    assert sample.allocated_bytes == torch.cuda.memory_allocated(0) >= held.numel()
    assert sample.reserved_bytes == torch.cuda.memory_reserved(0)
    assert sample.uuid in {gpu.uuid for gpu in read_snapshot().gpus}


# --- the work ---------------------------------------------------------------------------------------
def test_a_prediction_and_its_truth_stand_side_by_side():
    registry = CollectorRegistry()
    WorkloadMetrics(registry).record_prediction(900, 1000, model="gpt2", device="cuda:0")
    labels = {"model": "gpt2", "device": "cuda:0"}
    assert registry.get_sample_value("gpu_optimizer_predicted_peak_bytes", labels) == 900
    assert registry.get_sample_value("gpu_optimizer_measured_peak_bytes", labels) == 1000


def test_batches_waits_ooms_and_cost_are_counted():
    registry = CollectorRegistry()
    work = WorkloadMetrics(registry)
    work.record_batch(3, model="m", device="cpu", duration_s=0.02, waits_s=(0.001, 0.004))
    work.record_oom(model="m", device="cpu")
    work.record_cost(0.5, model="m")
    work.record_cost(0.25, model="m")
    value = registry.get_sample_value
    assert value("gpu_optimizer_batch_size_bucket", {"model": "m", "le": "2.0"}) == 0
    assert value("gpu_optimizer_batch_size_bucket", {"model": "m", "le": "4.0"}) == 1
    assert value("gpu_optimizer_batch_size_bucket", {"model": "m", "le": "32.0"}) == 1
    assert value("gpu_optimizer_queue_wait_seconds_count", {"model": "m"}) == 2
    assert value("gpu_optimizer_queue_wait_seconds_sum", {"model": "m"}) == pytest.approx(0.005)
    assert value("gpu_optimizer_inference_duration_seconds_count", {"model": "m", "device": "cpu"}) == 1
    assert value("gpu_optimizer_oom_events_total", {"model": "m", "device": "cpu"}) == 1
    assert value("gpu_optimizer_cost_usd_total", {"model": "m"}) == 0.75


@pytest.mark.parametrize(
    ("tell", "says"),
    [
        (lambda w: w.record_prediction(0, 5, model="m", device="cpu"), "peaks are above 0"),
        (lambda w: w.record_batch(0, model="m", device="cpu", duration_s=1), "at least 1 example"),
        (lambda w: w.record_batch(1, model="m", device="cpu", duration_s=-1), "not negative"),
        (lambda w: w.record_cost(-1, model="m"), "not negative"),
    ],
)
def test_nonsense_is_refused_with_a_reason(tell, says):
    with pytest.raises(MonitoringError, match=says):
        tell(WorkloadMetrics(CollectorRegistry()))


def test_a_monitor_serves_machine_and_work_until_closed():
    with Monitor(SnapshotReader(no_driver)) as monitor:
        port = monitor.serve(port=0)
        monitor.work.record_cost(2, model="m")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        with pytest.raises(MonitoringError, match="serves already"):
            monitor.serve(port=0)
        with Monitor(SnapshotReader(no_driver)) as other, pytest.raises(MonitoringError, match="choose another port"):
            other.serve(port=port)
    assert "\ngpu_up 0.0\n" in text
    assert 'gpu_optimizer_cost_usd_total{model="m"} 2.0' in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20)


def test_172672_polling_leaves_the_history_out_where_torch_offers_it():
    """With the history of allocations one reading took 720 ms instead of 0.2; older torch has no choice to offer."""

    class Old(FakeCuda):
        def memory_snapshot(self):
            return super().memory_snapshot(include_traces=False)

    for cuda in (FakeCuda, Old):
        (sample,) = read_allocators(SimpleNamespace(cuda=cuda(blocks=HEAP)))
        assert sample.free_bytes == 8 * MIB
