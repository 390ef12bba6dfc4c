"""The simulator against torch's own allocator, block for block; only where there is a CUDA device.

Each comparison has a process of its own, since settings are read when CUDA starts and other tests leave blocks behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gpu_optimizer.profiling.allocator import AllocatorSimulator
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings

SETTINGS = ("", "expandable_segments:True", "max_split_size_mb:32", "roundup_power2_divisions:8")
PROGRAM = """
import json, random, sys
import torch

rng = random.Random(int(sys.argv[1]))
streams = [torch.cuda.current_stream(), torch.cuda.Stream()]
live, steps = {}, []
for number in range(int(sys.argv[2])):
    if live and (len(live) > 60 or rng.random() < 0.5):
        key = rng.choice(sorted(live))
        torch.cuda.caching_allocator_delete(live.pop(key))
        steps.append(["free", key, 0, 0, torch.cuda.memory_reserved()])
    else:
        size, stream = int(10 ** rng.uniform(2, 7.6)), int(rng.random() < 0.1)
        live[number] = torch.cuda.caching_allocator_alloc(size, None, streams[stream])
        steps.append(["alloc", number, size, stream, torch.cuda.memory_reserved()])
blocks = [[block["size"] for block in segment["blocks"]] for segment in torch.cuda.memory_snapshot()]
print(json.dumps({"steps": steps, "blocks": sorted(blocks), "total": torch.cuda.get_device_properties(0).total_memory}))
"""


def compare(text: str, seed: int = 0, count: int = 1500) -> dict[str, int]:
    """Requests made of torch's allocator, and how often the simulator reserves something else; also of all segments."""
    environment = {**os.environ, "PYTORCH_CUDA_ALLOC_CONF": text}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed), str(count)], env=environment, capture_output=True, text=True, timeout=240, check=True
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    simulator = AllocatorSimulator(AllocatorSettings.parse(text), capacity_bytes=answer["total"], record=False)
    wrong = 0
    for action, key, size, stream, reserved in answer["steps"]:
        if action == "free":
            simulator.free(key)
        else:
            simulator.alloc(key, size, stream=stream)
        wrong += simulator.reserved_bytes != reserved
    blocks = sorted([block.size for block in chain] for chain in simulator.segments())
    return {"requests": count, "disagreements": wrong, "segments": len(blocks), "segments_alike": int(blocks == answer["blocks"])}


@pytest.mark.gpu
@pytest.mark.parametrize("text", SETTINGS)
def test_simulator_reserves_what_torch_reserves(text: str) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    result = compare(text)
    assert result["disagreements"] == 0
    assert result["segments_alike"] == 1
