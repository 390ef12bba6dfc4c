"""Activation checkpoints at chosen modules: their activations are computed again in the backward pass.

A model goes in; the named modules keep only their inputs between forward and backward. Gradients, running
statistics and every other buffer, random numbers and plain attributes come out as without it: PyTorch's own
checkpoint runs a forward twice, and with it every BatchNorm counts each batch twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from gpu_optimizer._torch_private import version_of
from gpu_optimizer.errors import CheckpointError
from gpu_optimizer.training.module_state import ModuleState

Keep = Literal["inputs", "matmuls"]

_EXPENSIVE = (
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "linear",
    "convolution",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
)


class CheckpointManager:
    """Chooses which modules of a model are checkpointed, and takes it back.

    Only `forward` of the chosen modules is replaced, on the instance. Forward hooks of a chosen module run once, as
    without it; hooks of modules *inside* it run again in the backward pass. Under `no_grad`, and where neither the
    inputs nor the parameters need gradients, the original forward is called directly. Eager mode only.

    Args:
        model: The model. Copies of it (`copy.deepcopy`) stay checkpointed, with their own weights.
        preserve_rng_state: Random numbers (dropout) of the second forward are those of the first. False saves
            the copies of the generators' states in models that draw no random numbers.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU())
        >>> with CheckpointManager(torch.nn.Sequential(model)).checkpoint(["0"]) as manager:
        ...     manager.model(torch.randn(8, 4)).sum().backward()
        >>> int(model[1].num_batches_tracked)
        1
    """

    def __init__(self, model: torch.nn.Module, *, preserve_rng_state: bool = True) -> None:
        if not isinstance(model, torch.nn.Module):
            raise CheckpointError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
        self.model = model
        self._preserve_rng_state = preserve_rng_state
        self._wrapped: dict[str, _Wrapped] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the checkpointed modules, in the order in which they were asked for."""
        return tuple(self._wrapped)

    def checkpoint(self, names: Iterable[str], *, keep: Keep = "inputs", copy_inputs: bool = False) -> CheckpointManager:
        """Checkpoint these modules from now on; those that are already are left as they are.

        Args:
            names: As `model.named_modules()` gives them; "" is the model itself. A module with two names is
                checkpointed once; modules may lie inside each other.
            keep: "inputs" computes everything again; "matmuls" keeps what matrix products, convolutions and
                attention gave and computes only the rest.
            copy_inputs: Keep copies of the inputs, for modules that change their inputs in place.

        Returns:
            The manager itself, which is also a context manager that takes every checkpoint off at its end.

        Raises:
            CheckpointError: A name is unknown, or a module cannot be checkpointed. Nothing is then changed.
        """
        if keep not in ("inputs", "matmuls"):
            raise CheckpointError(f"keep: expected 'inputs' or 'matmuls', got {keep!r}")
        if keep == "matmuls" and copy_inputs:
            raise CheckpointError("copy_inputs=True works with keep='inputs' only; choose one of the two for this module")
        if isinstance(names, str):
            raise CheckpointError(f"names: expected several names, got the word {names!r}; pass [{names!r}]")
        modules = dict(self.model.named_modules(remove_duplicate=False))
        wanted: dict[str, torch.nn.Module] = {}
        for name in names:
            if name not in modules:
                near = get_close_matches(name, modules, 1)
                raise CheckpointError(f"the model has no module {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
            known = {id(module) for module in wanted.values()} | {id(wrapped.module) for wrapped in self._wrapped.values()}
            if id(modules[name]) not in known:
                _check_possible(name, modules[name])
                wanted[name] = modules[name]
        for name, module in wanted.items():
            forward = CheckpointedForward(name, module, module.forward, keep, copy_inputs, self._preserve_rng_state)
            self._wrapped[name] = _Wrapped(module, forward, vars(module).get("forward"))
            module.forward = forward
        return self

    def remove(self, names: Iterable[str] | None = None) -> None:
        """Take the checkpoints off these modules, or off all; the modules are as they were before.

        Raises:
            CheckpointError: A name is not checkpointed, or somebody replaced the module's forward since.
        """
        chosen = tuple(self._wrapped)[::-1] if names is None else tuple(names)
        for name in chosen:
            if name not in self._wrapped:
                raise CheckpointError(f"{name!r} is not checkpointed; checkpointed are {', '.join(map(repr, self.names)) or 'none'}")
            wrapped = self._wrapped[name]
            if vars(wrapped.module).get("forward") is not wrapped.forward:
                raise CheckpointError(f"the forward of {name!r} was replaced after it was checkpointed; undo that first")
            if wrapped.replaced is None:
                del wrapped.module.forward
            else:
                wrapped.module.forward = wrapped.replaced
            del self._wrapped[name]

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


@dataclass(frozen=True, slots=True)
class _Wrapped:
    module: torch.nn.Module
    forward: CheckpointedForward
    replaced: Any


class CheckpointedForward:
    """Stands in for the `forward` of one module; an object and not a closure, so that copies of the model get copies of it."""

    def __init__(
        self, name: str, module: torch.nn.Module, forward: Callable[..., Any], keep: Keep, copy_inputs: bool, preserve_rng_state: bool
    ) -> None:
        self.name = name
        self.module = module
        self.forward = forward
        self.keep: Keep = keep
        self.copy_inputs = copy_inputs
        self.preserve_rng_state = preserve_rng_state
        functools.update_wrapper(self, forward, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output, with a graph that computes the module again when it is walked back."""
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        tensors: list[torch.Tensor] = []
        layout = _flatten((args, kwargs), tensors)
        if not any(tensor.requires_grad for tensor in (*tensors, *self.module.parameters())):
            return self.forward(*args, **kwargs)
        if torch.compiler.is_compiling():
            raise CheckpointError(f"{self.name!r} is checkpointed for eager mode; take the checkpoints off before torch.compile")
        return self._run(args, kwargs, tensors, layout)

    def _run(self, args: Any, kwargs: Any, tensors: list[torch.Tensor], layout: Any) -> Any:
        state = ModuleState(self.module)
        versions = [version_of(tensor) for tensor in tensors]
        kept = [_own_copy(tensor) for tensor in tensors] if self.copy_inputs else tensors
        first = [(args, kwargs)]
        forward, own_copies = self.forward, self.copy_inputs

        def run(*inputs: torch.Tensor) -> Any:
            if first:
                given, keywords = first.pop()
            else:
                given, keywords = _unflatten(layout, [tensor.clone() for tensor in inputs] if own_copies else inputs)
            return forward(*given, **keywords)

        contexts = functools.partial(_contexts, state, self.keep)
        anchors = _anchors(self.module, kept) if self.preserve_rng_state else []
        output = checkpoint(run, *kept, *anchors, use_reentrant=False, preserve_rng_state=self.preserve_rng_state, context_fn=contexts)
        try:
            state.settle()
        except CheckpointError as error:
            raise CheckpointError(f"{self.name or type(self.module).__name__!r} cannot be checkpointed: {error}") from error
        changed = [index for index, tensor in enumerate(tensors) if version_of(tensor) != versions[index]]
        if changed and not self.copy_inputs:
            raise CheckpointError(
                f"{self.name or type(self.module).__name__!r} changes its input {changed[0]} in place, so it cannot be computed again "
                "from it; pass copy_inputs=True, or set inplace=False in its first operation"
            )
        return output


def _contexts(state: ModuleState, keep: Keep) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    if keep == "inputs":
        return nullcontext(), _Replay(state, nullcontext())
    saving, reusing = create_selective_checkpoint_contexts(_policy)
    return saving, _Replay(state, reusing)


class _Replay:
    """The context of a recomputation; entered once for each backward pass through the same graph."""

    def __init__(self, state: ModuleState, inner: AbstractContextManager[Any]) -> None:
        self._state = state
        self._inner = inner
        self._open: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        # The state first: what it copies must not be counted among the block's own operations by a selective policy.
        self._open.append(_both(self._state, self._inner))
        self._open[-1].__enter__()

    def __exit__(self, *error: Any) -> None:
        self._open.pop().__exit__(*error)


@contextmanager
def _both(state: ModuleState, inner: AbstractContextManager[Any]) -> Iterator[None]:
    with state.replayed(), inner:
        yield


@functools.cache
def _expensive_operations() -> frozenset[Any]:
    packets = (getattr(torch.ops.aten, name, None) for name in _EXPENSIVE)
    return frozenset(packet.default for packet in packets if packet is not None)


def _policy(_context: Any, operation: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in _expensive_operations() else CheckpointPolicy.PREFER_RECOMPUTE


def _check_possible(name: str, module: torch.nn.Module) -> None:
    if isinstance(module, torch.nn.ModuleList | torch.nn.ModuleDict | torch.nn.ParameterList | torch.nn.ParameterDict):
        raise CheckpointError(f"{name!r} is a {type(module).__name__}, which has no forward; name its children")
    if isinstance(module, torch.jit.ScriptModule):
        raise CheckpointError(f"{name!r} is compiled TorchScript, whose forward cannot be replaced; use the module it was made from")
    if isinstance(vars(module).get("forward"), CheckpointedForward):
        raise CheckpointError(f"{name!r} is already checkpointed by another manager; remove that one first")
    if any(torch.nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
        raise CheckpointError(f"{name!r} has parameters without a shape yet; run the model once before")


def _anchors(module: torch.nn.Module, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """A parameter of each device that no input is on: PyTorch keeps the generators' states of its inputs' devices only."""
    known = {tensor.device for tensor in inputs}
    anchors: dict[torch.device, torch.Tensor] = {}
    for parameter in module.parameters():
        if parameter.device not in known:
            anchors.setdefault(parameter.device, parameter)
    return list(anchors.values())


def _own_copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


@dataclass(frozen=True, slots=True)
class _Place:
    index: int


def _flatten(value: Any, tensors: list[torch.Tensor]) -> Any:
    """The same value with places instead of tensors; only plain containers are opened, all others stay as they are.

    A tensor passed twice has one place: attention asks whether query, key and value are one object.
    """
    if isinstance(value, torch.Tensor):
        place = next((index for index, tensor in enumerate(tensors) if tensor is value), None)
        if place is None:
            tensors.append(value)
            place = len(tensors) - 1
        return _Place(place)
    return _rebuild(value, lambda part: _flatten(part, tensors))


def _unflatten(value: Any, tensors: Sequence[torch.Tensor]) -> Any:
    if isinstance(value, _Place):
        return tensors[value.index]
    return _rebuild(value, lambda part: _unflatten(part, tensors))


def _rebuild(value: Any, change: Callable[[Any], Any]) -> Any:
    if type(value) is tuple or type(value) is list:
        return type(value)(change(part) for part in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(change(part) for part in value))
    if type(value) is dict:
        return {key: change(part) for key, part in value.items()}
    return value
