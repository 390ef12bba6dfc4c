"""Every way a plan may choose, proved by what it is measured to need and by the gradients it gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import torch
from _residual import CARD, Residual, residual_net
from torch import nn

from gpu_optimizer.costing import Price, PriceBook
from gpu_optimizer.errors import PlanError, PriceError
from gpu_optimizer.planning import BudgetError, ErrorLedger, Plan, cheapest_plans, economy, plan, scenario
from gpu_optimizer.profiling import measure_step
from gpu_optimizer.steps import TrainingStep
from shared_utils.devices import MachineProfile


def net(blocks: int = 3) -> nn.Sequential:
    return residual_net(blocks, 32)


SAMPLE = torch.randn(512, 32, generator=torch.Generator().manual_seed(0))
LOSSES = {"mean": lambda output: output.square().mean(), "sum": lambda output: output.square().sum()}


def quick(model, sample, budget, **rest) -> Plan:
    return plan(model, sample, budget, **{"optimizer": "sgd", "ledger": ErrorLedger(None), "margin": 0.0, "repeats": 1} | rest)


@pytest.fixture(scope="module")
def plain_peak() -> int:
    return measure_step(TrainingStep.of(net(), SAMPLE, optimizer="sgd")).peak_bytes


@pytest.mark.parametrize(
    "search", [("batch",), ("accumulation",), ("precision",), ("checkpoint", "accumulation", "precision", "batch", "offload")]
)
def test_the_measured_peak_is_within_the_budget_and_where_it_was_predicted(search, plain_peak) -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [dict(vars(module)) for module in model.modules()]
    made = quick(model, SAMPLE, int(plain_peak * 0.85), search=search, margin=0.02)
    with made.apply(model) as applied:
        peak = measure_step(applied.step(SAMPLE, optimizer="sgd")).peak_bytes
    assert peak <= made.budget_bytes
    assert peak == pytest.approx(made.predicted_peak_bytes, rel=0.03)
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    if "batch" not in search:
        assert made.batch_size == made.micro_batch * made.accumulation == 512


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_split_batch_gives_the_gradient_of_the_whole_one(reduction, plain_peak) -> None:
    model, loss = net(), LOSSES[reduction]
    made = quick(model, SAMPLE, int(plain_peak * 0.7), search=("accumulation",))
    assert made.accumulation > 1
    step = TrainingStep.of(model, SAMPLE, loss=loss, optimizer=None)
    expected_loss = step.run()
    whole = [parameter.grad.clone() for parameter in model.parameters()]
    with made.apply(model) as applied:
        found_loss = applied.run(SAMPLE, loss=loss, reduction=reduction)
        with pytest.raises(PlanError, match="reduction"):
            applied.run(SAMPLE, loss=loss, reduction="max")
    assert found_loss == pytest.approx(expected_loss, rel=1e-5)
    for expected, parameter in zip(whole, model.parameters(), strict=True):
        assert torch.allclose(expected, parameter.grad, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_the_rest_of_a_split_batch_still_lies_in_memory(plain_peak) -> None:
    made = quick(net(), SAMPLE, int(plain_peak * 0.7), search=("accumulation",))
    assert made.by_category_at_peak["inputs"] == SAMPLE.nbytes


def test_a_larger_batch_is_planned_where_it_costs_less_for_each_example(plain_peak) -> None:
    made = quick(net(), SAMPLE[:64], plain_peak * 2, search=("batch",))
    assert made.batch_size == made.micro_batch
    assert made.guarded_peak_bytes <= plain_peak * 2


class Scalar(nn.Module):
    """Called with numbers only: there is no batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Residual(32) for _ in range(3)))

    def forward(self, scale: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.ones(256, 32) * scale)


def test_a_sample_without_a_batch_is_planned_and_refused_like_any_other() -> None:
    model, sample = Scalar(), torch.tensor(2.0)
    made = quick(model, sample, "1GiB", search=("checkpoint", "accumulation", "batch"))
    assert (made.batch_size, made.accumulation) == (1, 1)
    less = quick(model, sample, int(made.predicted_peak_bytes * 0.8), search=("checkpoint",))
    assert less.verify(model, sample, ledger=ErrorLedger(None), repeats=1).within_budget
    with less.apply(model) as applied:
        assert applied.run(sample) > 0
    with pytest.raises(BudgetError, match="smallest budget that works") as caught:
        quick(model, sample, 50_000, search=("checkpoint",))
    assert "micro-batches" not in str(caught.value)


class Cancels(nn.Module):
    """A small difference of large numbers, of which eight bits of mantissa keep nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = self.layer(x) + 1000
        return (large @ torch.eye(64) - 1000) ** 2


def test_a_number_format_that_harms_the_model_is_left_out_and_the_notes_say_why(monkeypatch) -> None:
    sample = torch.randn(256, 64, generator=torch.Generator().manual_seed(1))
    asked = quick(Cancels(), sample, "1GiB", search=("precision",), device=CARD)
    assert asked.precision == "tf32"  # bf16 and fp16 are faster on the card, and both are tried on the sample first
    assert any(note.startswith("bf16 is left out: bf16 harms") for note in asked.notes)
    assert any("tf32 is not guarded" in note for note in asked.notes)
    assert quick(net(), SAMPLE, "1GiB", search=("precision",), device=CARD).precision == "bf16"
    assert quick(Cancels(), sample, "1GiB", search=(), precision="bf16", device=CARD).precision == "bf16"  # asked for, not chosen


def test_a_model_without_values_is_said_not_to_be_guarded() -> None:
    with torch.device("meta"):
        made = quick(net(), torch.empty(512, 32), "1GiB", search=("precision",), device=CARD)
    assert made.precision == "bf16"
    assert any("bf16 is not guarded: the model has no values here" in note for note in made.notes)


def _offers(today, **ages: int) -> list[Price]:
    figures = {"provider": "x", "source": "test", "gpus": 1, "gpu_memory_gib": 8.0, "usd_per_hour": 1.0}
    return [Price(instance=gpu, gpu=gpu, date=today - timedelta(days=days), **figures) for gpu, days in ages.items()]


def _cards() -> dict[str, MachineProfile]:
    return {name.lower(): CARD.model_copy(update={"name": name, "matches": (name,)}) for name in ("Fast9", "Slow1")}


def test_old_prices_are_named_with_what_to_do_about_them(monkeypatch) -> None:
    today = datetime.now(UTC).date()
    book = PriceBook.of(_offers(today, Fast9=3, Slow1=200), today=today)
    with torch.device("meta"):
        step = TrainingStep.of(net(1), torch.empty(512, 32), optimizer="sgd")
    (made,) = cheapest_plans(step, book=book, known=_cards(), ledger=ErrorLedger(None), search=())
    assert any("Slow1 is not compared" in note and "allow_old=True" in note for note in made.notes)
    with pytest.raises(PlanError, match=r"older than 90 days; import a newer list"):
        cheapest_plans(step, book=book, known=_cards(), machines=["slow1"])

    def all_old() -> PriceBook:
        return PriceBook.of(_offers(today, Fast9=200), today=today)

    monkeypatch.setattr(economy.PriceBook, "load", all_old)
    with pytest.raises(PriceError, match=r"book=PriceBook\.load\(allow_old=True\).*usd_per_hour="):
        plan(step, objective="cost")


def test_many_machines_of_one_kind_cost_one_trace(monkeypatch) -> None:
    traced = []
    trace = scenario.trace_step
    monkeypatch.setattr(scenario, "trace_step", lambda *args, **rest: traced.append(1) or trace(*args, **rest))
    today = datetime.now(UTC).date()
    book = PriceBook.of(_offers(today, Fast9=1, Slow1=1), today=today)
    with torch.device("meta"):
        step = TrainingStep.of(net(1), torch.empty(512, 32), optimizer="sgd")
    made = cheapest_plans(step, book=book, known=_cards(), ledger=ErrorLedger(None), search=("checkpoint",))
    assert len(made) == 2
    assert len(traced) == 1


@pytest.mark.parametrize(("memory_gib", "said"), [(0.4, True), (8, False)])
def test_a_card_that_is_too_small_for_what_comes_beside_the_tensors_is_noted(memory_gib, said) -> None:
    """The tensors fit 0.4 GiB; the CUDA context alone takes more."""
    made = quick(net(1), SAMPLE, "300MiB", search=("checkpoint",), device=CARD.model_copy(update={"memory_gib": memory_gib}))
    assert any("for the CUDA context; Card has" in note for note in made.notes) == said
