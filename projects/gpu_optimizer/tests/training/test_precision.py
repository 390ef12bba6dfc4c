from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from gpu_optimizer.errors import PrecisionError
from gpu_optimizer.steps import TrainingStep
from gpu_optimizer.training.precision import PrecisionCheck, PrecisionPolicy, compare_precision, guard_precision
from shared_utils.devices import Device, DeviceKind
from shared_utils.devices import Precision as Format
from shared_utils.devices.device import cuda_precisions


def _cuda(capability: tuple[int, int]) -> Device:
    return Device(DeviceKind.CUDA, 0, "GPU", 8 << 30, precisions=cuda_precisions(capability), compute_capability=capability)


@pytest.mark.parametrize(
    ("device", "precision", "scaled"),
    [
        (_cuda((12, 0)), "bf16", False),  # RTX 5070 Ti
        (_cuda((8, 6)), "bf16", False),  # RTX 3070 Ti
        (_cuda((7, 5)), "fp16", True),  # T4
        (_cuda((6, 1)), "fp32", False),  # GTX 1080: fp16 at 1/64 of the rate
        (_cuda((5, 0)), "fp32", False),
        (Device(DeviceKind.CPU, 0, "AVX2", 8 << 30, 4), "fp32", False),
        (Device(DeviceKind.CPU, 0, "AMX", 8 << 30, 4, frozenset({Format.FP32, Format.BF16})), "bf16", False),
        (Device(DeviceKind.MPS, 0, "M2", 8 << 30, precisions=frozenset({Format.FP32, Format.FP16, Format.BF16})), "bf16", False),
    ],
)
def test_the_policy_follows_the_devices_units(device: Device, precision: str, scaled: bool) -> None:
    policy = PrecisionPolicy.for_device(device)
    assert (policy.precision, policy.scaled) == (precision, scaled)
    assert policy.precision not in policy.others


def test_a_format_that_the_device_has_nothing_for_is_refused() -> None:
    policy = PrecisionPolicy.for_device(_cuda((7, 5)))
    policy.check("fp32")
    with pytest.raises(PrecisionError, match=r"bf16 has no units on this device.*use one of: fp16, fp32"):
        policy.check("bf16")


def _step(model: nn.Module, rows: torch.Tensor | None = None, **rest: Any) -> TrainingStep:
    rows = torch.randn(32, 16, generator=torch.Generator().manual_seed(0)) if rows is None else rows
    return TrainingStep.of(model, rows, **rest)


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, 4))


def test_bf16_is_fit_for_an_ordinary_model_and_the_figures_are_those_of_rounding() -> None:
    check = guard_precision(_step(_net()), "bf16")
    assert check.ok
    assert check.cosine > 0.99
    assert 0 < check.gradient_error < 0.1  # 8 bits of mantissa
    assert PrecisionCheck.from_dict(json.loads(json.dumps(check.to_dict()))) == check


def test_the_same_format_gives_the_same_numbers_dropout_included() -> None:
    check = compare_precision(_step(_net()), "fp32")
    assert (check.loss_error, check.gradient_error, check.lost_share) == (0, 0, 0)
    assert check.cosine == pytest.approx(1)


def test_gradients_that_vanish_in_fp16_are_seen() -> None:
    """Gradients near 1e-9 are 0 in fp16, whose smallest number is 6e-8; bf16 has the exponents of fp32."""
    step = _step(_net(), loss=lambda y: (y.half() if torch.is_autocast_enabled("cpu") and y.dtype == torch.half else y).sum() * 1e-9)
    with pytest.raises(PrecisionError, match=r"fp16 harms this model.*gradient's entries vanish.*use bf16"):
        guard_precision(step, "fp16")
    assert guard_precision(step, "bf16").ok


def test_activations_that_overflow_in_fp16_are_refused_with_the_losses() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 1))
    with torch.no_grad():
        model[0].weight.fill_(5000.0)
    step = _step(model, torch.ones(8, 16))
    with pytest.raises(PrecisionError, match="the loss is"):
        guard_precision(step, "fp16")


def test_cancellation_in_bf16_is_refused() -> None:
    """The difference of two large numbers: nothing of it is left in 8 bits."""

    class Cancels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(16, 16, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x + 1000) - self.linear(x + 1000.5)

    with pytest.raises(PrecisionError, match=r"bf16 harms this model.*use fp32"):
        guard_precision(_step(Cancels()), "bf16")


def test_the_model_comes_out_as_it_went_in() -> None:
    model = _net()
    model(torch.randn(4, 16)).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    step = _step(model)
    generator = torch.get_rng_state()
    compare_precision(step, "bf16")
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(torch.equal(kept, parameter.grad) for kept, parameter in zip(gradients, model.parameters(), strict=True))
