from __future__ import annotations

import pytest
import torch
from torch import nn

from gpu_optimizer.training import checkpoint_candidates


def _torchvision(name: str) -> nn.Module:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        return getattr(models, name)(weights=None)


def test_resnet_blocks() -> None:
    expected = tuple(f"layer{stage}.{index}" for stage, count in ((1, 3), (2, 4), (3, 6), (4, 3)) for index in range(count))
    assert checkpoint_candidates(_torchvision("resnet50")) == expected


def test_vision_transformer_layers() -> None:
    assert checkpoint_candidates(_torchvision("vit_b_16")) == tuple(f"encoder.layers.encoder_layer_{index}" for index in range(12))


def test_a_plain_stack_of_layers_is_one_block() -> None:
    assert checkpoint_candidates(_torchvision("vgg11")) == ("features", "classifier")


def test_a_class_that_is_used_often_is_a_block_though_it_holds_smaller_ones() -> None:
    names = checkpoint_candidates(_torchvision("googlenet"))
    assert [name for name in names if name.startswith("inception")] == [
        f"inception{part}" for part in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    ]


def test_an_encoder_and_a_decoder_are_not_two_blocks_but_their_layers_are() -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16) for _ in range(3)])

    model = nn.Module()
    model.encoder, model.decoder = Stack(), Stack()
    assert checkpoint_candidates(model) == tuple(f"{half}.block.{index}" for half in ("encoder", "decoder") for index in range(3))


def test_blocks_do_not_overlap_and_a_shared_one_is_named_once() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    assert checkpoint_candidates(nn.ModuleList([layer, layer, nn.LSTM(8, 8)])) == ("0", "2")
    names = checkpoint_candidates(_torchvision("swin_t"))
    assert not any(a != b and b.startswith(a + ".") for a in names for b in names)


def test_a_block_that_begins_in_place_is_left_out() -> None:
    """As the classifier of EfficientNet, whose dropout overwrites what comes in."""
    block = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4))
    model = nn.Sequential(block, nn.Sequential(nn.Dropout(0.2, inplace=True), nn.Linear(4, 4)))
    assert checkpoint_candidates(model) == ("0",)


def test_single_layers_are_not_worth_it() -> None:
    assert checkpoint_candidates(nn.Sequential(nn.Linear(2, 2))) == ()
    assert checkpoint_candidates(nn.Linear(2, 2)) == ()
