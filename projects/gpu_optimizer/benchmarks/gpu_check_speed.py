"""Checks 6 to 10 on a GPU: number formats, CUDA graphs, streams, batches under load, and the monitor's gauges."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from gpu_check_parts import Finding, resnet50, seconds_of, spread_of, synchronize
from torch import nn
from torch.nn import functional

from gpu_optimizer.planning import format_bytes
from gpu_optimizer.steps import Precision, TrainingStep

MIB = 2**20


def _classifier(device: torch.device, width: int) -> nn.Module:
    torch.manual_seed(0)
    layer = lambda: nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)  # noqa: E731
    return nn.Sequential(nn.Linear(32, width), *(layer() for _ in range(3)), nn.Linear(width, 32)).to(device)


def _adam(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3)  # type: ignore[arg-type]


def trained(device: torch.device, precision: Precision, *, width: int, steps: int) -> tuple[list[float], float]:
    """Losses of a short training and its median step time: a sequence is to be turned round."""
    step = TrainingStep.of(
        _classifier(device, width), torch.zeros(1, 1, 32, device=device), loss=functional.mse_loss, optimizer=_adam, precision=precision
    )
    optimizer, scaler = step.make_optimizer(), step.make_scaler()
    generator = torch.Generator().manual_seed(1)
    losses, times = [], []
    for _ in range(steps):
        x = torch.randn(64, 64, 32, generator=generator).to(device)
        now = TrainingStep.of(step.model, x, loss=functional.mse_loss, target=x.flip(2), optimizer=_adam, precision=precision)
        synchronize(device)
        begin = time.perf_counter()
        losses.append(now.run(optimizer, scaler=scaler))
        times.append(time.perf_counter() - begin)
    return losses, statistics.median(times[2:])


def precisions(
    *,
    device: torch.device,
    quick: bool,
    formats: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16"),
    width: int = 512,
    steps: int = 100,
) -> Iterator[Finding]:
    """Check 6: the same training in every number format; the losses drift by little, and finite they stay."""
    steps = 30 if quick else steps
    base, base_s = trained(device, formats[0], width=width, steps=steps)
    end = statistics.fmean(base[-5:])
    yield Finding(what=f"{formats[0]}, {steps} steps", figure=f"{1000 * base_s:.2f} ms, loss {base[0]:.4f} to {end:.4f}")
    for name in formats[1:]:
        losses, seconds = trained(device, name, width=width, steps=steps)
        last = statistics.fmean(losses[-5:])
        drift = abs(last - end) / base[0]
        figure = f"{1000 * seconds:.2f} ms ({base_s / seconds:.2f} times as fast), last losses off by {drift:.2%} of the first"
        yield Finding(what=name, figure=figure, goal="finite, at most 2 %", passed=bool(np.isfinite(losses).all()) and drift <= 0.02)


def _captured(model: nn.Module, batch: torch.Tensor, pool: object = None) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
    """A forward pass as a graph; its input is `batch`, in place."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), torch.no_grad():
        for _ in range(3):
            model(batch)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph, pool=pool):
        output = model(batch)
    return graph, output


def graphs(*, device: torch.device, quick: bool) -> Iterator[Finding]:
    """Check 7: replays give the eager bits, cost less at batch 1, and buckets share one pool of memory."""
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = False
    model = resnet50().to(device).eval()
    inputs = {size: torch.randn(size, 3, 224, 224, device=device) for size in (8, 4, 2, 1)}
    taken: dict[str, int] = {}
    made: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
    for way in ("pools of their own", "one shared pool"):
        made.clear()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved(device)
        pool = torch.cuda.graph_pool_handle() if way == "one shared pool" else None
        for size, batch in inputs.items():
            made[size] = _captured(model, batch, pool)
        taken[way] = torch.cuda.memory_reserved(device) - before
    for size, (graph, output) in sorted(made.items()):
        with torch.no_grad():
            wanted = model(inputs[size])
        graph.replay()
        synchronize(device)
        same = torch.equal(wanted, output)

        def eager(size: int = size) -> None:
            with torch.no_grad():
                model(inputs[size])

        slow, fast = seconds_of(eager, device, repeats=20), seconds_of(graph.replay, device, repeats=20)
        figure = f"{'equal' if same else 'DIFFERENT'}, {1000 * slow:.2f} ms eager, {1000 * fast:.2f} ms replayed"
        yield Finding(what=f"ResNet-50, batch {size}", figure=figure, goal="every bit", passed=same)
    shared, own = taken["one shared pool"], taken["pools of their own"]
    yield Finding(
        what="memory of four graphs",
        figure=f"{format_bytes(shared)} shared, {format_bytes(own)} apart",
        goal="less shared",
        passed=shared <= own,
    )


def streams(*, device: torch.device, quick: bool) -> Iterator[Finding]:
    """Check 8: two models one after the other, and at once on two streams, with the same results."""
    torch.manual_seed(0)
    models = [resnet50((1, 1, 1, 1)).to(device).eval() for _ in range(2)]
    batch = torch.randn(4, 3, 224, 224, device=device)
    lanes = [torch.cuda.Stream(device) for _ in models]

    def one_by_one() -> list[torch.Tensor]:
        with torch.no_grad():
            return [model(batch) for model in models]

    def at_once() -> list[torch.Tensor]:
        now, outputs = torch.cuda.current_stream(device), []
        for model, lane in zip(models, lanes, strict=True):
            lane.wait_stream(now)
            with torch.cuda.stream(lane), torch.no_grad():
                outputs.append(model(batch))
        for output, lane in zip(outputs, lanes, strict=True):
            now.wait_event(lane.record_event())
            output.record_stream(now)
        return outputs

    rounds = 5 if quick else 50
    wanted = [output.clone() for output in one_by_one()]
    same = all(torch.equal(a, b) for _ in range(rounds) for a, b in zip(wanted, at_once(), strict=True))
    slow, fast = seconds_of(one_by_one, device, repeats=20), seconds_of(at_once, device, repeats=20)
    yield Finding(what=f"results over {rounds} rounds", figure="equal" if same else "DIFFERENT", goal="every bit", passed=same)
    yield Finding(
        what="time of both", figure=f"{1000 * slow:.2f} ms on one stream, {1000 * fast:.2f} ms on two ({slow / fast:.2f} times as fast)"
    )


def served(run: Callable[[int], None], arrivals: np.ndarray, *, window_s: float, most: int) -> list[float]:
    """Waiting times of requests that arrive at given moments and are run together within a window, at most so many at once."""
    waits: list[float] = []
    begin = time.perf_counter()
    first = 0
    while first < len(arrivals):
        now = time.perf_counter() - begin
        if now < arrivals[first]:
            time.sleep(arrivals[first] - now)
        last = arrivals[first] + window_s
        while (now := time.perf_counter() - begin) < last and not (first + most <= len(arrivals) and arrivals[first + most - 1] <= now):
            following = arrivals[min(first + most, len(arrivals)) - 1]
            time.sleep(max(min(last, max(following, now)) - now, 0.0002))
        there = int(np.searchsorted(arrivals, now, side="right"))
        size = max(min(there - first, most), 1)
        run(size)
        done = time.perf_counter() - begin
        waits.extend(done - arrivals[index] for index in range(first, first + size))
        first += size
    return waits


def batching(
    *, device: torch.device, quick: bool, model: nn.Module | None = None, side: int = 224, load_s: float = 3.0, most: int = 32
) -> Iterator[Finding]:
    """Check 9: images by the second at each batch size; waiting times with a window of 10 ms at three loads."""
    torch.manual_seed(0)
    net = (model or resnet50()).to(device).eval()
    sizes = [size for size in (1, 2, 4, 8, 16, 32) if size <= most]
    batches = {size: torch.randn(size, 3, side, side, device=device) for size in sizes}

    def run(size: int) -> None:
        bucket = next(known for known in sizes if known >= size)
        with torch.no_grad():
            net(batches[bucket])
        synchronize(device)

    rates = {size: size / seconds_of(lambda size=size: run(size), device, repeats=5 if quick else 15) for size in sizes}
    yield Finding(what="images per second by batch", figure=", ".join(f"{size}: {rate:.0f}" for size, rate in rates.items()))
    best = max(rates, key=lambda size: rates[size])
    gain = rates[best] / rates[1]
    yield Finding(what="batching pays", figure=f"{gain:.2f} times the images at batch {best}")
    generator = np.random.default_rng(0)
    for load in (0.3, 0.6, 0.9):
        rate = load * rates[best]
        count = max(int(rate * (load_s / 3 if quick else load_s)), 20)
        waits = served(run, np.cumsum(generator.exponential(1 / rate, count)), window_s=0.01, most=best)
        p50, p95, p99 = (1000 * spread_of(waits, share) for share in (0.5, 0.95, 0.99))
        figure = f"{count} requests, p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"
        yield Finding(what=f"{load:.0%} of {rates[best]:.0f} images/s, window 10 ms", figure=figure)


def gauges(*, device: torch.device, quick: bool) -> Iterator[Finding]:
    """Check 10: what the monitor reads is what nvidia-smi says; how long a scrape takes; this process is named."""
    from gpu_optimizer.monitoring import MemoryCollector
    from gpu_optimizer.monitoring.snapshot import SnapshotReader

    held = torch.zeros(256 * MIB, dtype=torch.uint8, device=device)
    synchronize(device)
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    with SnapshotReader() as reader:
        ours = next((gpu for gpu in reader.read().gpus if uuid in gpu.uuid), None)
        theirs = smi(uuid)
        if ours is None or theirs is None:
            yield Finding(
                what="this GPU",
                figure=f"NVML {'sees' if ours else 'does not see'} it, nvidia-smi {'does' if theirs else 'does not'}",
                goal="both see it",
                passed=False,
            )
            return
        yield from compared(
            {
                "memory used, MiB": None if ours.memory_used_bytes is None else ours.memory_used_bytes / MIB,
                "temperature, C": ours.temperature_c,
                "power, W": ours.power_w,
            },
            theirs,
        )
        processes = reader.read_processes().processes
        mine = next((row for row in processes if row.pid == os.getpid()), None)
        words = (
            "not named (in a container the driver tells the host's numbers)" if mine is None else format_bytes(mine.memory_used_bytes or 0)
        )
        yield Finding(what=f"this process among {len(processes)}", figure=words)
        collector = MemoryCollector(reader)
        seconds = seconds_of(lambda: list(collector.collect()), torch.device("cpu"), repeats=9)
    yield Finding(what="one scrape", figure=f"{1000 * seconds:.1f} ms", goal="at most 100 ms", passed=seconds <= 0.1)
    del held


TOLERANCES = {"memory used, MiB": 64.0, "temperature, C": 3.0, "power, W": 40.0}


def compared(ours: dict[str, float | None], theirs: dict[str, float | None]) -> Iterator[Finding]:
    """Each figure of ours beside nvidia-smi's; they are read a moment apart."""
    for name, most in TOLERANCES.items():
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None:
            yield Finding(what=name, figure="not reported here")
            continue
        passed = abs(one - other) <= most
        yield Finding(what=name, figure=f"{one:.1f}, nvidia-smi {other:.1f}", goal=f"within {most:.0f}", passed=passed)


def smi(uuid: str) -> dict[str, float | None] | None:
    """What nvidia-smi says of one GPU; None where it does not know it."""
    fields = "uuid,memory.used,temperature.gpu,power.draw"
    words = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=15).stdout
    return parse_smi(said, uuid)


def parse_smi(said: str, uuid: str) -> dict[str, float | None] | None:
    """The row of one GPU."""
    for line in said.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4 and uuid in cells[0]:
            return dict(zip(TOLERANCES, (_number(cell) for cell in cells[1:]), strict=True))
    return None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:  # "[N/A]", "[Not Supported]"
        return None
