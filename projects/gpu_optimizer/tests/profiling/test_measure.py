"""Estimates against measurements: the profiler's record of every byte that the CPU's allocator handed out is the judge."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.profiling import MemoryProfile, estimate_step, measure_step
from gpu_optimizer.steps import TrainingStep
from gpu_optimizer.training import CheckpointManager

_RANDOM_STATE_BYTES = 5056  # what checkpoint() keeps of the CPU's generator for each call
_WRAPPED_NUMBERS_BYTES = 64  # Python numbers that kernels wrap in tensors of 4 or 8 bytes


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(500, 32), nn.Linear(32, 500, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(64, 128, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cells(x)[0]


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 16))


def _transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.1)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 40, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(40),
        nn.ReLU(),
        nn.Conv2d(40, 40, 3, padding=1, groups=40),
        nn.Conv2d(40, 24, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 10),
    )


def _checkpointed() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 64), *[Checkpointed(nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))) for _ in range(3)]
    )


def _rows() -> torch.Tensor:
    return torch.randn(64, 128)


def _tokens() -> torch.Tensor:
    return torch.randint(0, 500, (8, 32))


def _words() -> torch.Tensor:
    return torch.randn(4, 32, 64)


def _images() -> torch.Tensor:
    return torch.randn(4, 3, 48, 48)


@pytest.mark.parametrize(
    ("make", "sample", "rest", "allowed_bytes"),
    [
        pytest.param(_mlp, _rows, {}, 0, id="mlp"),
        pytest.param(_mlp, _rows, {"optimizer": "sgd_momentum", "accumulation": 3}, 0, id="accumulation"),
        pytest.param(_transformer, _words, {}, 0, id="transformer"),
        pytest.param(_transformer, _words, {"precision": "bf16"}, 0, id="autocast"),
        pytest.param(_transformer, _words, {"accumulation": 2, "optimizer": "sgd"}, 0, id="accumulated transformer"),
        pytest.param(_cnn, _images, {}, 0, id="convolutions"),
        pytest.param(_cnn, _images, {"precision": "bf16"}, 131072, id="convolutions under autocast"),
        pytest.param(Recurrent, _words, {}, 16384, id="lstm"),
        pytest.param(Tied, _tokens, {}, 0, id="tied"),
        pytest.param(Tied, _tokens, {"accumulation": 2, "precision": "bf16"}, 16384, id="tied, accumulated, autocast"),
        pytest.param(_checkpointed, lambda: torch.randn(128, 64), {}, 3 * _RANDOM_STATE_BYTES, id="checkpointed"),
    ],
)
def test_estimate_is_what_is_measured(
    make: Callable[[], nn.Module], sample: Callable[[], torch.Tensor], rest: dict[str, Any], allowed_bytes: int
) -> None:
    step = TrainingStep.of(make(), sample(), **rest)
    estimated, measured = estimate_step(step), measure_step(step)
    assert abs(estimated.peak_bytes - measured.peak_bytes) <= allowed_bytes + _WRAPPED_NUMBERS_BYTES
    assert (estimated.peak_phase, estimated.peak_step) == (measured.peak_phase, measured.peak_step)


def test_lives_and_costs_are_the_same_fake_or_real() -> None:
    step = TrainingStep.of(_transformer(), _words())
    estimated, measured = estimate_step(step), measure_step(step)
    assert estimated.modules == measured.modules
    work = [life for life in estimated.lives if not life.operator.endswith("(work space)")]
    assert [(life.name, life.category, life.size_bytes, life.saved_by) for life in work] == [
        (life.name, life.category, life.size_bytes, life.saved_by) for life in measured.lives
    ]


def test_measuring_leaves_weights_buffers_gradients_and_generators_as_they_were() -> None:
    model = _cnn()
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    step = TrainingStep.of(model, _images())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    measure_step(step)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is gradient for parameter, gradient in zip(model.parameters(), gradients, strict=True))


def test_an_inputs_gradient_is_counted_and_taken_back() -> None:
    rows = _rows().requires_grad_()
    step = TrainingStep.of(_mlp(), rows)
    assert abs(measure_step(step).peak_bytes - estimate_step(step).peak_bytes) <= _WRAPPED_NUMBERS_BYTES
    assert rows.grad is None


@settings(max_examples=6, deadline=None)
@given(
    layers=st.lists(
        st.sampled_from(["linear", "relu", "gelu", "norm", "in_place", "residual", "dropout", "checkpoint"]), min_size=1, max_size=6
    ),
    rows=st.integers(1, 40),
    rest=st.sampled_from([{}, {"optimizer": "sgd"}, {"accumulation": 2}, {"precision": "bf16"}, {"optimizer": None}]),
)
def test_any_stack_of_layers_is_estimated_to_the_byte(layers: list[str], rows: int, rest: dict[str, Any]) -> None:
    kinds: dict[str, Callable[[], nn.Module]] = {
        "linear": lambda: nn.Linear(24, 24),
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "norm": lambda: nn.LayerNorm(24),
        "in_place": lambda: nn.Sequential(nn.Linear(24, 24), nn.ReLU(inplace=True)),
        "residual": lambda: Residual(24),
        "dropout": lambda: nn.Dropout(0.5),
        "checkpoint": lambda: Checkpointed(nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 24))),
    }
    model = nn.Sequential(nn.Linear(24, 24), *[kinds[kind]() for kind in layers])
    step = TrainingStep.of(model, torch.randn(rows, 24), **rest)
    states = layers.count("checkpoint") + 1  # one more while one of them is computed again
    allowed = states * _RANDOM_STATE_BYTES + (16384 if "precision" in rest else 0)
    assert abs(estimate_step(step).peak_bytes - measure_step(step).peak_bytes) <= allowed


@pytest.mark.parametrize("name", ["layers.0", "layers.1", "layers.2.linear1"])
def test_costs_say_what_our_own_checkpoints_free(name: str) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    step = TrainingStep.of(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), torch.randn(4, 16, 32), optimizer="sgd")
    cost = estimate_step(step).module(name)
    plain = _kept_for_backward(estimate_step(step))
    with CheckpointManager(step.model).checkpoint([name]):
        checkpointed = estimate_step(step)
        assert abs(checkpointed.peak_bytes - measure_step(step).peak_bytes) <= _RANDOM_STATE_BYTES + _WRAPPED_NUMBERS_BYTES
    assert plain - _kept_for_backward(checkpointed) == cost.saved_bytes - cost.extra_input_bytes


def _kept_for_backward(profile: MemoryProfile) -> int:
    start = next(span.start for span in profile.spans if span.phase == "backward")
    return sum(life.size_bytes for life in profile.lives if life.category == "activations" and life.alive_at(start - 1))


def test_what_no_tensor_holds_is_named_scratch() -> None:
    profile = measure_step(TrainingStep.of(_cnn(), _images()))
    assert profile.scratch_bytes > 0  # oneDNN's copies
    assert sum(profile.by_category_at_peak.values()) == profile.peak_bytes


def test_a_model_on_meta_cannot_be_measured() -> None:
    with torch.device("meta"):
        model = _mlp()
    with pytest.raises(ProfilingError, match=r"use estimate_step\(\)"):
        measure_step(TrainingStep.of(model, _rows()))


def test_an_error_while_measuring_leaves_the_model_whole() -> None:
    model = _mlp()
    before = [parameter.clone() for parameter in model.parameters()]

    def loss(output: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            model[0].weight.zero_()
        raise RuntimeError("by design")

    with pytest.raises(RuntimeError, match="by design"):
        measure_step(TrainingStep.of(model, _rows(), loss=loss))
    assert all(torch.equal(parameter, value) for parameter, value in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("own", [None, "3"])
def test_the_profiler_is_told_to_be_silent_unless_somebody_set_its_level(own: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU it writes "ERROR ... gpuGetDeviceCount failed" to standard error at every measurement."""
    monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)
    if own is not None:
        monkeypatch.setenv("KINETO_LOG_LEVEL", own)
    seen: list[str | None] = []

    def loss(output: torch.Tensor) -> torch.Tensor:
        seen.append(os.environ.get("KINETO_LOG_LEVEL"))
        return output.sum()

    measure_step(TrainingStep.of(nn.Linear(2, 2), torch.ones(1, 2), loss=loss), steps=1)
    assert seen[0] == (own or "99")
    assert os.environ.get("KINETO_LOG_LEVEL") == own
