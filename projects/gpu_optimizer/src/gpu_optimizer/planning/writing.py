"""From the way that was found to the plan that says so."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gpu_optimizer.planning.plans import Alternative, BlockPlan, Plan
from gpu_optimizer.planning.request import Found, Request
from gpu_optimizer.planning.table import OPTIMIZER
from gpu_optimizer.profiling.profile import rounded
from gpu_optimizer.steps import OptimizerSpec


def written(request: Request, best: Found, seen: Sequence[Found], notes: Sequence[str]) -> Plan:
    """The plan of the best way, with the others beside it."""
    saved = {block.name: block.saved_bytes(best.profile.granule_bytes) for block in best.scenario.blocks}
    saved |= {OPTIMIZER: _state_bytes(best)}
    seconds = {(best.table.blocks[option.block], option.action): option.time_s for option in best.table.options}
    chosen = zip(best.table.blocks, best.choice.actions, strict=True)
    measured = best.times.method == "measured"
    scatter = max(best.times.spread, 0.05)
    error = request.ledger.time_margin(request.machine.name, model=request.identity, default=2 * scatter if measured else 0.5)
    return Plan(
        model=request.identity,
        device=request.machine.name,
        budget_bytes=request.budget_bytes,
        margin=request.margin,
        batch_size=best.scenario.micro_batch * best.scenario.step.accumulation,
        micro_batch=best.scenario.micro_batch,
        accumulation=best.scenario.step.accumulation,
        precision=best.scenario.step.precision,
        optimizer=_optimizer_name(request.step.optimizer),
        blocks=tuple(
            BlockPlan(name=name, action=action, saved_bytes=saved[name], time_s=seconds[name, action])
            for name, action in chosen
            if action != "keep"
        ),
        predicted_peak_bytes=best.profile.peak_bytes,
        peak_phase=best.profile.peak_phase,
        by_category_at_peak={name: size for name, size in best.profile.by_category_at_peak.items() if size},
        predicted_s=best.time_s,
        time_error=min(error, 1.0),
        time_method=best.times.method,
        usd_per_step=None if request.usd_per_hour is None else request.usd_per_hour / 3600 * best.time_s,
        usd_per_hour=request.usd_per_hour,
        price_source=request.price_source,
        alternatives=tuple(_alternative(request, found) for found in seen),
        notes=tuple(dict.fromkeys(notes)),
        versions={"torch": torch.__version__, "gpu_optimizer": _version()},
    )


def _state_bytes(best: Found) -> int:
    """Bytes of the optimizer's state in the plain step."""
    lives = (life for life in best.scenario.profile.lives if life.category == "optimizer_state")
    return sum(rounded(life.size_bytes, best.profile.granule_bytes) for life in lives)


def _alternative(request: Request, found: Found) -> Alternative:
    return Alternative(
        name=found.name,
        micro_batch=found.scenario.micro_batch,
        accumulation=found.scenario.step.accumulation,
        precision=found.scenario.step.precision,
        recomputed=len(found.names("recompute")),
        offloaded=len(found.names("offload")) + len(found.names("host")),
        peak_bytes=found.profile.peak_bytes,
        time_s=found.time_s,
        fits=found.profile.peak_bytes <= request.usable_bytes,
    )


def _optimizer_name(optimizer: OptimizerSpec) -> str:
    return optimizer if isinstance(optimizer, str) else "none" if optimizer is None else getattr(optimizer, "__name__", "custom")


def _version() -> str:
    from gpu_optimizer import __version__

    return __version__
