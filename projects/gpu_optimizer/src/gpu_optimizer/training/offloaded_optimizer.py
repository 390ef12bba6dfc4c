"""An optimizer whose state and full-precision weights live on the host; the device keeps only weights and gradients.

Any optimizer class of torch does the arithmetic on the host. From outside it is a `torch.optim.Optimizer` over the
device's parameters: schedulers, clipping, gradient scalers, accumulation and checkpoints work as always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from gpu_optimizer._torch_private import version_of
from gpu_optimizer.errors import SwapError
from gpu_optimizer.training.swap_backend import Backend, CudaBackend, storage_bytes


class OffloadedOptimizer(torch.optim.Optimizer):
    """Steps on the host with float32 copies of the parameters, and writes the result back to the device.

    A parameter that lies on the host in float32 already is stepped as it is. One that somebody else changed since the
    last step (a loaded checkpoint) is read again. Parameters without gradient are left alone, as torch does.

    Args:
        params: Parameters or groups, as for any optimizer.
        kind: Class of the optimizer that does the work, or a function that makes one from groups and settings.
        backend: How gradients travel; default: CUDA.
        settings: What `kind` takes: `lr`, `weight_decay`, ...

    Raises:
        SwapError: There is no CUDA device and no backend is given.

    Example:
        >>> optimizer = OffloadedOptimizer(model.parameters(), torch.optim.AdamW, lr=1e-4)  # doctest: +SKIP
        >>> scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)  # doctest: +SKIP
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        kind: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        *,
        backend: Backend | None = None,
        **settings: Any,
    ) -> None:
        self._backend = backend or CudaBackend()
        self._masters: dict[torch.Tensor, torch.Tensor] = {}
        self._versions: dict[torch.Tensor, int] = {}
        self._buffers: dict[torch.Tensor, torch.Tensor] = {}
        given: list[Any] = list(params)
        grouped: list[dict[str, Any]] = given if given and isinstance(given[0], dict) else [{"params": given}]
        grouped = [{**group, "params": _listed(group["params"])} for group in grouped]
        self._inner: torch.optim.Optimizer | None = None
        inner = kind([{**group, "params": [self._master(parameter) for parameter in group["params"]]} for group in grouped], **settings)
        super().__init__(grouped, dict(inner.defaults))
        self._inner = inner
        self._link()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; the new parameters get host copies too."""
        group = {**param_group, "params": _listed(param_group["params"])}
        super().add_param_group(group)
        if self._inner is not None:
            masters = [self._master(parameter) for parameter in group["params"]]
            self._inner.add_param_group({**param_group, "params": masters})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Bring gradients to the host, step there, write the parameters back.

        Raises:
            SwapError: A gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        inner = self._working()
        self._copy_settings(self.param_groups, inner.param_groups)
        stepped = self._bring_gradients()
        inner.step()
        for parameter in stepped:
            master = self._masters[parameter]
            if master is not parameter:
                parameter.copy_(master, non_blocking=True)
                master.grad = None
            self._versions[parameter] = version_of(parameter)
        self._copy_settings(inner.param_groups, self.param_groups)
        self._link()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """As that of the optimizer that does the work, and under "master" the float32 copies by number of parameter."""
        inner = self._working()
        self._copy_settings(self.param_groups, inner.param_groups)
        copies = {index: self._masters[parameter] for index, parameter in enumerate(self._parameters())}
        return {**inner.state_dict(), "master": copies}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, or the state of a plain optimizer of the same kind."""
        inner = self._working()
        inner.load_state_dict({key: value for key, value in state_dict.items() if key != "master"})
        self._copy_settings(inner.param_groups, self.param_groups)
        copies = state_dict.get("master", {})
        for index, parameter in enumerate(self._parameters()):
            if index in copies and self._masters[parameter] is not parameter:
                self._masters[parameter].copy_(copies[index])
                parameter.copy_(self._masters[parameter])
                self._versions[parameter] = version_of(parameter)
        self._link()

    def _working(self) -> torch.optim.Optimizer:
        if self._inner is None:
            raise SwapError("the optimizer is used before it is made")
        return self._inner

    def _parameters(self) -> list[torch.Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _master(self, parameter: torch.Tensor) -> torch.Tensor:
        if not self._backend.owns(parameter) and parameter.dtype == torch.float32:
            master = parameter
        else:
            master = self._on_host(parameter, torch.float32).requires_grad_(parameter.requires_grad)
            with torch.no_grad():
                master.copy_(parameter)
        self._masters[parameter] = master
        self._versions[parameter] = version_of(parameter)
        return master

    def _on_host(self, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        buffer = self._backend.host_buffer(like.numel() * dtype.itemsize)
        return buffer.view(dtype).view(like.shape)

    def _bring_gradients(self) -> list[torch.Tensor]:
        """Gradients of device parameters, as float32 on the host; which parameters have one."""
        have, travelling = [], []
        for parameter in self._parameters():
            master, gradient = self._masters[parameter], parameter.grad
            if master is not parameter:
                master.grad = None
                if version_of(parameter) != self._versions[parameter]:
                    master.detach().copy_(parameter)
            if gradient is None:
                continue
            if gradient.layout != torch.strided:
                raise SwapError("sparse gradients cannot be brought to the host; use sparse=False, or an optimizer on the device")
            have.append(parameter)
            if master is not parameter:
                travelling.append((parameter, *self._send(parameter, gradient.contiguous())))
        for parameter, host, transfer, _held in travelling:
            transfer.wait()
            self._masters[parameter].grad = host.to(torch.float32)
        return have

    def _send(self, parameter: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Start one gradient's copy: where it will lie, the transfer, and the source that must live until then."""
        if gradient.untyped_storage().nbytes() != gradient.nbytes:  # a part of something larger, as in buckets
            gradient = gradient.clone()
        if parameter not in self._buffers or self._buffers[parameter].dtype != gradient.dtype:
            self._buffers[parameter] = self._on_host(gradient, gradient.dtype)
        host = self._buffers[parameter]
        transfer = self._backend.copy_out(storage_bytes(gradient.untyped_storage()), storage_bytes(host.untyped_storage()), None)
        return host, transfer, gradient

    def _copy_settings(self, source: list[dict[str, Any]], target: list[dict[str, Any]]) -> None:
        for mine, theirs in zip(source, target, strict=True):
            theirs.update({key: value for key, value in mine.items() if key != "params"})

    def _link(self) -> None:
        """`state[parameter]` is the working optimizer's state of its copy."""
        inner = self._working()
        self.state.clear()
        for parameter in self._parameters():
            if self._masters[parameter] in inner.state:
                self.state[parameter] = inner.state[self._masters[parameter]]


def _listed(params: Any) -> list[torch.Tensor]:
    return [params] if isinstance(params, torch.Tensor) else list(params)
