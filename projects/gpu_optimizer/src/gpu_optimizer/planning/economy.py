"""On which machine a step costs least: one plan for each machine that has a price, cheapest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from gpu_optimizer.costing import Price, PriceBook, known_machines, machine_for
from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.planner import plan
from gpu_optimizer.planning.plans import Plan
from gpu_optimizer.planning.request import BudgetError
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

    Times are those that the machines' peak rates allow, see `roofline_times`; prices are those of the cheapest offer,
    divided by its GPUs.

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
    """
    profiles = dict(known_machines() if known is None else known)
    wanted = list(profiles) if machines is None else list(machines)
    if unknown := [name for name in wanted if name not in profiles]:
        raise PlanError(f"device: no machine {unknown[0]!r} is known; there are {', '.join(profiles)}")
    book = PriceBook.load() if book is None else book
    offers = _cheapest_offers(book, profiles)
    priced = [name for name in wanted if name in offers]
    if not priced:
        raise PlanError(f"no price is known for {', '.join(wanted)}; pass book= with prices, or usd_per_hour= with one device")
    found, refused = [], []
    for name in priced:
        offer = offers[name]
        try:
            made = plan(
                model,
                sample,
                budget,
                device=profiles[name],
                usd_per_hour=offer.usd_per_gpu_hour,
                price_source=f"{offer.name}, {offer.date.isoformat()}: {offer.source}",
                **rest,
            )
        except BudgetError as error:
            refused.append((profiles[name].memory_gib, error))
            continue
        found.append(made)
    if not found:
        raise max(refused, key=lambda refusal: refusal[0])[1]
    return tuple(sorted(found, key=lambda made: (made.usd_per_step or 0.0) / made.batch_size))


def _cheapest_offers(book: PriceBook, profiles: Mapping[str, MachineProfile]) -> dict[str, Price]:
    """The cheapest offer of each machine, by the hour and GPU."""
    names = {id(profile): name for name, profile in profiles.items()}
    best: dict[str, Price] = {}
    for offer in book.select():
        profile = machine_for(offer.gpu or offer.instance, profiles)
        name = None if profile is None else names.get(id(profile))
        if name is not None and (name not in best or offer.usd_per_gpu_hour < best[name].usd_per_gpu_hour):
            best[name] = offer
    return best
