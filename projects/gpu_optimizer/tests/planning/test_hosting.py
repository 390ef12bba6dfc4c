"""What a plan moves to the host: proved on a device made of CPU tensors that spoils what is used too early."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

import pytest
import torch
from _residual import CARD, residual_net
from torch import nn

from gpu_optimizer.errors import PlanError, StepError
from gpu_optimizer.planning import ErrorLedger, Plan, plan
from gpu_optimizer.planning.hosting import copy_rate, host_optimizer_s
from gpu_optimizer.planning.machine import Machine
from gpu_optimizer.planning.probe import StepTimes
from gpu_optimizer.planning.scenario import Scenario
from gpu_optimizer.planning.solver import chosen
from gpu_optimizer.planning.table import OPTIMIZER
from gpu_optimizer.planning.treatment import Treatment, on_host
from gpu_optimizer.steps import TrainingStep

_spec = importlib.util.spec_from_file_location("fake_device", Path(__file__).parents[1] / "training" / "fake_device.py")
fake_device = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("fake_device", fake_device)
_spec.loader.exec_module(fake_device)
FakeDevice = fake_device.FakeDevice


def net(blocks: int = 3, width: int = 128) -> nn.Sequential:
    return residual_net(blocks, width)


SAMPLE = torch.randn(2048, 128, generator=torch.Generator().manual_seed(0))


def quick(model: nn.Module, budget: int | str, **rest) -> Plan:
    given = {
        "optimizer": "adamw",
        "ledger": ErrorLedger(None),
        "margin": 0.0,
        "device": CARD,
        "copy_gb_per_s": 25.0,
        "search": ("offload",),
    }
    return plan(model, SAMPLE, budget, **given | rest)


@pytest.fixture(scope="module")
def both() -> Plan:
    """A plan that moves activations and the optimizer's state."""
    plain = quick(net(), "8GiB")
    return quick(net(), int(plain.predicted_peak_bytes * 0.67))


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, run) -> list[torch.Tensor]:
    for _ in range(2):
        run(optimizer)
    return [tensor.clone() for parameter in model.parameters() for tensor in (parameter.detach(), parameter.grad)]


def test_what_waits_on_the_host_trains_the_same_weights_to_the_bit(both) -> None:
    assert both.offloaded
    assert both.optimizer_on_host
    plain, mine, backend = net(), net(), FakeDevice()
    loss = lambda output: output.square().mean()  # noqa: E731
    step = TrainingStep.of(plain, SAMPLE, loss=loss)
    expected = trained(plain, torch.optim.AdamW(plain.parameters(), lr=0.01), step.run)
    before = [dict(vars(module)) for module in mine.modules()]
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in mine.modules()]
    with both.apply(mine, backend=backend) as applied:
        optimizer = applied.optimizer(torch.optim.AdamW(mine.parameters(), lr=0.01))
        found = trained(mine, optimizer, lambda optimizer: applied.run(SAMPLE, optimizer, loss=loss))
        assert backend.out_copies > len(both.offloaded)
        assert backend.in_copies > 0
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert [dict(vars(module)) for module in mine.modules()] == before
    assert [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in mine.modules()] == hooks


def test_originals_that_have_left_are_not_read_again(both) -> None:
    mine, plain, backend = net(), net(), FakeDevice(patience=0)
    plain(SAMPLE).square().mean().backward()
    with both.apply(mine, backend=backend):
        loss = mine(SAMPLE).square().mean()
        backend.poison()
        loss.backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(plain.parameters(), mine.parameters(), strict=True))


def test_an_ordinary_optimizer_is_refused_where_its_state_is_to_lie_on_the_host(both) -> None:
    model = net()
    with both.apply(model, backend=FakeDevice()) as applied:
        used = torch.optim.AdamW(model.parameters())
        with pytest.raises(PlanError, match=r"applied\.optimizer"):
            applied.run(SAMPLE, used)
        applied.run(SAMPLE)
        used.step()
        with pytest.raises(StepError, match="stepped already"):
            applied.optimizer(used)
    with pytest.raises(PlanError, match="CUDA device"):
        both.apply(net())


def test_the_optimizer_on_the_host_keeps_groups_and_settings() -> None:
    model = net(1, 8)
    plain = torch.optim.SGD([{"params": model[0].up.parameters(), "lr": 0.5}, {"params": model[0].down.parameters()}], lr=0.1, momentum=0.9)
    hosted = on_host(plain, FakeDevice())
    assert [(group["lr"], group["momentum"], len(group["params"])) for group in hosted.param_groups] == [(0.5, 0.9, 2), (0.1, 0.9, 2)]


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    with torch.device("meta"):
        step = TrainingStep.of(net(4, 256), torch.empty(1024, 256), optimizer="adamw")
    return Scenario(step=step, machine=Machine.of(CARD))


def test_the_table_of_a_cuda_target_says_what_a_second_trace_says(scenario) -> None:
    seconds = {name: 1.0 for name, _ in scenario.step.model.named_modules()}
    times = StepTimes(forward_s=1.0, backward_s=2.0, optimizer_s=0.0, block_s=seconds, spread=0.0, batch=1, method="measured")
    table = scenario.table(times, copy_bytes_per_s=1e9, host_optimizer_s=1.0)
    for moved, again, hosted in itertools.product(((), ("0", "1")), ((), ("2",)), (False, True)):
        actions = dict.fromkeys(moved, "offload") | dict.fromkeys(again, "recompute") | ({OPTIMIZER: "host"} if hosted else {})
        traced = scenario.traced_with(Treatment(recomputed=again, offloaded=moved, optimizer_on_host=hosted)).peak_bytes
        assert chosen(table, actions).peak_bytes == pytest.approx(traced, rel=0.1 if moved else 0.02), actions
    assert not any(option.action == "offload" and "[" in table.blocks[option.block] for option in table.options)


def test_an_optimizer_on_the_host_leaves_nothing_of_its_state_on_the_device(scenario) -> None:
    plain, hosted = scenario.profile, scenario.traced_with(Treatment(optimizer_on_host=True))
    numbers = sum(parameter.numel() for parameter in scenario.step.model.parameters())
    state = 2 * 4 * numbers
    assert plain.by_category_at_peak["optimizer_state"] == pytest.approx(state, rel=0.01)
    assert plain.peak_bytes - hosted.peak_bytes == pytest.approx(state, rel=0.01)


def test_rates_and_times_by_hand() -> None:
    assert copy_rate(Machine.of("h100-sxm")) == pytest.approx(0.8 * 63e9)
    assert copy_rate(Machine.of("rtx-4070-laptop")) == pytest.approx(0.8 * 15.75e9)  # eight lanes
    assert copy_rate(Machine.of("jetson-agx-orin-64gb")) is None  # its memory is the host's
    assert copy_rate(Machine.of(CARD), 10.0) == 10e9
    with pytest.raises(PlanError, match="copy_gb_per_s"):
        copy_rate(Machine.of(CARD), 0.0)
    model = nn.Linear(1000, 1000, bias=False)
    step = TrainingStep.of(model, torch.zeros(1, 1000))
    # 4 MB of gradients out and 4 MB of weights back at 8 GB/s, seven passes over 4 MB at 20 GB/s.
    assert host_optimizer_s(step, 8e9, here=False) == pytest.approx(1e-3 + 1.4e-3)
    assert host_optimizer_s(step, 8e9, here=True) > 1e-3
    model.requires_grad_(False)
    assert host_optimizer_s(step, 8e9, here=False) == 0.0


def test_a_machine_whose_link_nobody_knows_moves_nothing_and_the_notes_say_so() -> None:
    made = quick(net(1), "8GiB", copy_gb_per_s=None)
    assert any("copy_gb_per_s" in note for note in made.notes)


def test_moving_is_shown_beside_computing_again() -> None:
    plain = quick(net(), "8GiB")
    slow = quick(net(), int(plain.predicted_peak_bytes * 0.8), search=("checkpoint", "offload"), copy_gb_per_s=0.1)
    fast = quick(net(), int(plain.predicted_peak_bytes * 0.8), search=("checkpoint", "offload"), copy_gb_per_s=1000.0)
    assert slow.recomputed
    assert not slow.offloaded
    assert fast.offloaded
    assert not fast.recomputed
    others = {other.name for other in slow.alternatives}
    assert "moved to the host only" in others or any("alone is not enough" in note for note in slow.notes)
    assert Plan.from_dict(fast.to_dict()) == fast
