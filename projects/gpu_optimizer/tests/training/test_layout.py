"""Times are injected: what is kept must follow from the figures, not from this machine's mood."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gpu_optimizer.training.layout as layout
from gpu_optimizer.errors import PrecisionError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.na = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.b, self.nb = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.shared, self.ns = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.na(self.a(x)))
        x = x + torch.relu(self.nb(self.b(x)))
        y = self.shared(x)
        return self.ns(y) + self.ns(y * 2)


def _net() -> Net:
    torch.manual_seed(0)
    net = Net()
    for _ in range(3):
        net(torch.randn(4, 3, 8, 8))
    return net.eval()


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def _times(monkeypatch: pytest.MonkeyPatch, before: float, after: float) -> None:
    monkeypatch.setattr(layout, "_times", lambda *_: (before, after))


def test_norms_are_folded_into_the_convolution_that_alone_feeds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    _times(monkeypatch, 2.0, 1.0)
    net = _net()
    fused, gain = layout.fuse_conv_bn(net, IMAGES)
    assert gain.applied
    assert gain.ratio == 2.0
    assert gain.note == "2 pairs folded"
    assert isinstance(fused.na, nn.Identity)
    assert isinstance(fused.ns, nn.BatchNorm2d)  # used twice, once on something else
    assert isinstance(net.na, nn.BatchNorm2d)
    assert torch.allclose(net(IMAGES), fused(IMAGES), atol=1e-5)


def test_slower_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    _times(monkeypatch, 1.0, 1.1)
    net = _net()
    same, gain = layout.fuse_conv_bn(net, IMAGES)
    assert same is net
    assert gain.note == "not kept: 1100.00 ms instead of 1000.00 ms"
    same, gain = layout.channels_last(net, IMAGES)
    assert same is net
    assert not gain.applied


def test_channels_last_is_a_copy_with_the_same_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    _times(monkeypatch, 1.0, 0.9)
    net = _net()
    before = net.state_dict()["na.running_mean"].clone()
    changed, gain = layout.channels_last(net.train(), IMAGES)
    assert gain.applied
    assert changed.a.weight.is_contiguous(memory_format=torch.channels_last)
    assert net.a.weight.is_contiguous()
    assert torch.equal(net.na.running_mean, before)
    assert torch.allclose(net.eval()(IMAGES), changed.eval()(IMAGES.to(memory_format=torch.channels_last)), atol=1e-5)


def test_another_answer_is_not_kept_however_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    _times(monkeypatch, 1.0, 0.1)
    monkeypatch.setattr(
        layout, "fuse_conv_bn_eval", lambda convolution, _: nn.Conv2d(*convolution.weight.shape[1::-1], convolution.kernel_size)
    )
    net = _net()
    same, gain = layout.fuse_conv_bn(net, IMAGES)
    assert same is net
    assert gain.note.startswith("not kept: outputs differ by")


def test_real_times_are_positive_and_training_mode_is_refused() -> None:
    _, gain = layout.channels_last(_net().train(), IMAGES, rounds=1)
    assert gain.before_s > 0
    assert gain.after_s > 0
    with pytest.raises(PrecisionError, match=r"call model.eval\(\) first"):
        layout.fuse_conv_bn(_net().train(), IMAGES)
