"""Estimated against measured memory of training steps, and models estimated that no machine here could hold.

    python projects/gpu_optimizer/benchmarks/estimates.py
    python projects/gpu_optimizer/benchmarks/estimates.py --device cuda --json out/estimates.json

Each case is estimated without running and then run for two steps: on a CPU the truth is every byte that torch's
allocator handed out, by the profiler's record; on CUDA it is `max_memory_allocated`. Goal: median error at most 3 %,
no estimate more than 5 % below the measurement. On a CPU sizes are small enough for 3 minutes and 6 GiB.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gpu_optimizer.models import build
from gpu_optimizer.profiling import estimate_step, measure_step

MIB = 2**20
Case = tuple[Mapping[str, Any], dict[str, Any]]

CASES: tuple[Case, ...] = (
    ({"model": "resnet50", "batch": 4, "image_size": 128}, {}),
    ({"model": "resnet50", "batch": 4, "image_size": 128}, {"precision": "bf16"}),
    ({"model": "mobilenet_v3_large", "batch": 4, "image_size": 128}, {}),
    ({"model": "yolo11n-pose", "batch": 2, "image_size": 256}, {}),
    ({"model": "stgcn", "batch": 4, "frames": 64}, {}),
    ({"model": "vit_b_16", "batch": 2}, {"optimizer": "sgd_momentum"}),
    ({"model": "bert-base", "batch": 2, "sequence_length": 64}, {}),
    ({"model": "gpt2", "batch": 1, "sequence_length": 128, "num_hidden_layers": 6}, {}),
    ({"model": "gpt2", "batch": 2, "sequence_length": 64, "num_hidden_layers": 6}, {"accumulation": 2, "precision": "bf16"}),
    ({"model": "llama-block", "batch": 1, "sequence_length": 256, "hidden_size": 1024, "num_attention_heads": 16}, {}),
    ({"model": "unet", "batch": 2, "image_size": 128}, {}),
    ({"model": "unet", "batch": 2, "image_size": 128}, {"optimizer": "sgd", "accumulation": 2}),
    ({"model": "lstm", "batch": 8, "sequence_length": 64}, {}),
    ({"model": "mlp", "batch": 256}, {}),
    ({"model": "torchvision:convnext_tiny", "batch": 2, "image_size": 128}, {"optimizer": "sgd_momentum"}),
    ({"model": "torchvision:shufflenet_v2_x1_0", "batch": 4, "image_size": 128}, {}),
)
LARGE_CASES: tuple[Case, ...] = (
    ({"model": "resnet50", "batch": 64}, {}),
    ({"model": "resnet50", "batch": 64}, {"precision": "bf16"}),
    ({"model": "vit_b_16", "batch": 32}, {}),
    ({"model": "bert-base", "batch": 16, "sequence_length": 512}, {"precision": "bf16"}),
    ({"model": "gpt2", "batch": 8, "sequence_length": 1024}, {"precision": "bf16"}),
    ({"model": "sd-unet", "batch": 1}, {"precision": "bf16", "optimizer": "sgd"}),
)
ABSENT: tuple[Case, ...] = (
    ({"model": "llama-7b", "batch": 1, "sequence_length": 2048}, {"precision": "bf16"}),
    ({"model": "sd-unet", "batch": 4}, {}),
)


def rows(device: str = "cpu") -> Iterator[dict[str, Any]]:
    """One row per case: estimated and measured bytes, where their peaks are, and how long both took."""
    for spec, rest in (*CASES, *(LARGE_CASES if device == "cuda" else ())):
        accumulation = rest.get("accumulation", 1)
        settings = {key: value for key, value in rest.items() if key != "accumulation"}
        step = build(spec, device=device, **settings).replace(accumulation=accumulation)
        begun = time.perf_counter()
        estimated = estimate_step(step)
        between = time.perf_counter()
        measured = measure_step(step)
        yield {
            "model": name_of(spec, rest),
            "parameters": sum(parameter.numel() for parameter in step.model.parameters()),
            "estimated_bytes": estimated.peak_bytes,
            "measured_bytes": measured.peak_bytes,
            "error": estimated.peak_bytes / measured.peak_bytes - 1,
            "estimated_peak": f"{estimated.peak_phase} {estimated.peak_step + 1}",
            "measured_peak": f"{measured.peak_phase} {measured.peak_step + 1}",
            "estimate_s": between - begun,
            "measure_s": time.perf_counter() - between,
        }
        del step, estimated, measured
        gc.collect()


def absent_rows() -> Iterator[dict[str, Any]]:
    """Models that are estimated without being there: time taken, and by how much this process grew meanwhile."""
    for spec, rest in ABSENT:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        begun = time.perf_counter()
        step = build(spec, **rest)
        profile = estimate_step(step, target="cuda")
        yield {
            "model": name_of(spec, rest),
            "parameters": sum(parameter.numel() for parameter in step.model.parameters()),
            "estimated_bytes": profile.peak_bytes,
            "peak": f"{profile.peak_phase} {profile.peak_step + 1}",
            "estimate_s": time.perf_counter() - begun,
            "grown_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
        }


def name_of(spec: Mapping[str, Any], rest: Mapping[str, Any]) -> str:
    """A case in words, for example `resnet50 b4 bf16`."""
    sizes = [f"{key.replace('_', ' ')} {value}" for key, value in spec.items() if key not in ("model", "batch")]
    return ", ".join(
        [f"{str(spec['model']).removeprefix('torchvision:')} b{spec['batch']}", *sizes, *[str(value) for value in rest.values()]]
    )


def summary(found: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Median of the errors' sizes, and the errors furthest below and above."""
    errors = [row["error"] for row in found]
    return {"median_error": statistics.median(map(abs, errors)), "lowest_error": min(errors), "highest_error": max(errors)}


def markdown(found: list[dict[str, Any]], absent: list[dict[str, Any]]) -> str:
    """Both tables and their summary."""
    lines = ["| model | parameters | estimated | measured | error | peak in | estimate takes |", "|---|--:|--:|--:|--:|---|--:|"]
    for row in found:
        where = (
            row["estimated_peak"] if row["estimated_peak"] == row["measured_peak"] else f"{row['estimated_peak']} / {row['measured_peak']}"
        )
        sizes = " | ".join(f"{row[key] / MIB:.1f} MiB" for key in ("estimated_bytes", "measured_bytes"))
        lines.append(
            f"| {row['model']} | {row['parameters'] / 1e6:.1f} M | {sizes} | {row['error']:+.2%} | {where} | {row['estimate_s']:.1f} s |"
        )
    total = summary(found)
    lines += ["", f"Median error {total['median_error']:.2%}, from {total['lowest_error']:+.2%} to {total['highest_error']:+.2%}.", ""]
    lines += [
        "| model, never allocated | parameters | estimated (CUDA) | peak in | takes | process grows by |",
        "|---|--:|--:|---|--:|--:|",
    ]
    lines += [
        f"| {row['model']} | {row['parameters'] / 1e6:.0f} M | {row['estimated_bytes'] / 2**30:.2f} GiB | {row['peak']}"
        f" | {row['estimate_s']:.0f} s | {row['grown_bytes'] / MIB:.0f} MiB |"
        for row in absent
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the tables, and write them as JSON where a path is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    absent, found = list(absent_rows()), []
    for row in rows(arguments.device):
        found.append(row)
        print(f"{row['model']}: {row['error']:+.2%}", flush=True)
    print(markdown(found, absent))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"device": arguments.device, "rows": found, "absent": absent, **summary(found)}, indent=1))


if __name__ == "__main__":
    main()
