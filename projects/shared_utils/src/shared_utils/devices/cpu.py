"""Facts about the processor: model, cores, memory, instruction sets."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import psutil

from shared_utils.devices.device import Device, DeviceKind, Precision

# Kernel's flag -> our name. x86 in `flags`, Arm in `Features` of /proc/cpuinfo.
_FLAGS = {
    "avx2": "avx2",
    "fma": "fma",
    "avx512f": "avx512",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx512_fp16": "avx512_fp16",
    "amx_tile": "amx",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "amx_fp16": "amx_fp16",
    "asimd": "neon",
    "asimdhp": "neon_fp16",
    "asimddp": "neon_dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
}
_DARWIN_FLAGS = {
    "hw.optional.neon": "neon",
    "hw.optional.neon_fp16": "neon_fp16",
    "hw.optional.arm.FEAT_FP16": "neon_fp16",
    "hw.optional.arm.FEAT_DotProd": "neon_dotprod",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512",
}
_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8", "neon_dotprod", "i8mm"}
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
_FP16 = {"avx512_fp16", "amx_fp16", "neon_fp16"}


def peak_memory_bytes() -> int:
    """Most resident memory this process has had since its program started, bytes.

    On Linux from the kernel's `VmHWM`: `getrusage` there also counts the parent's memory that a child shares
    between fork and exec, so a small child of a large process looks as large as its parent.

    Example:
        >>> peak_memory_bytes() > 1_000_000
        True
    """
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)):
        return int(found[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cpu_device() -> Device:
    """The processor as a device."""
    flags = cpu_flags()
    precisions = {Precision.FP32}
    precisions |= {p for p, needs in ((Precision.INT8, _INT8), (Precision.BF16, _BF16), (Precision.FP16, _FP16)) if flags & needs}
    return Device(DeviceKind.CPU, 0, cpu_model(), memory_bytes(), usable_cores(), frozenset(precisions))


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as its maker writes it; its architecture where the system does not say."""
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.machine()
    names = (_field(cpuinfo, key) for key in ("model name", "Model", "Hardware"))
    return next((" ".join(name.split()) for name in names if name), "") or platform.machine() or "unknown"


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Instruction sets that matter to neural networks, for example `avx2`, `avx512_vnni`, `amx`, `neon_dotprod`."""
    if sys.platform == "darwin":
        return frozenset(ours for name, ours in _DARWIN_FLAGS.items() if _sysctl(name) == "1")
    present = (_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split()
    return frozenset(ours for theirs, ours in _FLAGS.items() if theirs in present)


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores this process may use: affinity and container quota applied, at least 1.

    Example:
        >>> 1 <= usable_cores() <= (os.cpu_count() or 1)
        True
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_cores(cgroup)
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def memory_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Main memory this process may use: the machine's, or the container's limit if lower."""
    total = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(cgroup / name)
        if text.isdigit():
            total = min(total, int(text))
    return total


def _quota_cores(cgroup: Path) -> float | None:
    """CPU quota of cgroup v2 or v1 in cores; None when there is none."""
    parts = _read(cgroup / "cpu.max").split()
    if len(parts) != 2:
        parts = [_read(cgroup / "cpu/cpu.cfs_quota_us"), _read(cgroup / "cpu/cpu.cfs_period_us")]
    quota, period = parts
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _field(path: Path, key: str) -> str | None:
    for line in _read(path).splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
