"""The only file that may touch private torch APIs; each function says why the public one does not do.

The tests have been run with torch 2.11.0, 2.13.0 and 2.15.0, without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    import torch

Operator = Callable[..., Any]


def coo_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values of a sparse COO tensor as they lie in memory.

    The public `indices()` and `values()` refuse a tensor that is not coalesced, as gradients of sparse
    embeddings are, and coalescing would make a copy.
    """
    return tensor._indices(), tensor._values()


def fake_mode() -> AbstractContextManager[Any]:
    """A mode in which tensors have shapes, types and storages but no memory; real tensors met on the way become fake.

    `torch.device("meta")` is the public relative; its tensors forget the device they stand for, so autocast and the
    choice between kernels would differ from the real run.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def fake_tensor_type() -> type:
    """Class of the tensors inside `fake_mode`, for code that moves plain tensors only and is to be followed without running."""
    from torch._subclasses.fake_tensor import FakeTensor

    return FakeTensor


def forget_calls(tensor: torch.Tensor) -> None:
    """Have the mode of a fake tensor remember no calls from now on.

    It keeps the arguments of what it has seen to be faster the next time; for `set_` these are storages, which then are
    never freed. No public switch belongs to one mode alone.
    """
    mode = getattr(tensor, "fake_mode", None)
    if mode is not None:
        mode.cache_enabled = False


def value_errors() -> tuple[type[Exception], ...]:
    """What is raised where a model reads the value of a fake tensor: a number, or a shape that depends on values."""
    from torch._subclasses import fake_tensor

    return (fake_tensor.DataDependentOutputException, fake_tensor.DynamicOutputShapeException)


def observe_operators(observer: Callable[[Operator, tuple[Any, ...], dict[str, Any], Any], None]) -> AbstractContextManager[Any]:
    """Inside, `observer(operator, args, kwargs, output)` is called after every operator, those of autograd included.

    Python dispatch modes are the only view below autograd; torch gives them no public name.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    class Observer(TorchDispatchMode):
        def __torch_dispatch__(self, func: Operator, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
            output = func(*args, **(kwargs or {}))
            observer(func, args, kwargs or {}, output)
            return output

    return Observer()


def operator_name(operator: Operator) -> str:
    """Name of an operator as a profiler writes it, for example `"aten::add"`."""
    schema = getattr(operator, "_schema", None)
    return str(operator) if schema is None else schema.name


def operator_flops(operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Floating point operations of a call by torch's own table, 0 for what it does not list.

    `FlopCounterMode` is public, but counts by module only for modules it wraps itself.
    """
    from torch.utils.flop_counter import flop_registry

    count = flop_registry.get(getattr(operator, "_overloadpacket", None))
    return 0 if count is None else int(count(*args, **kwargs, out_val=output))


def storages_of(tensor: torch.Tensor) -> Iterator[torch.UntypedStorage]:
    """The storages a tensor holds: one, or those of the tensors that a wrapper or a sparse tensor is made of."""
    import torch
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    if is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from storages_of(getattr(tensor, name))
    elif tensor.layout == torch.strided:
        yield tensor.untyped_storage()
    elif tensor.layout == torch.sparse_coo:
        for part in coo_parts(tensor):
            yield from storages_of(part)


def storage_key(storage: torch.UntypedStorage) -> int:
    """Identity of a storage for as long as it lives: `data_ptr()` is 0 for every fake one, Python objects come and go."""
    return storage._cdata


def when_freed(storage: torch.UntypedStorage, call: Callable[[], None]) -> object:
    """Have `call()` run when the storage is freed; keep what is returned, without it nothing is called."""
    return ref(storage, lambda _: call())


def version_of(tensor: torch.Tensor) -> int:
    """How often a tensor was changed in place; 0 for those of inference mode, which do not count."""
    return 0 if tensor.is_inference() else tensor._version


@dataclass(frozen=True, slots=True)
class Saved:
    """What a pack hook gives autograd for a tensor that stays where it is; `back` is for the unpack hook.

    Given back as it is, a tensor that its own node saves (what `exp` or a norm computed) holds the node that holds it,
    and a graph that no backward pass walks is never freed. And torch compares versions only where there are no hooks.
    """

    tensor: torch.Tensor
    version: int

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Saved:
        """Remember a tensor; it must not be changed in place any more."""
        return cls(tensor.detach(), version_of(tensor))

    def back(self) -> torch.Tensor:
        """The tensor.

        Raises:
            RuntimeError: It was changed since.
        """
        if version_of(self.tensor) != self.version:
            raise RuntimeError(
                "a tensor needed for the gradient has been modified by an inplace operation: it is "
                f"{tuple(self.tensor.shape)}, saved at version {self.version} and now at version {version_of(self.tensor)}"
            )
        return self.tensor


def in_backward() -> bool:
    """Whether autograd is running a backward pass in this thread."""
    import torch

    return torch._C._current_graph_task_id() != -1


def cuda_memory_snapshot() -> dict[str, Any]:
    """Segments, history and settings of the CUDA allocator of this process.

    The public `torch.cuda.memory_snapshot()` leaves out history and settings.
    """
    import torch.cuda.memory

    return dict(torch.cuda.memory._snapshot())


def record_cuda_memory_history(max_entries: int | None) -> None:
    """Record what the CUDA allocator does, with Python stacks; None ends it.

    There is no public way. Stacks of C++ are left out: they make a dump take minutes instead of seconds.
    """
    import torch.cuda.memory

    if max_entries is None:
        torch.cuda.memory._record_memory_history(enabled=None)
    else:
        torch.cuda.memory._record_memory_history(stacks="python", max_entries=max_entries)


def profiled_memory(profiler: Any) -> list[tuple[int, int]]:
    """When the CPU's allocator handed out or took back how many bytes, from a finished `torch.profiler.profile`.

    The public `events()` gives sums by operator only, from which no peak can be told.
    """
    events = profiler.profiler.kineto_results.events()
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return sorted(changes, key=lambda change: change[0])


def profiled_ranges(profiler: Any, prefix: str) -> list[tuple[int, int]]:
    """Begin and end of everything a finished `torch.profiler.profile` recorded under a name with this prefix.

    On the same clock as `profiled_memory`, which `events()` is not.
    """
    events = profiler.profiler.kineto_results.events()
    return sorted((event.start_ns(), event.start_ns() + event.duration_ns()) for event in events if event.name().startswith(prefix))


def release_cublas_workspaces() -> None:
    """Give back the work space that cuBLAS keeps from its first product on; no public call does."""
    import torch

    release = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if release is not None:
        release()


def onednn_computes(dtype: torch.dtype) -> bool:
    """Whether this machine's oneDNN has kernels for an element type; half formats need AVX-512 or newer."""
    import torch

    name = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}.get(dtype)
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    return dtype == torch.float32 if name is None else bool(getattr(torch.ops.mkldnn, name)())
