"""Running out of memory is injected; what must be dead afterwards is watched by weak references."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gpu_optimizer.errors import BatchSizeError, MemoryFloorError
from gpu_optimizer.training.oom import OomEvent, OomSafeRunner, is_oom, join_outputs, run_oom_safe, split_batch


@pytest.fixture(autouse=True, scope="module")
def _quick_garbage_collection() -> Iterator[None]:
    """Recovery collects garbage; what the test session itself holds need not be looked through every time."""
    gc.freeze()
    yield
    gc.unfreeze()


class Fits:
    """A function that fits up to a size and holds a large tensor when it does not."""

    def __init__(self, largest: int, run: Callable[[Any], Any] = lambda rows: rows * 2) -> None:
        self.largest, self.run, self.held, self.sizes = largest, run, [], []

    def __call__(self, rows: torch.Tensor) -> Any:
        self.sizes.append(len(rows))
        large = torch.zeros(len(rows))
        self.held.append(weakref.ref(large))
        if len(rows) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore lines")
        return self.run(rows)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
        MemoryError(),
        MemoryFloorError("1 example does not fit"),
    ],
    ids=lambda error: f"{type(error).__name__}:{str(error)[:30]}",
)
def test_every_way_of_saying_that_memory_ran_out(error: Exception) -> None:
    assert is_oom(error)
    wrapped = ValueError("in the loader")
    wrapped.__cause__ = error
    assert is_oom(wrapped)


def test_the_cpus_own_error_is_recognised() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_oom(error.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory lane"), KeyError("x"), None])
def test_other_errors_are_not_memory(error: Exception | None) -> None:
    assert not is_oom(error)


def test_other_errors_are_raised_as_they_are() -> None:
    with pytest.raises(KeyError):
        OomSafeRunner(lambda _: {}["x"]).infer(torch.zeros(4))


@settings(max_examples=15, deadline=None)
@given(total=st.integers(1, 40), largest=st.integers(1, 40))
def test_the_output_is_that_of_the_whole_batch_whatever_fits(total: int, largest: int) -> None:
    fits = Fits(largest)
    rows = torch.arange(total)
    assert torch.equal(run_oom_safe(fits, rows), rows * 2)
    assert sum(size for size in fits.sizes if size <= largest) == total  # nothing that fitted is computed again


def test_tensors_of_the_failed_attempt_are_dead_before_the_next() -> None:
    alive: list[bool] = []

    def run(rows: torch.Tensor) -> torch.Tensor:
        alive.append(any(reference() is not None for reference in fits.held))
        return fits(rows)

    fits = Fits(2)
    run_oom_safe(run, torch.arange(8))
    assert len(alive) > 3
    assert not any(alive)


def test_inside_the_except_block_they_are_alive() -> None:
    """Why recovery happens outside: the traceback holds the frame, the frame holds the tensor."""
    fits = Fits(0)
    try:
        fits(torch.zeros(3))
    except torch.OutOfMemoryError:
        assert fits.held[0]() is not None
    assert fits.held[0]() is None


def test_garbage_is_collected_first_then_the_cache_is_emptied_and_no_error_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round nothing is given back: the cache holds only what nobody refers to any more."""
    done: list[tuple[str, bool]] = []
    monkeypatch.setattr(gc, "collect", lambda: done.append(("collect", sys.exc_info()[0] is None)))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "empty_cache", lambda: done.append(("empty", sys.exc_info()[0] is None)))
    run_oom_safe(Fits(4), torch.arange(8))
    assert done == [("collect", True), ("empty", True)]


def test_accelerate_1934_a_training_that_stops_fitting_after_hours_goes_on() -> None:
    """A finder is over when training begins; here the batch that does not fit is trained on in pieces, none is lost."""
    plain, safe = _model(), _model()
    fits = Fits(100, lambda part: safe(part).square().mean())
    runner = OomSafeRunner(fits)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in (plain, safe)]
    for step in range(12):
        rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        fits.largest = 100 if step < 6 else 3
        optimizers[0].zero_grad()
        plain(rows).square().mean().backward()
        optimizers[1].zero_grad()
        runner.train(rows, safe)
        for optimizer in optimizers:
            optimizer.step()
    assert (runner.counters.batches, runner.counters.ooms, runner.piece_size) == (12, 2, 2)
    for mine, theirs in zip(safe.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_the_size_that_fitted_is_kept_and_grows_again_when_told() -> None:
    fits = Fits(3)
    runner = OomSafeRunner(fits, grow_after=2)
    for _ in range(2):
        runner.infer(torch.arange(8))
    assert runner.counters.ooms == 2
    assert runner.piece_size == 2
    fits.largest = 100
    runner.infer(torch.arange(8))
    assert runner.piece_size == 4
    runner.infer(torch.arange(8))
    runner.infer(torch.arange(8))
    assert runner.piece_size == 8


def test_events_tell_what_happened() -> None:
    events: list[OomEvent] = []
    runner = OomSafeRunner(Fits(2), on_event=events.append)
    runner.infer(torch.arange(6))
    assert [(event.kind, event.size) for event in events] == [("oom", 6), ("oom", 3), ("resumed", 1)]
    assert "2.00 GiB" in events[0].message
    assert "more lines" not in events[0].message


def test_at_the_floor_it_gives_up_and_says_what_to_do() -> None:
    events: list[OomEvent] = []
    runner = OomSafeRunner(Fits(1), floor=2, on_event=events.append)
    with pytest.raises(MemoryFloorError, match=r"2 example.*smallest piece allowed is 2.*2\.00 GiB.*checkpoints"):
        runner.infer(torch.arange(8))
    assert events[-1].kind == "gave_up"


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


@settings(max_examples=10, deadline=None)
@given(total=st.integers(1, 13), largest=st.integers(1, 13), earlier=st.booleans())
def test_training_gives_the_gradient_of_the_whole_batch(total: int, largest: int, earlier: bool) -> None:
    rows = torch.randn(total, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(total))
    plain, safe = _model().double(), _model().double()
    for model in (plain, safe):
        if earlier:
            model(rows).sum().backward()
    expected = (plain(rows) ** 2).mean()
    expected.backward()
    loss = OomSafeRunner(Fits(largest, lambda part: (safe(part) ** 2).mean())).train(rows, safe)
    assert torch.allclose(loss, expected.detach(), rtol=1e-12)
    for mine, theirs in zip(safe.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_a_failed_attempt_leaves_no_trace_in_gradients_buffers_or_generators() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    twin.load_state_dict(model.state_dict())
    rows = torch.randn(8, 3)
    fail = [True]

    def run(part: torch.Tensor) -> torch.Tensor:
        loss = model(part).square().mean()
        if len(part) == 4 and fail.pop():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if not fail:
            fail.append(False)
        return loss

    runner = OomSafeRunner(run)
    runner.piece_size = 4
    torch.manual_seed(3)
    runner.train(rows, model)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    for piece in rows.split(2):
        (twin(piece).square().mean() / 4).backward()
    assert torch.equal(after, torch.get_rng_state())
    for mine, theirs in zip([*model.parameters(), *model.buffers()], [*twin.parameters(), *twin.buffers()], strict=True):
        assert torch.equal(mine, theirs)
        if theirs.grad is not None:
            assert torch.allclose(mine.grad, theirs.grad, rtol=1e-6)


def test_memory_that_runs_out_in_the_backward_pass() -> None:
    model = _model()
    calls: list[int] = []

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            calls.append(len(gradient))
            if len(gradient) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return gradient

    rows = torch.randn(4, 3)
    plain = _model()
    plain(rows).mean().backward()
    OomSafeRunner(lambda part: model[2](Fails.apply(model[:2](part))).mean()).train(rows, model)
    assert calls == [4, 2, 2]
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-7)


def test_after_giving_up_the_gradients_are_those_from_before() -> None:
    model = _model()
    model(torch.ones(2, 3)).sum().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    with pytest.raises(MemoryFloorError):
        OomSafeRunner(Fits(0, lambda part: model(part).mean())).train(torch.ones(2, 3), model)
    for parameter, gradient in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_nested_batches_and_outputs() -> None:
    batch = {"x": torch.arange(5), "scale": torch.tensor([2, 3]), "name": "n"}
    outputs = [(piece["x"] * piece["scale"][0], {"y": piece["x"]}, None, [1]) for piece in split_batch(batch, 2)]
    first, second, third, fourth = join_outputs(outputs)
    assert first.tolist() == [0, 2, 4, 6, 8]
    assert second["y"].tolist() == [0, 1, 2, 3, 4]
    assert (third, fourth) == (None, [1, 1, 1])
    assert run_oom_safe(lambda words: [word.upper() for word in words], ["a", "b"]) == ["A", "B"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: run_oom_safe(Fits(1, lambda rows: rows.sum()), torch.arange(4)), "scalar tensors, which cannot be joined; pass join="),
        (lambda: run_oom_safe(Fits(1), 3), "has no length"),
        (lambda: OomSafeRunner(Fits(1), floor=0), "at least 1"),
        (lambda: OomSafeRunner(Fits(9)).train(torch.ones(2, 3), _model()), "mean loss as a scalar"),
    ],
)
def test_wrong_use_is_explained(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(BatchSizeError, match=message):
        call()
