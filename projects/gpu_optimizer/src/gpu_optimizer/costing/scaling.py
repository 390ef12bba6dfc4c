"""Time on another machine, estimated from the figures of both: an estimate, never a measurement.

After the roofline model (Williams, Waterman, Patterson, CACM 2009) a kernel is limited either by arithmetic or by
memory. A program made of both kinds is sped up by something between the ratio of the two machines' arithmetic and
that of their bandwidths; these are the bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from gpu_optimizer.costing.amounts import Amount
from gpu_optimizer.errors import PriceError
from shared_utils.devices import MachineProfile, find_profile

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
# What price lists call GPUs, without signs, to the short names of config/machines.yml. Where a name leaves the size or the
# form open, all that it may be stand there, the slower ones first.
_ALIASES: dict[str, tuple[str, ...]] = {
    "a10": ("a10",),
    "a100": ("a100-pcie-40gb", "a100-pcie-80gb"),
    "a10040gb": ("a100-pcie-40gb",),
    "a10080gb": ("a100-pcie-80gb",),
    "a100pcie": ("a100-pcie-40gb", "a100-pcie-80gb"),
    "a100sxm": ("a100-sxm-40gb", "a100-sxm-80gb"),
    "a100sxm4": ("a100-sxm-40gb", "a100-sxm-80gb"),
    "a10g": ("a10g",),
    "a40": ("a40",),
    "a6000": ("rtx-a6000",),
    "h100": ("h100-pcie",),
    "h10080gb": ("h100-pcie",),
    "h10080gbhbm3": ("h100-sxm",),
    "h100nvl": ("h100-nvl",),
    "h100pcie": ("h100-pcie",),
    "h100sxm": ("h100-sxm",),
    "h100sxm5": ("h100-sxm",),
    "h200": ("h200-sxm",),
    "h200nvl": ("h200-nvl",),
    "h200sxm": ("h200-sxm",),
    "h200sxm5": ("h200-sxm",),
    "l4": ("l4",),
    "l40": ("l40",),
    "l40s": ("l40s",),
    "rtx3070ti": ("rtx-3070-ti",),
    "rtx3090": ("rtx-3090",),
    "rtx4070ti": ("rtx-4070-ti",),
    "rtx4090": ("rtx-4090",),
    "rtx5070ti": ("rtx-5070-ti",),
    "rtx5090": ("rtx-5090",),
    "rtx6000ada": ("rtx-6000-ada",),
    "rtxa6000": ("rtx-a6000",),
    "t4": ("t4",),
    "t4g": ("t4",),
    "v100": ("v100-pcie-16gb", "v100-pcie-32gb"),
    "v10032gb": ("v100-pcie-32gb",),
    "v100pcie": ("v100-pcie-16gb", "v100-pcie-32gb"),
    "v100sxm2": ("v100-sxm2-16gb", "v100-sxm2-32gb"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledTime:
    """A time carried over from one machine to another.

    Args:
        time_s: The estimate with its bounds.
        basis: In words, what it rests on.
    """

    time_s: Amount
    basis: str


def machine_for(gpu: str, machines: Mapping[str, MachineProfile], *, memory_gib: float | None = None) -> MachineProfile | None:
    """The figures of a GPU by the name a price list or a driver gives it; None when they are not known.

    Args:
        gpu: Its name.
        machines: Figures by short name.
        memory_gib: Its memory, which tells GPUs of one name apart; without it the smaller one is meant.

    Example:
        >>> from gpu_optimizer.costing.resources import known_machines
        >>> machine_for("NVIDIA H100-SXM", known_machines()).name
        'NVIDIA H100 SXM5 80 GB'
        >>> machine_for("A100 SXM", known_machines(), memory_gib=80).name
        'NVIDIA A100 SXM4 80 GB'
    """
    plain = re.sub(r"[^a-z0-9]", "", re.sub("nvidia|tesla|geforce", "", gpu.lower()))
    fitting = [machines[short] for short in _ALIASES.get(plain, ()) if short in machines]
    if fitting:
        return fitting[0] if memory_gib is None else min(fitting, key=lambda machine: abs(machine.memory_gib - memory_gib))
    return machines.get(gpu) or find_profile(gpu, machines)


def scale_time(
    time_s: Amount | float,
    source: MachineProfile,
    target: MachineProfile,
    *,
    precision: Precision = "fp32",
    flops: float | None = None,
    traffic_bytes: float | None = None,
) -> ScaledTime:
    """Time on another machine.

    Args:
        time_s: Time on `source`, measured or predicted.
        source: Machine it holds for.
        target: Machine it is wanted for.
        precision: Number format. "tf32" is fp32 with matrices rounded for the matrix units; a machine without that
            computes it as fp32, at the rate of fp32.
        flops: Floating point operations of the work; with `traffic_bytes` the best guess is exact roofline, without it
            is the geometric mean of the bounds.
        traffic_bytes: Bytes that it moves to and from memory.

    Raises:
        PriceError: A rate that is needed is not known, or a number is not positive.

    Example:
        >>> old = MachineProfile(name="old", kind="cuda", memory_gib=8, bandwidth_gb_per_s=300, fp32_tflops=10, source="x")
        >>> new = MachineProfile(name="new", kind="cuda", memory_gib=8, bandwidth_gb_per_s=600, fp32_tflops=80, source="x")
        >>> scale_time(1.0, old, new).time_s  # eight times the arithmetic, twice the bandwidth
        Amount(value=0.25, low=0.125, high=0.5)
    """
    if precision not in get_args(Precision):
        raise PriceError(f"precision: expected one of {', '.join(get_args(Precision))}, got {precision!r}")
    if (flops is None) != (traffic_bytes is None):
        raise PriceError("flops and traffic_bytes are given together or not at all")
    for name, number in (("flops", flops), ("traffic_bytes", traffic_bytes)):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise PriceError(f"{name}: expected a number above 0, got {number!r}")
    amount = Amount.of(time_s)
    if source == target:
        return ScaledTime(time_s=amount, basis=f"the same machine ({source.name})")
    arithmetic = _rate(source, precision) / _rate(target, precision)
    memory = source.bandwidth_bytes_per_s / target.bandwidth_bytes_per_s
    if flops is not None and traffic_bytes is not None:
        middle = _roof(target, precision, flops, traffic_bytes) / _roof(source, precision, flops, traffic_bytes)
        how = "roofline of its operations and bytes"
    else:
        middle, how = math.sqrt(arithmetic * memory), "geometric mean of arithmetic and bandwidth"
    low, high = min(arithmetic, memory, middle), max(arithmetic, memory, middle)
    return ScaledTime(
        time_s=Amount(amount.value * middle, amount.low * low, amount.high * high),
        basis=f"estimated from {source.name} by the {how}; bounds are the ratios of the machines' {precision} rates and bandwidths",
    )


def _rate(machine: MachineProfile, precision: Precision) -> float:
    rates = {
        "fp32": machine.fp32_tflops,
        "tf32": machine.tf32_tflops or machine.fp32_tflops,
        "bf16": machine.bf16_tflops,
        "fp16": machine.fp16_tflops,
    }
    rate = rates[precision]
    if rate is None:
        raise PriceError(f"the {precision} rate of {machine.name} is not known, or it has none (config/machines.yml)")
    return rate * 1e12


def _roof(machine: MachineProfile, precision: Precision, flops: float, traffic_bytes: float) -> float:
    return max(flops / _rate(machine, precision), traffic_bytes / machine.bandwidth_bytes_per_s)
