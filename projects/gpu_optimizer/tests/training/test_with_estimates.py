"""The tools together with the estimator that other rooms give: what is predicted is what is measured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gpu_optimizer.profiling import estimate_step
from gpu_optimizer.steps import TrainingStep
from gpu_optimizer.training import CheckpointManager, auto_batch_size, checkpoint_candidates
from gpu_optimizer.training.meter import HostMeter


def _transformer() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 2, 128, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


def _measured(step: TrainingStep) -> int:
    with HostMeter(holding=[*step.model.parameters(), *step.model.buffers(), *step.sample.tensors()]) as meter:
        optimizer = step.make_optimizer()
        for _ in range(2):
            step.run(optimizer)
    return meter.peak_bytes


def test_the_batch_size_found_without_running_is_confirmed_at_the_first_try() -> None:
    budget = 6 << 20
    result = auto_batch_size(_transformer(), torch.randn(2, 16, 32), budget=budget)
    assert result.oom_count == 0
    assert len(result.trials) == 1
    assert result.measured_peak_bytes == pytest.approx(result.predicted_peak_bytes, rel=0.01)
    larger = TrainingStep.of(_transformer(), torch.randn(result.batch_size + 1, 16, 32))
    assert _measured(larger) > budget


@pytest.mark.parametrize("blocks", [[], ["layers.0"], ["layers.0", "layers.1", "layers.2", "layers.3"]])
def test_estimates_see_checkpoints(blocks: list[str]) -> None:
    model = _transformer()
    assert set(blocks) <= set(checkpoint_candidates(model))
    plain = estimate_step(TrainingStep.of(model, torch.randn(64, 16, 32), optimizer="sgd")).peak_bytes
    CheckpointManager(model).checkpoint(blocks)
    step = TrainingStep.of(model, torch.randn(64, 16, 32), optimizer="sgd")
    estimated = estimate_step(step).peak_bytes
    assert estimated == pytest.approx(_measured(step), rel=0.02)
    assert (estimated < plain) == bool(blocks)


def test_a_checkpointed_model_takes_a_larger_batch() -> None:
    plain, checkpointed = _transformer(), _transformer()
    CheckpointManager(checkpointed).checkpoint(checkpoint_candidates(checkpointed))
    sizes = [auto_batch_size(model, torch.randn(2, 16, 32), budget=6 << 20, confirm=False).batch_size for model in (plain, checkpointed)]
    assert sizes[1] > 1.5 * sizes[0]
