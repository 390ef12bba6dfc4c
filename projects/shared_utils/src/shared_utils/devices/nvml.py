"""NVIDIA's management library: which GPUs there are, without loading CUDA or torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from shared_utils.devices.device import Device, DeviceKind, cuda_precisions
from shared_utils.errors import DeviceError

T = TypeVar("T")


def cuda_devices() -> tuple[list[Device], str]:
    """The GPUs that CUDA programs of this process see.

    `CUDA_VISIBLE_DEVICES` is applied (numbers, `GPU-` and `MIG-` prefixes). Numbers follow NVML's
    order, which is CUDA's with `CUDA_DEVICE_ORDER=PCI_BUS_ID`; only machines with unlike GPUs need it.

    Returns:
        The devices, and when there are none the reason in words.
    """
    try:
        with _nvml() as nvml:
            count = nvml.nvmlDeviceGetCount()
            visible = _visible(nvml, count, os.environ.get("CUDA_VISIBLE_DEVICES"))
            found = [_device(nvml, nvml_index, index) for index, nvml_index in enumerate(visible)]
    except DeviceError as error:
        return [], str(error)
    if found:
        return found, ""
    return [], f"CUDA_VISIBLE_DEVICES hides all {count} GPUs" if count else "the NVIDIA driver sees no GPU"


def cuda_free_memory_bytes(device: Device) -> int:
    """Memory of a GPU that nobody uses, in bytes.

    Raises:
        DeviceError: The driver does not say.
    """
    with _nvml() as nvml:
        handle = nvml.nvmlDeviceGetHandleByIndex(device.nvml_index)
        free = _ask(nvml, lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).free))
    if free is None:
        raise DeviceError(f"the driver does not say how much memory of {device} is free")
    return free


def driver_version() -> str | None:
    """Version of the NVIDIA driver; None without one."""
    try:
        with _nvml() as nvml:
            return _ask(nvml, lambda: _text(nvml.nvmlSystemGetDriverVersion()))
    except DeviceError:
        return None


@contextmanager
def _nvml() -> Iterator[Any]:
    """The library, started and shut down again; its errors become `DeviceError`."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise DeviceError(_reason(error)) from error
    try:
        yield pynvml
    except pynvml.NVMLError as error:
        raise DeviceError(_reason(error)) from error
    finally:
        pynvml.nvmlShutdown()


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    known = {
        "NVMLError_LibraryNotFound": "no NVIDIA driver is installed",
        "NVMLError_DriverNotLoaded": "the NVIDIA driver is installed but not loaded",
        "NVMLError_LibRmVersionMismatch": "the NVIDIA driver was updated and the machine not restarted since",
        "NVMLError_NoPermission": "this user may not talk to the NVIDIA driver",
    }
    return known.get(type(error).__name__, f"the NVIDIA driver says: {text}")


def _device(nvml: Any, nvml_index: int, index: int) -> Device:
    handle = nvml.nvmlDeviceGetHandleByIndex(nvml_index)
    capability = _ask(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    capability = (int(capability[0]), int(capability[1])) if capability else None
    return Device(
        DeviceKind.CUDA,
        index,
        _ask(nvml, lambda: _text(nvml.nvmlDeviceGetName(handle))) or "NVIDIA GPU",
        _ask(nvml, lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total)),
        precisions=cuda_precisions(capability),
        compute_capability=capability,
        nvml_index=nvml_index,
    )


def _ask(nvml: Any, question: Callable[[], T]) -> T | None:
    """An answer, or None where this GPU has none (unified memory, MIG)."""
    try:
        return question()
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission):
        return None


def _visible(nvml: Any, count: int, wish: str | None) -> list[int]:
    """NVML numbers in the order of `CUDA_VISIBLE_DEVICES`; as in CUDA, the first wrong entry ends the list."""
    if wish is None:
        return list(range(count))
    chosen: list[int] = []
    for entry in filter(None, (part.strip() for part in wish.split(","))):
        number = int(entry) if entry.isdigit() else _by_uuid(nvml, count, entry)
        if number is None or number >= count or number in chosen:
            break
        chosen.append(number)
    return chosen


def _by_uuid(nvml: Any, count: int, prefix: str) -> int | None:
    for number in range(count):
        handle = nvml.nvmlDeviceGetHandleByIndex(number)
        uuids = [_ask(nvml, lambda handle=handle: _text(nvml.nvmlDeviceGetUUID(handle))) or ""]
        if prefix.startswith("MIG-"):
            uuids = _mig_uuids(nvml, handle)
        if prefix.startswith(("GPU-", "MIG-")) and any(uuid.startswith(prefix) for uuid in uuids):
            return number
    return None


def _mig_uuids(nvml: Any, handle: Any) -> list[str]:
    slots = _ask(nvml, lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0
    uuids: list[str] = []
    for slot in range(slots):
        try:
            uuids.append(_text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot))))
        except nvml.NVMLError:  # an empty slot
            continue
    return uuids


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
