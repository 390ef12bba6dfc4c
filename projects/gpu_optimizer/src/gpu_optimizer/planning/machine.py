"""What a plan is made for: the device that is here, or one that is only known by its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from gpu_optimizer.costing import known_machines
from gpu_optimizer.errors import PlanError
from gpu_optimizer.steps import Precision
from shared_utils.devices import Device, MachineProfile, detect_devices

Kind = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A device that steps are planned for.

    Args:
        name: As its maker calls it; errors and prices are kept under this name.
        kind: What runs on it.
        torch_device: Where it is here; None for a device that is known by its figures only.
        memory_bytes: Its memory; None where that is not known.
        precisions: Number formats it is made for.
        flops_per_s: Peak rate by number format; empty for a device that is here and can be timed.
        bandwidth_bytes_per_s: Peak rate of its memory; None as above.
    """

    name: str
    kind: Kind
    torch_device: torch.device | None
    memory_bytes: int | None
    precisions: tuple[Precision, ...]
    flops_per_s: dict[str, float]
    bandwidth_bytes_per_s: float | None

    @property
    def has_host(self) -> bool:
        """Whether tensors can be moved to another memory than the one that is planned for."""
        return self.kind == "cuda"

    @classmethod
    def of(cls, device: torch.device | str | Device | MachineProfile) -> Machine:
        """The machine that is meant.

        Args:
            device: A device that is here ("cpu", "cuda", "cuda:1", a torch device), or the profile or short name of one
                that is elsewhere.

        Raises:
            PlanError: There is no such device here.

        Example:
            >>> Machine.of("cpu").torch_device
            device(type='cpu')
        """
        if isinstance(device, MachineProfile):
            return _profiled(device)
        wanted = str(device)
        profiles = known_machines()
        if wanted in profiles:
            return _profiled(profiles[wanted])
        found = [here for here in detect_devices() if wanted in (str(here), str(here.kind))]
        if not found:
            there = ", ".join(str(here) for here in detect_devices())
            others = ", ".join(profiles) or "none"
            raise PlanError(f"device: {wanted!r} is not here; there are {there}, and of other machines the figures of {others}")
        here = found[0]
        kinds: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16")
        available = {str(precision) for precision in here.precisions}
        return cls(
            name=here.name,
            kind=str(here.kind),  # type: ignore[arg-type]
            torch_device=torch.device(str(here)),
            memory_bytes=here.memory_bytes,
            precisions=tuple(kind for kind in kinds if kind in available and (kind != "fp16" or str(here.kind) != "cpu")),
            flops_per_s={},
            bandwidth_bytes_per_s=None,
        )


def _profiled(profile: MachineProfile) -> Machine:
    rates = {"fp32": profile.fp32_tflops, "tf32": profile.tf32_tflops, "bf16": profile.bf16_tflops, "fp16": profile.fp16_tflops}
    known = {name: rate * 1e12 for name, rate in rates.items() if rate}
    if not known:
        raise PlanError(f"{profile.name} has no fp32 or fp16 rate in its profile; add one, or plan on the machine itself")
    if "fp32" not in known:
        known["fp32"] = known["fp16"] / 2
    order: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16")
    return Machine(
        name=profile.name,
        kind=str(profile.kind),  # type: ignore[arg-type]
        torch_device=None,
        memory_bytes=int(profile.memory_gib * 2**30),
        precisions=tuple(precision for precision in order if precision in known),
        flops_per_s=known,
        bandwidth_bytes_per_s=profile.bandwidth_gb_per_s * 1e9,
    )
