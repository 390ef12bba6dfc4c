"""Running out of memory: recognising it, getting rid of what is left, and going on with smaller pieces.

A function and a batch go in, the result of the whole batch comes out, if need be in halves of halves. What is
done about an error is done after its `except` block: inside, the traceback still holds the tensors that are
to be freed.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gpu_optimizer.errors import BatchSizeError, MemoryFloorError
from gpu_optimizer.steps import map_tensors, tensors_in
from gpu_optimizer.training.restoring import TrainingState

_WORDS = (
    "out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",  # its workspace did not fit
    "unable to find an engine",  # cuDNN: no kernel whose workspace fits
)


def is_oom(error: BaseException | None) -> bool:
    """Whether an error, or the one it was raised from, says that memory ran out, on whatever device.

    Example:
        >>> is_oom(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
        True
        >>> is_oom(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
        False
    """
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS):
            return True
        error = error.__cause__
    return False


def release_memory() -> None:
    """Collect garbage and give the accelerator's unused cached memory back. Call it where no `except` block is open."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


@dataclass(frozen=True, slots=True, kw_only=True)
class OomEvent:
    """Something that happened because memory ran out, for logs and metrics.

    Args:
        kind: "oom": a piece did not fit; "resumed": the batch was finished after that; "gave_up": the smallest did not fit.
        size: Examples in the piece that failed, or in the largest piece of the batch that was finished.
        message: The error's first line.
    """

    kind: Literal["oom", "resumed", "gave_up"]
    size: int
    message: str


@dataclass(slots=True, kw_only=True)
class OomCounters:
    """What a runner has done so far.

    Args:
        batches: Batches finished.
        pieces: Pieces finished, those of batches that started again included.
        ooms: Pieces that did not fit.
    """

    batches: int = 0
    pieces: int = 0
    ooms: int = 0


class OomSafeRunner:
    """Runs batches through a function and halves what does not fit; the size that fitted is kept for the next batch.

    Args:
        run: For `infer`: one piece to its output. For `train`: one piece to its **mean** loss, a scalar tensor.
        split: A batch and a size to its pieces. Default: every tensor with the batch's length is cut along its first dimension.
        join: The outputs of the pieces to one output. Default: tensors are joined along their first dimension.
        length: Examples in a batch. Default: the first dimension of its first tensor.
        floor: Smallest piece that is tried, examples.
        grow_after: After so many batches in a row without an error the piece doubles again; None keeps it small.
        on_event: Is told what happened.

    Example:
        >>> def run(rows):
        ...     if len(rows) > 3:
        ...         raise torch.OutOfMemoryError("CUDA out of memory.")
        ...     return rows * 2
        >>> runner = OomSafeRunner(run)
        >>> runner.infer(torch.arange(8)).tolist(), runner.piece_size, runner.counters.ooms
        ([0, 2, 4, 6, 8, 10, 12, 14], 2, 2)
    """

    def __init__(
        self,
        run: Callable[[Any], Any],
        *,
        split: Callable[[Any, int], Iterable[Any]] | None = None,
        join: Callable[[list[Any]], Any] | None = None,
        length: Callable[[Any], int] | None = None,
        floor: int = 1,
        grow_after: int | None = None,
        on_event: Callable[[OomEvent], None] | None = None,
    ) -> None:
        if floor < 1 or (grow_after is not None and grow_after < 1):
            raise BatchSizeError(f"floor and grow_after: expected at least 1, got {floor} and {grow_after}")
        self.counters = OomCounters()
        self.piece_size: int | None = None
        self._run = run
        self._split = split or split_batch
        self._join = join or join_outputs
        self._length = length or batch_length
        self._floor = floor
        self._grow_after = grow_after
        self._on_event = on_event or (lambda _: None)
        self._in_a_row = 0

    def infer(self, batch: Any) -> Any:
        """The function's output for the whole batch, computed without gradients; pieces that fitted are not computed again.

        Raises:
            MemoryFloorError: A piece of `floor` examples does not fit.
        """
        total, outputs, ooms = self._length(batch), [], self.counters.ooms
        waiting = deque([batch])
        while waiting:
            piece = waiting.popleft()
            size = self._length(piece)
            if size > self._size(total):
                waiting.extendleft(reversed(list(self._split(piece, self._size(total)))))
                continue
            with torch.no_grad():
                output, failed = attempt(self._run, piece)
            if failed is not None:
                waiting.appendleft(piece)
                self._failed(size, failed)
                continue
            outputs.append(output)
            self.counters.pieces += 1
        self._finished(total, ooms)
        return outputs[0] if len(outputs) == 1 else self._join(outputs)

    def train(self, batch: Any, model: torch.nn.Module) -> torch.Tensor:
        """Forward and backward of the whole batch; gradients are added to those already there.

        A piece counts by its share of the examples, so the gradient is that of the whole batch's mean loss. Where
        memory runs out, gradients, buffers and random numbers go back to what they were and the batch starts again in
        smaller pieces. What normalises by the batch (BatchNorm) sees the pieces.

        Returns:
            The batch's mean loss, detached.

        Raises:
            MemoryFloorError: A piece of `floor` examples does not fit. Gradients are then as before the call.
        """
        total, ooms = self._length(batch), self.counters.ooms
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        earlier = [parameter.grad for parameter in parameters]
        before = TrainingState(model, weights=False, on_host=False)
        _set_gradients(parameters, [None] * len(parameters))
        try:
            loss = None
            while loss is None:
                loss, size, failed = self._train_in_pieces(batch, total)
                if failed is not None:
                    _set_gradients(parameters, [None] * len(parameters))
                    before.restore()
                    self._failed(size, failed)
        finally:
            _add_gradients(parameters, earlier)
        self._finished(total, ooms)
        return loss

    def _train_in_pieces(self, batch: Any, total: int) -> tuple[torch.Tensor | None, int, str | None]:
        losses = []
        for piece in self._split(batch, self._size(total)):
            size = self._length(piece)
            loss, failed = attempt(lambda part, share=size / total: _backward(self._run(part), share), piece)
            if failed is not None:
                return None, size, failed
            losses.append(loss)
            self.counters.pieces += 1
        return torch.stack(losses).sum(), total, None

    def _size(self, total: int) -> int:
        return total if self.piece_size is None else min(self.piece_size, total)

    def _failed(self, size: int, message: str) -> None:
        self.counters.ooms += 1
        self._in_a_row = 0
        release_memory()
        if size <= self._floor:
            self._on_event(OomEvent(kind="gave_up", size=size, message=message))
            raise MemoryFloorError(
                f"{size} example(s) do not fit, and the smallest piece allowed is {self._floor}: {message}; "
                "free memory, use smaller inputs, or make the model smaller (checkpoints, lower precision)"
            )
        self._on_event(OomEvent(kind="oom", size=size, message=message))
        self.piece_size = max(size // 2, self._floor)

    def _finished(self, total: int, ooms_before: int) -> None:
        self.counters.batches += 1
        if self.counters.ooms > ooms_before:
            self._on_event(OomEvent(kind="resumed", size=self._size(total), message="finished in smaller pieces"))
            return
        self._in_a_row += 1
        if self.piece_size is not None and self._grow_after is not None and self._in_a_row >= self._grow_after:
            self.piece_size *= 2
            self._in_a_row = 0


def run_oom_safe(run: Callable[[Any], Any], batch: Any, **options: Any) -> Any:
    """One batch through a function in pieces as small as they must be; for more than one keep an `OomSafeRunner`."""
    return OomSafeRunner(run, **options).infer(batch)


def batch_length(batch: Any) -> int:
    """Examples in a batch: the first dimension of its first tensor that has one; else its `len`."""
    for tensor in tensors_in(batch):
        if tensor.dim():
            return tensor.shape[0]
    if hasattr(batch, "__len__"):
        return len(batch)
    raise BatchSizeError(f"a {type(batch).__name__} has no length; pass length= and split=")


def split_batch(batch: Any, size: int) -> Iterator[Any]:
    """Pieces of at most `size` examples: tensors with the batch's length are cut, all else goes to every piece.

    Example:
        >>> [piece["x"].tolist() for piece in split_batch({"x": torch.arange(5), "scale": torch.ones(2)}, 2)]
        [[0, 1], [2, 3], [4]]
    """
    total = batch_length(batch)
    if not any(True for _ in tensors_in(batch)):
        yield from (batch[start : start + size] for start in range(0, total, size))
        return
    for start in range(0, total, size):
        yield map_tensors(batch, lambda tensor, at=start: _rows(tensor, total, at, size))


def join_outputs(outputs: list[Any]) -> Any:
    """The outputs of the pieces as one: tensors joined along their first dimension, containers joined part by part.

    Raises:
        BatchSizeError: An output holds something that cannot be joined, a scalar for instance.
    """
    first = outputs[0]
    if isinstance(first, torch.Tensor) and first.dim():
        return torch.cat(outputs)
    if isinstance(first, dict):
        return {key: join_outputs([output[key] for output in outputs]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(join_outputs(list(parts)) for parts in zip(*outputs, strict=True)))
    if isinstance(first, tuple):
        return tuple(join_outputs(list(parts)) for parts in zip(*outputs, strict=True))
    if isinstance(first, list):
        return [item for output in outputs for item in output]
    if first is None:
        return None
    kind = "scalar tensors" if isinstance(first, torch.Tensor) else f"values of type {type(first).__name__}"
    raise BatchSizeError(f"pieces gave {kind}, which cannot be joined; pass join=")


def attempt(run: Callable[[Any], Any], piece: Any) -> tuple[Any, str | None]:
    """The result and no message, or no result and the message of an error that was memory; any other error is raised."""
    try:
        return run(piece), None
    except Exception as error:
        if not is_oom(error):
            raise
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
    return None, message


def _backward(loss: torch.Tensor, share: float) -> torch.Tensor:
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise BatchSizeError("for training, the function must return the piece's mean loss as a scalar tensor")
    (loss * share).backward()
    return loss.detach() * share


def _rows(tensor: torch.Tensor, total: int, start: int, size: int) -> torch.Tensor:
    return tensor[start : start + size] if tensor.dim() and tensor.shape[0] == total else tensor


def _set_gradients(parameters: list[torch.nn.Parameter], gradients: Sequence[torch.Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def _add_gradients(parameters: list[torch.nn.Parameter], earlier: list[torch.Tensor | None]) -> None:
    for parameter, before in zip(parameters, earlier, strict=True):
        if before is None:
            continue
        parameter.grad = before if parameter.grad is None else before.add_(parameter.grad)
