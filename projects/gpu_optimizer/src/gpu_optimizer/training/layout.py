"""Two changes of form that may make a convolutional model faster, kept only where they are measured to.

`channels_last` puts channels innermost, as matrix units and oneDNN like them; `fuse_conv_bn` folds BatchNorm into
the convolution before it, for inference. Both are timed side by side with the model as it is, in turns.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils import fuse_conv_bn_eval

from gpu_optimizer.errors import PrecisionError
from gpu_optimizer.steps import Sample, tensors_in

_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A change, measured.

    Args:
        applied: Whether it was kept.
        before_s: Median time without it.
        after_s: Median time with it.
        max_error: Largest difference of the outputs, relative to their largest value.
        note: Why it was not kept, or what was changed.
    """

    applied: bool
    before_s: float
    after_s: float
    max_error: float
    note: str

    @property
    def ratio(self) -> float:
        """How many times as fast as before."""
        return self.before_s / self.after_s


def channels_last(
    model: torch.nn.Module, sample: Any, *, min_gain: float = 0.03, rounds: int = 7, training: bool = True
) -> tuple[torch.nn.Module, Gain]:
    """A copy of the model with channels innermost where that is faster by `min_gain`, else the model itself.

    Give it inputs in the same format: `x.to(memory_format=torch.channels_last)`.

    Args:
        model: A model of 2D convolutions.
        sample: What it is called with; tensors of four dimensions are converted.
        min_gain: Smallest gain that counts, 0.03 for 3 %.
        rounds: Measurements of each, in turns.
        training: Time forward and backward, not only forward.
    """
    changed = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    given = Sample.of(sample)
    converted = given.map(lambda tensor: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor)
    return _judged(model, changed, given, converted, min_gain, rounds, training, 1e-3, "channels innermost")


def fuse_conv_bn(model: torch.nn.Module, sample: Any, *, min_gain: float = 0.0, rounds: int = 7) -> tuple[torch.nn.Module, Gain]:
    """A copy of the model with every BatchNorm folded into the convolution that alone feeds it, where that is faster.

    Which belong together is seen by running the sample, not guessed from names.

    Raises:
        PrecisionError: The model is in training mode, where BatchNorm uses the batch.
    """
    if any(isinstance(part, _NORMS) and part.training for part in model.modules()):
        raise PrecisionError("BatchNorm can only be folded away for inference; call model.eval() first")
    given = Sample.of(sample)
    changed = copy.deepcopy(model)
    pairs = _pairs(changed, given)
    for convolution, norm in pairs:
        _replace(changed, convolution, fuse_conv_bn_eval(convolution, norm))  # type: ignore[type-var]
        _replace(changed, norm, torch.nn.Identity())
    return _judged(model, changed, given, given, min_gain, rounds, False, 1e-3, f"{len(pairs)} pairs folded")


def _pairs(model: torch.nn.Module, sample: Sample) -> list[tuple[torch.nn.Module, torch.nn.Module]]:
    """Convolutions and norms that run once, the norm directly on what the convolution gave and nobody else on it."""
    made: dict[int, tuple[torch.nn.Module, torch.Tensor]] = {}
    used: dict[int, list[torch.nn.Module]] = {}
    calls: dict[torch.nn.Module, int] = {}
    handles = []

    def seen(module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        for tensor in tensors_in(args):
            used.setdefault(id(tensor), []).append(module)
        if isinstance(module, _CONVOLUTIONS) and isinstance(output, torch.Tensor):
            made[id(output)] = (module, output)

    for part in model.modules():
        if not any(True for _ in part.children()):
            handles.append(part.register_forward_hook(seen))
    try:
        with torch.no_grad():
            model(*sample.args, **sample.keywords)
    finally:
        for handle in handles:
            handle.remove()
    found = []
    for key, (convolution, _) in made.items():
        users = used.get(key, [])
        if len(users) == 1 and isinstance(users[0], _NORMS) and calls[users[0]] == calls[convolution] == 1:
            found.append((convolution, users[0]))
    return found


def _replace(model: torch.nn.Module, old: torch.nn.Module, new: torch.nn.Module) -> None:
    for part in model.modules():
        for key, child in list(part._modules.items()):
            if child is old:
                part._modules[key] = new


def _judged(
    model: torch.nn.Module,
    changed: torch.nn.Module,
    before: Sample,
    after: Sample,
    min_gain: float,
    rounds: int,
    training: bool,
    max_error: float,
    note: str,
) -> tuple[torch.nn.Module, Gain]:
    error = _difference(model, changed, before, after)
    judge = copy.deepcopy(model)  # timing in training mode moves running statistics; the user's model is not touched
    first, second = _times(_runner(judge, before, training), _runner(copy.deepcopy(changed), after, training), rounds)
    if not error <= max_error:
        note = f"not kept: outputs differ by {error:.2%}"
    elif second > first * (1 - min_gain):
        note = f"not kept: {second * 1e3:.2f} ms instead of {first * 1e3:.2f} ms"
    else:
        return changed, Gain(applied=True, before_s=first, after_s=second, max_error=error, note=note)
    return model, Gain(applied=False, before_s=first, after_s=second, max_error=error, note=note)


def _difference(model: torch.nn.Module, changed: torch.nn.Module, before: Sample, after: Sample) -> float:
    with torch.no_grad():
        outputs = [copy.deepcopy(net).eval()(*sample.args, **sample.keywords) for net, sample in ((model, before), (changed, after))]
    worst = 0.0
    for one, two in zip(tensors_in(outputs[0]), tensors_in(outputs[1]), strict=True):
        if one.is_floating_point() and one.numel():
            worst = max(worst, float((one - two).abs().max()) / max(float(one.abs().max()), 1e-12))
    return worst


def _runner(model: torch.nn.Module, sample: Sample, training: bool) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            model(*sample.args, **sample.keywords)

    def both() -> None:
        model.zero_grad(set_to_none=True)
        output = model(*sample.args, **sample.keywords)
        torch.stack([tensor.float().sum() for tensor in tensors_in(output) if tensor.requires_grad]).sum().backward()

    return both if training else forward


def _times(first: Callable[[], None], second: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Medians, measured in turns so that both see the same machine."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 2):
        for run, times in zip((first, second), taken, strict=True):
            _wait()
            started = time.perf_counter()
            run()
            _wait()
            if turn >= 2:  # the first rounds choose kernels and allocate
                times.append(time.perf_counter() - started)
    return statistics.median(taken[0]), statistics.median(taken[1])


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
