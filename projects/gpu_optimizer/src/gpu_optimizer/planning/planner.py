"""`plan`: the fastest (or cheapest) way to run a training step that stays within a memory budget.

A model, a sample and a budget go in, a frozen `Plan` comes out. For every number format and split into micro-batches
that may be used: trace the plain step without running it, time its parts here, build the cost table, solve it
exactly, then trace again with the solution in force, so the predicted peak is that of the plan itself and not of the
table. Ways that could not be faster than the best one found are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal, Unpack

import torch

from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.economy import cheapest_plans
from gpu_optimizer.planning.plans import Plan
from gpu_optimizer.planning.request import EXACT, PlanOptions, requested, step_of
from gpu_optimizer.planning.search import answer
from gpu_optimizer.steps import OptimizerSpec, Precision, TrainingStep


def plan(
    model: torch.nn.Module | TrainingStep,
    sample: Any = None,
    budget: int | float | str | None = None,
    *,
    loss: Callable[..., torch.Tensor] | None = None,
    target: Any = None,
    optimizer: OptimizerSpec = "adamw",
    precision: Precision = "fp32",
    objective: Literal["time", "cost"] = "time",
    search: Collection[str] = EXACT,
    device: Any = None,
    **options: Unpack[PlanOptions],
) -> Plan:
    """The fastest way to run a training step within a memory budget.

    Args:
        model: The model, on its device or on "meta"; or a whole `TrainingStep`, and no sample then.
        sample: What it is called with: a whole batch, as it is to be trained on.
        budget: Bytes that tensors may take at any moment: a number, "8GiB", or "90%" of the device. Default: 90 %.
        loss: As in `TrainingStep`, with `target` and `optimizer`.
        target: Second argument of the loss.
        optimizer: A name, a function from parameters to an optimizer, or None.
        precision: Number format that is used unless the search may choose.
        objective: "time" for the fastest step on one device; "cost" for the cheapest among machines with a price, those
            named in `device` or all, unless `usd_per_hour` gives the price of one.
        search: What may be done. "checkpoint", "offload" (activations and the optimizer's state to the host) and
            "accumulation" leave what is trained as it is; "precision" and "batch" (another size) do not.
        device: What to plan for, default the model's device: a device here, or another machine by its `MachineProfile`
            or its short name in config/machines.yml.
        options: See `PlanOptions`.

    Raises:
        BudgetError: Nothing makes it fit; it says the smallest budget that works and what stands in the way.
        PlanError: Something asked for makes no sense.
        PriceError: The objective is "cost" and no price is young enough.

    Example:
        >>> from gpu_optimizer import ErrorLedger
        >>> model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh()) for _ in range(6)))
        >>> made = plan(model, torch.randn(512, 64), "1.2 MiB", optimizer="sgd", ledger=ErrorLedger(None), repeats=1)
        >>> made.guarded_peak_bytes <= made.budget_bytes, made.batch_size
        (True, 512)
    """
    step = step_of(model, sample, loss=loss, target=target, optimizer=optimizer, precision=precision)
    if objective not in ("time", "cost"):
        raise PlanError(f"objective: expected 'time' or 'cost', got {objective!r}")
    if objective == "cost" and options.get("usd_per_hour") is None:
        return cheapest_plans(step, None, "90%" if budget is None else budget, machines=_names(device), search=search, **options)[0]
    return answer(requested(step, budget, search=search, device=device, options=options))


def _names(device: Any) -> list[str] | None:
    """Short names of the machines to compare; None for all."""
    if device is None or isinstance(device, str):
        return None if device is None else [device]
    if isinstance(device, list | tuple | set | frozenset) and all(isinstance(name, str) for name in device):
        return list(device)
    raise PlanError(f"device: to compare prices give short names of machines, got {type(device).__name__}; or one device and usd_per_hour=")
