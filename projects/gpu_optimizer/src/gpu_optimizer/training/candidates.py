"""Which modules of a model are worth a checkpoint: its blocks, found by how the model is built.

A model goes in, names of modules that do not overlap come out: children of `Sequential` and `ModuleList`
that are made of several layers (residual blocks, transformer layers), and classes used more than once.
"""

from __future__ import annotations

from collections import Counter

import torch

_LISTS = (torch.nn.Sequential, torch.nn.ModuleList)
_BODY = 0.25  # of the parameters: a child that holds more, and blocks, is the model's body and not a block itself


def checkpoint_candidates(model: torch.nn.Module) -> tuple[str, ...]:
    """Names of the blocks of a model, in the order in which they are registered, which is that of their use in most models.

    None of them lies inside another. A plain `Sequential` of layers is one block, since nothing inside it is
    worth a checkpoint of its own. A block that begins by changing its input in place is left out: it could only be
    computed again from a copy.

    Args:
        model: Any model; it is only looked at.

    Example:
        >>> layer = lambda: torch.nn.TransformerEncoderLayer(8, 2, 16)
        >>> checkpoint_candidates(torch.nn.ModuleDict({"body": torch.nn.ModuleList([layer(), layer()])}))
        ('body.0', 'body.1')
    """
    kinds = Counter(type(module) for module in model.modules())
    total = sum(parameter.numel() for parameter in model.parameters())
    found: dict[int, str] = {}
    _collect(model, "", kinds, total, found)
    return tuple(found.values())


def _collect(module: torch.nn.Module, name: str, kinds: Counter[type], total: int, found: dict[int, str]) -> None:
    for key, child in module.named_children():
        path = f"{name}.{key}" if name else key
        if id(child) in found:
            continue
        if _is_block(child, isinstance(module, _LISTS), kinds, total):
            if not _changes_its_input(child):
                found[id(child)] = path
        else:
            _collect(child, path, kinds, total, found)


def _is_block(module: torch.nn.Module, listed: bool, kinds: Counter[type], total: int) -> bool:
    if not any(True for _ in module.parameters()) or isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict):
        return False
    if isinstance(module, torch.nn.RNNBase):
        return True
    children = list(module.children())
    if not children:
        return False
    composite = [child for child in children if any(True for _ in child.children())]
    if isinstance(module, torch.nn.Sequential):
        return not composite and len(children) > 1
    if _share(module, total) > _BODY and _holds_repeated_blocks(module):
        return False
    return listed or kinds[type(module)] > 1


def _changes_its_input(module: torch.nn.Module) -> bool:
    """Whether the first layer works in place, as far as layers say so."""
    first = next((part for part in module.modules() if not any(True for _ in part.children())), module)
    return getattr(first, "inplace", False) is True


def _holds_repeated_blocks(module: torch.nn.Module) -> bool:
    for part in module.modules():
        if isinstance(part, _LISTS):
            composite = Counter(type(child) for child in part.children() if any(True for _ in child.children()))
            if any(count > 1 for count in composite.values()):
                return True
    return False


def _share(module: torch.nn.Module, total: int) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / max(total, 1)
