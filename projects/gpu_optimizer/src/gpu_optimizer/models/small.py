"""Small models of kinds that differ in what they keep: graphs of joints over time, recurrent cells, plain layers."""

from __future__ import annotations

import torch
from torch import nn

_COCO_EDGES = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),
    *((5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),
)
_STGCN_WIDTHS = (64, 64, 64, 128, 128, 128, 256, 256, 256)
_STGCN_STRIDES = (1, 1, 1, 2, 1, 1, 2, 1, 1)


class GraphBlock(nn.Module):
    """Joints mix along the edges, then each joint over nine frames (Yan et al. 2018, ST-GCN), beside a short cut."""

    def __init__(self, inner: int, outer: int, stride: int, hops: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("hops", hops, persistent=False)
        self.weight = nn.Parameter(torch.ones(hops.shape))
        self.mix = nn.Conv2d(inner, outer * hops.shape[0], 1)
        self.over_time = nn.Sequential(
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, (9, 1), stride=(stride, 1), padding=(4, 0)),
            nn.BatchNorm2d(outer),
            nn.Dropout(0.1),
        )
        same = inner == outer and stride == 1
        self.short = nn.Identity() if same else nn.Sequential(nn.Conv2d(inner, outer, 1, stride=(stride, 1)), nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Joints (batch, inner, frames, joints) to (batch, outer, frames / stride, joints)."""
        hops = self.get_buffer("hops") * self.weight
        mixed = self.mix(x).unflatten(1, (hops.shape[0], -1))
        y = torch.einsum("nkctv,kvw->nctw", mixed, hops)
        return torch.relu(self.short(x) + self.over_time(y.contiguous()))


class SkeletonNet(nn.Module):
    """Coordinates (batch, 3, frames, 17 joints) to classes, as ST-GCN without its second person."""

    def __init__(self, classes: int = 60) -> None:
        super().__init__()
        hops = _hops(17, _COCO_EDGES)
        self.norm = nn.BatchNorm1d(3 * 17)
        pairs = zip((3, *_STGCN_WIDTHS), _STGCN_WIDTHS, strict=False)
        self.blocks = nn.Sequential(*[GraphBlock(*pair, stride, hops) for pair, stride in zip(pairs, _STGCN_STRIDES, strict=True)])
        self.head = nn.Linear(_STGCN_WIDTHS[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of classes."""
        normed = self.norm(x.transpose(2, 3).flatten(1, 2)).unflatten(1, (3, 17)).transpose(2, 3)
        return self.head(self.blocks(normed).mean((2, 3)))


class WordModel(nn.Module):
    """Token ids (batch, length) to logits through LSTM cells."""

    def __init__(self, words: int = 10000, width: int = 512, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.cells = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, words)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of each next word."""
        return self.head(self.cells(self.embed(ids))[0])


def mlp(inputs: int = 1024, width: int = 2048, depth: int = 6, classes: int = 1000) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = [nn.Linear(inputs, width), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _hops(joints: int, edges: tuple[tuple[int, int], ...]) -> torch.Tensor:
    """Matrices (3, joints, joints): each joint itself, its neighbours in one direction, and in the other, rows summing to 1."""
    hops = torch.zeros(3, joints, joints)
    hops[0] = torch.eye(joints)
    for near, far in edges:
        hops[1, near, far] = hops[2, far, near] = 1.0
    return hops / hops.sum(2, keepdim=True).clamp(min=1.0)
