"""Find devices and choose one."""

from __future__ import annotations

import platform
import re
import sys
from typing import TYPE_CHECKING

import psutil

from shared_utils.devices.cpu import cpu_device, cpu_model, memory_bytes
from shared_utils.devices.device import Device, DeviceKind, Precision
from shared_utils.devices.nvml import cuda_devices, cuda_free_memory_bytes
from shared_utils.errors import DeviceError

if TYPE_CHECKING:
    import torch

# PyTorch's macOS wheels ask for it, and bfloat16 on the GPU came with it.
_MPS_MACOS = (14, 0)


def detect_devices() -> list[Device]:
    """Everything that can compute here: accelerators first, the CPU last.

    Example:
        >>> detect_devices()[-1].kind
        <DeviceKind.CPU: 'cpu'>
    """
    return [*cuda_devices()[0], *_mps_devices()[0], cpu_device()]


def select_device(requested: str = "auto") -> Device:
    """The device somebody asks for, or an error; never another one.

    Args:
        requested: `"cpu"`, `"cuda"` (the first), `"cuda:1"`, `"mps"`, or `"auto"`: the first of cuda,
            mps, cpu that is there.

    Raises:
        DeviceError: It is not there (the text says why and lists what is), or is no device's name.

    Example:
        >>> select_device("cpu").is_accelerator
        False
    """
    wish = requested.strip().lower()
    match = re.fullmatch(r"(auto|cpu|mps|cuda)(?::(\d+))?", wish)
    if match is None or (match[2] is not None and match[1] in ("auto", "cpu")):
        raise DeviceError(f"no device is called {requested!r}; write auto, cpu, cuda, cuda:N or mps")
    kind, index = match[1], int(match[2] or 0)
    devices = detect_devices()
    if kind == "auto":
        return devices[0]
    found = next((d for d in devices if d.kind == kind and d.index == index), None)
    if found is None:
        there = "; ".join(d.description for d in devices)
        raise DeviceError(f"there is no {wish} here: {_why_not(kind, devices)}. There is: {there}")
    return found


def free_memory_bytes(device: Device) -> int:
    """Memory of a device that is free now, in bytes.

    Raises:
        DeviceError: The driver does not say.

    Example:
        >>> free_memory_bytes(select_device("cpu")) > 0
        True
    """
    if device.kind == DeviceKind.CUDA:
        return cuda_free_memory_bytes(device)
    return min(psutil.virtual_memory().available, memory_bytes())


def torch_device(device: Device) -> torch.device:
    """The device as torch's, after checking that the installed torch can use it. Imports torch.

    Raises:
        DeviceError: torch is not installed, or is a build without this kind of device.
    """
    try:
        import torch
    except ImportError as error:
        raise DeviceError("torch is not installed; install the extra that needs it, for example pose-analyzer[yolo]") from error
    if device.kind == DeviceKind.CUDA and torch.cuda.device_count() <= device.index:
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU-only"
        raise DeviceError(f"{device.description} is there, but the installed torch {torch.__version__} ({build}) cannot use it")
    if device.kind == DeviceKind.MPS and not torch.backends.mps.is_available():
        raise DeviceError(f"{device.description} is there, but the installed torch {torch.__version__} cannot use it")
    return torch.device(str(device))


def _mps_devices() -> tuple[list[Device], str]:
    """Apple's GPU and, when there is none, the reason in words."""
    if sys.platform != "darwin":
        return [], "it needs macOS"
    if platform.machine() != "arm64":
        return [], "it needs Apple silicon and a Python built for it (this one runs as x86_64)"
    version = tuple(int(part) for part in platform.mac_ver()[0].split(".")[:2] if part.isdigit())
    if version < _MPS_MACOS:
        return [], f"it needs macOS {'.'.join(map(str, _MPS_MACOS))}, this is {platform.mac_ver()[0]}"
    precisions = frozenset({Precision.FP32, Precision.FP16, Precision.BF16})
    return [Device(DeviceKind.MPS, 0, f"{cpu_model()} GPU", memory_bytes(), precisions=precisions)], ""


def _why_not(kind: str, devices: list[Device]) -> str:
    count = sum(d.kind == kind for d in devices)
    if count:
        return f"only {count} of its kind, numbered from 0"
    return cuda_devices()[1] if kind == DeviceKind.CUDA else _mps_devices()[1]
