"""How checkpoints are put on and taken off, and what is refused rather than computed wrongly."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from checkpoint_nets import Parent, Residual, Residual1d, stack
from torch import nn

from gpu_optimizer.errors import CheckpointError
from gpu_optimizer.training import CheckpointManager

IMAGES = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def test_a_block_that_changes_its_input_is_refused_in_the_forward() -> None:
    model = Parent()
    CheckpointManager(model).checkpoint(["block"])
    with pytest.raises(CheckpointError, match=r"'block' changes its input 0 in place.*copy_inputs=True"):
        model(ROWS)


def test_an_input_changed_by_somebody_else_afterwards_is_an_error_not_a_wrong_gradient() -> None:
    model = stack(Residual1d())
    CheckpointManager(model).checkpoint(["0"])
    rows = ROWS.clone().requires_grad_() * 1
    out = model(rows)
    rows.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_a_parameter_stepped_between_forward_and_backward_is_an_error() -> None:
    model = stack(Residual1d())
    CheckpointManager(model).checkpoint(["0"])
    out = model(ROWS).sum()
    with torch.no_grad():
        model[0].linear.weight.add_(1)
    with pytest.raises(CheckpointError, match="parameter was changed between"):
        out.backward()


def test_a_forward_that_changes_a_parameter_is_refused() -> None:
    class Clamps(Residual1d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                self.linear.weight.clamp_(-0.1, 0.1)
            return super().forward(x)

    model = stack(Clamps())
    CheckpointManager(model).checkpoint(["0"])
    with pytest.raises(CheckpointError, match="changes a parameter"):
        model(ROWS)


def test_a_tensor_attribute_changed_in_place_is_refused() -> None:
    class Counts(Residual1d):
        seen = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen.add_(1)
            return super().forward(x)

    block = Counts()
    block.seen = torch.zeros(())
    model = stack(block)
    CheckpointManager(model).checkpoint(["0"])
    with pytest.raises(CheckpointError, match=r"Counts.seen in place.*register_buffer"):
        model(ROWS)


def test_no_grad_and_nothing_to_train_call_the_plain_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_optimizer.training.checkpoint_manager as room

    model = stack(Residual1d())
    CheckpointManager(model).checkpoint(["0"])
    monkeypatch.setattr(room, "checkpoint", lambda *_a, **_k: pytest.fail("checkpointed for nothing"))
    with torch.no_grad():
        model(ROWS)
    with torch.inference_mode():
        model(ROWS)
    model.requires_grad_(False)
    model(ROWS)


def test_undo_leaves_the_very_same_module() -> None:
    model = stack(Residual(), Residual())
    before = [dict(vars(part)) for part in model.modules()]
    own = lambda x: x  # noqa: E731
    model[1].forward = own
    manager = CheckpointManager(model).checkpoint(["0", "1", "0.body"])
    assert manager.names == ("0", "1", "0.body")
    manager.remove(["0"])
    assert manager.names == ("1", "0.body")
    manager.remove()
    assert model[1].forward is own
    del model[1].forward
    after = [dict(vars(part)) for part in model.modules()]
    assert before == after
    with pytest.raises(CheckpointError, match="not checkpointed"):
        manager.remove(["0"])


def test_the_context_manager_undoes_after_an_error() -> None:
    model = stack(Residual1d())

    def fails() -> None:
        with CheckpointManager(model).checkpoint(["0"]):
            assert "forward" in vars(model[0])
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert "forward" not in vars(model[0])


def test_a_forward_that_raises_leaves_everything_as_the_plain_one_does() -> None:
    model = stack(Residual())
    CheckpointManager(model).checkpoint(["0"])
    with pytest.raises(RuntimeError):
        model(torch.randn(2, 3, 4, 4))
    model(IMAGES).sum().backward()
    assert int(model[0].last.num_batches_tracked) == 1


def test_a_copy_of_a_checkpointed_model_computes_with_its_own_weights() -> None:
    model = stack(Residual1d())
    CheckpointManager(model).checkpoint(["0"])
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(twin(ROWS), ROWS)
    twin(ROWS).sum().backward()
    assert twin[0].linear.bias.grad is not None
    assert model[0].linear.bias.grad is None


def test_hooks_of_the_block_run_once_and_hooks_inside_run_again() -> None:
    model = stack(stack(nn.Linear(4, 4), nn.Tanh()))
    CheckpointManager(model).checkpoint(["0"])
    calls = {"block": 0, "inside": 0}
    model[0].register_forward_hook(lambda *_: calls.__setitem__("block", calls["block"] + 1))
    model[0][0].register_forward_hook(lambda *_: calls.__setitem__("inside", calls["inside"] + 1))
    model(ROWS).sum().backward()
    assert calls == {"block": 1, "inside": 2}


def test_a_list_that_the_block_fills_is_filled_once() -> None:
    class Collects(Residual1d):
        def forward(self, x: torch.Tensor, into: list[torch.Tensor]) -> torch.Tensor:
            out = super().forward(x)
            into.append(out.detach())
            return out

    model = Collects()
    CheckpointManager(model).checkpoint([""])
    made: list[torch.Tensor] = []
    model(ROWS, made).sum().backward()
    assert len(made) == 1


def test_outer_hooks_see_the_block_inputs() -> None:
    model = stack(nn.Linear(4, 4), Residual1d())
    CheckpointManager(model).checkpoint(["1"])
    packed: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        packed.append(tensor)
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(ROWS)
    assert any(tensor.grad_fn is not None or tensor.shape == (6, 4) for tensor in packed)
    out.sum().backward()
    assert model[0].weight.grad is not None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["bloc"], "no module 'bloc'; did you mean 'block'"),
        (["blocks"], "is a ModuleList, which has no forward"),
        (["lazy"], "run the model once before"),
        ("block", r"got the word 'block'; pass \['block'\]"),
    ],
)
def test_what_cannot_be_checkpointed_is_said_and_nothing_is_changed(names: Any, message: str) -> None:
    model = nn.Module()
    model.block, model.blocks, model.lazy = Residual1d(), nn.ModuleList([Residual1d()]), nn.LazyLinear(3)
    manager = CheckpointManager(model)
    with pytest.raises(CheckpointError, match=message):
        manager.checkpoint(["block", *names] if isinstance(names, list) else names)
    assert manager.names == ()
    assert "forward" not in vars(model.block)


def test_two_managers_do_not_checkpoint_the_same_module() -> None:
    model = stack(Residual1d())
    first = CheckpointManager(model).checkpoint(["0"])
    with pytest.raises(CheckpointError, match="already checkpointed by another manager"):
        CheckpointManager(model).checkpoint(["0"])
    wrapped = model[0].forward
    model[0].forward = lambda x: wrapped(x)
    with pytest.raises(CheckpointError, match="was replaced after"):
        first.remove()
