"""What swapping costs beside the copies themselves, and what checkpoints cost, on the CPU.

    python projects/gpu_optimizer/benchmarks/swapping.py [--rounds N] [--json FILE]

The "device" here is the CPU's own memory: a copy out is a memcpy into a pooled buffer, a copy in another into new
memory, both at once and without overlap. So the time of the copies is an upper bound that says nothing about a GPU; the
bookkeeping around them (keys, handles, pool, hooks) is the same code there. "copies alone" is the same bytes copied by
hand. All variants run in turns in one process; medians. Not measured on CUDA.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gpu_optimizer.training import CheckpointManager, TensorSwapper, checkpoint_candidates
from gpu_optimizer.training.meter import HostMeter

MIB = 1 << 20


class Done:
    """A transfer that is over."""

    def finished(self) -> bool:
        return True

    def order(self) -> None:
        pass

    def wait(self) -> None:
        pass


class MemcpyBackend:
    """Device and host are the same memory; buffers are told apart by their address."""

    def __init__(self) -> None:
        self.buffers: set[int] = set()

    def owns(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() not in self.buffers

    def host_buffer(self, size_bytes: int) -> torch.Tensor:
        buffer = torch.empty(size_bytes, dtype=torch.uint8)
        self.buffers.add(buffer.untyped_storage().data_ptr())
        return buffer

    def copy_out(self, source: torch.Tensor, buffer: torch.Tensor, _after: Any) -> Done:
        buffer.copy_(source)
        return Done()

    def copy_in(self, buffer: torch.Tensor, _device: torch.device, _after: Any) -> tuple[torch.Tensor, Done]:
        return buffer.clone(), Done()


class NoCopyBackend(MemcpyBackend):
    """Bookkeeping only: nothing is copied, what comes back is uninitialised memory of the right size."""

    def copy_out(self, _source: torch.Tensor, _buffer: torch.Tensor, _after: Any) -> Done:
        return Done()

    def copy_in(self, buffer: torch.Tensor, _device: torch.device, _after: Any) -> tuple[torch.Tensor, Done]:
        return torch.empty_like(buffer), Done()


def mlp() -> tuple[nn.Module, torch.Tensor]:
    layers = [nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512)) for _ in range(6)]
    return nn.Sequential(*layers), torch.randn(256, 512)


def conv() -> tuple[nn.Module, torch.Tensor]:
    blocks = [nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()) for _ in range(8)]
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *blocks), torch.randn(4, 3, 64, 64)


def transformer() -> tuple[nn.Module, torch.Tensor]:
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), torch.randn(8, 64, 256)


MODELS: dict[str, Callable[[], tuple[nn.Module, torch.Tensor]]] = {"MLP": mlp, "conv net": conv, "transformer": transformer}


def run(model: nn.Module, sample: torch.Tensor, context: Any) -> None:
    model.zero_grad(set_to_none=True)
    with context:
        loss = model(sample).square().mean()
    loss.backward()


def rows(*, rounds: int = 9) -> list[dict[str, Any]]:
    """One row per model and variant."""
    torch.set_num_threads(1)
    made = []
    for name, make in MODELS.items():
        torch.manual_seed(0)
        model, sample = make()
        options = {"min_bytes": 1 << 16, "host_limit_bytes": 1 << 31}
        swapper = TensorSwapper(model, backend=MemcpyBackend(), **options)
        empty = TensorSwapper(model, backend=NoCopyBackend(), **options)
        manager = CheckpointManager(model)
        names = checkpoint_candidates(model)

        def checkpointed(net: nn.Module = model, rows: torch.Tensor = sample, manager: Any = manager, names: Any = names) -> None:
            with manager.checkpoint(names):
                run(net, rows, nullcontext())

        variants: dict[str, Callable[[], None]] = {
            "plain": lambda net=model, rows=sample: run(net, rows, nullcontext()),
            "swapping, bookkeeping only": lambda net=model, rows=sample, context=empty: run(net, rows, context),
            "swapping, with copies": lambda net=model, rows=sample, context=swapper: run(net, rows, context),
            "checkpoints at every block": checkpointed,
        }
        times: dict[str, list[float]] = {key: [] for key in variants}
        for turn in range(rounds + 2):
            for key, variant in variants.items():
                started = time.perf_counter()
                variant()
                if turn >= 2:
                    times[key].append(time.perf_counter() - started)
        peaks = {}
        for key in ("plain", "checkpoints at every block"):
            model.zero_grad(set_to_none=True)
            with HostMeter(holding=[*model.parameters(), *model.buffers(), sample]) as meter:
                variants[key]()
            peaks[key] = round(meter.peak_bytes / MIB, 1)
        swapper.flush()
        moved = swapper.counters.out_bytes / (rounds + 2) / MIB
        plain = statistics.median(times["plain"])
        for key, taken in times.items():
            made.append(
                {
                    "model": name,
                    "variant": key,
                    "time_ms": round(statistics.median(taken) * 1e3, 1),
                    "against_plain": round(statistics.median(taken) / plain, 3),
                    "moved_mib": round(moved, 1) if key == "swapping, with copies" else 0.0,
                    "peak_mib": peaks.get(key),
                }
            )
    return made


def as_markdown(table: list[dict[str, Any]]) -> str:
    keys = ("model", "variant", "time_ms", "against_plain", "moved_mib", "peak_mib")
    head = "| model | variant | ms a step | against plain | MiB copied out | peak MiB |\n|---|---|---|---|---|---|"
    return "\n".join([head, *("| " + " | ".join("" if row[key] is None else str(row[key]) for key in keys) + " |" for row in table)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the rows there too")
    options = parser.parse_args()
    table = rows(rounds=options.rounds)
    print(as_markdown(table))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))
