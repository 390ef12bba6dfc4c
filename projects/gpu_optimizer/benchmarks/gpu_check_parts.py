"""What the checks on a GPU share: findings, timing, and networks that need no other package than torch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from gpu_optimizer.steps import TrainingStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure.

    Args:
        what: What was looked at.
        figure: The figure with its unit.
        goal: What it should be; empty where there is no goal.
        passed: Whether it is; None where there is no goal.
    """

    what: str
    figure: str
    goal: str = ""
    passed: bool | None = None


def synchronize(device: torch.device) -> None:
    """Wait until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], Any], device: torch.device, *, repeats: int = 5, warm_up: int = 2) -> float:
    """Median time of a call, everything that it started included."""
    times = []
    for turn in range(warm_up + repeats):
        synchronize(device)
        begin = time.perf_counter()
        run()
        synchronize(device)
        if turn >= warm_up:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def spread_of(values: list[float], share: float) -> float:
    """The value below which a share of them lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside a short cut (He et al. 2015, stride in the middle)."""

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        outer = 4 * width
        self.body = nn.Sequential(
            *(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, outer, 1, bias=False), nn.BatchNorm2d(outer)),
        )
        same = stride == 1 and inner == outer
        self.short = nn.Identity() if same else nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.short(x) + self.body(x))


def resnet50(depths: tuple[int, ...] = (3, 4, 6, 3), width: int = 64) -> nn.Sequential:
    """ResNet-50, or smaller ones of its kind."""
    parts: list[nn.Module] = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inner = width
    for stage, depth in enumerate(depths):
        for index in range(depth):
            parts.append(Bottleneck(inner, width * 2**stage, 2 if stage and not index else 1))
            inner = 4 * width * 2**stage
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inner, 1000))


class Vit(nn.Module):
    """A vision transformer over patches of 16 pixels; ViT-B by default (Dosovitskiy et al. 2020)."""

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, side: int = 224) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, width, 16, 16)
        self.place = nn.Parameter(torch.zeros(1, (side // 16) ** 2, width))
        layer = lambda: nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)  # noqa: E731
        self.layers = nn.Sequential(*(layer() for _ in range(depth)))
        self.head = nn.Linear(width, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.cut(x).flatten(2).transpose(1, 2) + self.place).mean(1))


class TwoResolutions(nn.Module):
    """Branches at two resolutions that exchange what they found, and heat maps (as HRNet does; Sun et al. 2019)."""

    def __init__(self, width: int = 48, rounds: int = 6, joints: int = 17) -> None:
        super().__init__()
        part = lambda a, b, s=1: nn.Sequential(nn.Conv2d(a, b, 3, s, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())  # noqa: E731
        self.stem = nn.Sequential(part(3, width, 2), part(width, width, 2))
        self.first = part(width, 2 * width, 2)
        self.high = nn.ModuleList(nn.Sequential(part(width, width), part(width, width)) for _ in range(rounds))
        self.low = nn.ModuleList(nn.Sequential(part(2 * width, 2 * width), part(2 * width, 2 * width)) for _ in range(rounds))
        self.up = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for _ in range(rounds))
        self.down = nn.ModuleList(part(width, 2 * width, 2) for _ in range(rounds))
        self.head = nn.Conv2d(width, joints, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        high = self.stem(x)
        low = self.first(high)
        for one, two, up, down in zip(self.high, self.low, self.up, self.down, strict=True):
            fine, coarse = one(high), two(low)
            high = fine + functional.interpolate(up(coarse), size=fine.shape[2:])
            low = coarse + down(fine)
        return self.head(high)


def pictures(model: nn.Module, batch: int, height: int = 224, width: int = 224, *, device: torch.device, **rest: Any) -> TrainingStep:
    """A step of a network for pictures."""
    return TrainingStep.of(model.to(device), torch.rand(batch, 3, height, width, device=device), **rest)


def six_stages(batch: int, side: int, device: torch.device) -> TrainingStep:
    """Convolutions of which the first hold most of what is saved; nothing in it depends on the batch."""
    torch.manual_seed(0)
    channels, parts = 3, []
    for width in (16, 32, 32, 64, 64, 128):
        parts.append(nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1), nn.GroupNorm(8, width), nn.GELU()))
        channels = width
    model = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return pictures(model, batch, side, side, device=device, optimizer="sgd_momentum")
