"""Saved tensors: freed without a backward pass, not to be changed in place, and good for whoever holds a view of one."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from fake_device import FakeDevice
from torch import nn

from gpu_optimizer.profiling.tracker import Tracker
from gpu_optimizer.training import TensorSwapper, swap_parameters


class Exp(nn.Module):
    """Keeps what it computes, and so does its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((100,), 0.5))
        self.seen: list[weakref.ref[Any]] = []

    def forward(self, x: torch.Tensor, *, change: bool = False) -> torch.Tensor:
        y = torch.exp(x * self.scale)
        self.seen.append(weakref.ref(y.untyped_storage()))
        if change:
            y.add_(1)
        return y * 2


@contextmanager
def _nothing_swapped(model: nn.Module) -> Iterator[None]:
    with TensorSwapper(model, backend=FakeDevice(), min_bytes=1 << 20):
        yield


@contextmanager
def _no_host_memory(model: nn.Module) -> Iterator[None]:
    with TensorSwapper(model, backend=FakeDevice(), min_bytes=1, host_limit_bytes=0):
        yield


@contextmanager
def _parameters_swapped(model: nn.Module) -> Iterator[None]:
    with swap_parameters(model, [""], backend=FakeDevice()):
        yield


@contextmanager
def _followed(model: nn.Module) -> Iterator[None]:
    with Tracker({id(model): ""}).tracking():
        yield


HOOKS = [_nothing_swapped, _no_host_memory, _parameters_swapped, _followed]


@pytest.mark.parametrize("hooks", HOOKS)
def test_a_graph_without_a_backward_pass_is_freed(hooks: Callable[[nn.Module], Any]) -> None:
    """Such as that of a forward pass that ran out of memory; a pack hook that gives the tensor itself back keeps it for good."""
    model = Exp()
    with hooks(model):
        out = model(torch.randn(100, requires_grad=True))
        del out
        assert model.seen[0]() is None


@pytest.mark.parametrize("hooks", HOOKS)
def test_a_saved_tensor_that_was_changed_in_place_is_an_error_as_without_hooks(hooks: Callable[[nn.Module], Any]) -> None:
    """torch itself looks at versions only where there are no hooks; the gradient would be wrong without a word."""
    leaf = torch.randn(100, requires_grad=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        Exp()(leaf, change=True).sum().backward()
    model = Exp()
    with hooks(model):
        loss = model(leaf, change=True).sum()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@pytest.mark.parametrize("hooks", HOOKS)
def test_second_derivatives_are_those_without_hooks(hooks: Callable[[nn.Module], Any]) -> None:
    def second(model: nn.Module, leaf: torch.Tensor) -> torch.Tensor:
        (first,) = torch.autograd.grad(model(leaf).square().sum(), leaf, create_graph=True)
        return torch.autograd.grad(first.sum(), leaf)[0]

    leaf = torch.randn(100, requires_grad=True)
    expected, model = second(Exp(), leaf), Exp()
    with hooks(model):
        assert torch.equal(second(model, leaf), expected)


def test_a_view_that_escapes_the_backward_pass_keeps_its_values() -> None:
    """A backward pass that hands out views of what it got back, as those of gradient penalties and probes do.

    Whoever frees restored memory when the backward pass is over, or reuses it for the next, hands out garbage here.
    """
    escaped: list[torch.Tensor] = []

    class Probe(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            escaped.append(x[1:, ::2].t())
            return gradient * x.cos()

    swapper, expected = TensorSwapper(backend=FakeDevice(patience=10**6), min_bytes=16, host_limit_bytes=1 << 20), []
    for step in range(4):
        leaf = torch.full((6, 8), float(step + 1), requires_grad=True)
        with swapper:
            loss = Probe.apply(Probe.apply(leaf)).sum()
        swapper.flush()
        expected += [leaf.detach().sin()[1:, ::2].t(), leaf.detach().clone()[1:, ::2].t()]
        loss.backward()
        del loss, leaf
        swapper.backend.poison()
    assert all(torch.equal(view, values) for view, values in zip(escaped, expected, strict=True))
