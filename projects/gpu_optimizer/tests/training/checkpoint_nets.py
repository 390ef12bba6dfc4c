"""Small networks that checkpoints are tried on."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Dropout(0.3))
        self.last = nn.BatchNorm2d(width, momentum=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.last(self.body(x)) + x)


def stack(*blocks: nn.Module) -> nn.Sequential:
    return nn.Sequential(*blocks)


class Residual1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.linear(x).tanh()


class ChangesItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.sin_(x))


class Parent(nn.Module):
    """Uses the block's input again after the block changed it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.block = nn.Linear(4, 4), ChangesItsInput()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.block(y) + y
