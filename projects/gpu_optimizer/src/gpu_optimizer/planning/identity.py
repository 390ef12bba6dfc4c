"""Which model a plan is for."""

from __future__ import annotations

import hashlib

import torch


def model_identity(model: torch.nn.Module) -> str:
    """Class of a model and a digest of its parameters' names, shapes and types, the same in every process.

    Example:
        >>> model_identity(torch.nn.Linear(2, 3)) == model_identity(torch.nn.Linear(2, 3, bias=False))
        False
    """
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}{parameter.dtype}{parameter.requires_grad};".encode())
    return f"{type(model).__name__}@{digest.hexdigest()[:12]}"
