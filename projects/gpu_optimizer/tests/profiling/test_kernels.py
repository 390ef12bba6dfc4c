"""Work space of kernels: the profiler's record of single operators is the judge."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gpu_optimizer._torch_private import observe_operators, operator_name, profiled_memory
from gpu_optimizer.profiling.kernels import cublas_bytes, work_bytes

_SMALL_BYTES = 16384 * torch.get_num_threads()  # scratch pads of a few rows, which are left out


def _extra_bytes(operator: Any, args: tuple[Any, ...]) -> tuple[int, int]:
    """What an operator took at most beyond what it left, measured and predicted."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        output = operator(*args)
    live = most = 0
    for _, size in profiled_memory(profiler):
        live += size
        most = max(most, live)
    seen: list[int] = []
    with observe_operators(lambda op, given, _, made: seen.append(work_bytes(operator_name(op), given, made))):
        output = operator(*args)
    del output
    return most - live, seen[0]


_CONVOLUTIONS = [
    (2, 32, 64, 28, 3, 1, 1),
    (2, 64, 32, 28, 3, 2, 1),
    (2, 3, 32, 56, 3, 2, 1),
    (4, 40, 40, 28, 3, 1, 40),
    (16, 64, 128, 14, 1, 1, 1),
    (2, 64, 128, 14, 1, 1, 1),
    (2, 20, 50, 30, 5, 1, 1),
]


@pytest.mark.parametrize("shape", _CONVOLUTIONS, ids=str)
def test_a_convolutions_copies(shape: tuple[int, ...]) -> None:
    batch, inner, outer, side, kernel, stride, groups = shape
    given, weight = torch.randn(batch, inner, side, side), torch.randn(outer, inner // groups, kernel, kernel)
    rest = ([stride, stride], [kernel // 2, kernel // 2], [1, 1], False, [0, 0], groups)
    measured, predicted = _extra_bytes(torch.ops.aten.convolution, (given, weight, None, *rest))
    assert predicted == pytest.approx(measured, rel=0.04, abs=_SMALL_BYTES)
    gradient = torch.randn_like(torch.ops.aten.convolution(given, weight, None, *rest))
    args = (gradient, given, weight, None, *rest, [True, True, False])
    measured, predicted = _extra_bytes(torch.ops.aten.convolution_backward, args)
    assert predicted == pytest.approx(measured, rel=0.08, abs=4 * _SMALL_BYTES)


@pytest.mark.parametrize("shape", [(4, 64, 128, 14, 3, 1, 1), (4, 64, 64, 14, 7, 1, 64), (4, 512, 512, 4, 3, 1, 1)], ids=str)
@pytest.mark.parametrize("weights", [torch.channels_last, torch.contiguous_format], ids=["relaid weights", "plain weights"])
def test_channels_last_copies_weights_only(shape: tuple[int, ...], weights: torch.memory_format) -> None:
    batch, inner, outer, side, kernel, stride, groups = shape
    given = torch.randn(batch, inner, side, side).to(memory_format=torch.channels_last)
    weight = torch.randn(outer, inner // groups, kernel, kernel).to(memory_format=weights)
    rest = ([stride, stride], [kernel // 2, kernel // 2], [1, 1], False, [0, 0], groups)
    measured, predicted = _extra_bytes(torch.ops.aten.convolution, (given, weight, None, *rest))
    assert predicted == pytest.approx(measured, rel=0.04, abs=_SMALL_BYTES)
    gradient = torch.randn_like(torch.ops.aten.convolution(given, weight, None, *rest))
    measured, predicted = _extra_bytes(torch.ops.aten.convolution_backward, (gradient, given, weight, None, *rest, [True, True, False]))
    assert predicted == pytest.approx(measured, rel=0.04, abs=_SMALL_BYTES)


def test_resampling_in_plain_layout() -> None:
    measured, predicted = _extra_bytes(torch.ops.aten.upsample_nearest2d.default, (torch.randn(2, 32, 16, 16), [32, 32]))
    assert predicted == pytest.approx(measured, abs=_SMALL_BYTES)


@pytest.mark.parametrize(
    ("setting", "expected"), [("", 8_519_680), (":4096:2:16:8", 8_519_680), (":16:8", 131_072), ("nonsense", 8_519_680)]
)
def test_cublas_takes_what_its_setting_says(setting: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", setting)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cublas_bytes() == expected


@pytest.mark.parametrize(("capability", "expected"), [((8, 9), 8_519_680), ((9, 0), 32 * 2**20), ((12, 0), 32 * 2**20)])
def test_cublas_takes_more_on_newer_devices(capability: tuple[int, int], expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert cublas_bytes() == expected
