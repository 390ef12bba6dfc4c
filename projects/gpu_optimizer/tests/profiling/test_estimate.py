from __future__ import annotations

import random
import resource
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.profiling import MemoryProfile, estimate_inference, estimate_step
from gpu_optimizer.steps import TrainingStep


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)


def _two_linears() -> nn.Sequential:
    return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 16))


def _stack(depth: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(*[nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(depth)])


def _activation_bytes(model: nn.Module, sample: torch.Tensor) -> int:
    """What forward leaves for backward: all that is alive of category activations when backward begins."""
    profile = estimate_step(TrainingStep.of(model, sample, optimizer=None), steps=1)
    start = next(span.start for span in profile.spans if span.phase == "backward")
    return sum(life.size_bytes for life in profile.lives if life.category == "activations" and life.alive_at(start - 1))


def test_two_linears_by_hand_to_the_byte() -> None:
    step = TrainingStep.of(_two_linears(), torch.randn(32, 256), optimizer=None, loss=lambda y: y.sum())
    profile = estimate_step(step, steps=1)
    first, second = 4 * (256 * 512 + 512), 4 * (512 * 16 + 16)
    inputs, hidden, scalar = 4 * 32 * 256, 4 * 32 * 512, 4
    # When the first layer's gradients are there, relu's output is gone and relu's gradient is not yet; beside them are
    # the loss (as it is kept) and the 1 that backward begins with.
    assert profile.peak_bytes == (first + second) + inputs + (first + second) + hidden + 2 * scalar
    assert (profile.peak_phase, profile.peak_step) == ("backward", 0)
    assert profile.by_category_at_peak == {
        "parameters": first + second,
        "buffers": 0,
        "inputs": inputs,
        "gradients": first + second,
        "optimizer_state": 0,
        "activations": 2 * scalar,
        "temporaries": hidden,
    }


def test_the_modules_of_two_linears_by_hand() -> None:
    profile = estimate_step(TrainingStep.of(_two_linears(), torch.randn(32, 256)))
    whole, relu = profile.module(""), profile.module("1")
    hidden, output = 4 * 32 * 512, 4 * 32 * 16
    assert whole.forward_flops == 2 * 32 * (256 * 512 + 512 * 16)
    assert (whole.input_bytes, whole.output_bytes, whole.saved_bytes) == (4 * 32 * 256, output, hidden)
    # relu's output is also kept by the layer after it, so checkpointing relu alone frees nothing.
    assert (relu.saved_bytes, relu.input_bytes, relu.output_bytes, relu.kind, relu.depth) == (0, hidden, hidden, "ReLU", 1)
    assert profile.module("2").extra_input_bytes == 0  # relu keeps it anyway


def test_first_step_has_no_optimizer_state_before_its_end() -> None:
    profile = estimate_step(TrainingStep.of(_two_linears(), torch.randn(2048, 256), optimizer="adam"))
    weights = 4 * (256 * 512 + 512 + 512 * 16 + 16)
    first, second = profile.step_peaks_bytes
    assert second - first == 2 * weights + 4 * 4  # both moments of every weight, and four counters
    assert (profile.peak_step, profile.peak_phase, profile.peak_bytes) == (1, "backward", second)


@pytest.mark.parametrize(("optimizer", "moments"), [("sgd", 0), ("sgd_momentum", 1), ("adam", 2), ("adamw", 2)])
def test_optimizer_state_is_counted(optimizer: Any, moments: int) -> None:
    profile = estimate_step(TrainingStep.of(nn.Linear(64, 64, bias=False), torch.randn(4096, 64), optimizer=optimizer))
    assert profile.by_category_at_peak["optimizer_state"] // 4 == moments * 64 * 64 + (moments == 2)


def test_tied_weights_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(1000, 64), nn.Linear(64, 1000, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(x))

    profile = estimate_step(TrainingStep.of(Tied(), torch.randint(0, 1000, (8, 16))))
    assert profile.by_category_at_peak["parameters"] == 4 * 1000 * 64
    assert profile.module("").parameter_bytes == 4 * 1000 * 64


def test_frozen_parameters_have_neither_gradient_nor_state() -> None:
    model = _two_linears()
    model[0].requires_grad_(False)
    profile = estimate_step(TrainingStep.of(model, torch.randn(32, 256)))
    gradients = {life.name: life.size_bytes for life in profile.lives if life.category == "gradients" and life.step == 0}
    assert gradients == {"2.weight.grad": 4 * 512 * 16, "2.bias.grad": 4 * 16}


def test_accumulated_gradients_are_allocated_once_per_step() -> None:
    profile = estimate_step(TrainingStep.of(nn.Linear(64, 64), torch.randn(8, 64), accumulation=3, optimizer="sgd"))
    assert sorted(life.name for life in profile.lives if life.category == "gradients") == ["bias.grad"] * 2 + ["weight.grad"] * 2


def test_views_and_in_place_operators_take_no_memory() -> None:
    class Shaped(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * 2
            return y.view(-1).reshape(4, -1).transpose(0, 1).add_(1).relu_()

    profile = estimate_inference(Shaped(), torch.randn(8, 16))
    assert profile.peak_bytes == 2 * 4 * 8 * 16


def test_a_residual_sum_of_gradients_is_made_in_place() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(32, 32, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x)

    model = nn.Sequential(nn.Linear(32, 32, bias=False), Residual())
    profile = estimate_step(TrainingStep.of(model, torch.randn(1024, 32), optimizer=None, loss=lambda y: y.sum()), steps=1)
    sums = [life for life in profile.lives if life.operator == "aten::add" and life.phase == "backward"]
    assert len(sums) == 1
    # The gradient through the layer is gone in the same tick in which the sum appears: one buffer, not two.
    assert any(life.died == sums[0].born and life.size_bytes == sums[0].size_bytes for life in profile.lives)


def test_checkpointing_keeps_the_input_and_frees_the_inside() -> None:
    sample = torch.randn(256, 64)
    plain = _activation_bytes(_stack(4), sample)
    kept = _activation_bytes(nn.Sequential(*[Checkpointed(block) for block in _stack(4)]), sample)
    row = 4 * 256 * 64
    # GELU keeps its input: one tensor per block, and the blocks' outputs are the next one's inputs. The last output
    # is kept by the loss.
    assert plain - kept == 4 * row


def test_saved_bytes_are_what_checkpointing_a_module_frees() -> None:
    sample = torch.randn(256, 64)
    model = _stack(4)
    cost = estimate_step(TrainingStep.of(model, sample)).module("1")
    plain = _activation_bytes(model, sample)
    model[1] = Checkpointed(model[1])
    assert plain - _activation_bytes(model, sample) == cost.saved_bytes - cost.extra_input_bytes > 0


def test_autocast_copies_of_weights_are_made_once_per_forward_pass() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(64, 64, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(self.inner(x))

    profile = estimate_step(TrainingStep.of(Twice(), torch.randn(8, 64), precision="bf16"), steps=1)
    copies = [life for life in profile.lives if life.operator == "aten::_to_copy" and life.shape == (64, 64) and life.phase == "forward"]
    assert [life.size_bytes for life in copies] == [2 * 64 * 64]


def test_a_model_on_meta_is_estimated_like_one_on_the_cpu() -> None:
    sample = torch.randn(32, 256)
    real = estimate_step(TrainingStep.of(_two_linears(), sample))
    with torch.device("meta"):
        absent = estimate_step(TrainingStep.of(_two_linears(), torch.empty(32, 256)))
    assert absent.peak_bytes == real.peak_bytes
    assert absent.modules == real.modules


def test_tensors_made_in_the_forward_pass_count_although_the_default_device_is_meta() -> None:
    """torch 2.11 could not even step Adam there: it reads the step's number, which a tensor on meta does not have."""

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.weight) * torch.ones(1000, 64)

    rows = torch.randn(1000, 64)
    expected = estimate_step(TrainingStep.of(Shifted(), rows)).peak_bytes
    with torch.device("meta"):
        found = estimate_step(TrainingStep.of(Shifted(), torch.empty(1000, 64))).peak_bytes
    assert found == expected


def test_billions_of_parameters_need_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.device("meta"):
        model = nn.Sequential(*[nn.Linear(16384, 16384, bias=False) for _ in range(8)])
        sample = torch.empty(16, 16384)
    profile = estimate_step(TrainingStep.of(model, sample))
    assert profile.by_category_at_peak["parameters"] == 8 * 4 * 16384**2  # 8 GiB, and four times that with gradients and states
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 2**29


def test_nothing_of_the_model_is_changed() -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
            self.seen: list[torch.Tensor] = []
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.last = self.inner(x)
            self.seen.append(self.last)
            return self.last * random.random()

    model = Remembering()
    model.inner[2].eval()
    hooked = []
    model.inner[0].register_forward_hook(lambda *_: hooked.append(1))
    before = {name: (tensor, tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    state = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    estimate_step(TrainingStep.of(model, torch.randn(2, 3, 8, 8)))
    assert all(
        tensor is before[name][0] and torch.equal(tensor, before[name][1]) for name, tensor in model.state_dict(keep_vars=True).items()
    )
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (model.calls, model.seen, hasattr(model, "last"), hooked) == (0, [], False, [1, 1])
    assert (model.training, model.inner[2].training, len(model.inner[0]._forward_hooks)) == (True, False, 1)
    assert random.getstate() == state[1]
    assert np.random.get_state()[1].tolist() == state[2]  # noqa: NPY002


def test_random_numbers_go_on_as_if_nothing_had_been() -> None:
    step = TrainingStep.of(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)), torch.ones(2, 8))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    estimate_step(step)
    assert torch.equal(torch.rand(4), expected)


def test_an_error_in_the_model_leaves_it_whole() -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.kept = self.inner(x)
            raise RuntimeError("by design")

    model = Failing()
    weight = model.inner.weight
    with pytest.raises(RuntimeError, match="by design"):
        estimate_step(TrainingStep.of(model, torch.ones(2, 8)))
    assert model.inner.weight is weight
    assert not hasattr(model, "kept")
    assert type(model.inner(torch.ones(2, 8))) is torch.Tensor


def test_a_model_that_reads_values_is_refused_with_the_way_out() -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.inner(x)
            return y * 2 if y.sum().item() > 0 else y

    with pytest.raises(ProfilingError, match=r"use measure_step\(\)"):
        estimate_step(TrainingStep.of(Reading(), torch.ones(2, 8)))


def test_lazy_parameters_are_refused() -> None:
    with pytest.raises(ProfilingError, match=r"weight has no shape yet"):
        estimate_step(TrainingStep.of(nn.LazyLinear(4), torch.ones(2, 8)))


def test_cuda_updates_all_parameters_together_and_rounds() -> None:
    model = nn.Sequential(*[nn.Linear(128, 128, bias=False) for _ in range(8)])
    step = TrainingStep.of(model, torch.randn(1, 128))
    one_by_one, together = estimate_step(step), estimate_step(step, target="cuda")
    weights = 8 * 4 * 128 * 128
    # One weight at a time: its square root and the quotient. All together: at least a whole copy of all weights.
    assert one_by_one.peak_phase == together.peak_phase == "optimizer"
    assert one_by_one.peak_bytes < 4 * weights + weights // 2 < 5 * weights <= together.peak_bytes
    assert together.granule_bytes == 512
    assert together.peak_bytes % 512 == 0


def test_inference_keeps_no_activations() -> None:
    profile = estimate_inference(_stack(5), torch.randn(256, 64))
    row = 4 * 256 * 64
    assert profile.peak_bytes == profile.module("").parameter_bytes + 4 * row  # sample, block's input, both layers' outputs
    assert profile.by_category_at_peak["activations"] == 0


def test_json_round_trip() -> None:
    profile = estimate_step(TrainingStep.of(_two_linears(), torch.randn(4, 256)))
    again = MemoryProfile.from_dict(profile.to_dict())
    assert again == profile
    with pytest.raises(ProfilingError, match="no memory profile"):
        MemoryProfile.from_dict({"lives": 3})


def test_timeline_agrees_with_the_peak() -> None:
    profile = estimate_step(TrainingStep.of(_two_linears(), torch.randn(4, 256)))
    top = max(profile.timeline, key=lambda moment: moment.total_bytes)
    assert (top.total_bytes, top.tick) == (profile.peak_bytes, profile.peak_tick)
    assert {name: size for name, size in profile.by_category_at_peak.items() if size} == top.by_category
    assert sum(life.size_bytes for life in profile.owners_at_peak) == profile.peak_bytes
