"""One thing that computes, and what it is good at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DeviceKind(StrEnum):
    """Kinds of devices."""

    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(StrEnum):
    """Number formats that a device has instructions or units of its own for."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Device:
    """A processor or accelerator of this machine.

    Args:
        kind: cpu, cuda or mps.
        index: Number among its kind, as programs see it (`CUDA_VISIBLE_DEVICES` applied).
        name: As the maker calls it.
        memory_bytes: Memory it can use: of its own, or the machine's where shared; None if not known.
        cores: CPU: cores this process may use. CUDA and mps: None.
        precisions: Number formats with instructions or units of their own. Others may work, slower.
        compute_capability: CUDA's (major, minor); None elsewhere.
        nvml_index: NVML's number of a CUDA device; None elsewhere.

    Example:
        >>> device = Device(DeviceKind.CUDA, 1, "NVIDIA L4", 24 << 30, compute_capability=(8, 9))
        >>> str(device), device.is_accelerator
        ('cuda:1', True)
    """

    kind: DeviceKind
    index: int
    name: str
    memory_bytes: int | None
    cores: int | None = None
    precisions: frozenset[Precision] = frozenset({Precision.FP32})
    compute_capability: tuple[int, int] | None = None
    nvml_index: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}" if self.kind == DeviceKind.CUDA else str(self.kind)

    @property
    def is_accelerator(self) -> bool:
        """True for everything but the CPU."""
        return self.kind != DeviceKind.CPU

    def supports(self, precision: Precision | str) -> bool:
        """Whether the device has instructions or units of its own for a number format.

        Raises:
            ValueError: There is no such format.
        """
        return Precision(precision) in self.precisions

    @property
    def description(self) -> str:
        """One line for a person: `cuda:0 NVIDIA L4, 22.5 GiB`."""
        memory = "" if self.memory_bytes is None else f", {self.memory_bytes / 2**30:.1f} GiB"
        cores = "" if self.cores is None else f", {self.cores} cores"
        return f"{self} {self.name}{cores}{memory}"


def cuda_precisions(capability: tuple[int, int] | None) -> frozenset[Precision]:
    """Number formats of a CUDA device, by compute capability (CUDA C++ Programming Guide, arithmetic throughput table).

    Example:
        >>> sorted(cuda_precisions((7, 5)))
        [<Precision.FP16: 'fp16'>, <Precision.FP32: 'fp32'>, <Precision.INT8: 'int8'>]
    """
    since = {
        Precision.FP32: (0, 0),
        Precision.FP16: (5, 3),
        Precision.INT8: (6, 1),
        Precision.TF32: (8, 0),
        Precision.BF16: (8, 0),
        Precision.FP8: (8, 9),
    }
    capability = capability or (0, 0)
    # 6.1 computes fp16 at 1/64 of the fp32 rate: that is no unit of its own.
    return frozenset(p for p, first in since.items() if capability >= first and (p, capability) != (Precision.FP16, (6, 1)))
