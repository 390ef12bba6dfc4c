"""Make models fit the memory they get: see what uses it, plan, apply, verify.

Importing this package loads nothing but itself; `parameter_memory` and `MemoryCollector` come from
their rooms when they are first named, and neither imports torch before it is handed a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_optimizer.errors import GpuOptimizerError, MonitoringError, ProfilingError
    from gpu_optimizer.monitoring import MemoryCollector, Snapshot, read_snapshot
    from gpu_optimizer.profiling import ModelMemory, ModuleMemory, parameter_memory

__version__ = "0.1.0"

_HOME = {
    "GpuOptimizerError": "errors",
    "MonitoringError": "errors",
    "ProfilingError": "errors",
    "MemoryCollector": "monitoring",
    "Snapshot": "monitoring",
    "read_snapshot": "monitoring",
    "ModelMemory": "profiling",
    "ModuleMemory": "profiling",
    "parameter_memory": "profiling",
}

__all__ = [
    "GpuOptimizerError",
    "MemoryCollector",
    "ModelMemory",
    "ModuleMemory",
    "MonitoringError",
    "ProfilingError",
    "Snapshot",
    "__version__",
    "parameter_memory",
    "read_snapshot",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
