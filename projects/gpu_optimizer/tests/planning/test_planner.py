from __future__ import annotations

from datetime import UTC, datetime

import pytest
import torch
from _residual import Residual, residual_net
from prometheus_client import CollectorRegistry
from torch import nn

from gpu_optimizer.costing import Price, PriceBook
from gpu_optimizer.errors import PlanError
from gpu_optimizer.monitoring import WorkloadMetrics
from gpu_optimizer.planning import BudgetError, ErrorLedger, Plan, cheapest_plans, micro_batches, plan
from gpu_optimizer.planning.ledger import LedgerEntry
from gpu_optimizer.planning.probe import measure_times, untouched
from gpu_optimizer.profiling.estimate import estimate_step
from gpu_optimizer.steps import TrainingStep
from shared_utils.devices import MachineProfile


def net(width: int = 32, blocks: int = 5) -> nn.Sequential:
    return residual_net(blocks, width)


def quick(model, sample, budget, **rest) -> Plan:
    return plan(model, sample, budget, **{"optimizer": "sgd", "ledger": ErrorLedger(None), "margin": 0.0, "repeats": 1} | rest)


SAMPLE = torch.randn(512, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def plain_peak() -> int:
    return estimate_step(TrainingStep.of(net(), SAMPLE, optimizer="sgd")).peak_bytes


def test_a_budget_that_is_large_enough_changes_nothing(plain_peak) -> None:
    made = quick(net(), SAMPLE, plain_peak)
    assert made.blocks == ()
    assert made.accumulation == 1
    assert made.predicted_peak_bytes == plain_peak


@pytest.mark.parametrize("share", [0.9, 0.6, 0.4])
def test_measured_steps_stay_within_the_budget_and_where_they_were_predicted(share, plain_peak) -> None:
    model, ledger = net(), ErrorLedger(None)
    made = quick(model, SAMPLE, int(plain_peak * share), search=("checkpoint",))
    assert made.blocks
    result = made.verify(model, SAMPLE, ledger=ledger, repeats=1)
    assert result.within_budget, str(result)
    assert abs(result.memory_error) < 0.03, str(result)
    assert ledger.entries[0].measured_peak_bytes == result.measured_peak_bytes


def test_prediction_and_measurement_are_shown_to_prometheus(plain_peak) -> None:
    registry, model = CollectorRegistry(), net()
    made = quick(model, SAMPLE, plain_peak)
    result = made.verify(model, SAMPLE, ledger=ErrorLedger(None), metrics=WorkloadMetrics(registry), repeats=1)
    shown = {sample.name: sample.value for family in registry.collect() for sample in family.samples}
    assert shown["gpu_optimizer_predicted_peak_bytes"] == result.predicted_peak_bytes
    assert shown["gpu_optimizer_measured_peak_bytes"] == result.measured_peak_bytes


def test_less_is_recomputed_than_when_everything_is(plain_peak) -> None:
    made = quick(net(), SAMPLE, int(plain_peak * 0.8), search=("checkpoint",))
    everything = next(other for other in made.alternatives if other.name == "checkpoint everything")
    assert len(made.recomputed) < everything.recomputed == 5
    assert made.predicted_s < (everything.time_s or 0)


def test_a_batch_is_split_where_that_is_enough_and_gradients_stay_the_same(plain_peak) -> None:
    model = net()
    made = quick(model, SAMPLE, int(plain_peak * 0.6), search=("accumulation",))
    assert made.accumulation > 1
    assert made.micro_batch * made.accumulation == made.batch_size == 512
    loss = lambda output: output.square().mean()  # noqa: E731
    TrainingStep.of(model, SAMPLE, loss=loss, optimizer=None).run()
    whole = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    with made.apply(model) as applied:
        assert len(micro_batches(made, SAMPLE)) == made.accumulation
        applied.run(SAMPLE, loss=loss)
    assert all(torch.allclose(a, b.grad, atol=1e-6) for a, b in zip(whole, model.parameters(), strict=True))


def test_undoing_leaves_the_model_bit_for_bit_as_it_was(plain_peak) -> None:
    model = net()
    made = quick(model, SAMPLE, int(plain_peak * 0.5), search=("checkpoint",))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [dict(vars(module)) for module in model.modules()]
    applied = made.apply(model)
    assert any("forward" in vars(module) for module in model.modules())
    applied.undo()
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_planning_and_verifying_leave_no_trace(plain_peak) -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    made = quick(model, SAMPLE, int(plain_peak * 0.6))
    made.verify(model, SAMPLE, ledger=ErrorLedger(None), repeats=1)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_impossible_budget_is_answered_with_the_smallest_that_works(plain_peak) -> None:
    model = net()
    with pytest.raises(BudgetError, match="smallest budget that works") as caught:
        quick(model, SAMPLE, 50_000, search=("checkpoint",))
    error = caught.value
    assert sum(error.by_category.values()) <= error.smallest_bytes
    assert "smaller micro-batches" in str(error)
    assert quick(model, SAMPLE, error.smallest_bytes, search=("checkpoint",)).predicted_peak_bytes <= error.smallest_bytes
    with pytest.raises(BudgetError):
        quick(model, SAMPLE, int(error.smallest_bytes * 0.97), search=("checkpoint",))


def test_past_errors_make_the_margin(plain_peak) -> None:
    ledger, model = ErrorLedger(None), net()
    made = plan(model, SAMPLE, plain_peak * 2, optimizer="sgd", ledger=ledger, repeats=1)
    assert made.margin == 0.05
    for _ in range(19):
        ledger.append(
            LedgerEntry(
                model=made.model,
                device=made.device,
                predicted_peak_bytes=100,
                measured_peak_bytes=120,
                predicted_s=1.0,
                measured_s=1.0,
                torch="2.13.0",
                recorded_at="2026-11-20T00:00:00+00:00",
            )
        )
    careful = plan(model, SAMPLE, int(plain_peak * 1.1), optimizer="sgd", ledger=ledger, repeats=1)
    assert careful.margin == pytest.approx(0.2)
    assert careful.blocks or careful.accumulation > 1  # 1.1 times the peak does not hold 1.2 times the prediction
    assert careful.guarded_peak_bytes <= careful.budget_bytes


def test_a_model_with_batch_statistics_is_not_split_behind_ones_back() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 8))
    made = quick(model, torch.randn(64, 8), "1MiB", search=("accumulation", "checkpoint"))
    assert made.accumulation == 1
    assert any("BatchNorm" in note for note in made.notes)


def test_a_model_that_exists_nowhere_is_planned_for_a_machine_that_is_elsewhere() -> None:
    with torch.device("meta"):
        model = nn.Sequential(*(Residual(1024) for _ in range(4)))
        sample = torch.empty(4096, 1024)
    card = MachineProfile(name="Card", kind="cuda", memory_gib=8, bandwidth_gb_per_s=500, fp32_tflops=20, fp16_tflops=80, source="test")
    plain = quick(model, sample, "100%", device=card, search=())
    small = quick(model, sample, int(plain.predicted_peak_bytes * 0.7), device=card, search=("checkpoint",), usd_per_hour=3.6)
    assert plain.time_method == "roofline"
    assert small.recomputed
    assert small.predicted_s > plain.predicted_s
    assert small.usd_per_step == pytest.approx(small.predicted_s / 1000)


def test_the_cheapest_machine_is_found_by_price_and_time() -> None:
    with torch.device("meta"):
        step = TrainingStep.of(nn.Sequential(*(Residual(512) for _ in range(2))), torch.empty(1024, 512), optimizer="sgd")
    figures = {"kind": "cuda", "memory_gib": 8, "bandwidth_gb_per_s": 500, "fp16_tflops": 80, "source": "test"}
    known = {
        "fast": MachineProfile(name="Fast 9", fp32_tflops=40, matches=("Fast 9",), **figures),
        "slow": MachineProfile(name="Slow 1", fp32_tflops=10, matches=("Slow 1",), **figures),
        "unpriced": MachineProfile(name="Gift", fp32_tflops=10, matches=("Gift",), **figures),
    }
    today = datetime.now(UTC).date()
    offers = [
        Price(provider="x", instance="a", usd_per_hour=hourly, date=today, source="test", gpu=gpu, gpus=2, gpu_memory_gib=8)
        for gpu, hourly in (("Fast 9", 6.0), ("Slow 1", 4.0))
    ]
    book = PriceBook(prices=tuple(offers), refused=(), today=today, max_age_days=90)
    made = cheapest_plans(step, book=book, known=known, ledger=ErrorLedger(None), search=())
    assert [found.device for found in made] == ["Fast 9", "Slow 1"]  # 3 USD at 40 against 2 USD at 10 TFLOPS for each GPU
    assert made[0].usd_per_hour == 3.0
    with pytest.raises(PlanError, match="no price"):
        cheapest_plans(step, book=book, known=known, machines=["unpriced"])
    with pytest.raises(BudgetError):
        cheapest_plans(step, None, 1000, book=book, known=known, ledger=ErrorLedger(None))


def test_another_number_format_is_used_when_it_may_be() -> None:
    with torch.device("meta"):
        model = nn.Sequential(*(Residual(512) for _ in range(4)))
        sample = torch.empty(4096, 512)
    card = MachineProfile(name="Card", kind="cuda", memory_gib=8, bandwidth_gb_per_s=500, fp32_tflops=20, fp16_tflops=80, source="test")
    made = quick(model, sample, "100%", device=card, search=("precision",))
    assert made.precision in ("bf16", "fp16")
    assert quick(model, sample, "100%", device=card, search=()).precision == "fp32"


def test_a_plan_survives_being_written_down(tmp_path, plain_peak) -> None:
    made = quick(net(), SAMPLE, int(plain_peak * 0.6), usd_per_hour=1.0, price_source="a list of 2026-11-01")
    assert Plan.load(made.save(tmp_path / "plan.json")) == made
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(PlanError, match="no plan"):
        Plan.load(tmp_path / "bad.json")
    with pytest.raises(PlanError, match="cannot be read"):
        Plan.load(tmp_path / "missing.json")


def test_a_plan_is_not_applied_to_another_model(plain_peak) -> None:
    made = quick(net(), SAMPLE, plain_peak)
    with pytest.raises(PlanError, match="made for"):
        made.apply(net(width=16))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": "lots"}, "no size"),
        ({"search": ("magic",)}, "search"),
        ({"device": "cuda:7"}, "not here"),
        ({"objective": "cost", "device": "abacus"}, "no machine"),
        ({"objective": "cost", "device": 7}, "short names"),
        ({"objective": "beauty"}, "objective"),
        ({"margin": -1.0}, "margin"),
    ],
)
def test_requests_that_make_no_sense_are_refused(changes, words) -> None:
    with pytest.raises(PlanError, match=words):
        quick(net(blocks=1), SAMPLE, **{"budget": "1MiB"} | changes)


def test_timing_puts_everything_back_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = TrainingStep.of(model, torch.randn(16, 8), optimizer="adam")
    times = measure_times(step, ["0"], repeats=2)
    assert times.step_s > times.block_s["0"] > 0

    def fail() -> None:
        with untouched(model, torch.device("cpu")):
            step.run(step.make_optimizer())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(PlanError, match="no module"):
        measure_times(step, ["nothing"])
