"""A decorator that calls a training function with smaller and smaller batches until one goes through.

For loops that cannot be described as one step. What the failed attempt left is freed before the next, and models
and optimizers that are named are put back to what they were.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch

from gpu_optimizer.errors import BatchSizeError, MemoryFloorError
from gpu_optimizer.training.oom import OomEvent, attempt, release_memory
from gpu_optimizer.training.restoring import TrainingState


def batch_size_decorator(
    *,
    starting_batch_size: int = 128,
    reduce: Callable[[int], int] | None = None,
    minimum: int = 1,
    restore: Iterable[torch.nn.Module | torch.optim.Optimizer] = (),
    on_event: Callable[[OomEvent], None] | None = None,
) -> Callable[[Callable[..., Any]], BatchSizeFunction]:
    """Decorates a function whose first parameter is the batch size; callers leave it out.

    The size that went through is where the next call starts. The decorated function has `batch_size` (of the last call
    that went through, None before) and `oom_count`.

    Args:
        starting_batch_size: First size tried.
        reduce: The next size after one that did not fit; default: half of it. It must get smaller.
        minimum: Smallest size tried.
        restore: Models and optimizers that a failed attempt must not have changed; random numbers go back with them.
        on_event: Is told when memory runs out.

    Raises:
        BatchSizeError: The sizes make no sense.
    """
    if not 1 <= minimum <= starting_batch_size:
        raise BatchSizeError(f"expected 1 <= minimum <= starting_batch_size, got {minimum} and {starting_batch_size}")
    kept = list(restore)
    smaller = reduce or (lambda size: size // 2)
    tell = on_event or (lambda _: None)

    return lambda function: BatchSizeFunction(function, starting_batch_size, smaller, minimum, kept, tell)


class BatchSizeFunction:
    """A function whose batch size is found when it is called."""

    def __init__(
        self,
        function: Callable[..., Any],
        starting_batch_size: int,
        smaller: Callable[[int], int],
        minimum: int,
        restore: list[torch.nn.Module | torch.optim.Optimizer],
        tell: Callable[[OomEvent], None],
    ) -> None:
        parameters = list(inspect.signature(function).parameters)
        if not parameters:
            raise BatchSizeError(f"{function.__name__}() needs the batch size as its first parameter")
        self.batch_size: int | None = None
        self.oom_count = 0
        self._function = function
        self._first = parameters[0]
        self._start = starting_batch_size
        self._smaller = smaller
        self._minimum = minimum
        self._restore = restore
        self._tell = tell
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result with the largest batch size tried that went through.

        Raises:
            MemoryFloorError: The smallest did not.
            TypeError: The caller gave the batch size too.
        """
        _check_call(self._function, self._first, args, kwargs)
        size = self.batch_size or self._start
        before = [_state_of(part) for part in self._restore]
        while True:
            result, failed = attempt(lambda chosen: self._function(chosen, *args, **kwargs), size)
            if failed is None:
                self.batch_size = size
                return result
            self.oom_count += 1
            for state in before:
                state.restore()
            release_memory()
            size = _next_size(size, self._smaller, self._minimum, failed, self._tell)


def _next_size(size: int, smaller: Callable[[int], int], minimum: int, failed: str, tell: Callable[[OomEvent], None]) -> int:
    if size <= minimum:
        tell(OomEvent(kind="gave_up", size=size, message=failed))
        raise MemoryFloorError(
            f"a batch of {size} does not fit, and the smallest allowed is {minimum}: {failed}; make the model or its input smaller"
        )
    tell(OomEvent(kind="oom", size=size, message=failed))
    following = smaller(size)
    if following >= size:
        raise BatchSizeError(f"reduce: after {size} it gave {following}, which is not smaller")
    return max(following, minimum)


def _check_call(function: Callable[..., Any], first: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Say so where the caller gives the batch size too, before anything runs."""
    try:
        inspect.signature(function).bind(None, *args, **kwargs)
    except TypeError as error:
        raise TypeError(
            f"{function.__name__}() is called without its first argument {first!r}, which the decorator fills: {error}"
        ) from None


def _state_of(part: torch.nn.Module | torch.optim.Optimizer) -> TrainingState:
    if isinstance(part, torch.nn.Module):
        return TrainingState(part)
    return TrainingState(torch.nn.Module(), part)
