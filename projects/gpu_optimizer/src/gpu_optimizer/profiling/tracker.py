"""Follow every storage through a training step, real or fake: who made it, who saved it, when it is freed.

Operators are seen below autograd, releases through the storages themselves, modules through global
forward hooks (a model's own hooks are not touched), saved tensors through autograd's public hooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from gpu_optimizer._torch_private import (
    Operator,
    Saved,
    in_backward,
    observe_operators,
    operator_flops,
    operator_name,
    storage_key,
    storages_of,
    when_freed,
)
from gpu_optimizer.profiling.kernels import CUBLAS, PRODUCTS, convolution_operand_bytes, cublas_bytes, hidden_bytes, work_bytes
from gpu_optimizer.profiling.profile import Category, Phase, Span, TensorLife
from gpu_optimizer.steps import tensors_in


@dataclass(slots=True)
class Call:
    """One call of one module.

    Args:
        module: Its path.
        recompute: Whether it happened inside a backward pass.
        window: Index of the micro-batch over all steps, -1 before the first.
        born: Tick of its beginning.
        died: Tick of its end.
        inputs: Lives of tensors from outside that its operators use, parameters and buffers aside.
        outputs: Lives of the tensors it returned.
        flops: Floating point operations inside it.
        backward: First and last tick at which its backward pass was at work.
    """

    module: str
    recompute: bool
    window: int
    born: int
    died: int = -1
    inputs: dict[int, Life] = field(default_factory=dict)
    outputs: tuple[Life, ...] = ()
    flops: int = 0
    backward: tuple[int, int] | None = None


Stack = tuple[Call, ...]


@dataclass(slots=True, eq=False)
class Life:
    """One storage, as long as it is being followed."""

    size_bytes: int
    shape: tuple[int, ...]
    dtype: str
    born: int
    phase: Phase
    step: int
    window: int
    stack: Stack
    operator: str
    name: str = ""
    category: Category | None = None
    died: int | None = None
    operands: tuple[Life, ...] = ()
    savers: list[Stack] = field(default_factory=list)
    watch: object = None


class Tracker:
    """Records lives while it is entered; `lives`, `calls` and `spans` are what it saw.

    Args:
        names: Path of every module to follow by its `id`.
        kinds: Device types whose tensors count.
        work: Device type whose kernels' work space is added ("cpu", "cuda"), None where it is measured.
    """

    def __init__(self, names: Mapping[int, str], *, kinds: Iterable[str] = ("cpu", "cuda"), work: str | None = None) -> None:
        self.lives: list[Life] = []
        self.calls: list[Call] = []
        self.spans: list[Span] = []
        self.step = 0
        self.window = -1
        self.tick = 0
        self.convolution_bytes = 0
        self._names = names
        self._kinds = frozenset(kinds)
        self._work = work
        self._live: dict[int, Life] = {}
        self._stack: Stack = ()
        self._backward_stack: Stack = ()
        self._in_optimizer = False
        self._workspaces: set[str] = set()
        self._phase: Phase | None = None

    @contextmanager
    def tracking(self) -> Iterator[Tracker]:
        """Follow everything that happens inside, in this thread and in autograd's."""
        with ExitStack() as stack:
            for handle in (
                register_module_forward_pre_hook(self._enter_module),
                register_module_forward_hook(self._leave_module, always_call=True),
                register_optimizer_step_pre_hook(self._enter_optimizer),
                register_optimizer_step_post_hook(self._leave_optimizer),
            ):
                stack.callback(handle.remove)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack))
            stack.enter_context(observe_operators(self._operator))
            stack.callback(self.stop)
            yield self

    def stop(self) -> None:
        """What is there now was there to the end: releases from now on do not count."""
        self._live.clear()

    def add(self, tensor: torch.Tensor, name: str, category: Category) -> None:
        """Count a tensor that is there before the first step."""
        for life in self._record(tensor, "", ()):
            life.born, life.window, life.name, life.category = 0, -1, name, category
        self.tick, self.window, self._phase = 0, -1, None
        self.spans.clear()

    def tag(self, tensor: torch.Tensor, name: str, category: Category) -> None:
        """Say what a tensor that was seen before is for."""
        for storage in storages_of(tensor):
            life = self._live.get(storage_key(storage))
            if life is not None and life.category is None:
                life.name, life.category = name, category

    def begin_step(self, step: int) -> None:
        """What follows belongs to this step."""
        self.step, self._phase = step, None
        self._set_phase("forward")

    def tensor_lives(self) -> tuple[TensorLife, ...]:
        """Everything seen so far, with what each storage turned out to be for."""
        _merge_sums(self.lives)
        return tuple(self._finished(life) for life in self.lives)

    def _operator(self, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        name = operator_name(operator)
        used = [life for tensor in tensors_in((args, kwargs)) for life in self._known(tensor)]
        made = [life for tensor in tensors_in(output) for life in self._record(tensor, name, self._stack)]
        if self._work == "cpu":
            self._add_work(name, args, output)
        elif self._work == "cuda":
            self.convolution_bytes = max(self.convolution_bytes, convolution_operand_bytes(name, args, output))
            if name in PRODUCTS:
                self._add_workspace()
        if self._stack:
            self._charge(used, operator_flops(operator, args, kwargs, output))
        elif in_backward():
            self._extend_backward()
            if name == "aten::add" and len(made) == 1:
                made[0].operands = tuple(used)

    def _charge(self, used: list[Life], flops: int) -> None:
        """Let every module at work have its share of an operator."""
        outside = [life for life in used if life.category not in ("parameters", "buffers")]
        for call in self._stack:
            call.flops += flops
            for life in outside:
                if life.born <= call.born:
                    call.inputs[id(life)] = life

    def _add_work(self, name: str, args: tuple[Any, ...], output: Any) -> None:
        """Add what the kernel would have taken beside its inputs and the outputs one sees."""
        for index, size in hidden_bytes(name, args, output).items():
            storage = next(storages_of(output[index]))
            self._follow(storage, size, output[index], name, self._stack)
        size = work_bytes(name, args, output)
        if size:
            self._set_phase(self._phase_now())
            stack = self._stack or self._backward_stack
            life = self._life(size, (size,), "uint8", f"{name} (work space)", stack)
            life.died, life.category = self._next_tick(), "temporaries"
            self.lives.append(life)

    def _add_workspace(self) -> None:
        """CuBLAS gets its work space with the first product of each thread and keeps it; backward has its own thread."""
        thread = "backward" if in_backward() else "forward"
        if thread not in self._workspaces:
            self._workspaces.add(thread)
            self._set_phase(self._phase_now())
            size = cublas_bytes()
            life = self._life(size, (size,), "uint8", CUBLAS, ())
            life.name, life.category = f"cuBLAS work space ({thread})", "temporaries"
            self.lives.append(life)

    def _record(self, tensor: torch.Tensor, operator: str, stack: Stack) -> Iterator[Life]:
        """The lives of storages that were not known, or that have another size now."""
        for storage in storages_of(tensor):
            size, key = storage.nbytes(), storage_key(storage)
            known = self._live.get(key)
            if not size or tensor.device.type not in self._kinds or (known is not None and known.size_bytes == size):
                continue
            if known is not None:
                self._end(key, known)
            yield self._follow(storage, size, tensor, operator, stack)

    def _follow(self, storage: torch.UntypedStorage, size: int, tensor: torch.Tensor, operator: str, stack: Stack) -> Life:
        self._set_phase(self._phase_now())
        dtype, key = str(tensor.dtype).removeprefix("torch."), storage_key(storage)
        life = self._life(size, tuple(tensor.shape), dtype, operator, (stack or self._backward_stack) if in_backward() else stack)
        life.watch = when_freed(storage, lambda: self._end(key, life))
        self._live[key] = life
        self.lives.append(life)
        return life

    def _life(self, size: int, shape: tuple[int, ...], dtype: str, operator: str, stack: Stack) -> Life:
        return Life(
            size_bytes=size,
            shape=shape,
            dtype=dtype,
            born=self._next_tick(),
            phase=self._phase or "forward",
            step=self.step,
            window=self.window,
            stack=stack,
            operator=operator,
        )

    def _phase_now(self) -> Phase:
        return "optimizer" if self._in_optimizer else "backward" if in_backward() else "forward"

    def _end(self, key: int, life: Life) -> None:
        """A storage is freed; what is freed after the last step was there to its end."""
        life.watch = None
        if self._live.get(key) is life:
            life.died = self._next_tick()
            del self._live[key]

    def _known(self, tensor: torch.Tensor) -> Iterator[Life]:
        for storage in storages_of(tensor):
            life = self._live.get(storage_key(storage))
            if life is not None:
                yield life

    def _next_tick(self) -> int:
        self.tick += 1
        return self.tick

    def _set_phase(self, phase: Phase) -> None:
        if phase != self._phase:
            self.window += phase == "forward"
            self._phase = phase
            self.spans.append(Span(phase=phase, step=self.step, start=self.tick + 1))

    def _enter_module(self, module: torch.nn.Module, args: Any) -> None:
        name = self._names.get(id(module))
        if name is None:
            return
        if not in_backward():
            self._set_phase("forward")
        call = Call(name, in_backward(), self.window, self.tick)
        self._stack = (*self._stack, call)
        self.calls.append(call)

    def _leave_module(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        name = self._names.get(id(module))
        position = next((i for i in reversed(range(len(self._stack))) if self._stack[i].module == name), None)
        if name is None or position is None:
            return
        for call in self._stack[position:]:
            call.died = self.tick
        self._stack[position].outputs = self._carried(output)
        self._backward_stack = self._stack if in_backward() else self._backward_stack
        self._stack = self._stack[:position]

    def _carried(self, value: Any) -> tuple[Life, ...]:
        found = (life for tensor in tensors_in(value) for life in self._known(tensor))
        return tuple(dict.fromkeys(life for life in found if life.category not in ("parameters", "buffers")))

    def _enter_optimizer(self, *_: object) -> None:
        self._in_optimizer = True
        self._set_phase("optimizer")

    def _leave_optimizer(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self._in_optimizer = False
        for parameter, state in optimizer.state.items():
            owner = next((life.name for life in self._known(parameter)), "optimizer")
            for key, value in state.items():
                for tensor in tensors_in(value):
                    self.tag(tensor, f"{owner}: {key}", "optimizer_state")

    def _pack(self, tensor: torch.Tensor) -> tuple[Saved, Stack]:
        for life in self._known(tensor):
            life.savers.append(self._stack)
        return Saved.of(tensor), self._stack

    def _unpack(self, packed: tuple[Saved, Stack]) -> torch.Tensor:
        saved, self._backward_stack = packed
        self._extend_backward()
        return saved.back()

    def _extend_backward(self) -> None:
        for call in self._backward_stack:
            call.backward = (call.backward[0] if call.backward else self.tick, self.tick + 1)

    def _finished(self, life: Life) -> TensorLife:
        module = life.stack[-1].module if life.stack else ""
        return TensorLife(
            name=life.name or f"{module or '(model)'}: {life.operator.removeprefix('aten::')}",
            category=life.category or _purpose(life, self.spans),
            size_bytes=life.size_bytes,
            shape=life.shape,
            dtype=life.dtype,
            born=life.born,
            died=life.died,
            phase=life.phase,
            step=life.step,
            module=module,
            operator=life.operator,
            saved_by=tuple(dict.fromkeys(stack[-1].module if stack else "" for stack in life.savers)),
        )


def _purpose(life: Life, spans: list[Span]) -> Category:
    """Activations outlive the forward pass that made them, or the recomputation that did; all else is temporary."""
    if life.phase == "forward":
        end = next((span.start for span in spans if span.start > life.born and span.phase != "forward"), None)
    elif life.phase == "backward" and life.stack and life.stack[-1].recompute:
        end = life.stack[0].died + 1
    else:
        return "temporaries"
    return "activations" if end is not None and (life.died is None or life.died >= end) else "temporaries"


def _merge_sums(lives: list[Life]) -> None:
    """Sums of gradients take the place of the summand that is freed right after them.

    Where two gradients meet, autograd adds in place. It does not while operators are being observed, so there
    the sum is a new tensor for a moment.
    """
    for life in lives:
        for operand in life.operands:
            if operand.died is not None and life.born < operand.died <= life.born + 2 and operand.size_bytes == life.size_bytes:
                life.born = operand.died
                break
        life.operands = ()
