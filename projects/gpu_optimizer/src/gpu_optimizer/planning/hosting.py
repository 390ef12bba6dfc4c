"""What it costs to keep things on the host: the rate of copies to it, and an optimizer's step on its processor.

Measured where the device is here; for other machines the link that their maker states, and an estimate of the host.
None of the figures for other machines has been checked on one.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterable

import torch

from gpu_optimizer.errors import PlanError
from gpu_optimizer.planning.machine import Machine
from gpu_optimizer.steps import TrainingStep

LINK_SHARE = 0.8
"""Share of a link's peak that pinned copies reach: 12 to 13 of 15.75 GB/s on PCIe 3.0 x16, the rest is protocol."""

_PCIE_GB_PER_S = {"5.0 x16": 63.0, "4.0 x16": 31.5, "4.0 x8": 15.75, "3.0 x16": 15.75}
"""Peak rate each way: 8, 16 and 32 GT/s a lane with 128b/130b coding."""

_LINKS = (
    (r"RTX 50[5-9]0.*Laptop|RTX 5060", None),  # x8 or x16 by model and laptop: not stated for all
    (r"RTX 50[7-9]0", "5.0 x16"),
    (r"RTX 40[5-7]0.*(Laptop|Mobile)", "4.0 x8"),
    (r"RTX (40[7-9]0|30[6-9]0)", "4.0 x16"),
    (r"H100|H200|B200", "5.0 x16"),
    (r"\bA100\b|\bA10G?\b|\bL4\b|\bL40S?\b|RTX A[456]000", "4.0 x16"),
    (r"\bT4\b|\bV100\b|RTX 20[6-8]0", "3.0 x16"),
)
"""Link by name, as NVIDIA's data sheets and architecture whitepapers state it."""

_HOST_BYTES_PER_S = 20e9  # what two channels of DDR4-3200 (51 GB/s peak) leave to a program that reads and writes in turns
_PASSES = 7  # parameter, gradient and two states read, all but the gradient written
_PROBE = 1 << 20  # parameters in the timed step


def copy_rate(machine: Machine, gb_per_s: float | None = None) -> float | None:
    """Bytes per second between device and pinned host memory, each way; None where nobody knows.

    Args:
        machine: The device.
        gb_per_s: What the user says, 10^9 bytes per second.

    Raises:
        PlanError: The user's figure is not above 0.

    Example:
        >>> copy_rate(Machine.of("t4")) / 1e9
        12.6
    """
    if gb_per_s is not None:
        if not 0 < gb_per_s < float("inf"):
            raise PlanError(f"copy_gb_per_s: expected a rate above 0, such as 25, got {gb_per_s}")
        return gb_per_s * 1e9
    if machine.torch_device is not None:
        return _measured(machine.torch_device) if machine.torch_device.type == "cuda" else None
    link = next((link for pattern, link in _LINKS if re.search(pattern, machine.name)), None)
    return None if link is None else _PCIE_GB_PER_S[link] * 1e9 * LINK_SHARE


def _measured(device: torch.device) -> float:
    """The rate of four copies of 64 MiB into pinned memory."""
    size = 64 * 2**20
    host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(size, dtype=torch.uint8, device=device)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    there.copy_(host, non_blocking=True)
    begin.record()
    for _ in range(4):
        host.copy_(there, non_blocking=True)
    end.record()
    end.synchronize()
    return 4 * size / (begin.elapsed_time(end) / 1000)


def host_optimizer_s(step: TrainingStep, copy_bytes_per_s: float, *, here: bool) -> float:
    """Seconds of an optimizer step on the host: gradients go there, it computes, parameters come back.

    Nothing of it hides behind the computation of the device: it begins when the last gradient is there.

    Args:
        step: The step; only what is trainable travels.
        copy_bytes_per_s: Rate of copies.
        here: Whether the host is this one, so that its step can be timed; else it is estimated from the
            bandwidth of ordinary memory.
    """
    trainable = [parameter for parameter in step.model.parameters() if parameter.requires_grad]
    numbers = sum(parameter.numel() for parameter in trainable)
    travelling = 2 * sum(parameter.nbytes for parameter in trainable)
    compute = _timed_step(step) * numbers / _PROBE if here else _PASSES * 4 * numbers / _HOST_BYTES_PER_S
    return travelling / copy_bytes_per_s + compute


def _timed_step(step: TrainingStep) -> float:
    """Median time of the step's optimizer over a million parameters on this host."""
    holder = torch.nn.Module()
    holder.part = torch.nn.Parameter(torch.zeros(_PROBE))
    optimizer = step.replace(model=holder).make_optimizer()
    holder.part.grad = torch.zeros(_PROBE)
    return 0.0 if optimizer is None else statistics.median(_seconds(optimizer) for _ in range(5))


def _seconds(optimizer: torch.optim.Optimizer) -> float:
    begin = time.perf_counter()
    optimizer.step()
    return time.perf_counter() - begin


def why_nothing_moves(machine: Machine, asked: Iterable[str], rate: float | None) -> str | None:
    """Why nothing can be moved to the host although the search may; None where it can, or is not worth a word."""
    if "offload" not in asked or rate is not None or not machine.has_host:
        return None
    return (
        f"nothing is moved to the host: how fast {machine.name} copies to it is not known; pass copy_gb_per_s= with its rate, "
        "if it has a memory of its own"
    )
