from __future__ import annotations

import itertools

import pytest
import torch
from _residual import Residual
from torch import nn

from gpu_optimizer.errors import CheckpointError
from gpu_optimizer.planning.checkpoints import Checkpoints, children_of_run
from gpu_optimizer.planning.machine import Machine
from gpu_optimizer.planning.probe import StepTimes
from gpu_optimizer.planning.scenario import Scenario
from gpu_optimizer.planning.solver import CostTable
from gpu_optimizer.planning.treatment import Treatment
from gpu_optimizer.steps import TrainingStep


def scenario_of(model: nn.Module, sample: torch.Tensor, **rest) -> tuple[Scenario, CostTable]:
    scenario = Scenario(step=TrainingStep.of(model, sample, **rest), machine=Machine.of("cpu"))
    seconds = {name: 1.0 for name, _ in model.named_modules()}
    times = StepTimes(forward_s=1.0, backward_s=2.0, optimizer_s=0.0, block_s=seconds, spread=0.0, batch=1, method="measured")
    return scenario, scenario.table(times)


def peak_by_table(table: CostTable, names: tuple[str, ...]) -> float:
    live = table.base_bytes.copy()
    for option in table.options:
        if table.blocks[option.block] in names:
            live += option.delta_bytes
    return live.max()


def test_every_choice_needs_what_the_table_says() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Residual(16), Residual(16), Residual(16), nn.Linear(16, 4))
    scenario, table = scenario_of(model, torch.randn(64, 16), optimizer="sgd_momentum")
    whole = [name for name in ("0", "1", "2") if name in table.blocks]
    assert len(whole) == 3
    for count in range(4):
        for names in itertools.combinations(whole, count):
            traced = scenario.traced_with(Treatment(recomputed=names)).peak_bytes
            assert peak_by_table(table, names) == pytest.approx(traced, rel=0.02), names
            assert peak_by_table(table, names) >= traced - 512, "the table may only err on the safe side"


def test_the_plain_step_is_known_to_the_byte() -> None:
    scenario, table = scenario_of(nn.Sequential(Residual(8), Residual(8)), torch.randn(32, 8), optimizer="adam", accumulation=3)
    assert table.base_bytes.max() == scenario.profile.peak_bytes


def test_a_run_of_simple_layers_frees_what_no_single_layer_does() -> None:
    model = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(32, 32), nn.Tanh())))
    scenario, table = scenario_of(model, torch.randn(256, 32), optimizer=None)
    run = "[0:5]"
    assert run in table.blocks
    held = 256 * 32 * 4
    freed = scenario.profile.peak_bytes - scenario.traced_with(Treatment(recomputed=(run,))).peak_bytes
    assert freed >= held  # two outputs of Tanh are computed again, one by one
    assert peak_by_table(table, (run,)) >= scenario.traced_with(Treatment(recomputed=(run,))).peak_bytes


def test_blocks_that_overlap_are_never_taken_together() -> None:
    model = nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(16, 16), nn.Tanh())))
    _, table = scenario_of(model, torch.randn(64, 16), optimizer=None)
    index = {name: number for number, name in enumerate(table.blocks)}
    together = {frozenset(pair) for group in table.conflicts for pair in itertools.combinations(group, 2)}
    for a, b in itertools.combinations([name for name in table.blocks if "[" in name], 2):
        first, second = set(children_of_run(model, a)), set(children_of_run(model, b))
        assert bool(first & second) == (frozenset((index[a], index[b])) in together), (a, b)


def test_gradients_with_runs_are_those_without() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5)
    )
    images = torch.randn(2, 3, 8, 8)
    results = []
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for runs in ([], ["[1:4]"], ["[0:3]", "[3:6]"]):
        model.load_state_dict(before)
        model.zero_grad()
        torch.manual_seed(5)
        with Checkpoints(model).apply(runs):
            model(images).square().sum().backward()
        results.append([parameter.grad for parameter in model.parameters()] + [buffer.clone() for buffer in model.buffers()])
        assert "forward" not in vars(model)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_run_leaves_the_modes_of_its_children_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4))
    model[1].eval()
    with Checkpoints(model).apply(["[0:2]"]):
        assert not model[1].training
        model(torch.ones(1, 4)).sum().backward()
    assert not model[1].training


@pytest.mark.parametrize("names", [["[0:9]"], ["[2:2]"], ["x[0:2]"], ["[0:2]", "[1:3]"], ["nothing"]])
def test_runs_that_are_not_there_are_refused_and_nothing_is_changed(names) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    with pytest.raises(CheckpointError):
        Checkpoints(model).apply(names)
    assert all("forward" not in vars(module) for module in model.modules())
