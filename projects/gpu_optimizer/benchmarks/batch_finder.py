"""The batch finder against accelerate's, on the same models and the same byte budgets, in one process.

    python projects/gpu_optimizer/benchmarks/batch_finder.py [--quick] [--json FILE]

Both run on the CPU under a meter that counts every storage and raises `torch.OutOfMemoryError` at the budget. A trial is
three whole steps. "next fits" says whether one example more would have fitted too: False means the size is the largest.
The estimate counts the scratch memory of convolutions, which a process does need and the meter does not see, so for the
conv net the size found is below the largest that the meter lets through.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gpu_optimizer.steps import TrainingStep
from gpu_optimizer.training import auto_batch_size
from gpu_optimizer.training.meter import HostMeter

MIB = 1 << 20
STEPS = 3


def cnn() -> tuple[nn.Module, torch.Tensor]:
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), torch.randn(2, 3, 64, 64)


def transformer() -> tuple[nn.Module, torch.Tensor]:
    layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), torch.randn(2, 32, 128)


def wide() -> tuple[nn.Module, torch.Tensor]:
    """Many weights, small activations: the peak of small batches is in the optimizer step."""
    return nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512)), torch.randn(2, 512)


MODELS: dict[str, tuple[Callable[[], tuple[nn.Module, torch.Tensor]], tuple[int, ...]]] = {
    "conv net 64x64": (cnn, (8, 20)),
    "transformer, 3 layers": (transformer, (24, 48)),
    "wide MLP": (wide, (41, 48)),
}


def steps(make: Callable[[], tuple[nn.Module, torch.Tensor]], size: int, budget_bytes: int) -> None:
    """What a user decorates: a short training at a batch size, under the budget."""
    torch.manual_seed(0)
    model, sample = make()
    step = TrainingStep.of(model, sample).with_batch(size)
    with HostMeter(budget_bytes, holding=[*model.parameters(), *model.buffers(), *step.sample.tensors()]):
        optimizer = step.make_optimizer()
        for _ in range(STEPS):
            step.run(optimizer)


def fits(make: Callable[[], tuple[nn.Module, torch.Tensor]], size: int, budget_bytes: int) -> bool:
    try:
        steps(make, size, budget_bytes)
    except torch.OutOfMemoryError:
        return False
    return True


def ours(make: Callable[[], tuple[nn.Module, torch.Tensor]], budget_bytes: int) -> dict[str, Any]:
    torch.manual_seed(0)
    model, sample = make()
    started = time.perf_counter()
    result = auto_batch_size(model, sample, budget=budget_bytes)
    return {
        "finder": "auto_batch_size",
        "size": result.batch_size,
        "ooms": result.oom_count,
        "trials": len(result.trials),
        "estimates": len(result.estimates),
        "predicted_mib": round(result.predicted_peak_bytes / MIB, 2),
        "measured_mib": round((result.measured_peak_bytes or 0) / MIB, 2),
        "time_s": round(time.perf_counter() - started, 2),
    }


def accelerates(make: Callable[[], tuple[nn.Module, torch.Tensor]], budget_bytes: int, start: int) -> dict[str, Any]:
    from accelerate.utils import find_executable_batch_size

    trials: list[int] = []

    @find_executable_batch_size(starting_batch_size=start)
    def train(batch_size: int) -> int:
        trials.append(batch_size)
        steps(make, batch_size, budget_bytes)
        return batch_size

    started = time.perf_counter()
    size = train()
    return {
        "finder": f"accelerate, from {start}",
        "size": size,
        "ooms": len(trials) - 1,
        "trials": len(trials),
        "estimates": 0,
        "time_s": round(time.perf_counter() - started, 2),
    }


def rows(*, quick: bool = False) -> list[dict[str, Any]]:
    """One row per model, budget and finder."""
    made = []
    torch.set_num_threads(1)
    auto_batch_size(*cnn(), budget=8 * MIB)  # what is imported on first use is not part of a search
    for name, (make, budgets) in MODELS.items():
        for budget in budgets[: 1 if quick else None]:
            found = [ours(make, budget * MIB)]
            # 128 is accelerate's default; where the largest size is beyond it, it stops there at the first try.
            found.append(accelerates(make, budget * MIB, 128))
            if found[0]["size"] > 128:
                found.append(accelerates(make, budget * MIB, 2 * found[0]["size"]))
            for row in found:
                made.append({"model": name, "budget_mib": budget, **row, "next_fits": fits(make, row["size"] + 1, budget * MIB)})
                gc.collect()
    return made


def as_markdown(table: list[dict[str, Any]]) -> str:
    head = "| model | budget MiB | finder | batch size | trials | out of memory | next fits | time s |\n|---|---|---|---|---|---|---|---|"
    keys = ("model", "budget_mib", "finder", "size", "trials", "ooms", "next_fits", "time_s")
    return "\n".join([head, *("| " + " | ".join(str(row[key]) for key in keys) + " |" for row in table)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one budget per model")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    options = parser.parse_args()
    table = rows(quick=options.quick)
    print(as_markdown(table))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))
