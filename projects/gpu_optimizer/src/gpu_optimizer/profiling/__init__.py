"""Where a model's memory goes: what it holds, what a training step needs, and what the allocator makes of it.

Names load their modules when they are first asked for, so this room alone imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_optimizer.profiling.estimate import estimate_inference, estimate_step
    from gpu_optimizer.profiling.profile import MemoryProfile, ModuleCost, Moment, Span, TensorLife
    from gpu_optimizer.profiling.static import ModelMemory, ModuleMemory, parameter_memory

_HOME = {
    "MemoryProfile": "profile",
    "ModelMemory": "static",
    "ModuleCost": "profile",
    "ModuleMemory": "static",
    "Moment": "profile",
    "Span": "profile",
    "TensorLife": "profile",
    "estimate_inference": "estimate",
    "estimate_step": "estimate",
    "parameter_memory": "static",
}

__all__ = [
    "MemoryProfile",
    "ModelMemory",
    "ModuleCost",
    "ModuleMemory",
    "Moment",
    "Span",
    "TensorLife",
    "estimate_inference",
    "estimate_step",
    "parameter_memory",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
