"""The HTTP face of `gpu_optimizer`: the machine, live; estimates, plans and snapshots as background work; prices; a page."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_optimizer.api.app import create_app
    from gpu_optimizer.api.settings import GpuApiSettings

_HOME = {"GpuApiSettings": "settings", "create_app": "app"}

__all__ = ["GpuApiSettings", "create_app"]


def __getattr__(name: str) -> Any:
    # Late, so that a worker of this room starts without a web framework.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
