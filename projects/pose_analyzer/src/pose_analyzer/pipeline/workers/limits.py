"""What a measuring process may use: memory, processor time, priority; and that it dies with its service.

Linux enforces all of it. macOS knows neither the limit of address space nor the signal at the parent's death: there the end of
standard input stops a process (see `channel`), and memory is bounded by the limits on pixels alone. Windows has no resource
limits at all; there everything but the messages is left out.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import dataclass

if sys.platform != "win32":
    import resource

_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLimits:
    """What one measuring process may use.

    Args:
        memory_bytes: Address space; more is a `MemoryError` in it. Models and thread stacks count, about 2.5 GiB of which
            some 300 MiB are used.
        cpu_s: Processor time in all, seconds; None is unlimited, as for a camera.
        niceness: How far it stands back behind others, 0 to 19.

    Raises:
        ValueError: A value is out of range.
    """

    memory_bytes: int = 4 * 2**30
    cpu_s: int | None = None
    niceness: int = 0

    def __post_init__(self) -> None:
        if self.memory_bytes < 2**28 or not 0 <= self.niceness <= 19 or (self.cpu_s is not None and self.cpu_s < 1):
            raise ValueError(f"limits need 256 MiB of memory or more, 1 s of processor time or more and a niceness of 0 to 19, got {self}")


def confine(limits: WorkerLimits, parent_pid: int) -> None:
    """Put this process under limits, for good.

    Args:
        limits: What it may use.
        parent_pid: The process that it must not outlive.
    """
    _die_with(parent_pid)
    if sys.platform == "win32":
        return
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if sys.platform.startswith("linux"):
        _cap(resource.RLIMIT_AS, limits.memory_bytes)
    restrict(cpu_s=limits.cpu_s, niceness=limits.niceness)


def restrict(*, cpu_s: int | None = None, niceness: int = 0) -> None:
    """Tighten the limits of this process once its work is known."""
    if sys.platform == "win32":
        return
    if cpu_s is not None:
        _cap(resource.RLIMIT_CPU, cpu_s)
    step = niceness - os.nice(0)
    if step > 0:
        os.nice(step)


def _cap(kind: int, limit: int) -> None:
    """Lower a limit; one that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    # Some systems (macOS, containers) refuse certain limits; the others still hold.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, value))


def _die_with(parent_pid: int) -> None:
    """Let the kernel end this process when its parent dies (Linux, prctl(2)); exits if it has died already."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)
