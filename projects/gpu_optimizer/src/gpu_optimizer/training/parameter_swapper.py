"""Modules whose parameters live on the host and visit the device only while the module computes.

In the forward pass each parameter is copied in, used and let go; what autograd saved of it is remembered as "this
parameter, seen so", and copied in again in the backward pass. Gradients arrive on the host, where an ordinary
optimizer steps them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from gpu_optimizer._torch_private import Saved, storage_key, version_of
from gpu_optimizer.errors import SwapError
from gpu_optimizer.training.checkpoint_manager import CheckpointedForward
from gpu_optimizer.training.swap_backend import Backend, CudaBackend, HostPool, storage_bytes


def swap_parameters(
    model: torch.nn.Module, names: Iterable[str], *, device: torch.device | str | None = None, backend: Backend | None = None
) -> ParameterSwapper:
    """Keep the parameters of these modules on the host from now on; `remove` of what is returned undoes it.

    Args:
        model: The model.
        names: Modules as `model.named_modules()` names them; none inside another. All parameters in them are moved.
        device: Where they compute; default: where the parameters are now.
        backend: How bytes travel; default: CUDA.

    Raises:
        SwapError: A name is unknown or lies inside another, or a module is checkpointed already: swap first, then
            checkpoint, so that the second forward finds its parameters.
    """
    return ParameterSwapper(model, names, device=device, backend=backend)


class ParameterSwapper:
    """What `swap_parameters` returns; a context manager that undoes it at its end."""

    def __init__(self, model: torch.nn.Module, names: Iterable[str], *, device: torch.device | str | None, backend: Backend | None) -> None:
        self.in_bytes = 0
        self._backend = backend or CudaBackend()
        self._pool = HostPool(self._backend)
        self._modules: list[tuple[torch.nn.Module, SwappedForward, Any]] = []
        self._home: dict[torch.nn.Parameter, torch.device] = {}
        self._visiting: dict[torch.nn.Parameter, weakref.ref[torch.UntypedStorage]] = {}
        chosen = _chosen(model, list(names))
        for module in chosen:
            for parameter in module.parameters():
                self._move_out(parameter, torch.device(device) if device is not None else parameter.device)
            forward = SwappedForward(module, module.forward, self)
            self._modules.append((module, forward, vars(module).get("forward")))
            module.forward = forward

    def remove(self) -> None:
        """Parameters go back to the device and the modules compute as before.

        Raises:
            SwapError: Somebody replaced a module's forward since (a checkpoint): undo that first.
        """
        for module, forward, _ in self._modules:
            if vars(module).get("forward") is not forward:
                raise SwapError(f"the forward of a {type(module).__name__} was replaced after its parameters were swapped; undo that first")
        for module, _, before in self._modules:
            if before is None:
                del module.forward
            else:
                module.forward = before
        self._modules.clear()
        for parameter, device in self._home.items():
            gradient = parameter.grad
            parameter.grad = None
            parameter.data = parameter.detach().to(device, copy=True)
            parameter.grad = None if gradient is None else gradient.to(device)
        self._home.clear()

    def __enter__(self) -> ParameterSwapper:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def bring(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        """The parameter's values on its device: those that are there still, or a new copy."""
        reference = self._visiting.get(parameter)
        storage = None if reference is None else reference()
        if storage is None:
            source = storage_bytes(parameter.untyped_storage())
            data, transfer = self._backend.copy_in(source, self._home[parameter], None)
            transfer.order()
            storage = data.untyped_storage()
            self._visiting[parameter] = weakref.ref(storage)
            self.in_bytes += source.numel()
        return torch.empty(0, dtype=parameter.dtype, device=self._home[parameter]).set_(storage, 0, parameter.shape, parameter.stride())

    def forget(self, parameter: torch.nn.Parameter) -> None:
        """The values on the device are no longer the parameter's."""
        self._visiting.pop(parameter, None)

    def send(self, gradient: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """A gradient on the host, in the parameter's layout."""
        gradient = gradient.contiguous()
        if gradient.untyped_storage().nbytes() != gradient.nbytes:
            gradient = gradient.clone()
        taken = self._pool.take(gradient.nbytes)
        buffer, reader = (self._backend.host_buffer(gradient.nbytes), None) if taken is None else taken
        self._backend.copy_out(storage_bytes(gradient.untyped_storage()), buffer, reader).wait()
        arrived = buffer.view(gradient.dtype).view(parameter.shape)
        if taken is None:
            return arrived
        arrived = arrived.clone()  # the pinned buffer is for the next gradient: pinning anew costs more than this copy
        self._pool.give_back(buffer, None)
        return arrived

    def _move_out(self, parameter: torch.nn.Parameter, device: torch.device) -> None:
        if parameter in self._home:
            return
        self._home[parameter] = device
        source = parameter.detach().contiguous().clone()
        buffer = self._backend.host_buffer(source.nbytes)
        self._backend.copy_out(storage_bytes(source.untyped_storage()), buffer, None).wait()
        gradient, parameter.grad = parameter.grad, None
        parameter.data = buffer.view(source.dtype).view(source.shape)
        parameter.grad = None if gradient is None else gradient.to(parameter.device)


class SwappedForward:
    """Stands in for the `forward` of a module whose parameters live on the host."""

    def __init__(self, module: torch.nn.Module, forward: Callable[..., Any], swapper: ParameterSwapper) -> None:
        self.module = module
        self.forward = forward
        self.swapper = swapper

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output, computed with parameters that are on the device only meanwhile."""
        slots = [
            (part, key, parameter) for part in self.module.modules() for key, parameter in part._parameters.items() if parameter is not None
        ]
        if any(isinstance(vars(part).get("forward"), CheckpointedForward) for part in self.module.modules() if part is not self.module):
            raise SwapError(
                "a part of a module with swapped parameters is checkpointed; checkpoint the whole module instead, after swapping"
            )
        visitors: dict[torch.nn.Parameter, torch.Tensor] = {}
        for _, _, parameter in slots:
            if parameter not in visitors:
                visitors[parameter] = _BringIn.apply(parameter, self.swapper)  # type: ignore[assignment]
        seen = {storage_key(tensor.untyped_storage()): (parameter, version_of(parameter)) for parameter, tensor in visitors.items()}
        for part, key, parameter in slots:
            part._parameters[key] = visitors[parameter]  # type: ignore[assignment]
        try:
            with torch.autograd.graph.saved_tensors_hooks(lambda tensor: _pack(tensor, seen), self._unpack):
                return self.forward(*args, **kwargs)
        finally:
            for part, key, parameter in slots:
                part._parameters[key] = parameter

    def _unpack(self, packed: Any) -> torch.Tensor:
        if isinstance(packed, Saved):
            return packed.back()
        if version_of(packed.parameter) != packed.version:
            raise SwapError("a parameter was changed between the forward and the backward pass; step the optimizer after the last backward")
        storage = self.swapper.bring(packed.parameter).untyped_storage()
        return torch.empty(0, dtype=packed.dtype, device=storage.device).set_(storage, packed.offset, packed.shape, packed.stride)


class _BringIn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: torch.nn.Parameter, swapper: ParameterSwapper) -> torch.Tensor:
        ctx.parameter, ctx.swapper = parameter, swapper
        swapper.forget(parameter)
        return swapper.bring(parameter)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.swapper.send(gradients[0], ctx.parameter), None


@dataclass(frozen=True, slots=True)
class _Seen:
    parameter: torch.nn.Parameter
    version: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


def _pack(tensor: torch.Tensor, seen: dict[int, tuple[torch.nn.Parameter, int]]) -> Any:
    found = seen.get(storage_key(tensor.untyped_storage())) if tensor.layout == torch.strided else None
    if found is None:
        return Saved.of(tensor)
    parameter, version = found
    return _Seen(parameter, version, tensor.dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))


def _chosen(model: torch.nn.Module, names: list[str]) -> list[torch.nn.Module]:
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            raise SwapError(f"the model has no module {name!r}; give names as model.named_modules() does")
        if any(other != name and (other == "" or name.startswith(f"{other}.")) for other in names):
            raise SwapError(f"{name!r} lies inside another module that is swapped; name only one of the two")
        if any(isinstance(vars(part).get("forward"), CheckpointedForward) for part in modules[name].modules()):
            raise SwapError(f"{name!r} is checkpointed already; swap its parameters first, then checkpoint it")
    return [modules[name] for name in dict.fromkeys(names)]
