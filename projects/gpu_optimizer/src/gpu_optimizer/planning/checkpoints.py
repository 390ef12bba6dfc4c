"""Checkpoints where a plan wants them: at modules, and at runs of children of a `Sequential`.

What a chain of simple layers holds are the outputs of each, which no checkpoint of a single layer frees. A run of
several, written "features[3:6]", is computed again as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import torch

from gpu_optimizer.errors import CheckpointError
from gpu_optimizer.training import CheckpointManager
from gpu_optimizer.training.checkpoint_manager import CheckpointedForward

_RUN = re.compile(r"(?P<path>.*)\[(?P<first>\d+):(?P<end>\d+)\]")


def parse_run(name: str) -> tuple[str, int, int] | None:
    """Path of the `Sequential`, first child and the one after the last; None for the name of a module.

    Example:
        >>> parse_run("features[3:6]"), parse_run("features.3")
        (('features', 3, 6), None)
    """
    match = _RUN.fullmatch(name)
    return None if match is None else (match["path"], int(match["first"]), int(match["end"]))


def children_of_run(model: torch.nn.Module, name: str) -> list[str]:
    """Names of the modules that a run is made of.

    Raises:
        CheckpointError: There is no such run.
    """
    run = parse_run(name)
    if run is None:
        raise CheckpointError(f"{name!r} is no run of children; write for example 'features[3:6]'")
    path, first, end = run
    parent = dict(model.named_modules()).get(path)
    if parent is None or not is_chain(parent) or not 0 <= first < end <= len(parent._modules):
        raise CheckpointError(f"{name!r}: there is no Sequential {path!r} with {end} children")
    return [f"{path}.{key}" if path else key for key in list(parent._modules)[first:end]]


def is_chain(module: torch.nn.Module) -> bool:
    """Whether a module does nothing but call its children one after the other."""
    return isinstance(module, torch.nn.Sequential) and type(module).forward is torch.nn.Sequential.forward


class Checkpoints:
    """Checkpoints at modules and runs, and a way to take them off again.

    Args:
        model: The model.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4), torch.nn.Tanh())
        >>> with Checkpoints(model).apply(["[0:3]"]):
        ...     model(torch.ones(1, 4)).sum().backward()
        >>> model[0].weight.grad is not None, "forward" in vars(model)
        (True, False)
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self._manager = CheckpointManager(model)
        self._chains: list[tuple[torch.nn.Module, ChainForward]] = []

    def apply(self, names: Iterable[str]) -> Checkpoints:
        """Checkpoint these modules and runs; also a context manager that takes them off at its end.

        Raises:
            CheckpointError: A name is unknown, or something cannot be checkpointed. Nothing is then changed.
        """
        wanted = list(names)
        modules = dict(self.model.named_modules())
        runs: dict[str, list[tuple[int, int, str]]] = {}
        for name in wanted:
            run = parse_run(name)
            if run is not None:
                children_of_run(self.model, name)
                runs.setdefault(run[0], []).append((run[1], run[2], name))
        self._manager.checkpoint([name for name in wanted if parse_run(name) is None])
        try:
            for path, spans in runs.items():
                chain = modules[path]
                if "forward" in vars(chain):
                    raise CheckpointError(f"the forward of {path!r} was replaced already; undo that first")
                forward = ChainForward(chain, sorted(spans))
                chain.forward = forward
                self._chains.append((chain, forward))
        except CheckpointError:
            self.remove()
            raise
        return self

    def remove(self) -> None:
        """Take every checkpoint off; the modules are as they were.

        Raises:
            CheckpointError: Somebody replaced a forward since.
        """
        while self._chains:
            chain, forward = self._chains[-1]
            if vars(chain).get("forward") is not forward:
                raise CheckpointError(f"the forward of a {type(chain).__name__} was replaced after it was checkpointed; undo that first")
            del chain.forward
            self._chains.pop()
        self._manager.remove()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class ChainForward:
    """Stands in for the forward of a `Sequential`: some runs of its children are computed again in the backward pass."""

    def __init__(self, chain: torch.nn.Module, spans: list[tuple[int, int, str]]) -> None:
        if any(first < end for (_, end, _), (first, _, _) in pairwise(spans)):
            raise CheckpointError(f"runs overlap: {', '.join(name for _, _, name in spans)}")
        self.chain = chain
        self.spans = spans
        self._runs: dict[int, tuple[int, CheckpointedForward]] = {}
        for first, end, name in spans:
            run = torch.nn.Sequential(*list(chain.children())[first:end]) if _all_different(chain) else None
            if run is None:
                raise CheckpointError(f"{name!r}: the chain uses one module twice, so runs of it cannot be told apart")
            run.training = chain.training  # not train(), which would reach into the children
            self._runs[first] = (end, CheckpointedForward(name, run, run.forward, "inputs", False, True))

    def __call__(self, value: Any) -> Any:
        """What the chain gives."""
        children = list(self.chain.children())
        index = 0
        while index < len(children):
            if index in self._runs:
                index, forward = self._runs[index]
                value = forward(value)
            else:
                value = children[index](value)
                index += 1
        return value


def _all_different(chain: torch.nn.Module) -> bool:
    return len(chain._modules) == len(list(chain.children()))


def runs_in(model: torch.nn.Module, *, longest: int = 12) -> Iterator[tuple[str, list[str]]]:
    """Every run of two or more children of a chain, with the names of the children; not whole chains, which are modules."""
    for path, module in model.named_modules():
        if not is_chain(module) or not _all_different(module):
            continue
        names = [f"{path}.{key}" if path else key for key in module._modules]
        children = list(module.children())
        for first in range(len(names)):
            if getattr(children[first], "inplace", False):
                continue  # it would change what the run is to be computed again from
            for end in range(first + 2, min(len(names), first + longest) + 1):
                if end - first < len(names):
                    yield f"{path}[{first}:{end}]", names[first:end]
