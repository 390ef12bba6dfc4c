"""This machine in a few facts, for reports and benchmarks: no name, no address, no serial number."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import psutil
import yaml

from shared_utils.devices.cpu import cpu_flags, cpu_model, memory_bytes, usable_cores
from shared_utils.devices.detect import detect_devices
from shared_utils.devices.nvml import driver_version
from shared_utils.errors import DeviceError


def machine_profile() -> dict[str, Any]:
    """Facts about this machine as plain values: cpu, memory, accelerators, system, python.

    Example:
        >>> sorted(machine_profile())
        ['accelerators', 'cpu', 'memory_bytes', 'nvidia_driver', 'os', 'python']
    """
    return {
        "cpu": {
            "model": cpu_model(),
            "cores_physical": psutil.cpu_count(logical=False),
            "cores_logical": psutil.cpu_count(logical=True),
            "cores_usable": usable_cores(),
            "flags": sorted(cpu_flags()),
        },
        "memory_bytes": memory_bytes(),
        "accelerators": [
            {
                "device": str(device),
                "name": device.name,
                "memory_bytes": device.memory_bytes,
                "compute_capability": None if device.compute_capability is None else "{}.{}".format(*device.compute_capability),
                "precisions": sorted(map(str, device.precisions)),
            }
            for device in detect_devices()
            if device.is_accelerator
        ],
        "nvidia_driver": driver_version(),
        "os": {"system": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "python": platform.python_version(),
    }


def write_machine_profile(path: Path) -> dict[str, Any]:
    """Write `machine_profile()` as YAML.

    Returns:
        What was written.

    Raises:
        DeviceError: The file cannot be written.
    """
    profile = machine_profile()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(profile, sort_keys=False, allow_unicode=True), "utf-8")
    except OSError as error:
        raise DeviceError(f"cannot write the machine profile {path}: {error.strerror or error}") from error
    return profile
