"""Tune a diffusion model: which number format and batch fit which card, what they cost, and where they cost least.

    python projects/gpu_optimizer/examples/diffusion_model_tune.py [--small]

The noise predictor of Stable Diffusion 1.5 (860 million weights) at 512 x 512 lies on torch's meta device: nothing is
allocated. Times follow from peak rates and are rough; prices are those of config/prices with their date, and a card of
one's own is counted by its purchase and electricity. `--small` takes a small U-Net instead, for tests.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from gpu_optimizer.costing import OwnMachine, PriceBook, cost_per_million, known_machines
from gpu_optimizer.models import build
from gpu_optimizer.planning import BudgetError, ErrorLedger, Plan, format_bytes, plan

CARDS = ("rtx-5070-ti", "h100-sxm")
FORMATS = ("fp32", "bf16")
KEPT_FREE = 0.9  # of a card's memory; the rest is the driver's and the context's


def own_card(purchase_usd: float, usd_per_kwh: float) -> OwnMachine:
    """An RTX 5070 Ti under a desk, busy half of the time."""
    return OwnMachine(
        name="RTX 5070 Ti at home",
        gpu="RTX 5070 Ti",
        gpus=1,
        gpu_memory_gib=16,
        purchase_usd=purchase_usd,
        power_w=400,
        usd_per_kwh=usd_per_kwh,
        memory_gib=32,
    )


def hourly(key: str, book: PriceBook, mine: OwnMachine) -> tuple[float, str]:
    """Price of a card by the hour, and where it comes from."""
    if key == "rtx-5070-ti":
        return mine.usd_per_hour, mine.price(book.today).source
    offer = book.select(gpu="H100 SXM", spot=False)[0]
    return offer.usd_per_gpu_hour, f"{offer.provider}, {offer.date}"


Answers = dict[tuple[str, int, str], Plan | BudgetError]


def planned(
    spec: dict[str, object],
    batches: tuple[int, ...],
    budgets: dict[str, int],
    book: PriceBook,
    mine: OwnMachine,
    tell: Callable[[str], None],
) -> Answers:
    """A plan, or why there is none, for each format, batch and card."""
    machines, answers = known_machines(), Answers()
    for precision in FORMATS:
        for batch in batches:
            step = build(spec, batch=batch, optimizer="adamw", precision=precision)
            for key, budget in budgets.items():
                tell(f"{precision}, batch {batch}, {machines[key].name}")
                usd, source = hourly(key, book, mine)
                try:
                    answers[precision, batch, key] = plan(
                        step,
                        budget=budget,
                        device=machines[key],
                        search={"checkpoint"},
                        usd_per_hour=usd,
                        price_source=source,
                        ledger=ErrorLedger(None),
                    )
                except BudgetError as error:
                    answers[precision, batch, key] = error
    return answers


def table(answers: Answers, budgets: dict[str, int], book: PriceBook, mine: OwnMachine) -> Table:
    """One row for each format, batch and card."""
    machines = known_machines()
    shown = Table(title="training with AdamW")
    for title in ("format", "batch", "card", "budget", "peak", "recomputed", "step", "examples/s", "USD per million examples"):
        shown.add_column(title, justify="left" if title in ("format", "card") else "right")
    for (precision, batch, key), answer in answers.items():
        begin = (precision, str(batch), machines[key].name, format_bytes(budgets[key]))
        if isinstance(answer, BudgetError):
            shown.add_row(*begin, "does not fit", "", "", "", f"smallest budget {format_bytes(answer.smallest_bytes)}")
            continue
        low, high = answer.time_range_s
        money = cost_per_million(hourly(key, book, mine)[0], (answer.predicted_s, low, high), batch_size=batch)
        shown.add_row(
            *begin,
            format_bytes(answer.predicted_peak_bytes),
            str(len(answer.recomputed)),
            f"{1000 * answer.predicted_s:.3g} ms ± {answer.time_error:.0%}",
            f"{batch / answer.predicted_s:.3g}",
            f"{money.value:.3g} ({money.low:.3g} to {money.high:.3g})",
        )
    return shown


def main(words: list[str] | None = None) -> int:
    """Plan, price, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a small U-Net and small budgets, for tests")
    parser.add_argument("--purchase-usd", type=float, default=1500.0, help="what your own machine cost (1500)")
    parser.add_argument("--usd-per-kwh", type=float, default=0.30, help="what your electricity costs (0.30)")
    options = parser.parse_args(words)
    machines, mine = known_machines(), own_card(options.purchase_usd, options.usd_per_kwh)
    book = PriceBook.load(allow_old=True)
    spec: dict[str, object] = {"model": "unet", "image_size": 32} if options.small else {"model": "sd-unet"}
    batches = (2,) if options.small else (1, 4)
    sizes = {"rtx-5070-ti": 120 * 2**20, "h100-sxm": 2**30}
    budgets = sizes if options.small else {key: int(KEPT_FREE * machines[key].memory_bytes) for key in CARDS}
    console, quiet, begin = Console(width=max(Console().width, 150)), Console(stderr=True), time.perf_counter()

    def tell(text: str) -> None:
        quiet.print(f"{time.perf_counter() - begin:5.0f} s  planning {text}")

    answers = planned(spec, batches, budgets, book, mine, tell)
    console.print(table(answers, budgets, book, mine))
    console.print(f"prices of {max(price.date for price in book.prices)} and before; own card: {mine.price(book.today).source}")
    fitting = [(way, found) for way, found in answers.items() if isinstance(found, Plan)]
    if not fitting:
        console.print("nothing fits; see the smallest budgets above")
        return 1
    (precision, batch, key), best = min(fitting, key=lambda pair: (pair[1].usd_per_step or 0.0) / pair[0][1])
    console.print(f"\nleast by the example: {best}\nwhere that step is cheapest, times carried over from {machines[key].name}:")
    costs = book.cheapest(
        best.guarded_peak_bytes,
        time_s=(best.predicted_s, *best.time_range_s),
        source=machines[key],
        precision=precision,
        batch_size=batch,
        own=[mine],
        per_gpu=True,
        top=6,
    )
    console.print(costs.table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
