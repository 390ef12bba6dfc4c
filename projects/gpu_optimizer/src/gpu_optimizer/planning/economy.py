"""On which machine a step costs least: one plan for each machine that has a price, cheapest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch

from gpu_optimizer.costing import Price, PriceBook, known_machines, machine_for
from gpu_optimizer.errors import PlanError, PriceError
from gpu_optimizer.planning.plans import Plan
from gpu_optimizer.planning.request import EXACT, BudgetError, PlanOptions, requested, step_of
from gpu_optimizer.planning.scenario import Traces
from gpu_optimizer.planning.search import answer
from gpu_optimizer.steps import TrainingStep
from shared_utils.devices import MachineProfile


def cheapest_plans(
    model: torch.nn.Module | TrainingStep,
    sample: Any = None,
    budget: int | float | str = "90%",
    *,
    book: PriceBook | None = None,
    machines: Iterable[str] | None = None,
    known: Mapping[str, MachineProfile] | None = None,
    **rest: Any,
) -> tuple[Plan, ...]:
    """Plans for one GPU of every machine with a price, the one with the cheapest step first.

    What the step needs is traced once for each kind of device, not for each machine. Times are those that the machines'
    peak rates allow, see `roofline_times`; prices are those of the cheapest offer, divided by its GPUs.

    Args:
        model: As in `plan`.
        sample: As in `plan`.
        budget: As in `plan`, a share of each machine's memory or bytes.
        book: Prices. Default: those that come with the project.
        machines: Short names of the machines to compare. Default: all that have a price.
        known: Figures of machines by short name. Default: config/machines.yml.
        rest: Further arguments of `plan`.

    Raises:
        BudgetError: The step fits on none of them; the error is that of the machine with the largest memory.
        PlanError: A machine is not known, or none has a price.
        PriceError: All prices are older than the book allows.
    """
    step_parts = {name: rest.pop(name) for name in ("loss", "target", "optimizer", "precision") if name in rest}
    step = step_of(model, sample, **step_parts)
    search = rest.pop("search", EXACT)
    profiles = dict(known_machines() if known is None else known)
    wanted = list(profiles) if machines is None else list(machines)
    if unknown := [name for name in wanted if name not in profiles]:
        raise PlanError(f"device: no machine {unknown[0]!r} is known; there are {', '.join(profiles)}")
    offers, stale = _offers(_open(book), profiles, wanted)
    traces: Traces = {}
    found, refused = [], []
    for name, offer in offers.items():
        priced_by = f"{offer.name}, {offer.date.isoformat()}: {offer.source}"
        options = cast("PlanOptions", rest | {"usd_per_hour": offer.usd_per_gpu_hour, "price_source": priced_by})
        try:
            found.append(answer(requested(step, budget, search=search, device=profiles[name], options=options, traces=traces)))
        except BudgetError as error:
            refused.append((profiles[name].memory_gib, error))
    if not found:
        raise max(refused, key=lambda refusal: refusal[0])[1]
    noted = (replace(made, notes=(*made.notes, *stale)) for made in found)
    return tuple(sorted(noted, key=lambda made: (made.usd_per_step or 0.0) / made.batch_size))


def _offers(book: PriceBook, profiles: Mapping[str, MachineProfile], wanted: Iterable[str]) -> tuple[dict[str, Price], tuple[str, ...]]:
    """The cheapest offer of each machine that is wanted, and what to say of those whose prices are too old.

    Raises:
        PlanError: None of them has a price.
    """
    names = list(wanted)
    fresh = _cheapest_offers(book.select(), profiles)
    refused = _cheapest_offers(book.refused, profiles)
    stale = tuple(_too_old(profiles[name].name, refused[name], book) for name in names if name in refused and name not in fresh)
    offers = {name: fresh[name] for name in names if name in fresh}
    if not offers:
        none = f"no price is known for {', '.join(names)}; pass book= with prices, or usd_per_hour= with one device"
        raise PlanError("; ".join((none, *stale)))
    return offers, stale


def _open(book: PriceBook | None) -> PriceBook:
    """The book given, or the project's.

    Raises:
        PriceError: None of its prices is young enough; the text says what can be passed instead.
    """
    if book is not None:
        return book
    try:
        return PriceBook.load()
    except PriceError as error:
        raise PriceError(
            f"{error}. For a plan: pass book=PriceBook.load(path) with a newer list, book=PriceBook.load(allow_old=True) to count "
            "with the old prices, or device= and usd_per_hour= with a price of your own"
        ) from error


def _too_old(machine: str, offer: Price, book: PriceBook) -> str:
    return (
        f"{machine} is not compared: its newest price ({offer.name}) is of {offer.date.isoformat()}, older than {book.max_age_days} days; "
        "import a newer list, or pass book=PriceBook.load(allow_old=True)"
    )


def _cheapest_offers(prices: Iterable[Price], profiles: Mapping[str, MachineProfile]) -> dict[str, Price]:
    """The cheapest offer of each machine, by the hour and GPU."""
    names = {id(profile): name for name, profile in profiles.items()}
    best: dict[str, Price] = {}
    for offer in prices:
        profile = machine_for(offer.gpu or offer.instance, profiles, memory_gib=offer.gpu_memory_gib)
        name = None if profile is None else names.get(id(profile))
        if name is not None and (name not in best or offer.usd_per_gpu_hour < best[name].usd_per_gpu_hour):
            best[name] = offer
    return best
