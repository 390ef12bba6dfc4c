"""What a training step takes from a GPU, which is more than its tensors: does it fit?

A profile for CUDA goes in, a `DeviceNeed` comes out: what the allocator reserves for these tensors (predicted by
the simulator, or measured), allowances for the libraries, a margin over both, and the CUDA context.

The allowances follow from documents; none has been measured on a GPU:

- cuBLAS: torch gives each thread a work space by `CUBLAS_WORKSPACE_CONFIG`, else 32 MiB on Hopper and Blackwell and
  8.1 MiB before (ATen/cuda/CublasHandlePool.cpp). Where the device is not known, 32 MiB.
- cuDNN: work space depends on the algorithm it picks. Tensor cores want channels innermost, and cuDNN copies what lies
  otherwise (NVIDIA's guide to convolutional layers), so one copy of input, weight and output of the largest
  convolution is allowed for, at most `CUDNN_CONV_WSCAP_DBG` MiB (torch's notes on CUDA environment variables). Where
  a work space does not fit, torch tries the next algorithm (ATen/native/cudnn/Conv_v8.cpp): too little costs time first.
- Context: driver state and loaded kernels, of some hundred MiB, by device and driver. `gpu_checks.py` measures it.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.profiling.allocator_settings import AllocatorSettings
from gpu_optimizer.profiling.kernels import CUBLAS, cublas_bytes
from gpu_optimizer.profiling.profile import MemoryProfile
from gpu_optimizer.profiling.profile_table import words
from gpu_optimizer.profiling.replay import predict_reserved

CONTEXT_BYTES = 512 * 2**20
"""Assumed for the CUDA context where nothing was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNeed:
    """Memory of a GPU that a step takes, in parts.

    Args:
        tensors_bytes: Peak of the tensors: part of what is reserved.
        reserved_bytes: What torch's allocator takes for them from the driver.
        cublas_bytes: What cuBLAS may take beyond what the profile counts.
        cudnn_bytes: What cuDNN may take for the largest convolution; 0 where it is part of what was measured.
        context_bytes: The CUDA context.
        margin: Share by which the first three are raised.
    """

    tensors_bytes: int
    reserved_bytes: int
    cublas_bytes: int
    cudnn_bytes: int
    context_bytes: int
    margin: float

    @property
    def total_bytes(self) -> int:
        """All parts together, the margin included."""
        return int((self.reserved_bytes + self.cublas_bytes + self.cudnn_bytes) * (1 + self.margin)) + self.context_bytes

    def fits(self, memory_bytes: int) -> bool:
        """Whether a GPU with this much free memory has room for all of it.

        Where it has not, torch may still get by, slower: short of memory, it gives unused segments back before it gives up.
        """
        return self.total_bytes <= memory_bytes

    def to_dict(self) -> dict[str, Any]:
        """The parts and their sum, as plain values."""
        return {**asdict(self), "total_bytes": self.total_bytes}

    def __str__(self) -> str:
        libraries = self.cublas_bytes + self.cudnn_bytes
        return (
            f"a GPU needs {words(self.total_bytes)}: {words(self.reserved_bytes)} reserved for tensors of {words(self.tensors_bytes)}, "
            f"{words(libraries)} allowed for cuBLAS and cuDNN, {self.margin:.0%} margin, {words(self.context_bytes)} for the CUDA context"
        )


def device_need(
    profile: MemoryProfile,
    *,
    settings: AllocatorSettings | None = None,
    capability: tuple[int, int] | None = None,
    context_bytes: int = CONTEXT_BYTES,
    margin: float = 0.05,
) -> DeviceNeed:
    """What a step takes from a GPU.

    Args:
        profile: Estimated with `target="cuda"`, or measured on CUDA.
        settings: Settings of the allocator, for what is predicted; default: torch's.
        capability: Compute capability of the GPU; None where it is not known.
        context_bytes: What the CUDA context takes, where that is known.
        margin: Share for what estimates do not see; what an `ErrorLedger` says, where there is one.

    Raises:
        ProfilingError: The profile is not for CUDA, or a number is negative.

    Example:
        >>> import torch
        >>> from gpu_optimizer import TrainingStep, estimate_step
        >>> step = TrainingStep.of(torch.nn.Linear(1024, 1024), torch.zeros(64, 1024))
        >>> need = device_need(estimate_step(step, target="cuda"))
        >>> need.tensors_bytes < need.reserved_bytes < need.total_bytes, need.fits(24 * 2**30)
        (True, True)
    """
    if not profile.device.startswith("cuda"):
        raise ProfilingError(f"this profile is for {profile.device!r}, whose memory is handed out otherwise; estimate with target='cuda'")
    if context_bytes < 0 or margin < 0:
        raise ProfilingError(f"context_bytes and margin: expected 0 or more, got {context_bytes} and {margin}")
    measured = profile.reserved_bytes
    if measured is not None:
        return DeviceNeed(
            tensors_bytes=profile.peak_bytes,
            reserved_bytes=measured,
            cublas_bytes=0,
            cudnn_bytes=0,
            context_bytes=context_bytes,
            margin=margin,
        )
    counted = [life.size_bytes for life in profile.lives if life.operator == CUBLAS]
    largest = cublas_bytes((9, 0) if capability is None else capability)
    return DeviceNeed(
        tensors_bytes=profile.peak_bytes,
        reserved_bytes=predict_reserved(profile.lives, settings).peak_bytes,
        cublas_bytes=sum(max(largest - size, 0) for size in counted),
        cudnn_bytes=min(profile.convolution_bytes, _cudnn_cap()),
        context_bytes=context_bytes,
        margin=margin,
    )


def _cudnn_cap() -> int:
    chosen = os.environ.get("CUDNN_CONV_WSCAP_DBG", "")
    return int(chosen) * 2**20 if chosen.isdigit() else 2**63
