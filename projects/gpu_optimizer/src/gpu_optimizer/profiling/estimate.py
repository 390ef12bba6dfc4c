"""Say what a training step will need, without running it.

The step is carried out on fake tensors: real operators, real autograd, real optimizer, no memory and no
arithmetic. Seconds for a model of billions of parameters, on a machine that could never hold it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np
import torch

from gpu_optimizer._torch_private import value_errors
from gpu_optimizer.errors import ProfilingError
from gpu_optimizer.profiling.costs import module_costs
from gpu_optimizer.profiling.fake import fake_device, fake_step
from gpu_optimizer.profiling.profile import MemoryProfile, live_bytes
from gpu_optimizer.profiling.tracker import Tracker
from gpu_optimizer.steps import Precision, Sample, TrainingStep, tensors_in

GRANULE_BYTES = {"cuda": 512, "cpu": 1}
"""What allocations are rounded up to: c10's CUDA allocator hands out multiples of 512 bytes, malloc is asked for the exact size."""

_CUDA_NOTE = (
    "cuBLAS's work spaces are counted; cuDNN's, which depend on the algorithms it picks, and what its recurrent layers keep, are not: "
    "device_need() allows for them, for what the allocator reserves, and for the CUDA context"
)

Target = Literal["cpu", "cuda"]


def estimate_step(step: TrainingStep, *, steps: int = 2, target: Target | None = None, granule_bytes: int | None = None) -> MemoryProfile:
    """Every tensor's life in the first steps of a training, without running any.

    The first step has no optimizer state until its end, every later one has it from the start; two steps show both.

    Args:
        step: What would be run. The model may be on any device, also on "meta".
        steps: Number of steps.
        target: Kind of device the answer is for; default: that of the model, "cpu" for a model on "meta". On "cuda"
            optimizers update all parameters together, which needs more memory for a moment, and storages are rounded.
        granule_bytes: Count storages in multiples of this; default: what the target's allocator does.

    Raises:
        ProfilingError: The model reads values that do not exist without running, or `steps` is below 1.

    Example:
        >>> with torch.device("meta"):
        ...     model = torch.nn.Linear(1000, 1000, bias=False)
        >>> step = TrainingStep.of(model, torch.empty(10, 1000, device="meta"), optimizer="adam")
        >>> profile = estimate_step(step)
        >>> profile.by_category_at_peak["parameters"], profile.by_category_at_peak["optimizer_state"]
        (4000000, 8000004)
    """
    return trace_step(step, steps=steps, target=target, granule_bytes=granule_bytes)[0]


def trace_step(
    step: TrainingStep, *, steps: int = 2, target: Target | None = None, granule_bytes: int | None = None
) -> tuple[MemoryProfile, Tracker]:
    """As `estimate_step`, with what was followed: every storage's life with the calls of modules that made and saved it.

    Raises:
        ProfilingError: As `estimate_step`.
    """
    if steps < 1:
        raise ProfilingError(f"steps: expected at least 1, got {steps}")
    kind = target or ("cuda" if step.device.type == "cuda" else "cpu")
    tracker = Tracker(names_of(step.model), kinds=(fake_device(step.device).type,), work=kind)
    with fake_step(step) as fake:
        count_base(tracker, fake)
        try:
            with tracker.tracking():
                follow(fake, tracker, steps, together=kind == "cuda")
        except value_errors() as error:
            raise ProfilingError(_no_values(error)) from error
        costs = module_costs(fake.model, tracker)
    profile = finished_profile(
        tracker,
        step,
        method="estimated",
        steps=steps,
        modules=costs,
        granule_bytes=granule_bytes or GRANULE_BYTES.get(kind, 1),
        device=kind,
    )
    return (profile.replace(notes=(_CUDA_NOTE,)) if kind == "cuda" else profile), tracker


def estimate_inference(
    model: torch.nn.Module, sample: Any, *, precision: Precision = "fp32", target: Target | None = None
) -> MemoryProfile:
    """Every tensor's life in one forward pass without gradients, without running it.

    Args:
        model: The model; its training flag is obeyed.
        sample: What it is called with, in any form that `Sample.of` takes.
        precision: Number format.
        target: Kind of device the answer is for.

    Raises:
        ProfilingError: The model reads values that do not exist without running.

    Example:
        >>> layers = [torch.nn.Linear(100, 100, bias=False) for _ in range(8)]
        >>> estimate_inference(torch.nn.Sequential(*layers), torch.zeros(1, 100)).peak_bytes  # weights, input, two activations
        321200
    """
    step = TrainingStep(model=model, sample=Sample.of(sample), optimizer=None, precision=precision)
    kind = target or ("cuda" if step.device.type == "cuda" else "cpu")
    tracker = Tracker(names_of(model), kinds=(fake_device(step.device).type,), work=kind)
    with fake_step(step) as fake:
        count_base(tracker, fake)
        try:
            with tracker.tracking(), torch.no_grad(), fake.autocast():
                tracker.begin_step(0)
                output = fake.model(*fake.sample.args, **fake.sample.keywords)
                del output
        except value_errors() as error:
            raise ProfilingError(_no_values(error)) from error
        costs = module_costs(fake.model, tracker)
    return finished_profile(tracker, step, method="estimated", steps=1, modules=costs, granule_bytes=GRANULE_BYTES[kind], device=kind)


def follow(step: TrainingStep, tracker: Tracker, steps: int, *, together: bool) -> None:
    """Carry out steps as `TrainingStep.run` does, telling the tracker where it is.

    Args:
        step: The step, fake or real.
        tracker: It is tracking.
        steps: Number of steps.
        together: Whether optimizers update all parameters at once where they leave the choice to torch. Torch
            does so on CUDA, but does not recognise fake parameters as such.
    """
    optimizer = step.make_optimizer()
    for group in optimizer.param_groups if optimizer is not None else ():
        if together and "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True
    with ExitStack() as stack:
        tag_gradients(stack, step.model, tracker)
        for index in range(steps):
            tracker.begin_step(index)
            step.model.zero_grad(set_to_none=True)
            loss = step.accumulate()
            if optimizer is not None:
                optimizer.step()
            del loss
        tracker.stop()


def finished_profile(tracker: Tracker, step: TrainingStep, **rest: Any) -> MemoryProfile:
    """The profile of what a tracker saw; the peak is that of the tensors unless it is among `rest`."""
    lives = tracker.tensor_lives()
    ticks, totals = live_bytes(lives, rest["granule_bytes"])
    top = int(np.argmax(totals))
    return MemoryProfile(
        **{"peak_bytes": int(totals[top]), "peak_tick": int(ticks[top]), **rest},
        batch_size=step.sample.batch_size if any(tensor.dim() for tensor in step.sample.tensors()) else 1,
        lives=lives,
        spans=tuple(tracker.spans),
        convolution_bytes=tracker.convolution_bytes,
    )


def names_of(model: torch.nn.Module) -> dict[int, str]:
    """Path of every module by its `id`, as a tracker wants them."""
    return {id(module): name for name, module in model.named_modules()}


def count_base(tracker: Tracker, step: TrainingStep) -> None:
    """Tell a tracker what is there before the first step: parameters, buffers, other tensors of the modules, inputs."""
    for name, parameter in step.model.named_parameters():
        tracker.add(parameter, name, "parameters")
    for name, buffer in step.model.named_buffers():
        tracker.add(buffer, name, "buffers")
    for name, module in step.model.named_modules():
        for key, value in module.__dict__.items():
            if not key.startswith("_"):
                for tensor in tensors_in(value):
                    tracker.add(tensor, f"{name}.{key}".lstrip("."), "buffers")
    for index, tensor in enumerate(step.sample.tensors()):
        tracker.add(tensor, f"input {index}", "inputs")
    for index, tensor in enumerate(tensors_in(step.target)):
        tracker.add(tensor, f"target {index}", "inputs")


def tag_gradients(stack: ExitStack, model: torch.nn.Module, tracker: Tracker) -> None:
    """Have a tracker told which tensors become gradients of the model's parameters, until the stack is closed."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            stack.callback(parameter.register_post_accumulate_grad_hook(_gradient_tagger(tracker, name)).remove)


def _gradient_tagger(tracker: Tracker, name: str) -> Callable[[torch.Tensor], None]:
    def tag(parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            tracker.tag(parameter.grad, f"{name}.grad", "gradients")

    return tag


def _no_values(error: Exception) -> str:
    return (
        f"the model reads values of tensors, which do not exist without running it ({type(error).__name__}: {error}); "
        "use measure_step(), or move .item(), nonzero() and boolean masks out of the forward pass and the loss"
    )
