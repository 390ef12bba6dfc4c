"""Swapping on a fake device that poisons what was let go; known bugs of other offloaders are the names of tests."""

from __future__ import annotations

import copy
import importlib.util
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gpu_optimizer.errors import SwapError
from gpu_optimizer.training import CheckpointManager
from gpu_optimizer.training.swap_backend import CudaBackend, HostPool
from gpu_optimizer.training.tensor_swapper import TensorSwapper, swapped_activations

_spec = importlib.util.spec_from_file_location("fake_device", Path(__file__).with_name("fake_device.py"))
fake_device = importlib.util.module_from_spec(_spec)
sys.modules["fake_device"] = fake_device
_spec.loader.exec_module(fake_device)
FakeDevice = fake_device.FakeDevice


def _swapper(model: nn.Module | None = None, **options: Any) -> TensorSwapper:
    return TensorSwapper(model, **{"backend": FakeDevice(), "min_bytes": 16, "host_limit_bytes": 1 << 24, **options})


def _gradients(model: nn.Module, run: Callable[[nn.Module, torch.Tensor], torch.Tensor], rows: torch.Tensor) -> dict[str, torch.Tensor]:
    leaf = rows.clone().requires_grad_()
    torch.manual_seed(3)
    run(model, leaf).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()} | {"input": leaf.grad}


def _assert_same(
    model: nn.Module, run: Callable[[nn.Module, torch.Tensor], torch.Tensor], rows: torch.Tensor, **options: Any
) -> TensorSwapper:
    twin = copy.deepcopy(model)
    expected = _gradients(model, run, rows)
    swapper = _swapper(twin, **options)

    def swapped(net: nn.Module, leaf: torch.Tensor) -> torch.Tensor:
        with swapper:
            loss = run(net, leaf)
        swapper.flush()
        kept = loss.detach().clone()
        swapper.backend.poison()
        loss.data.copy_(kept)
        return loss

    found = _gradients(twin, swapped, rows)
    for name, gradient in expected.items():
        assert torch.equal(gradient, found[name]), name
    assert swapper.counters.out_bytes > 0
    return swapper


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(4, 4, 3, padding=1), nn.BatchNorm1d(4)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu_(self.norm(self.conv(x)))
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        x = x + self.drop(torch.softmax(q @ k.transpose(1, 2), -1) @ v)
        return nn.functional.gelu(self.out(x)) * torch.sigmoid(x)


ROWS = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))


def _loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model(x).square().sum()


@pytest.mark.parametrize("prefetch", [0, 1, 4])
@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("patience", [0, 2, 10**6])
def test_gradients_are_bit_equal_after_the_originals_are_poisoned(prefetch: int, in_flight: int, patience: int) -> None:
    swapper = _assert_same(
        nn.Sequential(Net(), Net()), _loss, ROWS, prefetch=prefetch, in_flight=in_flight, backend=FakeDevice(patience=patience)
    )
    assert swapper.counters.in_bytes >= swapper.counters.out_bytes


def test_the_poison_works() -> None:
    """The judge itself: with autograd's own saved tensors poisoned, gradients are garbage."""
    saved: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    leaf = ROWS.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = torch.sigmoid(leaf).sum()
    for tensor in saved:
        tensor.data.fill_(float("nan"))
    loss.backward()
    assert leaf.grad.isnan().any()


def test_trl_4247_storage_pointer_dedup_goes_stale_when_the_address_is_used_again() -> None:
    memory = np.zeros(64, dtype=np.float32)  # what an allocator hands out again and again
    swapper = _swapper(prefetch=0)
    leaf = torch.zeros(64, requires_grad=True)
    losses, addresses = [], set()
    with swapper:
        for step in range(5):
            memory.fill(10.0**step)
            rows = torch.from_numpy(memory)
            addresses.add(rows.data_ptr())
            losses.append((leaf * rows).sum())
            del rows
            swapper.flush()
    memory.fill(np.nan)
    assert len(addresses) == 1
    sum(losses).backward()
    assert torch.equal(leaf.grad, torch.full((64,), 11111.0))


def test_a_storage_that_was_changed_is_another_content() -> None:
    swapper = _swapper()
    leaf, rows = torch.zeros(100, requires_grad=True), torch.ones(100)
    with swapper:
        first = (leaf * rows).sum()
        swapper.flush()
        rows.mul_(2)
        second = (leaf * rows).sum()
    (first + second).backward()
    assert torch.equal(leaf.grad, torch.full((100,), 3.0))


def test_trl_6241_7193_every_step_swaps_as_much_as_the_first() -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8), nn.Sigmoid())
    swapper = _swapper(model)
    moved = []
    for _ in range(6):
        before = swapper.counters.out_bytes
        with swapper:
            loss = model(torch.randn(16, 8)).sum()
        loss.backward()
        del loss
        moved.append(swapper.counters.out_bytes - before)
    assert len(set(moved)) == 1


def test_ms_swift_10157_square_transpose_gives_wrong_gradients() -> None:
    def run(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(x)
        return (y @ y.t() + y.t() @ y * torch.arange(16.0).view(4, 4)).sin().sum()

    swapper = _assert_same(nn.Identity(), run, torch.randn(4, 4))
    assert swapper.counters.shared >= 2


def test_torchtune_parameters_are_skipped_by_storage_since_linear_saves_a_view() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    swapper = _swapper(model)
    with swapper:
        loss = model(torch.randn(2, 64, requires_grad=True)).sum()
    weight_bytes = 64 * 64 * 4
    assert swapper.counters.out_bytes < weight_bytes
    assert swapper.counters.kept >= 1
    loss.backward()


def test_torchtune_2076_no_buffer_is_pinned_on_the_fly_after_the_first_step() -> None:
    model, backend = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8)), FakeDevice()
    swapper = _swapper(model, backend=backend)
    made = []
    for _ in range(200):
        with swapper:
            loss = model(torch.randn(16, 8)).sum()
        loss.backward()
        made.append(backend.buffers)
    assert made[10] == made[-1]
    del loss
    swapper.flush()
    assert swapper.pool.used_bytes == 0
    assert len(swapper._entries) <= 8
    assert len(swapper._order) <= 8


def test_broadcast_tensors_are_not_blown_up() -> None:
    big = torch.randn(8).expand(100_000, 8)

    def run(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return (x * big[:4]).sum() + (x.expand(4, 8) * big[:4]).sum()

    swapper = _assert_same(nn.Identity(), run, torch.randn(1, 8))
    assert swapper.counters.out_bytes <= 2 * 8 * 4


def test_host_memory_is_capped_and_the_rest_stays_on_the_device() -> None:
    def run(_: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for _ in range(6):
            x = torch.tanh(x)
        return x.sum()

    swapper = _swapper(host_limit_bytes=3 * 400)
    leaf = torch.randn(100, requires_grad=True)
    with swapper:
        loss = run(nn.Identity(), leaf)
    assert swapper.counters.refused == 3
    assert swapper.pool.total_bytes == 1200
    loss.backward()
    plain = leaf.detach().clone().requires_grad_()
    run(nn.Identity(), plain).backward()
    assert torch.equal(leaf.grad, plain.grad)


def test_a_buffer_of_another_size_makes_room() -> None:
    pool = HostPool(FakeDevice(), 1000)
    first, _ = pool.take(800)
    assert pool.take(400) is None
    pool.give_back(first, None)
    assert pool.take(400) is not None
    assert pool.total_bytes == 400


def test_a_buffer_is_not_used_again_while_a_copy_reads_it() -> None:
    """One buffer, many steps: on the fake device a reused buffer is garbage for whoever still reads it."""
    swapper = _swapper(backend=FakeDevice(patience=10**6), in_flight=1, prefetch=3)
    for step in range(10):
        leaf = torch.randn(50, requires_grad=True)
        with swapper:
            loss = torch.exp(torch.sin(leaf + step)).sum()
        swapper.flush()
        loss.backward()
        plain = leaf.detach().clone().requires_grad_()
        torch.exp(torch.sin(plain + step)).sum().backward()
        assert torch.equal(leaf.grad, plain.grad)


def test_tied_weights_and_the_same_activation_saved_often() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.tanh(self.embed(x))
            return self.head(y) * y * y

    assert _assert_same(Tied(), _loss, ROWS).counters.shared >= 2


def test_checkpoint_inside_the_swapper() -> None:
    model = nn.Sequential(Net(), Net(), nn.Linear(8, 8))
    CheckpointManager(model).checkpoint(["0", "1"])
    plain = copy.deepcopy(model)
    swapper = _assert_same(plain, _loss, ROWS)
    assert swapper.counters.out_bytes >= ROWS.nbytes  # the blocks' inputs leave too


def test_swapper_inside_a_checkpoint() -> None:
    model = nn.Sequential(nn.Sequential(Net(), Net()), nn.Linear(8, 8))
    twin = copy.deepcopy(model)
    expected = _gradients(model, _loss, ROWS)
    CheckpointManager(twin).checkpoint(["0"])
    with swapped_activations(twin, ["0.1"], backend=FakeDevice(), min_bytes=16, host_limit_bytes=1 << 24) as swapper:
        found = _gradients(twin, _loss, ROWS)
    assert swapper.counters.out_bytes > 0
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not twin[0][1]._forward_hooks
    assert not twin[0][1]._forward_pre_hooks


def test_attached_modules_swap_what_they_save_and_no_other() -> None:
    model = nn.Sequential(nn.Tanh(), nn.Tanh())
    with swapped_activations(model, ["1"], backend=FakeDevice(), min_bytes=16, host_limit_bytes=1 << 24) as swapper:
        model(torch.randn(100, requires_grad=True)).sum().backward()
        assert swapper.counters.out_bytes == 400
        with pytest.raises(SwapError, match="no module '7'"):
            swapper.attach(["7"])


def test_a_forward_that_fails_closes_the_hooks() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    with swapped_activations(model, ["0"], backend=FakeDevice(), min_bytes=1, host_limit_bytes=1 << 20) as swapper:
        with pytest.raises(RuntimeError):
            model(torch.randn(2, 5))
        before = swapper.counters.out_bytes
        x = torch.randn(9, requires_grad=True)
        torch.tanh(x).sum().backward()
        assert swapper.counters.out_bytes == before


def test_backward_twice_and_a_graph_that_is_thrown_away() -> None:
    swapper = _swapper()
    leaf = torch.randn(100, requires_grad=True)
    with swapper:
        loss = torch.exp(torch.sin(leaf)).sum()
        thrown = torch.tanh(leaf * 2).sum()
    swapper.flush()
    del thrown
    loss.backward(retain_graph=True)
    first = leaf.grad.clone()
    loss.backward()
    assert torch.equal(leaf.grad, 2 * first)
    del loss
    assert swapper.pool.used_bytes == 0


def test_device_memory_is_let_go_in_the_forward_and_after_the_backward() -> None:
    swapper = _swapper(in_flight=1)
    alive: list[weakref.ref[Any]] = []
    leaf = torch.randn(100, requires_grad=True)
    with swapper:
        x = leaf
        for _ in range(6):
            x = torch.tanh(x)
            alive.append(weakref.ref(x.untyped_storage()))
        loss = x.sum()
        del x
    assert sum(reference() is not None for reference in alive) <= 2
    loss.backward()
    swapper.flush()
    assert not any(reference() is not None for reference in alive)


def test_a_saved_tensor_changed_while_it_leaves_is_an_error() -> None:
    leaf = torch.randn(100, requires_grad=True)
    with _swapper(backend=FakeDevice(patience=10**6)):
        y = torch.exp(leaf)
        y.add_(1)
        loss = y.sum()
    with pytest.raises(SwapError, match="changed in place"):
        loss.backward()


def test_other_devices_small_tensors_and_strange_layouts_stay() -> None:
    swapper = _swapper(min_bytes=1000)
    with swapper:
        small = torch.tanh(torch.randn(10, requires_grad=True)).sum()
        table = nn.Embedding(10, 4, sparse=True)
        sparse = table(torch.tensor([1, 2])).sum()
        complex_ = torch.view_as_complex(torch.randn(300, 2, requires_grad=True)).conj()
        turned = (complex_ * complex_).real.sum()
        (small + sparse + turned).backward()
    assert table.weight.grad.is_sparse
    assert swapper.counters.kept >= 2


def test_inputs_that_the_caller_holds_may_stay() -> None:
    x = torch.randn(100)
    weight = torch.randn(100, requires_grad=True)
    swapper = _swapper(keep=[x])
    with swapper:
        (x * weight).sum().backward()
    assert swapper.counters.out_bytes == 0


def test_without_cuda_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SwapError, match="there is no CUDA device"):
        CudaBackend()
    with pytest.raises(SwapError, match="prefetch >= 0"):
        _swapper(prefetch=-1)


@pytest.mark.gpu
def test_gradients_are_bit_equal_on_cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    model = nn.Sequential(*(nn.Sequential(nn.Linear(256, 256), nn.GELU()) for _ in range(6))).cuda()
    twin, rows = copy.deepcopy(model), torch.randn(512, 256, device="cuda")
    expected = _gradients(model, _loss, rows)
    swapper = TensorSwapper(twin, min_bytes=1 << 10)

    def swapped(net: nn.Module, leaf: torch.Tensor) -> torch.Tensor:
        with swapper:
            return _loss(net, leaf)

    for _ in range(3):
        twin.zero_grad()
        found = _gradients(twin, swapped, rows)
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert swapper.counters.out_bytes > 0
