"""Checkpointing everything is dominated: a plan gets the same memory for less time.

    python projects/gpu_optimizer/examples/checkpoint_everything.py [--small] [--picture FILE]

Six convolutional stages of which the first holds most: while it is computed again it needs what it saved, so checkpoints
elsewhere cost time and save nothing at the peak. The plan's budget is what everything checkpointed needs (and 2 % for the
error of the prediction). Peaks are measured by the byte; times are medians of steps that take turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from gpu_optimizer import CheckpointManager, ErrorLedger, Plan, TrainingStep, estimate_step, measure_step, plan
from gpu_optimizer.planning import format_bytes

MARGIN = 0.02


def six_stages(side: int) -> TrainingStep:
    """The network and a batch of four pictures."""
    torch.manual_seed(0)
    channels, stages = 3, []
    for width in (16, 32, 32, 64, 64, 128):
        stages.append(
            nn.Sequential(
                *(nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(8, width), nn.GELU()),
                *(nn.Conv2d(width, width, 3, padding=1, stride=2), nn.GroupNorm(8, width), nn.GELU()),
            )
        )
        channels = width
    model = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return TrainingStep.of(model, torch.randn(4, 3, side, side), optimizer="sgd_momentum")


STAGES = tuple(str(number) for number in range(6))


def applied(way: str, step: TrainingStep, made: Plan) -> AbstractContextManager[object]:
    """What is in force while the block runs."""
    if way == "the plan":
        return made.apply(step.model)
    return CheckpointManager(step.model).checkpoint(STAGES) if way == "every stage checkpointed" else nullcontext()


def main(words: list[str] | None = None) -> int:
    """Measure three ways to run the same step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="smaller pictures and fewer rounds, for tests")
    parser.add_argument("--picture", type=Path, help="draw the memory of the plain step over time into this file")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    step = six_stages(64 if options.small else 192)
    with CheckpointManager(step.model).checkpoint(STAGES):
        everything = measure_step(step).peak_bytes
    budget = int(everything * (1 + MARGIN)) + 1
    made = plan(step, budget=budget, search={"checkpoint"}, margin=MARGIN, ledger=ErrorLedger(None))
    if options.picture:
        estimate_step(step).plot(options.picture)
    ways = ("plain", "every stage checkpointed", "the plan")
    peaks, times = {}, {way: [] for way in ways}
    for way in ways:
        with applied(way, step, made):
            peaks[way] = measure_step(step).peak_bytes
    optimizer = step.make_optimizer()
    for turn in range(3 if options.small else 12):
        for way in ways:
            with applied(way, step, made):
                begin = time.perf_counter()
                step.run(optimizer)
                if turn:
                    times[way].append(time.perf_counter() - begin)
    shown = Table(title=f"six stages, batch 4; the plan recomputes {', '.join(made.recomputed) or 'nothing'}")
    for title in ("way", "measured peak", "median step", "time / plain"):
        shown.add_column(title, justify="left" if title == "way" else "right")
    for way in ways:
        median = statistics.median(times[way])
        share = statistics.median(one / plain for one, plain in zip(times[way], times["plain"], strict=True))
        shown.add_row(way, format_bytes(peaks[way]), f"{1000 * median:.0f} ms", f"{share:.2f}")
    Console(width=max(Console().width, 110)).print(shown)
    return 0 if peaks["the plan"] <= budget else 1


if __name__ == "__main__":
    raise SystemExit(main())
