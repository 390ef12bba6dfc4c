"""The noise predictor of Stable Diffusion 1.5, and a small U-Net for images.

Sources: Rombach et al. 2022 (latent diffusion; sizes are those of the published model), Ronneberger et al. 2015 (U-Net).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

_GROUPS = 32


class DiffusionUNet(nn.Module):
    """Noisy latents (batch, 4, height, width), times (batch,) and a text (batch, length, 768) to the noise in them.

    Args:
        widths: Channels at each of the resolutions, largest first.
        depth: Residual blocks on the way down at each resolution; one more on the way up.
        text_width: Width of the text's states.
        heads: Heads of attention; there is none at the last resolution.
        channels: Channels of the latents.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (320, 640, 1280, 1280),
        depth: int = 2,
        text_width: int = 768,
        heads: int = 8,
        channels: int = 4,
    ) -> None:
        super().__init__()
        first, time_width = widths[0], 4 * widths[0]
        self.first = first
        self.time = nn.Sequential(nn.Linear(first, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
        self.inlet = nn.Conv2d(channels, first, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, now = [first], first
        for level, width in enumerate(widths):
            attends, last = level + 1 < len(widths), level + 1 == len(widths)
            for _ in range(depth):
                self.down.append(Stage(now, width, time_width, text_width, heads if attends else 0))
                now = width
                kept.append(now)
            if not last:
                self.down.append(Half(now))
                kept.append(now)
        self.middle = nn.ModuleList([Stage(now, now, time_width, text_width, heads), Stage(now, now, time_width, text_width, 0)])
        for level, width in reversed(list(enumerate(widths))):
            attends = level + 1 < len(widths)
            for index in range(depth + 1):
                doubles = index == depth and level > 0
                self.up.append(Stage(now + kept.pop(), width, time_width, text_width, heads if attends else 0, doubles=doubles))
                now = width
        self.norm, self.outlet = nn.GroupNorm(_GROUPS, first), nn.Conv2d(first, channels, 3, padding=1)

    def forward(self, latents: torch.Tensor, times: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Predict the noise in latents."""
        time = self.time(waves(times, self.first).to(latents.dtype))
        x = self.inlet(latents)
        kept = [x]
        for stage in self.down:
            x = stage(x, time, text)
            kept.append(x)
        for stage in self.middle:
            x = stage(x, time, text)
        for stage in self.up:
            x = stage(torch.cat((x, kept.pop()), dim=1), time, text)
        return self.outlet(functional.silu(self.norm(x)))


class Stage(nn.Module):
    """A residual block, attention to the text where there are heads, and twice the resolution where it `doubles`."""

    def __init__(self, inner: int, outer: int, time_width: int, text_width: int, heads: int, *, doubles: bool = False) -> None:
        super().__init__()
        self.residual = Residual(inner, outer, time_width)
        self.attention = Attended(outer, text_width, heads) if heads else None
        self.enlarge = nn.Conv2d(outer, outer, 3, padding=1) if doubles else None

    def forward(self, x: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Change what the images show, then their size."""
        x = self.residual(x, time)
        if self.attention is not None:
            x = self.attention(x, text)
        return x if self.enlarge is None else self.enlarge(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Half(nn.Module):
    """Half the resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.halve = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Time and text are of no use here."""
        return self.halve(x)


class Residual(nn.Module):
    """Two convolutions with the time between them, beside a short cut."""

    def __init__(self, inner: int, outer: int, time_width: int) -> None:
        super().__init__()
        self.norm_in, self.conv_in = nn.GroupNorm(_GROUPS, inner), nn.Conv2d(inner, outer, 3, padding=1)
        self.time = nn.Linear(time_width, outer)
        self.norm_out, self.conv_out = nn.GroupNorm(_GROUPS, outer), nn.Conv2d(outer, outer, 3, padding=1)
        self.short = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Images (batch, inner, height, width) to (batch, outer, height, width)."""
        y = self.conv_in(functional.silu(self.norm_in(x)))
        y = y + self.time(functional.silu(time))[:, :, None, None]
        return self.short(x) + self.conv_out(functional.silu(self.norm_out(y)))


class Attended(nn.Module):
    """A transformer block over the places of an image: to each other, to the text, a gated feed-forward part."""

    def __init__(self, width: int, text_width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, width, eps=1e-6)
        self.inlet, self.outlet = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, width, heads)
        self.text_attention = Attention(width, text_width, heads)
        self.up, self.down = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Images (batch, width, height, width) and a text to images of the same shape."""
        y = self.inlet(self.norm(x)).flatten(2).transpose(1, 2)
        normed = self.norms[0](y)
        y = y + self.self_attention(normed, normed)
        y = y + self.text_attention(self.norms[1](y), text)
        value, gate = self.up(self.norms[2](y)).chunk(2, dim=-1)
        y = y + self.down(value * functional.gelu(gate))
        return x + self.outlet(y.transpose(1, 2).unflatten(2, x.shape[2:]))


class Attention(nn.Module):
    """Attention from places of width `width` to states of width `source_width`."""

    def __init__(self, width: int, source_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key, self.value = nn.Linear(source_width, width, bias=False), nn.Linear(source_width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Places (batch, length, width) see all of the source."""
        parts = (self.query(x), self.key(source), self.value(source))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.out(functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class UNet(nn.Module):
    """Images (batch, 3, height, width) to a mask (batch, classes, height, width), sides a multiple of 16."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256, 512), classes: int = 2) -> None:
        super().__init__()
        self.first = _twice(3, widths[0])
        self.down = nn.ModuleList(_twice(inner, outer) for inner, outer in pairwise(widths))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(outer, inner, 2, stride=2) for inner, outer in reversed(list(pairwise(widths))))
        self.up = nn.ModuleList(_twice(2 * width, width) for width in reversed(widths[:-1]))
        self.outlet = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a mask."""
        x = self.first(x)
        kept = [x]
        for stage in self.down:
            x = stage(functional.max_pool2d(x, 2))
            kept.append(x)
        kept.pop()
        for enlarge, stage in zip(self.enlarge, self.up, strict=True):
            x = stage(torch.cat((kept.pop(), enlarge(x)), dim=1))
        return self.outlet(x)


def waves(times: torch.Tensor, width: int) -> torch.Tensor:
    """Times (batch,) as sines and cosines (batch, width) of falling frequency (Vaswani et al. 2017)."""
    half = width // 2
    rates = torch.exp(-math.log(10000.0) * torch.arange(half, device=times.device) / half)
    angles = times[:, None].float() * rates
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def _twice(inner: int, outer: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inner, outer):
        layers += [nn.Conv2d(width, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
