from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gpu_optimizer.training.restoring import TrainingState


def _seen(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    seen: dict[str, Any] = {name: value.clone() for name, value in model.state_dict().items()}
    seen |= {f"grad {name}": None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    seen |= {f"mode {name}": part.training for name, part in model.named_modules()}
    for index, entry in enumerate(optimizer.state_dict()["state"].values()):
        seen |= {f"{index} {key}": value.clone() if torch.is_tensor(value) else value for key, value in entry.items()}
    seen["groups"] = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    seen["next"] = (random.random(), float(np.random.rand()), float(torch.rand(1)))  # noqa: NPY002
    return seen


@pytest.mark.parametrize("warm", [0, 2])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)])
def test_a_trial_leaves_no_trace(kind: Any, warm: int) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    model[1].eval()
    model[3].weight.requires_grad_(False)
    optimizer = kind(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)

    def step() -> None:
        optimizer.zero_grad()
        model(torch.randn(4, 3)).sum().backward()
        optimizer.step()

    for _ in range(warm):
        step()
    state = TrainingState(model, optimizer)
    before = _seen(model, optimizer)
    identities = [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    for _ in range(2):
        model.train()
        step()
        optimizer.param_groups[0]["lr"] = 17.0
        state.restore()
        after = _seen(model, optimizer)
        state.restore()
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert torch.equal(value, after[key]) if torch.is_tensor(value) else value == after[key], key
    assert identities == [tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())]
    step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] != 17.0


def test_a_buffer_that_was_replaced_comes_back_as_the_same_tensor() -> None:
    norm = nn.BatchNorm1d(2)
    own = norm.running_mean
    state = TrainingState(norm, weights=False, on_host=False)
    norm.running_mean = torch.ones(2)
    own.add_(5)
    state.restore()
    assert norm.running_mean is own
    assert own.tolist() == [0, 0]
