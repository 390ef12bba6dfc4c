"""The same promises on a CUDA device; skipped where there is none."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gpu_optimizer.training import CheckpointManager, OffloadedOptimizer, OomSafeRunner, TensorSwapper, auto_batch_size, swap_parameters

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


def _model(depth: int = 4, width: int = 256) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(0.2)) for _ in range(depth))).cuda()


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    torch.manual_seed(1)
    rows = torch.randn(128, 256, device="cuda")
    for _ in range(steps):
        optimizer.zero_grad()
        model(rows).square().mean().backward()
        optimizer.step()


def test_dropout_is_the_same_where_no_input_is_on_the_device() -> None:
    """PyTorch keeps the generators of its positional tensors' devices only."""

    class Starts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.linear = nn.Parameter(torch.randn(64, 32)), nn.Linear(32, 32)

        def forward(self, *, keep: float) -> torch.Tensor:
            return nn.functional.dropout(self.linear(self.rows).sin(), 1 - keep)

    gradients = []
    model = Starts().cuda()
    for names in ([], [""]):
        twin = copy.deepcopy(model)
        CheckpointManager(twin).checkpoint(names)
        torch.manual_seed(2)
        out = twin(keep=0.5)
        torch.rand(10, device="cuda")
        out.sum().backward()
        gradients.append(twin.rows.grad)
    assert torch.equal(*gradients)


def test_swapped_activations_parameters_and_optimizer_train_as_plain_ones() -> None:
    plain = _model()
    _train(plain, torch.optim.AdamW(plain.parameters(), lr=0.01, foreach=False))
    offloaded = _model()
    _train(offloaded, OffloadedOptimizer(offloaded.parameters(), torch.optim.AdamW, lr=0.01))
    for expected, found in zip(plain.parameters(), offloaded.parameters(), strict=True):
        assert torch.allclose(expected, found, rtol=1e-5, atol=1e-6)  # the host's arithmetic rounds on its own
    swapped = _model()
    swapper = TensorSwapper(swapped, min_bytes=1 << 10).attach(["0", "1", "2", "3"])
    _train(swapped, torch.optim.AdamW(swapped.parameters(), lr=0.01, foreach=False))
    swapper.detach()
    for expected, found in zip(plain.parameters(), swapped.parameters(), strict=True):
        assert torch.equal(expected, found)
    hosted = _model()
    with swap_parameters(hosted, ["1", "2"]):
        torch.manual_seed(1)
        hosted(torch.randn(128, 256, device="cuda")).square().mean().backward()
        assert hosted[1][0].weight.device.type == "cpu"
        assert hosted[1][0].weight.grad.device.type == "cpu"


def test_200_steps_do_not_grow() -> None:
    model = _model()
    swapper = TensorSwapper(model, min_bytes=1 << 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    allocated, host = [], []
    for _ in range(200):
        optimizer.zero_grad()
        with swapper:
            loss = model(torch.randn(128, 256, device="cuda")).square().mean()
        loss.backward()
        optimizer.step()
        del loss
        swapper.flush()
        torch.cuda.synchronize()
        allocated.append(torch.cuda.memory_allocated())
        host.append(swapper.pool.total_bytes)
    assert allocated[-1] == allocated[20]
    assert host[-1] == host[20]


def test_the_batch_found_fits_under_a_real_cap() -> None:
    model = _model(8)
    budget = torch.cuda.memory_allocated() + (256 << 20)
    result = auto_batch_size(model, torch.randn(8, 256, device="cuda"), budget=budget)
    assert result.oom_count <= 1
    assert result.trials[-1].fits
    assert torch.cuda.get_per_process_memory_fraction() == pytest.approx(1.0)


def test_memory_comes_back_after_a_real_oom() -> None:
    model = _model(1).eval()
    rows = torch.randn(1 << 15, 256)  # 32 MiB, and so is each of the three tensors the model makes of it
    runner = OomSafeRunner(lambda part: model(part.cuda()).cpu())
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (64 << 20)) / total)
    try:
        out = runner.infer(rows)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert out.shape == rows.shape
    assert runner.counters.ooms >= 1
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() - before < 1 << 20
