"""What can compute here: cpu, cuda and mps as one capability object, and figures of known machines.

A wish goes in (`"auto"`, `"cuda:1"`), a `Device` comes out, or an error that lists what there is: a
requested accelerator is never silently replaced by the CPU. Nothing here imports torch unless
`torch_device` is called.
"""

from shared_utils.devices.cpu import peak_memory_bytes, usable_cores
from shared_utils.devices.detect import detect_devices, free_memory_bytes, select_device, torch_device
from shared_utils.devices.device import Device, DeviceKind, Precision
from shared_utils.devices.machine import machine_profile, write_machine_profile
from shared_utils.devices.profiles import MachineProfile, find_profile, load_machine_profiles, save_machine_profiles

__all__ = [
    "Device",
    "DeviceKind",
    "MachineProfile",
    "Precision",
    "detect_devices",
    "find_profile",
    "free_memory_bytes",
    "load_machine_profiles",
    "machine_profile",
    "peak_memory_bytes",
    "save_machine_profiles",
    "select_device",
    "torch_device",
    "usable_cores",
    "write_machine_profile",
]
