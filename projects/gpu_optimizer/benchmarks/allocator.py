"""The simulated CUDA allocator: how fast it is, whether it is right, and what growing segments are worth.

    python projects/gpu_optimizer/benchmarks/allocator.py
    python projects/gpu_optimizer/benchmarks/allocator.py --json out/allocator.json

Speed: requests per second of a replay, median of five, the settings taking turns. Right: agreement with the slow
twin of the tests on random lists, and with torch's own allocator where there is a CUDA device. Worth: peak of
reserved memory by settings for lists with changing shapes; the last one is a ResNet-18 whose training step is
estimated at changing batch sizes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.replay import Request, replay, requests_from_lives

MIB = 2**20
SETTINGS = {
    "default": AllocatorSettings(),
    "expandable": AllocatorSettings.parse("expandable_segments:True"),
    "power2 / 8": AllocatorSettings.parse("roundup_power2_divisions:8"),
    "max_split 128": AllocatorSettings.parse("max_split_size_mb:128"),
}
TESTS = Path(__file__).parents[1] / "tests/profiling"


def random_requests(count: int, seed: int = 0) -> list[Request]:
    """Half allocations, half releases of what is there; sizes from 1 KB to 64 MB, evenly in their logarithm."""
    rng = random.Random(seed)
    requests: list[Request] = []
    live: list[int] = []
    for number in range(count):
        if live and (len(live) > 400 or rng.random() < 0.5):
            requests.append(Request("free", live.pop(rng.randrange(len(live)))))
        else:
            requests.append(Request("alloc", number, int(10 ** rng.uniform(3, 7.8)), stream=int(rng.random() < 0.1)))
            live.append(number)
    return requests


def speed(count: int = 50_000, rounds: int = 5) -> list[dict[str, Any]]:
    requests = random_requests(count)

    def recorded() -> None:
        replay(requests, simulator=AllocatorSimulator())

    runs: dict[str, Callable[[], Any]] = {name: lambda s=setting: replay(requests, s) for name, setting in SETTINGS.items()}
    runs["default, with history"] = recorded
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return [{"settings": name, "requests_per_s": round(count / statistics.median(taken))} for name, taken in times.items()]


def from_tests(name: str) -> Any:
    """A module of the tests: the judges live there."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def on_device() -> list[dict[str, Any]]:
    """The same requests made of torch's own allocator; empty without a CUDA device."""
    import torch

    if not torch.cuda.is_available():
        return []
    judge = from_tests("test_allocator_device")
    return [{"settings": text or "default", **judge.compare(text, count=5000)} for text in judge.SETTINGS]


def agreement(lists: int = 200, length: int = 150) -> dict[str, int]:
    """Random lists on a small device, compared with the twin after every request."""
    module = from_tests("test_allocator_twin")
    requests = wrong = refused = 0
    for seed in range(lists):
        capacity = 100 * MIB
        simulator, twin = AllocatorSimulator(capacity_bytes=capacity, record=False), module.Twin(capacity)
        for request in random_requests(length, seed):
            requests += 1
            if request.action == "free":
                simulator.free(request.key)
                twin.free(request.key)
            else:
                try:
                    simulator.alloc(request.key, request.size_bytes, stream=request.stream)
                    served = True
                except MemoryError:
                    served = False
                    refused += 1
                wrong += twin.alloc(request.key, request.size_bytes, request.stream) != served
            wrong += (simulator.reserved_bytes, simulator.allocated_bytes) != (twin.reserved, twin.allocated)
    return {"lists": lists, "requests": requests, "refused_requests": refused, "disagreements": wrong}


def layers(sizes: list[float], steps: int, depth: int = 24) -> list[Request]:
    """Steps whose activations scale with a changing size: each layer keeps one tensor and uses one for a moment."""
    requests = [Request("alloc", ("weight", layer), 3 * MIB) for layer in range(depth)]
    for step in range(steps):
        size = sizes[step % len(sizes)]
        for layer in range(depth):
            amount = int(size * (1 + layer % 3) * MIB)
            requests += [Request("alloc", (step, layer), amount), Request("alloc", (step, layer, "work"), amount // 2)]
            requests.append(Request("free", (step, layer, "work")))
        requests += [Request("free", (step, layer)) for layer in reversed(range(depth))]
    return requests


def resnet(batches: list[int]) -> list[Request]:
    """The estimated steps of a ResNet-18 at several batch sizes, one after the other in one process."""
    import torch
    from torchvision.models import resnet18

    from gpu_optimizer.profiling.estimate import estimate_step
    from gpu_optimizer.steps import TrainingStep

    with torch.device("meta"):
        model = resnet18()
        sample = torch.empty(1, 3, 224, 224)
    step = TrainingStep.of(model, sample, optimizer="sgd_momentum")
    requests: list[Request] = []
    for number, batch in enumerate(batches):
        lives = estimate_step(step.with_batch(batch), steps=1, target="cuda").lives
        stays = {index for index, life in enumerate(lives) if life.died is None and life.category != "inputs"}
        held: list[Any] = []
        for request in requests_from_lives(lives):
            if request.key in stays and number:  # weights and optimizer state are there since the first step
                continue
            requests.append(request._replace(key=(number, request.key)))
            if request.action == "alloc":
                held.append(request.key)
            else:
                held.remove(request.key)
        requests += [Request("free", (number, key)) for key in held if key not in stays]
    return requests


def worth() -> list[dict[str, Any]]:
    rng = random.Random(1)
    cases = {
        "one shape": layers([4.0], 12),
        "two shapes in turns": layers([4.0, 5.3], 12),
        "growing shapes": layers([3.0 + 0.35 * step for step in range(12)], 12),
        "random shapes": layers([rng.uniform(2, 7) for _ in range(30)], 30),
        "ResNet-18, batches 8 to 40": resnet([8, 24, 12, 40, 20, 32, 16, 36]),
    }
    rows = []
    for name, requests in cases.items():
        stats = {title: replay(requests, setting).stats for title, setting in SETTINGS.items()}
        # Segments that grow split to 512 bytes; elsewhere up to 1 MiB behind a tensor counts as used.
        row: dict[str, Any] = {"case": name, "requests": len(requests), "used": round(stats["expandable"].peak_active_bytes / MIB)}
        rows.append(row | {title: round(each.peak_reserved_bytes / MIB) for title, each in stats.items()})
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    figures = {"speed": speed(), "agreement": agreement(), "on_device": on_device(), "worth": worth()}
    show("50,000 requests, one core", figures["speed"])
    show("agreement with the slow twin (100 MiB device)", [figures["agreement"]])
    if figures["on_device"]:
        show("agreement with torch's own allocator", figures["on_device"])
    else:
        print("agreement with torch's own allocator: not measured, there is no CUDA device here")
    show("peak of reserved memory, MiB", figures["worth"])
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
