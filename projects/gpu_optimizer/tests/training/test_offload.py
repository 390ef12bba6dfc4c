"""Optimizer state and parameters on the host, against the plain run; the bugs of other offloaders are names of tests."""

from __future__ import annotations

import copy
import importlib.util
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gpu_optimizer.errors import SwapError
from gpu_optimizer.training import CheckpointManager
from gpu_optimizer.training.offloaded_optimizer import OffloadedOptimizer
from gpu_optimizer.training.parameter_swapper import swap_parameters

_spec = importlib.util.spec_from_file_location("fake_device", Path(__file__).with_name("fake_device.py"))
fake_device = importlib.util.module_from_spec(_spec)
sys.modules["fake_device"] = fake_device
_spec.loader.exec_module(fake_device)
FakeDevice = fake_device.FakeDevice

ROWS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 4, *, clip: float | None = None, windows: int = 1) -> None:
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(windows):
            model(ROWS).square().mean().backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        scheduler.step()


KINDS = {
    "adamw": (torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.1}),
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{}, {"clip": 0.01}, {"windows": 3}], ids=["plain", "no clipping (torchao 959)", "accumulation (torchao)"]
)
def test_the_weights_are_those_of_the_plain_optimizer(kind: str, options: dict[str, Any]) -> None:
    plain, mine = _model(), _model()
    make, settings = KINDS[kind]
    _train(plain, make(plain.parameters(), **settings), **options)
    _train(mine, OffloadedOptimizer(mine.parameters(), make, backend=FakeDevice(), **settings), **options)
    for expected, found in zip(plain.parameters(), mine.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_torchao_959_is_no_optimizer_so_schedulers_raise() -> None:
    model = _model()
    optimizer = OffloadedOptimizer(model.parameters(), torch.optim.SGD, backend=FakeDevice(), lr=1.0)
    assert isinstance(optimizer, torch.optim.Optimizer)
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 1.0, 2), torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)],
        [2],
    )
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.75)


def test_torchao_1209_frozen_parameters_crash() -> None:
    plain, mine = _model(), _model()
    for model in (plain, mine):
        model[2].requires_grad_(False)
    _train(plain, torch.optim.AdamW(plain.parameters(), lr=0.1))
    _train(mine, OffloadedOptimizer(mine.parameters(), torch.optim.AdamW, backend=FakeDevice(), lr=0.1))
    for expected, found in zip(plain.parameters(), mine.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_groups_with_their_own_settings_and_one_added_later() -> None:
    def groups(model: nn.Sequential) -> list[dict[str, Any]]:
        return [{"params": model[0].parameters(), "lr": 0.5}, {"params": [*model[2].parameters()], "weight_decay": 0.3}]

    plain, mine = _model(), _model()
    one = torch.optim.AdamW(groups(plain), lr=0.1)
    two = OffloadedOptimizer(groups(mine), torch.optim.AdamW, backend=FakeDevice(), lr=0.1)
    for model, optimizer in ((plain, one), (mine, two)):
        optimizer.add_param_group({"params": model[4].parameters(), "lr": 0.01})
        _train(model, optimizer)
    for expected, found in zip(plain.parameters(), mine.parameters(), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_goes_on_bit_for_bit(dtype: torch.dtype) -> None:
    def made() -> tuple[nn.Module, OffloadedOptimizer]:
        model = _model().to(dtype)
        return model, OffloadedOptimizer(model.parameters(), torch.optim.AdamW, backend=FakeDevice(), lr=0.05)

    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(ROWS.to(dtype)).square().mean().backward()
            optimizer.step()

    whole, optimizer = made()
    steps(whole, optimizer, 3)
    saved = copy.deepcopy((whole.state_dict(), optimizer.state_dict()))
    steps(whole, optimizer, 3)
    resumed, other = made()
    resumed.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    assert other.state[resumed[0].weight]["exp_avg"].dtype == torch.float32
    steps(resumed, other, 3)
    for expected, found in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_a_plain_optimizers_state_can_be_loaded() -> None:
    plain, mine = _model(), _model()
    theirs = torch.optim.AdamW(plain.parameters(), lr=0.1)
    _train(plain, theirs, 2)
    mine.load_state_dict(plain.state_dict())
    ours = OffloadedOptimizer(mine.parameters(), torch.optim.AdamW, backend=FakeDevice(), lr=0.7)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    _train(plain, theirs, 2)
    _train(mine, ours, 2)
    for expected, found in zip(plain.parameters(), mine.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_small_updates_are_not_lost_in_bfloat16() -> None:
    """The reason for a float32 copy: 1 + 0.001 is 1 in bfloat16, a thousand times over."""
    parameter = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = OffloadedOptimizer([parameter], torch.optim.SGD, backend=FakeDevice(), lr=0.001)
    for _ in range(500):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert parameter.tolist() == [0.5] * 4


def test_weights_loaded_after_the_optimizer_was_made_are_not_overwritten() -> None:
    plain, mine = _model(), _model()
    ours = OffloadedOptimizer(mine.parameters(), torch.optim.SGD, backend=FakeDevice(), lr=0.1)
    _train(mine, ours, 1)
    with torch.no_grad():
        for model in (plain, mine):
            for parameter in model.parameters():
                parameter.fill_(0.25)
    _train(plain, torch.optim.SGD(plain.parameters(), lr=ours.param_groups[0]["lr"]), 1)
    _train(mine, ours, 1)
    for expected, found in zip(plain.parameters(), mine.parameters(), strict=True):
        assert torch.allclose(expected, found)


def test_a_closure_a_sparse_gradient_and_a_missing_device() -> None:
    model = _model()
    optimizer = OffloadedOptimizer(model.parameters(), torch.optim.SGD, backend=FakeDevice(), lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = model(ROWS).square().mean()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) > 0
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(SwapError, match="sparse gradients"):
        OffloadedOptimizer(table.parameters(), torch.optim.SGD, backend=FakeDevice(), lr=0.1).step()
    if not torch.cuda.is_available():
        with pytest.raises(SwapError, match="no CUDA device"):
            OffloadedOptimizer(model.parameters())


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(torch.tanh(self.norm(self.a(x)))) * self.a.weight.diagonal()


def _deep() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), Block(), Block(), nn.Linear(8, 1))


@pytest.mark.parametrize("checkpointed", [False, True])
def test_swapped_parameters_train_as_plain_ones(checkpointed: bool) -> None:
    plain, mine = _deep(), _deep()
    swapper = swap_parameters(mine, ["1", "2"], backend=FakeDevice())
    manager = CheckpointManager(mine)
    if checkpointed:
        manager.checkpoint(["1", "2"])
    _train(plain, torch.optim.AdamW(plain.parameters(), lr=0.1))
    _train(mine, torch.optim.AdamW(mine.parameters(), lr=0.1))
    assert swapper.in_bytes > 0
    manager.remove()
    swapper.remove()
    assert "forward" not in vars(mine[1])
    for (name, expected), found in zip(plain.named_parameters(), mine.parameters(), strict=True):
        assert torch.equal(expected, found), name
        assert torch.equal(expected.grad, found.grad), name


def test_visitors_leave_the_device_after_forward_and_after_backward() -> None:
    model = _deep()
    alive: list[weakref.ref[Any]] = []
    backend = FakeDevice()
    copy_in = backend.copy_in

    def watched(*args: Any) -> Any:
        data, transfer = copy_in(*args)
        alive.append(weakref.ref(data.untyped_storage()))
        return data, transfer

    backend.copy_in = watched
    with swap_parameters(model, ["1", "2"], backend=backend):
        loss = model(ROWS).sum()
        assert len(alive) == 8  # four parameters in each block, the tied one once
        assert not any(reference() is not None for reference in alive)
        loss.backward()
        del loss
        assert len(alive) > 8
        assert not any(reference() is not None for reference in alive)
        with torch.no_grad():
            model(ROWS)


def test_a_step_between_forward_and_backward_is_an_error() -> None:
    model = _deep()
    with swap_parameters(model, ["1"], backend=FakeDevice()):
        loss = model(ROWS).sum()
        with torch.no_grad():
            model[1].a.weight.add_(1)
        with pytest.raises(SwapError, match="changed between"):
            loss.backward()


def test_what_cannot_be_swapped_is_said() -> None:
    model = nn.Sequential(_deep(), nn.Linear(1, 1))
    with pytest.raises(SwapError, match="no module '9'"):
        swap_parameters(model, ["9"], backend=FakeDevice())
    with pytest.raises(SwapError, match=r"'0\.1' lies inside another"):
        swap_parameters(model, ["0.1", "0"], backend=FakeDevice())
    manager = CheckpointManager(model).checkpoint(["0.1"])
    with pytest.raises(SwapError, match=r"checkpointed already; swap its parameters first"):
        swap_parameters(model, ["0"], backend=FakeDevice())
    manager.remove()
    swapper = swap_parameters(model, ["0"], backend=FakeDevice())
    manager.checkpoint(["0.1"])
    with pytest.raises(SwapError, match="checkpoint the whole module instead"):
        model(ROWS)
    manager.remove()
    manager.checkpoint(["0"])
    with pytest.raises(SwapError, match="was replaced after"):
        swapper.remove()
