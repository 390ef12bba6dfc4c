from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from gpu_optimizer.errors import StepError
from gpu_optimizer.training.accumulation import Accumulator, accumulate, target_tokens


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def _rows(count: int) -> torch.Tensor:
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(count))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=9),
    every=st.integers(1, 4),
    reduction=st.sampled_from(["mean", "sum"]),
    max_norm=st.sampled_from([None, 1e-3, 1e6]),
)
def test_every_window_is_the_step_of_the_whole_batch(lengths: list[int], every: int, reduction: str, max_norm: float | None) -> None:
    batches = list(_rows(sum(lengths)).split(lengths))
    plain, mine = _model(), _model()
    one = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    two = torch.optim.SGD(mine.parameters(), lr=0.1, momentum=0.9)
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7) for optimizer in (one, two)]
    reduce = torch.mean if reduction == "mean" else torch.sum
    losses = []
    for start in range(0, len(batches), every):
        one.zero_grad()
        loss = reduce(plain(torch.cat(batches[start : start + every])).square().sum(1))
        loss.backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
        one.step()
        schedulers[0].step()
        losses.append(float(loss.detach()))
    steps = accumulate(
        batches,
        two,
        lambda part: reduce(mine(part).square().sum(1)),
        every=every,
        reduction=reduction,
        max_norm=max_norm,
        scheduler=schedulers[1],
    )
    assert [step.loss for step in steps] == pytest.approx(losses, rel=1e-9)
    assert sum(step.weight for step in steps) == sum(lengths)
    assert schedulers[0].get_last_lr() == schedulers[1].get_last_lr()
    for expected, found in zip(plain.parameters(), mine.parameters(), strict=True):
        assert torch.allclose(expected, found, rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=6))
def test_tokens_not_examples_decide_where_texts_are_padded(masks: list[list[bool]]) -> None:
    """A batch of which most is padding counts less; dividing by the number of micro-batches would be wrong."""
    if not any(any(mask) for mask in masks):
        return
    rows = _rows(4 * len(masks)).view(len(masks), 4, 3)
    targets = torch.tensor([[1 if keep else -100 for keep in mask] for mask in masks])
    plain, mine = _model(), _model()
    cross_entropy(plain(rows).flatten(0, 1), targets.flatten()).backward()
    batches = [(rows[index], targets[index]) for index in range(len(masks))]
    accumulate(
        batches,
        torch.optim.SGD(mine.parameters(), lr=0.0),
        lambda batch: cross_entropy(mine(batch[0]), batch[1]),
        every=len(batches),
        weight=target_tokens(),
    )
    for expected, found in zip(plain.parameters(), mine.parameters(), strict=True):
        assert torch.allclose(expected.grad, found.grad, rtol=1e-9, atol=1e-12)


def test_the_common_loop_is_wrong_in_the_last_window() -> None:
    """Judge of the test above: the mean of means is another number."""
    rows = torch.tensor([[1.0], [1.0], [1.0], [5.0]])
    means = torch.stack([rows[:3].mean(), rows[3:].mean()]).mean()
    assert means == 3.0
    assert rows.mean() == 2.0


def test_a_scaler_that_leaves_a_step_out_leaves_the_scheduler_out_too() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    factor = [float("inf"), 1.0]
    accumulator = Accumulator(
        optimizer,
        micro_batches=2,
        loss_fn=lambda rows: model(rows).mean() * factor[0],
        max_norm=1e9,
        scheduler=scheduler,
        scaler=scaler,
    )
    before = model.weight.detach().clone()
    step = accumulator.window([torch.ones(2, 2), torch.ones(1, 2)])
    assert not step.stepped
    assert torch.equal(model.weight, before)
    assert scheduler.get_last_lr() == [1.0]
    factor.pop(0)
    step = accumulator.window([torch.ones(2, 2), torch.ones(1, 2)])
    assert step.stepped
    assert scheduler.get_last_lr() == [0.5]
    assert torch.allclose(model.weight, before - 1.0)  # unscaled before it is clipped
    assert step.gradient_norm == pytest.approx(3**0.5)


def test_a_scaler_unscales_steps_and_updates_once_for_a_window() -> None:
    calls: list[str] = []

    class Counted(torch.amp.GradScaler):
        def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
            calls.append("unscale")
            super().unscale_(optimizer)

        def step(self, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            calls.append("step")
            return super().step(optimizer, *args, **kwargs)

        def update(self, new_scale: Any = None) -> None:
            calls.append("update")
            super().update(new_scale)

    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = Counted("cpu")
    Accumulator(optimizer, micro_batches=4, loss_fn=lambda rows: model(rows).mean(), max_norm=1.0, scaler=scaler).window(
        [torch.ones(2, 2)] * 4
    )
    assert calls == ["unscale", "step", "update"]


def test_nothing_is_drawn_before_it_is_needed() -> None:
    model, drawn = nn.Linear(1, 1), []

    def source() -> Any:
        for index in range(5):
            drawn.append(index)
            yield torch.ones(1, 1)

    steps = Accumulator(torch.optim.SGD(model.parameters(), lr=0.1), micro_batches=2, loss_fn=lambda rows: model(rows).mean()).run(source())
    next(steps)
    assert drawn == [0, 1]
    assert [step.micro_batches for step in steps] == [2, 1]


def _accumulator(**options: Any) -> Accumulator:
    model = nn.Linear(1, 1)
    return Accumulator(torch.optim.SGD(model.parameters(), lr=0.1), **{"micro_batches": 2, "loss_fn": model, **options})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _accumulator(micro_batches=0), "at least 1"),
        (lambda: _accumulator(reduction="max"), "'mean' or 'sum'"),
        (lambda: _accumulator(max_norm=0), "above 0"),
        (lambda: _accumulator().window([]), "a window needs micro-batches"),
        (lambda: _accumulator(weight=lambda _: 0.0).window([torch.ones(2, 1)]), r"got weights \[0\.0\]"),
        (lambda: _accumulator().window([torch.ones(2, 1)]), "must return a scalar tensor"),
    ],
)
def test_wrong_use_is_explained(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(StepError, match=message):
        call()
