"""Checks 3 and 5 on a GPU: activations that wait on the host, and what the allocator's memory breaks into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_check_parts import Finding, seconds_of, synchronize
from torch import nn

from gpu_optimizer.planning import format_bytes
from gpu_optimizer.planning.checkpoints import Checkpoints
from gpu_optimizer.profiling import AllocatorSettings, Request, analyze_snapshot, capture
from gpu_optimizer.profiling.replay import replay
from gpu_optimizer.training import HostPool, TensorSwapper
from gpu_optimizer.training.swap_backend import Backend, CudaBackend

MIB = 2**20


class SquareTransposes(nn.Module):
    """Saves a square tensor and its transpose: one key for both gives wrong gradients."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(size) + 0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x[: x.shape[1]] @ self.weight)
        return (y @ y.t()) * (y.t() * y)


class Tied(nn.Module):
    """One weight twice, the second time transposed; and a broadcast of a row."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(size) + 0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(x @ self.weight)
        row = y[:1].expand_as(y)
        return torch.tanh((y * row) @ self.weight.t())


class Reused(nn.Module):
    """Large tensors come and go between saved ones, so that addresses are used again."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size, size) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x)) * torch.sigmoid(layer(x) + 1)
            (x.detach() * 2).sum()
        return x


class InPlace(nn.Module):
    """Outputs are changed in place before they are saved, by two operators at once."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size, size) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu_(layer(x).mul_(1.5))
            x = x * torch.sigmoid(x)
        return x


def plain_layers(size: int) -> nn.Module:
    """What is checkpointed inside the swapper's context."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, size), nn.Tanh()) for _ in range(3)))


CASES: dict[str, tuple[Callable[[int], nn.Module], tuple[str, ...]]] = {
    "square transposes": (SquareTransposes, ()),
    "tied weights and broadcasts": (Tied, ()),
    "addresses used again": (Reused, ()),
    "changed in place": (InPlace, ()),
    "checkpoints inside": (plain_layers, ("0", "2")),
}


def equal_gradients(device: torch.device, *, size: int = 512, backend: Backend | None = None) -> Iterator[Finding]:
    """Gradients with and without the swapper, for each trap."""
    for name, (make, recomputed) in CASES.items():
        torch.manual_seed(0)
        model = make(size).to(device)
        x = torch.randn(2 * size, size, device=device, requires_grad=True)
        gradients = []
        for swapping in (False, True):
            model.zero_grad(set_to_none=True)
            x.grad = None
            swapper = TensorSwapper(model, backend=backend, min_bytes=1 << 10)
            with Checkpoints(model).apply(recomputed):
                if swapping:
                    with swapper:
                        loss = model(x).square().mean()
                else:
                    loss = model(x).square().mean()
                loss.backward()
            gradients.append([x.grad.clone(), *(parameter.grad.clone() for parameter in model.parameters())])
        same = all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
        words = f"{'equal' if same else 'DIFFERENT'}, {format_bytes(swapper.counters.out_bytes)} moved"
        yield Finding(what=name, figure=words, goal="every bit, and something moved", passed=same and swapper.counters.out_bytes > 0)


def offload(*, device: torch.device, quick: bool) -> Iterator[Finding]:
    """Check 3."""
    torch.use_deterministic_algorithms(True)
    yield from equal_gradients(device)
    torch.use_deterministic_algorithms(False)
    pinned = yield from _rates(device, 64 if quick else 256)
    yield from _pool(16)
    yield from _overlap(device, pinned)
    yield _growth(device, 40 if quick else 200)


def _rates(device: torch.device, mib: int) -> Iterator[Finding]:
    size = mib * MIB
    there = torch.zeros(size, dtype=torch.uint8, device=device)
    best = 0.0
    for name, host in (
        ("pinned", torch.empty(size, dtype=torch.uint8, pin_memory=True)),
        ("pageable", torch.zeros(size, dtype=torch.uint8)),
    ):
        out = size / seconds_of(lambda host=host: host.copy_(there, non_blocking=True), device) / 1e9
        back = size / seconds_of(lambda host=host: there.copy_(host, non_blocking=True), device) / 1e9
        best = max(best, out)
        yield Finding(what=f"{name} copies of {mib} MiB", figure=f"{out:.1f} GB/s out, {back:.1f} GB/s back")
    return best


def _pool(mib: int) -> Iterator[Finding]:
    """A buffer from the pool against pinning memory for every tensor; sizes differ, so torch's own cache does not help."""
    held: list[torch.Tensor] = []
    fresh = seconds_of(
        lambda: held.append(torch.empty(mib * MIB + 4096 * len(held), dtype=torch.uint8, pin_memory=True)), torch.device("cpu")
    )
    held.clear()
    pool = HostPool(CudaBackend())

    def lend() -> None:
        lent = pool.take(mib * MIB)
        if lent is not None:
            pool.give_back(lent[0], None)

    reused = seconds_of(lend, torch.device("cpu"), repeats=20)
    figure = f"{1e6 * fresh:.0f} us pinned anew, {1e6 * reused:.1f} us from the pool"
    yield Finding(what=f"a host buffer of {mib} MiB", figure=figure, goal="the pool is faster", passed=reused < fresh)


def _deep(device: torch.device, width: int = 4096, depth: int = 8) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(depth))).to(device)
    return model, torch.randn(4096, width, device=device)


def _swapped_step(model: nn.Module, x: torch.Tensor, swapper: TensorSwapper | None) -> None:
    model.zero_grad(set_to_none=True)
    if swapper is None:
        loss = model(x).square().mean()
    else:
        with swapper:
            loss = model(x).square().mean()
    loss.backward()


def _overlap(device: torch.device, rate_gb_per_s: float) -> Iterator[Finding]:
    """How much of the copies' time is hidden behind the computation."""
    model, x = _deep(device)
    swapper = TensorSwapper(model, keep=[x])
    without = seconds_of(lambda: _swapped_step(model, x, None), device)
    before = swapper.counters.out_bytes
    with_it = seconds_of(lambda: _swapped_step(model, x, swapper), device, repeats=5, warm_up=2)
    moved = (swapper.counters.out_bytes - before) / 7
    copies = 2 * moved / (rate_gb_per_s * 1e9)
    hidden = 1 - (with_it - without) / copies if copies else 0.0
    words = f"{1000 * without:.1f} ms without, {1000 * with_it:.1f} ms with"
    words += f"; copies of {format_bytes(moved)} out and back alone {1000 * copies:.1f} ms"
    yield Finding(what="copies hidden behind the computation", figure=f"{hidden:.0%} ({words})", goal="over 0 %", passed=hidden > 0)


def _growth(device: torch.device, steps: int) -> Finding:
    """Memory on both sides after a tenth of the steps, and after all."""
    model, x = _deep(device, width=1024, depth=6)
    swapper = TensorSwapper(model, keep=[x], min_bytes=1 << 18)
    seen: list[tuple[int, int]] = []
    for number in range(steps):
        _swapped_step(model, x, swapper)
        if number in (steps // 10, steps - 1):
            synchronize(device)
            seen.append((torch.cuda.memory_allocated(device), swapper.pool.total_bytes))
    grown = tuple(last - first for first, last in zip(*seen, strict=True))
    figure = f"{format_bytes(grown[0])} on the device, {format_bytes(grown[1])} on the host"
    return Finding(what=f"growth over {steps} steps", figure=figure, goal="none", passed=max(grown) <= 0)


def shapes(seed: int, *, rounds: int = 40) -> list[Request]:
    """A program whose shapes alternate: some tensors stay, the others come and go in other sizes every time."""
    random = np.random.default_rng(seed)
    requests, live, number = [], [], 0
    spread = int(random.integers(2, 40))
    for _ in range(rounds):
        for _ in range(8):
            requests.append(Request("alloc", number, int(random.integers(1, spread + 1) * MIB + random.integers(0, MIB))))
            live.append(number)
            number += 1
        random.shuffle(live)
        keep = int(random.integers(4, 12))
        requests.extend(Request("free", key) for key in live[keep:])
        del live[keep:]
    return requests


def played(requests: list[Request], device: torch.device) -> dict[str, Any]:
    """The program for real: what was allocated and reserved at most, and the largest free block at the end."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    held: dict[Any, torch.Tensor] = {}
    for request in requests:
        if request.action == "alloc":
            held[request.key] = torch.empty(request.size_bytes, dtype=torch.uint8, device=device)
        else:
            del held[request.key]
    report = analyze_snapshot(capture(device.index or 0), advice=False)
    return {
        "allocated": torch.cuda.max_memory_allocated(device),
        "reserved": torch.cuda.max_memory_reserved(device),
        "largest_free": report.largest_free_bytes,
        "free": report.free_bytes,
    }


def ranks(values: list[float]) -> np.ndarray:
    """Places in order, equal values sharing theirs."""
    array = np.asarray(values, dtype=float)
    return np.array([(array < value).sum() + ((array == value).sum() - 1) / 2 for value in array])


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's; nan where one side does not vary."""
    a, b = ranks(one), ranks(other)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def fragmentation(*, device: torch.device, quick: bool) -> Iterator[Finding]:
    """Check 5: the same programs by default and with expandable segments, each in a process of its own, and simulated."""
    seeds = list(range(4 if quick else 10))
    predicted: list[float] = []
    truth: list[float] = []
    for name, conf in (("default", ""), ("expandable segments", "expandable_segments:True")):
        rows = _in_another_process(seeds, conf)
        settings = AllocatorSettings(expandable_segments=bool(conf))
        simulated = [replay(shapes(seed), settings).peak_bytes for seed in seeds]
        ratio = sum(row["reserved"] for row in rows) / sum(row["allocated"] for row in rows)
        error = float(np.median([abs(p / row["reserved"] - 1) for p, row in zip(simulated, rows, strict=True)]))
        largest = format_bytes(np.median([row["largest_free"] for row in rows]))
        yield Finding(what=f"{name}: reserved / allocated", figure=f"{ratio:.3f}, largest free block {largest} (median)")
        yield Finding(
            what=f"{name}: simulator against reserved", figure=f"{error:.2%} median error", goal="at most 5 %", passed=error <= 0.05
        )
        predicted += [p / row["allocated"] for p, row in zip(simulated, rows, strict=True)]
        truth += [row["reserved"] / row["allocated"] for row in rows]
    rank = rank_correlation(predicted, truth)
    yield Finding(
        what="rank correlation of simulated and real reserved / allocated", figure=f"{rank:.3f}", goal="at least 0.9", passed=rank >= 0.9
    )


def _in_another_process(seeds: list[int], conf: str) -> list[dict[str, Any]]:
    """The allocator reads its settings once, before the first use of CUDA."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")}
    if conf:
        environment["PYTORCH_ALLOC_CONF"] = conf
    words = [sys.executable, str(Path(__file__).resolve()), *map(str, seeds)]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
    if said.returncode:
        raise RuntimeError(f"the program with {conf or 'default settings'} failed: {said.stderr.strip().splitlines()[-1:]}")
    return json.loads(said.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps([played(shapes(int(seed)), torch.device("cuda", 0)) for seed in sys.argv[1:]]))
