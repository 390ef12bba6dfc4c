"""Which number format a device should train in, and whether this model survives it.

A device's capabilities give a policy; a policy is only a proposal. `guard_precision` runs the user's own step in
float32 and in the format asked for, with the same random numbers, and refuses a format that changes the loss or the
gradients by more than it may, with the figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from gpu_optimizer.errors import PrecisionError
from gpu_optimizer.steps import Precision, TrainingStep
from gpu_optimizer.training.restoring import TrainingState
from shared_utils.devices import Device, DeviceKind
from shared_utils.devices import Precision as Format


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPolicy:
    """The number format proposed for training on a device.

    Args:
        precision: The format; what `TrainingStep` takes.
        scaled: The loss needs a `torch.amp.GradScaler`: small gradients vanish in fp16, not in bf16.
        reason: Why, in one sentence.
        others: Formats that work there too, best first.
    """

    precision: Precision
    scaled: bool
    reason: str
    others: tuple[Precision, ...]

    @classmethod
    def for_device(cls, device: Device) -> PrecisionPolicy:
        """The policy of a device, from what it has units or instructions for.

        Example:
            >>> from shared_utils.devices.device import cuda_precisions
            >>> gpu = Device(DeviceKind.CUDA, 0, "NVIDIA T4", 16 << 30, precisions=cuda_precisions((7, 5)), compute_capability=(7, 5))
            >>> policy = PrecisionPolicy.for_device(gpu)
            >>> policy.precision, policy.scaled
            ('fp16', True)
        """
        has = device.precisions
        if device.kind == DeviceKind.CUDA:
            if Format.BF16 in has:
                others: tuple[Precision, ...] = ("tf32", "fp16", "fp32") if Format.TF32 in has else ("fp16", "fp32")
                return cls(precision="bf16", scaled=False, reason="its units take bf16, which needs no loss scaling", others=others)
            if Format.FP16 in has:
                return cls(precision="fp16", scaled=True, reason="its units take fp16 but not bf16; the loss is scaled", others=("fp32",))
            return cls(precision="fp32", scaled=False, reason="it has no units for half precision", others=())
        if Format.BF16 in has:
            others = ("fp16", "fp32") if Format.FP16 in has and device.kind == DeviceKind.MPS else ("fp32",)
            return cls(precision="bf16", scaled=False, reason="it has instructions for bf16", others=others)
        return cls(precision="fp32", scaled=False, reason="it has no instructions for half precision, which would be slower", others=())

    def check(self, precision: Precision) -> None:
        """Refuse a format that the device has nothing for.

        Raises:
            PrecisionError: It is neither the policy's nor one of the others.
        """
        if precision != self.precision and precision not in self.others:
            usable = ", ".join((self.precision, *self.others))
            raise PrecisionError(f"{precision} has no units on this device ({self.reason}); use one of: {usable}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionCheck:
    """A step in another format against the same step in fp32.

    Args:
        precision: The format.
        loss_fp32: Loss in fp32.
        loss: Loss in the format.
        loss_error: Their difference, relative to the first.
        gradient_error: Norm of the gradients' difference, relative to the norm of those of fp32.
        cosine: Between all gradients as one vector; 1 is the same direction.
        lost_share: Share of the entries that are not 0 in fp32 but are 0, or no number, in the format.
        worst: Parameter with the largest relative error.
        worst_error: That error.
        problems: What is beyond its limit, as sentences; empty where the format is fit.
    """

    precision: Precision
    loss_fp32: float
    loss: float
    loss_error: float
    gradient_error: float
    cosine: float
    lost_share: float
    worst: str
    worst_error: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Nothing is beyond its limit."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PrecisionCheck:
        """What `to_dict` gave."""
        return cls(**{**values, "problems": tuple(values["problems"])})


def compare_precision(
    step: TrainingStep,
    precision: Precision,
    *,
    max_loss_error: float = 0.05,
    min_cosine: float = 0.98,
    max_lost_share: float = 0.05,
) -> PrecisionCheck:
    """Loss and gradients of a step in fp32 and in another format; the model comes out as it went in.

    Rounding makes gradients of bf16 differ by some percent of their norm, in random directions, which training does not
    mind; what it minds is another direction, vanished entries and another loss. The limits are on those.

    Args:
        step: Model, sample and loss; its own precision does not matter.
        precision: The format to judge.
        max_loss_error: Largest relative difference of the losses.
        min_cosine: Smallest cosine between the gradients.
        max_lost_share: Largest share of gradient entries that may vanish.
    """
    before = TrainingState(step.model)
    try:
        loss_fp32, reference = _gradients(step.replace(precision="fp32"))
        scaler = step.replace(precision=precision).make_scaler()
        scale = 1.0 if scaler is None else scaler.get_scale()
        while True:
            before.restore()
            loss, gradients = _gradients(step.replace(precision=precision), scale)
            if scale <= 1 or all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients.values()):
                break
            scale /= 8  # as the scaler does in the first steps of a training
    finally:
        step.model.zero_grad(set_to_none=True)
        before.restore()
    figures = _compared(reference, gradients)
    loss_error = abs(loss - loss_fp32) / max(abs(loss_fp32), 1e-12) if math.isfinite(loss) else math.inf
    problems = []
    if not loss_error <= max_loss_error:
        problems.append(f"the loss is {loss:.6g} and not {loss_fp32:.6g} ({loss_error:.1%} off, at most {max_loss_error:.1%})")
    if not figures["cosine"] >= min_cosine:
        problems.append(
            f"the gradient points elsewhere (cosine {figures['cosine']:.4f}, at least {min_cosine}); worst in {figures['worst']!r}, "
            f"{figures['worst_error']:.0%} off"
        )
    if not figures["lost_share"] <= max_lost_share:
        problems.append(f"{figures['lost_share']:.1%} of the gradient's entries vanish or are no numbers (at most {max_lost_share:.1%})")
    return PrecisionCheck(precision=precision, loss_fp32=loss_fp32, loss=loss, loss_error=loss_error, problems=tuple(problems), **figures)


def guard_precision(step: TrainingStep, precision: Precision, **limits: float) -> PrecisionCheck:
    """`compare_precision`, and an error where the format is not fit; the limits are its arguments.

    Raises:
        PrecisionError: Loss or gradients differ by more than they may; the figures stand in the message.
    """
    check = compare_precision(step, precision, **limits)
    if not check.ok:
        advice = (
            "use bf16 or fp32"
            if precision == "fp16"
            else "use fp32, or keep the sensitive part in it with torch.autocast(..., enabled=False)"
        )
        raise PrecisionError(f"{precision} harms this model: {'; '.join(check.problems)}; {advice}")
    return check


def _gradients(step: TrainingStep, scale: float = 1.0) -> tuple[float, dict[str, torch.Tensor | None]]:
    """Loss, and gradients in float64 on the host, computed with a scaled loss and scaled back."""
    step.model.zero_grad(set_to_none=True)
    loss = step.forward_loss()
    (loss * scale).backward()
    found = {
        name: None if parameter.grad is None else parameter.grad.detach().to_dense().to("cpu", torch.float64) / scale
        for name, parameter in step.model.named_parameters()
    }
    return float(loss.detach()), found


def _compared(reference: dict[str, torch.Tensor | None], found: dict[str, torch.Tensor | None]) -> dict[str, Any]:
    dot = mine = theirs = difference = 0.0
    lost = entries = 0
    worst, worst_error = "", 0.0
    for name, expected in reference.items():
        if expected is None:
            continue
        gradient = found[name]
        gradient = torch.zeros_like(expected) if gradient is None else gradient
        entries += int((expected != 0).sum())
        lost += int(((expected != 0) & ((gradient == 0) | ~gradient.isfinite())).sum())
        gap = gradient - expected
        error = _norm([gap]) / max(_norm([expected]), 1e-300)
        error = error if math.isfinite(error) else math.inf
        if error > worst_error:
            worst, worst_error = name, error
        dot += float((gradient * expected).sum())
        mine += float(gradient.square().sum())
        theirs += float(expected.square().sum())
        difference += float(gap.square().sum())
    sizes = math.sqrt(mine) * math.sqrt(theirs) if math.isfinite(mine) else math.nan
    cosine = 1.0 if theirs == 0 and mine == 0 else dot / sizes if sizes > 0 else 0.0 if sizes == 0 else math.nan
    return {
        "gradient_error": math.sqrt(difference / theirs)
        if theirs > 0 and math.isfinite(difference)
        else 0.0
        if difference == 0
        else math.inf,
        "cosine": cosine,
        "lost_share": lost / entries if entries else 0.0,
        "worst": worst,
        "worst_error": worst_error,
    }


def _norm(tensors: Iterable[torch.Tensor]) -> float:
    return math.sqrt(sum(float(tensor.square().sum()) for tensor in tensors))
