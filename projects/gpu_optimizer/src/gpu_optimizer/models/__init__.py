"""Models by name or by configuration, as training steps: published sizes, own definitions, no pickled code.

Names load their modules when they are first asked for, so this room alone imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_optimizer.lazy_names import lazy_names

if TYPE_CHECKING:
    from gpu_optimizer.models.config import TransformerConfig
    from gpu_optimizer.models.registry import build, list_models

_HOME = {"TransformerConfig": "config", "build": "registry", "list_models": "registry"}

__all__ = ["TransformerConfig", "build", "list_models"]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
