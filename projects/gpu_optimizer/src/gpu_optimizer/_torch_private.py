"""The only file that may touch private torch APIs; each function says why the public one does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def coo_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values of a sparse COO tensor as they lie in memory.

    The public `indices()` and `values()` refuse a tensor that is not coalesced, as gradients of sparse
    embeddings are, and coalescing would make a copy.
    """
    return tensor._indices(), tensor._values()
