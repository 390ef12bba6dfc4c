"""Models by name or by configuration, as training steps: published sizes, own definitions, no pickled code.

Names load their modules when they are first asked for, so this room alone imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_optimizer.models.config import TransformerConfig
    from gpu_optimizer.models.registry import build, list_models

_HOME = {"TransformerConfig": "config", "build": "registry", "list_models": "registry"}

__all__ = ["TransformerConfig", "build", "list_models"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
