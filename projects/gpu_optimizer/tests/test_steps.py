from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from gpu_optimizer.errors import StepError
from gpu_optimizer.steps import Sample, TrainingStep, default_loss, tensors_in


def _linear() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def test_accumulated_windows_make_the_gradient_of_the_whole_batch() -> None:
    whole, parts = _linear(), _linear()
    rows = torch.randn(2, 3)
    TrainingStep.of(whole, rows.repeat(3, 1), optimizer=None).run()
    TrainingStep.of(parts, rows, optimizer=None, accumulation=3).run()
    assert torch.allclose(whole.weight.grad, parts.weight.grad, atol=1e-7)


def test_a_step_is_what_the_optimizer_does_by_hand() -> None:
    model = _linear()
    step = TrainingStep.of(
        model, torch.ones(4, 3), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5), loss=lambda y: y.sum()
    )
    before = model.weight.detach().clone()
    loss = step.run(step.make_optimizer())
    assert torch.equal(model.weight, before - 0.5 * 4)  # d(sum)/dw = 4 rows of ones
    assert loss == pytest.approx(float((torch.ones(4, 3) @ before.T + model.bias.detach() + 0.5 * 4).sum()), rel=1e-6)


def test_a_target_goes_to_the_loss_and_follows_the_batch() -> None:
    step = TrainingStep.of(_linear(), torch.randn(4, 3), loss=torch.nn.functional.cross_entropy, target=torch.tensor([0, 1, 0, 1]))
    larger = step.with_batch(10)
    assert larger.target.tolist() == [0, 1] * 5
    assert larger.forward_loss().dim() == 0


def test_the_models_own_loss_is_used() -> None:
    @dataclass
    class Output:
        loss: torch.Tensor
        logits: torch.Tensor

    output = Output(torch.tensor(7.0), torch.zeros(2))
    assert default_loss(output) == 7.0
    assert default_loss({"loss": torch.tensor(3.0)}) == 3.0
    assert len(list(tensors_in(output))) == 2


def test_only_what_has_the_batchs_length_is_resized() -> None:
    sample = Sample.of((torch.zeros(4, 3), torch.zeros(7), {"mask": torch.ones(4)}, "word"))
    smaller = sample.with_batch(1)
    assert [tuple(tensor.shape) for tensor in smaller.tensors()] == [(1, 3), (7,), (1,)]
    assert smaller.args[3] == "word"


def test_bf16_runs_the_forward_pass_in_bf16() -> None:
    seen = []
    model = _linear()
    model.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    TrainingStep.of(model, torch.ones(4, 3), precision="bf16", optimizer=None).run()
    assert seen == [torch.bfloat16]
    assert model.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TrainingStep.of("model", torch.zeros(1)), "torch.nn.Module"),
        (lambda: TrainingStep.of(_linear(), "words"), "at least one tensor"),
        (lambda: TrainingStep.of(_linear(), torch.zeros(1, 3), precision="int8"), "precision"),
        (lambda: TrainingStep.of(_linear(), torch.zeros(1, 3), accumulation=0), "accumulation"),
        (lambda: TrainingStep.of(_linear(), torch.zeros(1, 3), optimizer="lion"), "optimizer"),
        (lambda: TrainingStep.of(_linear(), torch.zeros(1, 3), loss=lambda y: y).forward_loss(), "scalar"),
        (lambda: Sample.of(torch.zeros(2, 1)).with_batch(0), "at least 1"),
        (lambda: Sample.of(torch.tensor(1.0)).batch_size, "batch dimension"),
        (lambda: default_loss(torch.zeros(2, dtype=torch.int64)), "floating"),
        (lambda: TrainingStep.of(_linear().requires_grad_(False), torch.zeros(1, 3)).make_optimizer(), "trainable"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(make, words) -> None:
    with pytest.raises(StepError, match=words):
        make()
