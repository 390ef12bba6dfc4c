"""What each module costs, from the lives and calls that a tracker recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch

from gpu_optimizer._torch_private import storage_key, storages_of
from gpu_optimizer.profiling.profile import ModuleCost, live_bytes
from gpu_optimizer.profiling.tracker import Call, Life, Tracker


def module_costs(model: torch.nn.Module, tracker: Tracker) -> tuple[ModuleCost, ...]:
    """One row per module of the model, from the first micro-batch that the tracker saw.

    Args:
        model: The model, with parameters of any kind.
        tracker: What followed its step.
    """
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in tracker.calls:
        if not call.recompute and call.window == 0:
            calls[call.module].append(call)
    inside = _lives_inside(tracker.lives)
    return tuple(_cost(name, module, calls[name], inside) for name, module in model.named_modules())


def _lives_inside(lives: Iterable[Life]) -> dict[int, list[Life]]:
    """The lives that began in each call of the first micro-batch, by the call's `id`, recomputed ones aside."""
    inside: dict[int, list[Life]] = defaultdict(list)
    for life in lives:
        if life.window == 0 and life.phase != "optimizer":
            for call in life.stack:
                inside[id(call)].append(life)
    return inside


def _cost(name: str, module: torch.nn.Module, calls: list[Call], inside: dict[int, list[Life]]) -> ModuleCost:
    saved = forward_peak = backward_peak = peak = 0
    for call in calls:
        lives = inside[id(call)]
        here = sum(life.size_bytes for life in lives if _only_saved_in(life, call))
        forward = _peak((life for life in lives if life.phase == "forward"), call.born, call.died)
        gradients = (life for life in lives if life.phase == "backward" and life.category is None)
        backward = _peak(gradients, *call.backward) if call.backward else 0
        saved, forward_peak, backward_peak = saved + here, max(forward_peak, forward), max(backward_peak, backward)
        peak = max(peak, forward, here + backward)
    return ModuleCost(
        name=name,
        kind=type(module).__name__,
        depth=name.count(".") + 1 if name else 0,
        calls=len(calls),
        parameter_bytes=_parameter_bytes(module),
        saved_bytes=saved,
        input_bytes=sum(life.size_bytes for call in calls for life in call.inputs.values()),
        extra_input_bytes=sum(life.size_bytes for call in calls for life in call.inputs.values() if not _kept_anyway(life)),
        output_bytes=sum(life.size_bytes for call in calls for life in call.outputs if life.born > call.born),
        forward_flops=sum(call.flops for call in calls),
        forward_peak_bytes=forward_peak,
        backward_temporary_bytes=backward_peak,
        peak_temporary_bytes=peak,
    )


def _only_saved_in(life: Life, call: Call) -> bool:
    """Whether a tensor made in a call is kept for backward, and only by what happens in it."""
    if life.phase != "forward":
        return False
    if life.savers:
        return all(any(frame is call for frame in stack) for stack in life.savers)
    outlives = life.died is None or life.died > call.died
    return outlives and not any(output is life for output in call.outputs) and _survives_forward(life, call)


def _survives_forward(life: Life, call: Call) -> bool:
    """Whether a tensor nobody saved is held until the call's backward pass, as the inputs of checkpoints inside it are."""
    return call.backward is not None and (life.died is None or life.died > call.backward[0])


def _kept_anyway(life: Life) -> bool:
    return life.category is not None or bool(life.savers)


def _peak(lives: Iterable[Life], first: int, last: int) -> int:
    ticks, totals = live_bytes(lives)
    chosen = totals[(ticks >= first) & (ticks <= last)]
    return int(np.max(chosen)) if len(chosen) else 0


def _parameter_bytes(module: torch.nn.Module) -> int:
    sizes = {storage_key(storage): storage.nbytes() for parameter in module.parameters() for storage in storages_of(parameter)}
    return sum(sizes.values())
