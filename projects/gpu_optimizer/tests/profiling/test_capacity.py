"""What fits a GPU is judged on reserved memory, libraries, context and margin; the parts by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.profiling import AllocatorSettings, MemoryProfile, device_need, estimate_step
from gpu_optimizer.profiling.profile import TensorLife
from gpu_optimizer.steps import TrainingStep

MIB = 2**20


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUBLAS_WORKSPACE_CONFIG", "CUDNN_CONV_WSCAP_DBG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def profile() -> MemoryProfile:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(8 * 16 * 16, 2, bias=False))
    return estimate_step(TrainingStep.of(net, torch.zeros(4, 3, 16, 16)), target="cuda")


def _lives(like: MemoryProfile, *times: tuple[int, int, int | None]) -> MemoryProfile:
    """The profile with tensors of so many MiB, from one tick to another, instead of its own."""
    made = tuple(
        TensorLife(
            name="t",
            category="temporaries",
            size_bytes=size * MIB,
            shape=(size,),
            dtype="uint8",
            born=born,
            died=died,
            phase="forward",
            step=0,
            module="",
            operator="",
        )
        for size, born, died in times
    )
    return like.replace(lives=made, peak_bytes=0, convolution_bytes=0)


def test_what_fits_by_its_tensors_does_not_when_the_allocator_leaves_gaps(profile: MemoryProfile) -> None:
    """12, 14 and 16 MiB, one after the other: never more than 16 in use, but no free block fits the next: all three stay reserved."""
    growing = _lives(profile, (12, 1, 2), (14, 3, 4), (16, 5, 6)).replace(peak_bytes=16 * MIB)
    need = device_need(growing, context_bytes=0, margin=0)
    assert (need.tensors_bytes, need.reserved_bytes) == (16 * MIB, 42 * MIB)
    assert not need.fits(20 * MIB)
    assert device_need(growing, context_bytes=0, margin=0, settings=AllocatorSettings(expandable_segments=True)).fits(20 * MIB)


def test_context_and_margin_count(profile: MemoryProfile) -> None:
    plain = _lives(profile, (20, 1, None))
    assert device_need(plain, context_bytes=0, margin=0).total_bytes == 20 * MIB
    assert device_need(plain, context_bytes=300 * MIB, margin=0.1).total_bytes == 322 * MIB
    assert not device_need(plain, context_bytes=300 * MIB, margin=0.1).fits(322 * MIB - 1)


def test_the_largest_convolution_is_allowed_one_copy_of_what_it_reads_and_writes(profile: MemoryProfile) -> None:
    """Backward: gradient, input and weight in, gradient of the weight out (images need none)."""
    images, weight, output = 4 * 3 * 16 * 16 * 4, 8 * 3 * 3 * 3 * 4, 4 * 8 * 16 * 16 * 4
    assert profile.convolution_bytes == device_need(profile).cudnn_bytes == output + images + 2 * weight


def test_the_allowance_for_cudnn_stops_at_its_own_limit(profile: MemoryProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    large = profile.replace(convolution_bytes=900 * MIB)
    assert device_need(large).cudnn_bytes == 900 * MIB
    monkeypatch.setenv("CUDNN_CONV_WSCAP_DBG", "256")
    assert device_need(large).cudnn_bytes == 256 * MIB


def test_cublas_is_allowed_its_larger_work_space_where_the_device_is_not_known(profile: MemoryProfile) -> None:
    """Two threads, forward and backward: 32 MiB each on newer devices, of which 8519680 bytes are in the profile."""
    counted = [life.size_bytes for life in profile.lives if life.operator == "cuBLAS"]
    if counted != [8_519_680] * 2:
        pytest.skip("there is a device whose own work space is counted")
    assert device_need(profile).cublas_bytes == 2 * (32 * MIB - 8_519_680)
    assert device_need(profile, capability=(12, 0)).cublas_bytes == 2 * (32 * MIB - 8_519_680)
    assert device_need(profile, capability=(8, 6)).cublas_bytes == 0


def test_cublas_takes_what_its_setting_says(profile: MemoryProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    assert device_need(profile).cublas_bytes == 0


def test_what_was_measured_needs_no_allowance_but_the_context(profile: MemoryProfile) -> None:
    measured = replace(profile, method="measured", device="cuda:0", reserved_bytes=100 * MIB)
    need = device_need(measured, context_bytes=10 * MIB, margin=0)
    assert (need.reserved_bytes, need.cublas_bytes, need.cudnn_bytes, need.total_bytes) == (100 * MIB, 0, 0, 110 * MIB)


def test_the_parts_are_told_in_words_and_in_numbers(profile: MemoryProfile) -> None:
    need = device_need(profile)
    assert need.to_dict()["total_bytes"] == need.total_bytes
    assert "512.00 MiB for the CUDA context" in str(need)
    assert MemoryProfile.from_dict(profile.to_dict()).convolution_bytes == profile.convolution_bytes
    older = profile.to_dict()
    del older["convolution_bytes"]
    assert MemoryProfile.from_dict(older).convolution_bytes == 0


def test_a_profile_for_the_cpu_says_nothing_of_a_gpu() -> None:
    cpu = estimate_step(TrainingStep.of(nn.Linear(2, 2), torch.zeros(1, 2)), target="cpu")
    assert cpu.convolution_bytes == 0
    with pytest.raises(ProfilingError, match="target='cuda'"):
        device_need(cpu)


def test_negative_allowances_are_refused(profile: MemoryProfile) -> None:
    with pytest.raises(ProfilingError, match="0 or more"):
        device_need(profile, margin=-0.1)
