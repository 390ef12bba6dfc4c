"""What a worker does: estimates, plans and snapshots, each from an order of plain values to a result of plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Progress = Callable[[float, str], None]


def run_estimate(order: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """What a training step of a known model would need; nothing runs."""
    step = _step(order, progress)
    from gpu_optimizer.api.summaries import profile_summary
    from gpu_optimizer.profiling import estimate_step

    progress(0.5, "following the step")
    profile = estimate_step(step, target=order["target"])
    progress(0.9, "writing it down")
    return profile_summary(profile, step, name=order["name"])


def run_plan(order: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """How a known model is trained within a budget, computed with a machine's figures; nothing runs."""
    from gpu_optimizer.api.machines import machine_profile_of

    machine = machine_profile_of(order["machine"])
    step = _step(order, progress)
    from gpu_optimizer.planning import plan

    progress(0.4, "searching")
    found = plan(step, budget=order["budget"], device=machine, progress=lambda text: progress(0.6, text[:200]))
    return json.loads(json.dumps(found.to_dict()))


def run_snapshot(order: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """What an uploaded memory snapshot says about fragmentation, with its largest segments for a map."""
    from gpu_optimizer.api.summaries import report_summary
    from gpu_optimizer.profiling.cuda_analyzer import analyze_snapshot

    progress(0.1, "reading and repeating its history")
    report = analyze_snapshot(Path(order["path"]), device=order.get("device"))
    progress(0.9, "writing it down")
    return report_summary(report)


def _step(order: Mapping[str, Any], progress: Progress) -> Any:
    progress(0.05, "loading torch")
    from gpu_optimizer.models import build

    progress(0.3, "building the model")
    step = build(order["model"], batch=order["batch"], device="meta")
    return step.replace(precision=order["precision"], optimizer=order["optimizer"], accumulation=order["accumulation"])


TASKS: dict[str, Callable[[Mapping[str, Any], Progress], dict[str, Any]]] = {
    "estimate": run_estimate,
    "plan": run_plan,
    "snapshot": run_snapshot,
}
