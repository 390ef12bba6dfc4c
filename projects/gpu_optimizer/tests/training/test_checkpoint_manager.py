"""A checkpointed model against the plain one: same seeds, bit for bit, in everything that can be seen from outside."""

from __future__ import annotations

import copy
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from checkpoint_nets import Parent, Residual, Residual1d, stack
from torch import nn

from gpu_optimizer.training import CheckpointManager

Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Output:
    values: torch.Tensor
    extra: dict[str, torch.Tensor]


def _run(model: nn.Module, inputs: tuple[Any, ...], *, steps: int, autocast: bool) -> dict[str, Any]:
    torch.manual_seed(7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    seen: dict[str, Any] = {}
    for step in range(steps):
        optimizer.zero_grad()
        leaves = [tensor.clone().requires_grad_() if torch.is_tensor(tensor) else tensor for tensor in inputs]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            output = model(*leaves)
        seen[f"output {step}"] = output.detach().clone()
        (output.float() ** 2).sum().backward()
        for index, leaf in enumerate(leaves):
            if torch.is_tensor(leaf):
                seen[f"input gradient {step}.{index}"] = leaf.grad
        seen |= {f"gradient {step} {name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
    return seen | {f"state {k}": v for k, v in model.state_dict().items()} | {"generator": torch.get_rng_state()}


def _assert_equal(model: nn.Module, names: list[str], *inputs: Any, steps: int = 2, autocast: bool = False, **options: Any) -> nn.Module:
    twin = copy.deepcopy(model)
    plain = _run(model, inputs, steps=steps, autocast=autocast)
    CheckpointManager(twin).checkpoint(names, **options)
    mine = _run(twin, inputs, steps=steps, autocast=autocast)
    assert plain.keys() == mine.keys()
    for key, value in plain.items():
        assert (value is None and mine[key] is None) or torch.equal(value, mine[key]), key
    return twin


def _saved_bytes(run: Callable[[], Any]) -> int:
    storages: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = run()
    del output
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


IMAGES = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("names", [["0"], ["1", "0"], ["0.body"], ["0", "0.body", "0.body.1"], [""], ["", "0", "1.body"]])
def test_gradients_buffers_dropout_and_generators_are_those_of_the_plain_run(names: list[str], autocast: bool) -> None:
    _assert_equal(stack(Residual(), Residual()), names, IMAGES, autocast=autocast)


def test_pytorchs_own_checkpoint_counts_batches_twice_and_ours_does_not() -> None:
    theirs = nn.BatchNorm1d(4)
    torch.utils.checkpoint.checkpoint(theirs, ROWS.clone().requires_grad_(), use_reentrant=False).sum().backward()
    assert int(theirs.num_batches_tracked) == 2  # the fault that this class is here for
    ours = stack(nn.BatchNorm1d(4))
    CheckpointManager(ours).checkpoint(["0"])
    ours(ROWS.clone().requires_grad_()).sum().backward()
    assert int(ours[0].num_batches_tracked) == 1
    plain = nn.BatchNorm1d(4)
    plain(ROWS)
    assert torch.equal(ours[0].running_mean, plain.running_mean)


def test_instance_norm_with_running_statistics() -> None:
    norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
    _assert_equal(stack(stack(norm, nn.Conv2d(4, 4, 1))), ["0"], IMAGES)


def test_batch_norm_in_eval_mode_reads_its_statistics() -> None:
    model = stack(Residual(), Residual())
    model(IMAGES)
    _assert_equal(model.eval(), ["0", "1"], IMAGES)


class MovingAverage(nn.Module):
    """Its output depends on a buffer that its forward overwrites, as in vector quantisation."""

    def __init__(self, *, replace: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("average", torch.zeros(4))
        self.replace = replace
        self.calls = 0
        self.log: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x) * (1 + self.average) + self.calls
        with torch.no_grad():
            if self.replace:
                self.average = 0.9 * self.average + 0.1 * y.mean(0)
            else:
                self.average.mul_(0.9).add_(0.1 * y.mean(0))
        self.calls += 1
        self.log.append(self.calls)
        return torch.tanh(y)


@pytest.mark.parametrize("replace", [False, True])
def test_a_moving_average_that_decides_the_output_is_read_as_it_was(replace: bool) -> None:
    average = MovingAverage(replace=replace)
    model = _assert_equal(stack(average, average, nn.Linear(4, 4)), ["0"], ROWS, steps=3)
    assert model[0].calls == 6
    assert model[0].log == [1, 2, 3, 4, 5, 6]


def test_statistics_written_behind_autograds_back_are_written_once() -> None:
    """As some kernels of batch normalisation do: the version of the buffer does not tell."""

    class Sums(Residual1d):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total.data.add_(x.detach().sum(0))
            return super().forward(x)

    model = _assert_equal(stack(Sums()), ["0"], ROWS, steps=3)
    assert torch.allclose(model[0].total, 3 * ROWS.sum(0))


def test_power_iteration_of_spectral_norm() -> None:
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
    _assert_equal(stack(stack(layer, nn.Tanh()), nn.Linear(4, 4)), ["0"], ROWS, steps=3)


def test_old_spectral_norm_that_sets_a_plain_attribute() -> None:
    layer = nn.utils.spectral_norm(nn.Linear(4, 4))
    _assert_equal(stack(stack(layer, nn.Tanh()), nn.Linear(4, 4)), ["0"], ROWS, steps=3)


def test_a_module_used_at_two_places_and_tied_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight
            self.same = self.norm

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.relu(self.same(self.a(self.norm(x)))))

    model = stack(Tied(), Tied())
    model[1].a.weight = model[0].a.weight
    _assert_equal(model, ["0", "1", "0.norm", "0.same"], ROWS)


class Structured(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.linear, self.kind = nn.Linear(4, 4), kind

    def forward(self, x: torch.Tensor, *, pairs: Any = None, scale: Any = None, mask: torch.Tensor | None = None) -> Any:
        y = self.linear(x)
        if pairs is not None:
            y = y * pairs["a"][0].left + pairs["a"][1]
        y = y if scale is None else y * scale
        if mask is not None:
            y = y.masked_fill(mask, 0.0)
        made = {
            "tuple": (y, [y + 1, None], 3),
            "dict": {"y": y, "z": {"deep": y * 2}},
            "dataclass": Output(y, {"z": y * y}),
            "named": Pair(y, y.detach()),
        }
        return made[self.kind]


class Caller(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.block, self.kind = Structured(kind), kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = {"a": [Pair(x.sin(), None), x.cos()]}
        out = self.block(x, pairs=given, scale=None, mask=torch.arange(4) == 2)
        if self.kind == "tuple":
            return out[0] + out[1][0] * out[2]
        if self.kind == "dict":
            return out["y"] + out["z"]["deep"]
        if self.kind == "dataclass":
            return out.values + out.extra["z"]
        return out.left * out.right


@pytest.mark.parametrize("kind", ["tuple", "dict", "dataclass", "named"])
def test_keyword_and_nested_inputs_and_every_kind_of_output(kind: str) -> None:
    _assert_equal(Caller(kind), ["block"], ROWS)


def test_an_output_that_nobody_uses_and_inputs_without_gradients() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.used(x).tanh(), self.unused(x).tanh()

    model = nn.Sequential(Half())
    CheckpointManager(model).checkpoint(["0"])
    model(ROWS)[0].sum().backward()
    plain = nn.Sequential(Half())
    plain.load_state_dict(model.state_dict())
    plain(ROWS)[0].sum().backward()
    assert torch.equal(model[0].used.weight.grad, plain[0].used.weight.grad)
    assert model[0].unused.weight.grad is None or not model[0].unused.weight.grad.any()


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_block_passes_gradients_on(frozen: bool) -> None:
    model = stack(nn.Linear(4, 4), Residual1d(), nn.Linear(4, 4))
    model[1].requires_grad_(not frozen)
    _assert_equal(model, ["1"], ROWS)


def test_a_block_that_changes_its_input_works_on_copies_when_told() -> None:
    _assert_equal(Parent(), ["block"], ROWS, copy_inputs=True)


def test_switching_to_eval_before_backward_changes_nothing() -> None:
    def gradient(checkpointed: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = stack(Residual())
        if checkpointed:
            CheckpointManager(model).checkpoint(["0"])
        out = model(IMAGES).sum()
        model.eval()
        out.backward()
        assert not any(part.training for part in model.modules())
        return model[0].body[0].weight.grad

    assert torch.equal(gradient(False), gradient(True))


def test_backward_twice_through_one_graph_and_partial_backward() -> None:
    def gradients(checkpointed: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = stack(Residual(), Residual())
        if checkpointed:
            CheckpointManager(model).checkpoint(["0", "1", "1.body"])
        x = IMAGES.clone().requires_grad_()
        out = model(x)
        first = torch.autograd.grad(out.sum(), x, retain_graph=True)[0]
        out.square().sum().backward()
        return [first, x.grad, model[0].body[0].weight.grad, model[1].last.running_mean]

    for plain, mine in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, mine)


def test_second_derivatives() -> None:
    def second(checkpointed: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = stack(Residual1d(), Residual1d())
        if checkpointed:
            CheckpointManager(model).checkpoint(["0", "1"])
        x = ROWS.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        slope.square().sum().backward()
        return model[0].linear.weight.grad

    assert torch.allclose(second(False), second(True), rtol=0, atol=0)


def test_activations_are_not_kept() -> None:
    model = stack(*(Residual1d() for _ in range(8)), nn.Linear(4, 4))
    rows = torch.randn(1000, 4, requires_grad=True)
    plain = _saved_bytes(lambda: model(rows))
    CheckpointManager(model).checkpoint([str(index) for index in range(8)])
    kept = _saved_bytes(lambda: model(rows))
    row_bytes = rows.nbytes
    assert plain >= 16 * row_bytes  # input and tanh of eight blocks
    assert kept <= 9 * row_bytes + 9 * 20 * 4  # the inputs of eight blocks and of the last layer, and its parameters


def test_matmuls_are_kept_when_asked_for_and_run_once() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def flops(**options: Any) -> int:
        torch.manual_seed(0)
        model = stack(stack(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 4), nn.GELU()))
        if options:
            CheckpointManager(model).checkpoint(["0"], **options)
        with FlopCounterMode(display=False) as counter:
            model(ROWS.clone().requires_grad_()).sum().backward()
        return counter.get_total_flops()

    forward = 2 * 6 * 4 * 64 * 2
    assert flops() == 3 * forward
    assert flops(keep="matmuls") == 3 * forward
    assert flops(keep="inputs") >= 3 * forward + forward // 2  # early stop spares what nothing is saved after


def test_keeping_matmuls_gives_the_same_gradients_and_buffers() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.drop = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5)
            self.register_buffer("mask", torch.ones(6, 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.drop(torch.nn.functional.gelu(self.norm(self.conv(x)))) * self.mask.clone()

    _assert_equal(stack(Block(), Block()), ["0", "1"], IMAGES, keep="matmuls")


def test_fake_tensors_go_through(tmp_path: Any) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        model = stack(Residual(), Residual(), MovingAverage3())
        CheckpointManager(model).checkpoint(["0", "1", "0.body", "2"])
        model(torch.randn(3, 4, 6, 6)).sum().backward()
        assert model[0].body[0].weight.grad.shape == (4, 4, 3, 3)


class MovingAverage3(MovingAverage):
    def __init__(self) -> None:
        super().__init__(replace=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flatten(0, 2)[:, :4])


def test_an_attention_layer_and_an_lstm() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(11, 8)
            self.rows = nn.LSTM(8, 8, 2, batch_first=True, dropout=0.2)
            self.layers = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True) for _ in range(2)])
            self.head = nn.Linear(8, 11, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, scale: torch.Tensor) -> torch.Tensor:
            x, _ = self.rows(self.embed(torch.arange(10).view(2, 5)) * scale)
            for layer in self.layers:
                x = layer(x, is_causal=True, src_mask=nn.Transformer.generate_square_subsequent_mask(5))
            return self.head(x)

    _assert_equal(Words(), ["embed", "rows", "layers.0", "layers.1", "head"], torch.ones(1))


def test_query_key_and_value_stay_one_object_when_attention_is_computed_again() -> None:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    rows = torch.randn(2, 5, 16)
    layer(rows).sum().backward()
    plain = [parameter.grad for parameter in layer.parameters()]
    layer.zero_grad()
    with CheckpointManager(layer).checkpoint(["self_attn"]):
        layer(rows).sum().backward()
    assert all(torch.equal(a, b.grad) for a, b in zip(plain, layer.parameters(), strict=True))
