"""The finder against a budget that really refuses; other finders' bugs are the names of tests (Lightning's issue numbers)."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from gpu_optimizer.errors import BatchSizeError, MemoryFloorError
from gpu_optimizer.steps import TrainingStep
from gpu_optimizer.training import BatchSizeResult, auto_batch_size
from gpu_optimizer.training.meter import HostMeter
from gpu_optimizer.training.oom import OomEvent

KIB = 1024
ROWS = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True, scope="module")
def _quick_garbage_collection() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 4))
        self.seen: list[tuple[int, bool]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append((len(x), self.training))
        return self.layers(x)


def _metered(step: TrainingStep) -> int:
    """Truth on this machine: two steps, every storage counted."""
    twin = Net()
    fresh = step.replace(model=twin)
    with HostMeter(holding=[*twin.parameters(), *twin.buffers(), *fresh.sample.tensors()]) as meter:
        optimizer = fresh.make_optimizer()
        for _ in range(2):
            fresh.run(optimizer)
    return meter.peak_bytes


def _find(model: nn.Module | None = None, rows: torch.Tensor | None = None, **options: Any) -> BatchSizeResult:
    sample = ROWS if rows is None else rows
    return auto_batch_size(model or Net(), sample, **{"budget": 200 * KIB, "estimate_peak": _metered, **options})


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()} | {"generator": torch.get_rng_state()}


def test_quadra_118_last_doubling_untested_the_size_returned_was_itself_run() -> None:
    model = Net()
    result = _find(model)
    ran = [size for size, _ in model.seen]
    assert ran == [result.batch_size] * 3
    assert result.oom_count == 0
    assert result.measured_peak_bytes <= 200 * KIB


def test_the_next_larger_size_does_not_fit() -> None:
    result = _find()
    step = TrainingStep.of(Net(), torch.randn(4, 16))
    assert _metered(step.with_batch(result.batch_size)) <= 200 * KIB
    assert _metered(step.with_batch(result.batch_size + 1)) > 200 * KIB


def test_13851_trained_on_val_only_all_of_forward_backward_and_optimizer_is_run() -> None:
    parts: list[str] = []

    class Watched(torch.optim.SGD):
        def step(self, *args: Any, **kwargs: Any) -> Any:
            parts.append("optimizer")
            return super().step(*args, **kwargs)

    model = Net()
    model.layers[0].register_full_backward_hook(lambda *_: parts.append("backward"))
    _find(model, optimizer=lambda parameters: Watched(parameters, lr=0.1), estimate_peak=lambda step: 1000 * step.batch_size)
    assert parts == ["backward", "optimizer"] * 3


def test_9625_chosen_size_still_oomed_the_optimizers_state_is_there_when_it_is_confirmed() -> None:
    """An estimate that forgets Adam's two states is caught by the second step."""
    result = _find(estimate_peak=lambda step: _metered(step.replace(optimizer="sgd")))
    assert [trial.fits for trial in result.trials][-1]
    assert result.oom_count >= 1
    step = TrainingStep.of(Net(), torch.randn(result.batch_size, 16))
    assert _metered(step) <= 200 * KIB


def test_18985_error_after_an_oom_the_next_trial_starts_clean() -> None:
    model = Net()
    before = _state(model)
    result = _find(model, estimate_peak=lambda step: _metered(step) // 2)
    assert result.oom_count >= 1
    assert result.trials[-1].fits
    after = _state(model)
    assert all(torch.equal(before[key], after[key]) for key in before)
    model(torch.randn(4, 16)).sum().backward()


@pytest.mark.parametrize("training", [True, False])
def test_18813_left_in_train_mode_every_flag_is_as_before(training: bool) -> None:
    model = Net().train(training)
    model.layers[1].eval()
    before = [part.training for part in model.modules()]
    _find(model)
    assert [part.training for part in model.modules()] == before
    assert all(mode == training for _, mode in model.seen)


def test_18394_limit_leaked_the_step_and_the_sample_are_the_callers_own() -> None:
    rows = torch.randn(4, 16)
    kept = rows.clone()
    step = TrainingStep.of(Net(), rows, optimizer="sgd")
    auto_batch_size(step, budget=200 * KIB, estimate_peak=_metered)
    assert step.sample.args[0] is rows
    assert torch.equal(rows, kept)
    assert step.optimizer == "sgd"


def test_weights_gradients_buffers_optimizer_and_generators_are_put_back() -> None:
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.3)
    model(torch.randn(8, 16)).sum().backward()
    optimizer.step()
    before = _state(model)
    gradients = [(parameter.grad, parameter.grad.clone()) for parameter in model.parameters()]
    moments = [{key: value.clone() for key, value in entry.items()} for entry in optimizer.state.values()]
    result = _find(model, optimizer=optimizer)
    assert result.trials
    after = _state(model)
    assert all(torch.equal(before[key], after[key]) for key in before)
    for parameter, (gradient, value) in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient
        assert torch.equal(gradient, value)
    for entry, kept in zip(optimizer.state.values(), moments, strict=True):
        assert all(torch.equal(entry[key], kept[key]) for key in kept)


def test_an_error_that_is_not_memory_also_leaves_everything_as_it_was() -> None:
    model = Net()
    before = _state(model)

    def loss(_: torch.Tensor) -> torch.Tensor:
        raise KeyError("label")

    with pytest.raises(KeyError, match="label"):
        _find(model, loss=loss, estimate_peak=lambda step: 1000 * step.batch_size)
    assert all(torch.equal(before[key], value) for key, value in _state(model).items())


def test_a_loader_is_not_moved() -> None:
    rows = torch.utils.data.TensorDataset(torch.randn(20, 16), torch.randint(4, (20,)))

    def order(search: bool) -> list[float]:
        loader = torch.utils.data.DataLoader(rows, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(5))
        model = Net()
        torch.manual_seed(1)
        if search:
            result = auto_batch_size(model, loader, budget=200 * KIB, estimate_peak=_metered, loss=nn.functional.cross_entropy)
            assert result.batch_size > 4
        return [float(batch[0, 0]) for batch, _ in loader] + torch.rand(2).tolist()

    torch.manual_seed(0)
    assert order(False) == order(True)


def test_an_iterator_is_refused_since_it_cannot_be_put_back() -> None:
    with pytest.raises(BatchSizeError, match="an iterator cannot be put back"):
        auto_batch_size(Net(), iter([torch.randn(2, 16)]), budget=KIB)


def test_the_worst_case_decides() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, 32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.embed(x))

    def estimate(step: TrainingStep) -> int:
        return next(step.sample.tensors()).numel() * 32 * 16 + 4000

    short, long = torch.zeros(2, 5, dtype=torch.long), torch.zeros(3, 40, dtype=torch.long)
    options = {"budget": 400 * KIB, "estimate_peak": estimate}
    plain = auto_batch_size(Words(), short, **options)
    worst = auto_batch_size(Words(), short, worst_case=long, **options)
    made = auto_batch_size(Words(), short, worst_case=lambda size: torch.zeros(size, 40, dtype=torch.long), **options)
    assert worst.batch_size == made.batch_size
    assert plain.batch_size // 8 in (worst.batch_size, worst.batch_size - 1, worst.batch_size + 1)


def test_limits_and_multiples() -> None:
    assert _find(maximum=6).batch_size == 6
    assert _find(multiple_of=8).batch_size % 8 == 0
    assert _find(confirm=False).trials == ()
    with pytest.raises(BatchSizeError, match="the budget is 100"):
        _find(budget=100)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _find(budget=None), r"the model is on cpu.*pass budget= in bytes"),
        (lambda: _find(budget=None, max_vram_percent=90), r"0\.9 for 90 %"),
        (lambda: auto_batch_size(Net(), None, budget=KIB), "pass a sample"),
        (lambda: auto_batch_size("net", torch.ones(1)), "expected a model or a TrainingStep"),
        (lambda: auto_batch_size(3), "expected a model, a TrainingStep or a function"),
    ],
)
def test_wrong_use_is_explained(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(BatchSizeError, match=message):
        call()


def test_a_result_survives_json() -> None:
    result = _find()
    assert BatchSizeResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    assert f"batch size {result.batch_size}" in str(result)


def test_a_capped_meter_refuses_and_a_plain_one_counts_what_is_alive() -> None:
    with HostMeter() as meter:
        x = torch.zeros(1000)
        y = x * 2
        del x
        z = y.view(10, 100).t()
        _ = y + 1
    assert meter.peak_bytes == 8000
    assert z.shape == (100, 10)
    with HostMeter(7000), pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 4000 bytes, 4000 of 7000"):
        _ = torch.zeros(1000) * 2


class Train:
    def __init__(self, largest: int) -> None:
        self.largest, self.sizes = largest, []

    def __call__(self, batch_size: int, rate: float = 1.0) -> tuple[int, float]:
        self.sizes.append(batch_size)
        if batch_size > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return batch_size, rate


def _decorated(train: Train, **options: Any) -> Any:
    @auto_batch_size(**options)
    def run(batch_size: int, rate: float = 1.0) -> tuple[int, float]:
        return train(batch_size, rate)

    return run


def test_the_decorator_halves_and_the_next_call_starts_where_it_went_through() -> None:
    train = Train(20)
    run = _decorated(train, starting_batch_size=64)
    assert run(rate=0.5) == (16, 0.5)
    assert run(0.25) == (16, 0.25)
    assert train.sizes == [64, 32, 16, 16]
    assert (run.batch_size, run.oom_count, run.__name__) == (16, 2, "run")


def test_accelerate_dropped_reduce_ours_is_used() -> None:
    train = Train(1)
    run = _decorated(train, starting_batch_size=64, reduce=lambda size: 1 if size == 64 else 0)
    run()
    assert train.sizes == [64, 1]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        MemoryError(),
    ],
    ids=["cuBLAS", "cuDNN", "host"],
)
def test_accelerate_misses_errors_ours_takes_for_memory(error: Exception) -> None:
    @auto_batch_size(starting_batch_size=4)
    def run(batch_size: int) -> int:
        if batch_size > 1:
            raise error
        return batch_size

    assert (run(), run.oom_count) == (1, 2)


def test_accelerate_frees_inside_except_ours_when_the_attempts_tensors_are_dead() -> None:
    held: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    @auto_batch_size(starting_batch_size=16)
    def run(batch_size: int) -> None:
        alive.append(any(reference() is not None for reference in held))
        rows = torch.zeros(batch_size)
        held.append(weakref.ref(rows))
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    run()
    assert alive == [False] * 4


def test_transformers_25956_a_resumed_training_starts_at_the_size_that_was_found() -> None:
    first = _decorated(Train(20), starting_batch_size=64)
    first()
    saved = json.loads(json.dumps(first.batch_size))
    train = Train(20)
    _decorated(train, starting_batch_size=saved)()
    assert train.sizes == [16]


def test_the_decorator_without_parentheses() -> None:
    @auto_batch_size
    def run(batch_size: int) -> int:
        return batch_size

    assert run() == 128


def test_a_model_that_a_failed_attempt_changed_is_put_back() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    before = _state(model)
    seen: list[bool] = []

    @auto_batch_size(starting_batch_size=8, restore=[model, optimizer])
    def run(batch_size: int) -> None:
        seen.append(all(torch.equal(before[key], value) for key, value in _state(model).items()) and not optimizer.state)
        model(torch.randn(batch_size, 16)).sum().backward()
        optimizer.step()
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    run()
    assert seen == [True, True, True]


def test_the_decorator_gives_up_at_its_floor_and_tells() -> None:
    events: list[OomEvent] = []
    run = _decorated(Train(1), starting_batch_size=9, minimum=4, on_event=events.append)
    with pytest.raises(MemoryFloorError, match="a batch of 4 does not fit, and the smallest allowed is 4"):
        run()
    assert [event.kind for event in events] == ["oom", "gave_up"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: _decorated(Train(4))(8, 1.0), TypeError, "called without its first argument 'batch_size'"),
        (lambda: _decorated(Train(4), reduce=lambda size: size)(), BatchSizeError, "not smaller"),
        (lambda: _decorated(Train(4), minimum=0), BatchSizeError, "1 <= minimum"),
        (lambda: auto_batch_size(lambda: None), BatchSizeError, "needs the batch size as its first parameter"),
    ],
)
def test_wrong_use_of_the_decorator(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
