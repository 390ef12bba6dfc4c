"""A small net of blocks that add to what they get, and a card that exists only here: what tests of plans stand on."""

from __future__ import annotations

import torch
from torch import nn

from shared_utils.devices import MachineProfile

CARD = MachineProfile(
    name="Card",
    kind="cuda",
    memory_gib=8,
    bandwidth_gb_per_s=500,
    fp32_tflops=20,
    fp16_tflops=80,
    source="test",
    tf32_tflops=40,
    bf16_tflops=80,
)


class Residual(nn.Module):
    """Norm, up, GELU, down, and the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def residual_net(blocks: int, width: int) -> nn.Sequential:
    """The same weights at every call."""
    torch.manual_seed(0)
    return nn.Sequential(*(Residual(width) for _ in range(blocks)))
