"""Costs by arithmetic: error bars, machines of one's own, other machines' times, the cheapest that fits."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gpu_optimizer.costing import (
    Amount,
    CostTable,
    OwnMachine,
    Price,
    PriceBook,
    cheapest,
    cost_per_epoch,
    cost_per_million,
    cost_per_step,
    known_machines,
    machine_for,
    scale_time,
)
from gpu_optimizer.errors import PriceError
from shared_utils.devices import MachineProfile

TODAY = date(2026, 11, 20)
GIB = 2**30


def offer(instance: str, usd: float, *, gpu: str = "L4", gpus: int = 1, gib: float = 24, **rest: Any) -> Price:
    given = {"gpu": gpu, "gpus": gpus, "gpu_memory_gib": gib} if gpu else {"memory_gib": gib}
    return Price(provider="p", instance=instance, usd_per_hour=usd, date=TODAY, source="a.page", **given, **rest)


def book(*rows: Price) -> PriceBook:
    return PriceBook.of(rows, today=TODAY)


def profile(name: str, tflops: float, gb_per_s: float, **rest: Any) -> MachineProfile:
    return MachineProfile(name=name, kind="cuda", memory_gib=24, bandwidth_gb_per_s=gb_per_s, fp32_tflops=tflops, source="x", **rest)  # pyright: ignore[reportArgumentType]


MACHINES = {
    "l4": profile("L4", 30, 300, tf32_tflops=60, bf16_tflops=120, fp16_tflops=120),
    "h100-sxm": profile("H100", 60, 3000, tf32_tflops=480, bf16_tflops=960, fp16_tflops=960),
    "t4": profile("T4", 8, 320),
}


def test_cost_of_a_step_carries_the_bounds_of_its_time() -> None:
    cost = cost_per_step(7.2, (0.5, 0.4, 1.0))  # 7.2 dollars an hour are 0.002 a second
    assert (cost.value, cost.low, cost.high) == pytest.approx((0.001, 0.0008, 0.002))


def test_epoch_counts_its_last_smaller_batch_as_a_step() -> None:
    assert cost_per_epoch(3600, 1.0, examples=101, batch_size=10).value == pytest.approx(11)


def test_million_inferences() -> None:
    # 1e6 / 32 batches of 20 ms are 625 s, at 0.8048 dollars an hour 0.1397 dollars.
    assert cost_per_million(offer("x", 0.8048), 0.020, batch_size=32).value == pytest.approx(625 / 3600 * 0.8048)


@pytest.mark.parametrize("price", [0, -1, math.nan, math.inf, True, "1", None])
def test_wrong_price_is_refused(price: Any) -> None:
    with pytest.raises(PriceError, match="US dollars by the hour above 0"):
        cost_per_step(price, 1.0)


@pytest.mark.parametrize("time_s", [-1, math.nan, math.inf, "1", None, (1, 2), (1.0, 2.0, 3.0), (1.0, 0.5, 0.7), True])
def test_wrong_time_is_refused(time_s: Any) -> None:
    with pytest.raises(PriceError):
        cost_per_step(1.0, time_s)


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(PriceError, match="batch_size: expected a whole number of at least 1, got 0"):
        cost_per_million(1.0, 1.0, batch_size=0)
    with pytest.raises(PriceError, match="examples"):
        cost_per_epoch(1.0, 1.0, examples=-5, batch_size=1)


@settings(deadline=None)
@given(st.floats(0, 1e9), st.floats(0, 1), st.floats(1, 10), st.floats(1e-3, 1e3))
def test_bounds_stay_around_the_value(value: float, below: float, above: float, factor: float) -> None:
    amount = Amount(value, value * below, value * above).times(factor)
    assert amount.low <= amount.value <= amount.high
    assert Amount.from_dict(json.loads(json.dumps(amount.to_dict()))) == amount


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Amount(0.0), "0"),
        (Amount(1234.5), "1,234"),
        (Amount(0.012349), "0.0123"),
        (Amount(2.0, 1.0, 3.5), "2 (1–3.5)"),
        (Amount(3e-9), "3e-09"),
    ],
)
def test_amounts_are_written_with_three_digits(amount: Amount, text: str) -> None:
    assert amount.text() == text


def test_own_machine_costs_purchase_and_electricity() -> None:
    machine = OwnMachine(
        name="desk",
        purchase_usd=3000,
        resale_usd=600,
        lifetime_years=4,
        busy_share=0.25,
        power_w=500,
        idle_power_w=50,
        usd_per_kwh=0.4,
        other_usd_per_year=100,
        gpu="RTX 5070 Ti",
        gpus=1,
        gpu_memory_gib=16,
    )
    # (2400 / 4 + 100) dollars over 8766 * 0.25 hours; 0.5 kW at work, and three idle hours of 0.05 kW for each of work.
    assert machine.usd_per_hour == pytest.approx(700 / 2191.5 + (0.5 + 0.15) * 0.4)
    assert machine.price(TODAY).provider == "own"
    assert cost_per_step(machine, 3600.0).value == pytest.approx(machine.usd_per_hour)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"purchase_usd": -1}, "purchase_usd"),
        ({"power_w": math.nan}, "power_w"),
        ({"lifetime_years": 0}, "lifetime_years"),
        ({"busy_share": 0}, "busy_share"),
        ({"busy_share": 1.5}, "busy_share"),
        ({"resale_usd": 9999}, "resale_usd"),
    ],
)
def test_impossible_own_machine_is_refused(changes: dict[str, float], problem: str) -> None:
    with pytest.raises(PriceError, match=problem):
        OwnMachine(**({"name": "x", "purchase_usd": 1000, "power_w": 100, "usd_per_kwh": 0.3} | changes))  # pyright: ignore[reportArgumentType]


def test_time_is_scaled_by_the_roofline_of_the_work() -> None:
    # On the L4: max(3e12 / 30e12, 60e9 / 300e9) = max(0.1, 0.2) s; on the H100: max(0.05, 0.02) s. A quarter of the time.
    scaled = scale_time(1.0, MACHINES["l4"], MACHINES["h100-sxm"], flops=3e12, traffic_bytes=60e9)
    assert scaled.time_s.value == pytest.approx(0.25)
    assert (scaled.time_s.low, scaled.time_s.high) == pytest.approx((0.1, 0.5))  # ratios of bandwidth and arithmetic
    assert scaled.basis.startswith("estimated from L4 by the roofline")


def test_time_bounds_and_machine_bounds_multiply() -> None:
    scaled = scale_time(Amount(1.0, 0.9, 1.2), MACHINES["l4"], MACHINES["h100-sxm"])
    assert (scaled.time_s.low, scaled.time_s.high) == pytest.approx((0.09, 0.6))
    assert scaled.time_s.value == pytest.approx(math.sqrt(0.5 * 0.1))
    assert scale_time(1.0, MACHINES["l4"], MACHINES["h100-sxm"], precision="bf16").time_s.high == pytest.approx(0.125)


def test_same_machine_keeps_its_time() -> None:
    scaled = scale_time((1.0, 0.9, 1.1), MACHINES["l4"], MACHINES["l4"])  # pyright: ignore[reportArgumentType]
    assert scaled.time_s == Amount(1.0, 0.9, 1.1)


def test_scaling_without_figures_is_refused() -> None:
    with pytest.raises(PriceError, match="the bf16 rate of T4 is not known"):
        scale_time(1.0, MACHINES["l4"], MACHINES["t4"], precision="bf16")
    with pytest.raises(PriceError, match="given together"):
        scale_time(1.0, MACHINES["l4"], MACHINES["t4"], flops=1e9)
    with pytest.raises(PriceError, match="flops: expected a number above 0"):
        scale_time(1.0, MACHINES["l4"], MACHINES["t4"], flops=-1.0, traffic_bytes=1.0)
    with pytest.raises(PriceError, match="precision: expected one of fp32, tf32, bf16, fp16, got 'int4'"):
        scale_time(1.0, MACHINES["l4"], MACHINES["t4"], precision="int4")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ("H100 SXM", "NVIDIA H100 SXM5 80 GB"),
        ("H100", "NVIDIA H100 PCIe 80 GB"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM5 80 GB"),
        ("Tesla T4", "NVIDIA T4"),
        ("NVIDIA L4", "NVIDIA L4"),
        ("A100 SXM", "NVIDIA A100 SXM4 40 GB"),
        ("A10", "NVIDIA A10"),
        ("A10G", "NVIDIA A10G"),
        ("RTX4090", "NVIDIA GeForce RTX 4090"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM4 80 GB"),
        ("Tesla V100-SXM2-16GB", "NVIDIA V100 SXM2 16 GB"),
        ("X9", None),
        ("A1000", None),
        ("h200-sxm", "NVIDIA H200 SXM"),
    ],
)
def test_gpus_of_price_lists_are_recognised(gpu: str, name: str | None) -> None:
    found = machine_for(gpu, known_machines())
    assert (None if found is None else found.name) == name


@pytest.mark.parametrize(
    ("gpu", "memory_gib", "name"),
    [
        ("A100 SXM", 80, "NVIDIA A100 SXM4 80 GB"),
        ("A100", 40, "NVIDIA A100 PCIe 40 GB"),
        ("A100", 74.5, "NVIDIA A100 PCIe 80 GB"),  # 80e9 bytes
        ("V100 PCIe", 32, "NVIDIA V100 PCIe 32 GB"),
        ("V100", 16, "NVIDIA V100 PCIe 16 GB"),
        ("L4", 22.5, "NVIDIA L4"),
    ],
)
def test_memory_tells_gpus_of_one_name_apart(gpu: str, memory_gib: float, name: str) -> None:
    found = machine_for(gpu, known_machines(), memory_gib=memory_gib)
    assert found is not None
    assert found.name == name


# Whose speed nobody states, with the reason.
UNKNOWN = {"m7g.large": "AWS states no rate for its Graviton processors"}


def test_every_offer_that_comes_along_names_a_known_machine() -> None:
    book = PriceBook.load(today=TODAY, allow_old=True)
    machines = known_machines()
    found = {row.name: machine_for(row.gpu or row.instance, machines, memory_gib=row.gpu_memory_gib) for row in book.prices}
    assert len(found) >= 45
    assert {row.instance for row in book.prices if found[row.name] is None} == set(UNKNOWN)
    for row in book.prices:
        machine = found[row.name]
        if machine is not None:
            assert machine.memory_gib == pytest.approx(row.gpu_memory_gib, rel=0.05), row.name


def test_tf32_is_faster_only_where_it_is_asked_for_and_there_is_any() -> None:
    # Work of arithmetic alone: 6e13 operations, one byte.
    def on(target: str, precision: Any) -> float:
        work = {"flops": 6e13, "traffic_bytes": 1.0}
        return scale_time(1.0, MACHINES["l4"], MACHINES[target], precision=precision, **work).time_s.value

    assert on("h100-sxm", "fp32") == pytest.approx(30 / 60)
    assert on("h100-sxm", "tf32") == pytest.approx(60 / 480)
    # A T4 has no tf32: it computes such matrices as fp32, while the L4 took half the time for them.
    assert on("t4", "fp32") == pytest.approx(30 / 8)
    assert on("t4", "tf32") == pytest.approx(60 / 8)


def test_cheapest_step_is_not_the_cheapest_hour() -> None:
    prices = book(offer("slow", 0.8), offer("fast", 4.0, gpu="H100 SXM", gib=80))
    by_hour = cheapest(prices, 20 * GIB, machines=MACHINES)
    assert [row.price.instance for row in by_hour.rows] == ["slow", "fast"]
    assert by_hour.best.step_usd is None
    by_step = cheapest(prices, 20 * GIB, time_s=1.0, source="l4", flops=3e12, traffic_bytes=9e11, machines=MACHINES)
    # Limited by bandwidth, the H100 takes a tenth of the time at five times the price.
    assert [row.price.instance for row in by_step.rows] == ["fast", "slow"]
    assert by_step.best.step_usd is not None
    assert by_step.best.step_usd.value == pytest.approx(4.0 / 3600 * 0.1)
    assert by_step.best.estimated
    assert not by_step.rows[1].estimated


def test_machine_that_is_too_small_is_not_offered() -> None:
    prices = book(offer("small", 0.1), offer("large", 9.0, gpu="H100 SXM", gib=80))
    # A program gets 90 % of 24 GiB: 21.6.
    assert cheapest(prices, round(21.6 * GIB) - 1, machines=MACHINES).best.price.instance == "small"
    assert [row.price.instance for row in cheapest(prices, round(21.7 * GIB), machines=MACHINES).rows] == ["large"]


def test_nothing_fits_names_the_largest_machine() -> None:
    with pytest.raises(PriceError, match=r"no machine gives a program 100\.0 GiB on one device; the largest is p large .* with 72\.0 GiB"):
        cheapest(book(offer("large", 9.0, gpu="H100 SXM", gpus=8, gib=80)), 100 * GIB, machines=MACHINES)
    with pytest.raises(PriceError, match="no offer fits the filters"):
        cheapest(book(offer("x", 1.0)), GIB, provider="nobody")


def test_known_times_come_before_estimates() -> None:
    prices = book(offer("slow", 0.8), offer("odd", 0.5, gpu="X9"), offer("cpu", 0.1, gpu="", gib=64))
    table = cheapest(prices, GIB, time_s=1.0, source="l4", measured={"X9": 0.1, "cpu": Amount(30.0, 20.0, 40.0)}, machines=MACHINES)
    rows = {row.price.instance: row for row in table.rows}
    assert rows["odd"].time_s == Amount(0.1)
    assert not rows["odd"].estimated
    assert rows["cpu"].step_usd == cost_per_step(0.1, (30.0, 20.0, 40.0))
    assert [row.price.instance for row in table.rows] == ["odd", "slow", "cpu"]


def test_machine_of_unknown_speed_comes_last_and_says_why() -> None:
    table = cheapest(book(offer("odd", 0.01, gpu="X9"), offer("slow", 0.8)), GIB, time_s=1.0, source="l4", machines=MACHINES)
    assert [row.price.instance for row in table.rows] == ["slow", "odd"]
    assert table.rows[1].basis == "the figures of X9 are not known (config/machines.yml)"
    assert table.notes[0].startswith("1 offers rank last because the speed of X9 is not known; the cheapest of them is p odd (X9) at $0.01")
    assert table.notes[0] in table.markdown()


def test_share_of_a_machine_and_own_machines_compare() -> None:
    mine = OwnMachine(name="desk", purchase_usd=2000, power_w=400, usd_per_kwh=0.3, gpu="L4", gpus=1, gpu_memory_gib=24)
    prices = book(offer("eight", 8.0, gpus=8))
    whole = cheapest(prices, GIB, own=[mine], machines=MACHINES)
    assert [row.usd_per_hour for row in whole.rows] == pytest.approx([mine.usd_per_hour, 8.0])
    assert cheapest(prices, GIB, per_gpu=True, machines=MACHINES).best.usd_per_hour == 1.0


def test_epoch_and_million_stand_in_the_table() -> None:
    table = cheapest(book(offer("x", 3.6)), GIB, time_s=2.0, source="l4", batch_size=10, examples=95, machines=MACHINES)
    assert table.best.epoch_usd is not None
    assert table.best.million_usd is not None
    assert table.best.epoch_usd.value == pytest.approx(0.02)
    assert table.best.million_usd.value == pytest.approx(200)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"memory_bytes": 0}, "memory_bytes"),
        ({"memory_bytes": 1.5}, "memory_bytes"),
        ({"top": 0}, "top"),
        ({"time_s": 1.0}, "time_s needs source="),
        ({"time_s": 1.0, "source": "abacus"}, "no machine 'abacus' is known; there are l4, h100-sxm, t4"),
        ({"examples": 5}, "examples needs batch_size="),
        ({"batch_size": -1}, "batch_size"),
    ],
)
def test_wrong_question_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(PriceError, match=problem):
        cheapest(book(offer("x", 1.0)), **({"memory_bytes": GIB, "machines": MACHINES} | arguments))


def test_table_is_written_for_people_and_programs() -> None:
    prices = book(offer("slow", 0.8), offer("fast|er", 4.0, gpu="H100 SXM", gib=80, spot=True))
    table = prices.cheapest(20 * GIB, time_s=(0.1, 0.08, 0.2), source="l4", batch_size=32, machines=MACHINES)
    assert CostTable.from_dict(json.loads(json.dumps(table.to_dict()))) == table
    text = table.markdown()
    assert "| machine | usable GiB | $/hour | step, s | $/1000 steps | $/million | priced |" in text
    assert "p fast\\|er (H100 SXM) spot" in text
    assert "0.1 (0.08–0.2) |" in text  # where it was measured: no star
    assert "0.0224 (0.008–0.1)* |" in text  # sqrt(0.5 * 0.1) * 0.1
    assert "not measured" in text
    assert "- a.page" in text
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table.table())
    assert "p slow (L4)" in console.export_text()


def test_first_use_with_the_prices_that_come_along() -> None:
    prices = PriceBook.load(today=TODAY)
    table = prices.cheapest(40 * GIB, time_s=0.2, source="h100-pcie", precision="bf16", batch_size=16, top=100)
    assert table.fitting >= 20
    assert all(row.step_usd is not None for row in table.rows)  # nothing ranks last for want of figures
    measured = next(row for row in table.rows if not row.estimated)
    assert measured.price.gpu == "H100 PCIe"
    assert measured.time_s == Amount(0.2)
    costs = [row.step_usd.value for row in table.rows if row.step_usd is not None]
    assert costs == sorted(costs)


def test_a_gpu_that_lacks_the_format_ranks_last_and_says_so() -> None:
    offers = book(offer("volta", 0.1, gpu="V100 PCIe", gib=32), offer("ada", 0.8))
    table = cheapest(offers, GIB, time_s=1.0, source="l4", precision="bf16")
    assert [row.price.instance for row in table.rows] == ["ada", "volta"]
    assert table.rows[1].basis == "the bf16 rate of NVIDIA V100 PCIe 32 GB is not known, or it has none (config/machines.yml)"
