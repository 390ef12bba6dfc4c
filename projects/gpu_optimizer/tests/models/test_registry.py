from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_optimizer.errors import ModelSpecError
from gpu_optimizer.models import TransformerConfig, build, list_models

_LLAMA_CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 172,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 100,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "torch_dtype": "bfloat16",
}


def _parameters(spec: Any) -> int:
    return sum(parameter.numel() for parameter in build(spec).model.parameters())


@pytest.mark.parametrize(
    ("spec", "published"),
    [
        ("gpt2", 124_439_808),
        ("bert-base", 109_482_240),
        ("llama-7b", 6_738_415_616),
        ("resnet50", 25_557_032),
        ("sd-unet", 859_520_964),
        ("mobilenet_v3_large", 5_483_032),
        ("vit_b_16", 86_567_656),
        (
            {
                "model_type": "mistral",
                "hidden_size": 4096,
                "num_hidden_layers": 32,
                "num_attention_heads": 32,
                "intermediate_size": 14336,
                "num_key_value_heads": 8,
            },
            7_241_732_096,
        ),
        ({"model_type": "gpt2", "n_embd": 1024, "n_layer": 24, "n_head": 16, "vocab_size": 50257, "n_positions": 1024}, 354_823_168),
    ],
)
def test_sizes_are_the_published_ones(spec: Any, published: int) -> None:
    assert _parameters(spec) == published


def test_meta_models_hold_no_memory() -> None:
    step = build("llama-7b")
    assert {tensor.device.type for tensor in (*step.model.parameters(), *step.sample.tensors())} == {"meta"}


@pytest.mark.parametrize(
    "spec",
    [
        _LLAMA_CONFIG,
        {**_LLAMA_CONFIG, "model_type": "mistral", "tie_word_embeddings": True},
        {"model": "gpt2", "num_hidden_layers": 1, "hidden_size": 48, "vocab_size": 90, "sequence_length": 12},
        {"model": "bert-base", "num_hidden_layers": 1, "hidden_size": 48, "vocab_size": 90, "sequence_length": 12},
        {"model": "llama-block", "hidden_size": 64, "num_attention_heads": 4, "sequence_length": 8},
        {"model": "unet", "image_size": 32},
        {"model": "stgcn", "frames": 16},
        {"model": "lstm", "sequence_length": 8},
        "mlp",
        {"model": "torchvision:squeezenet1_1", "image_size": 64},
    ],
    ids=str,
)
def test_a_step_runs_and_learns_from_every_parameter(spec: Any) -> None:
    step = build(spec, batch=2, device="cpu", optimizer="sgd")
    assert step.run(step.make_optimizer()) > 0
    assert [name for name, parameter in step.model.named_parameters() if parameter.grad is None] == []


def test_yolo_is_built_from_its_yaml_without_weights() -> None:
    step = build("yolo11n-pose", batch=1)
    assert sum(parameter.numel() for parameter in step.model.parameters()) == pytest.approx(2.9e6, rel=0.02)
    assert step.model.training


def test_the_same_specification_gives_the_same_weights_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first, second = build("mlp", device="cpu"), build("mlp", device="cpu")
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


def test_causal_models_do_not_look_ahead() -> None:
    step = build(_LLAMA_CONFIG, device="cpu")
    ids = torch.randint(0, 100, (1, 16))
    changed = ids.clone()
    changed[0, 10:] = (ids[0, 10:] + 1) % 100
    first, second = step.model.eval()(ids), step.model(changed)
    assert torch.allclose(first[:, :10], second[:, :10], atol=1e-5)
    assert not torch.allclose(first[:, 10:], second[:, 10:], atol=1e-5)


def test_rotary_attention_sees_distances_only() -> None:
    from gpu_optimizer.models.transformers import rotated, rotations

    turns = rotations(12, 8, 10000.0, torch.device("cpu"))
    query, key = rotated(torch.ones(1, 1, 12, 8), turns), rotated(torch.ones(1, 1, 12, 8), turns)
    scores = (query @ key.transpose(-1, -2))[0, 0]
    assert torch.allclose(scores.diagonal(3), scores.diagonal(3)[0].expand(9), atol=1e-5)
    assert torch.allclose(scores.diagonal(), torch.full((12,), 8.0), atol=1e-5)


def test_a_configuration_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**_LLAMA_CONFIG, "batch": 3, "sequence_length": 16}))
    step = build(path)
    assert step.sample.args[0].shape == (3, 16)
    assert build(str(path), batch=5).sample.batch_size == 5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gtp2", "did you mean gpt2"),
        ("torchvision:resnet1", "close names: resnet18"),
        ("os:system", "list_models"),
        ({"hidden_size": 4}, 'needs "model"'),
        ({"model_type": "llama"}, "needs hidden_size"),
        ({**_LLAMA_CONFIG, "model_type": "rwkv"}, "expected one of llama"),
        ({**_LLAMA_CONFIG, "hidden_size": -4}, "hidden_size: expected a whole number"),
        ({**_LLAMA_CONFIG, "hidden_size": "64"}, "hidden_size"),
        ({**_LLAMA_CONFIG, "num_hidden_layers": 10**9}, "num_hidden_layers: expected a whole number from 1 to"),
        ({**_LLAMA_CONFIG, "num_key_value_heads": 3}, "no multiple of num_key_value_heads"),
        ({**_LLAMA_CONFIG, "hidden_size": 66}, "no multiple of num_attention_heads"),
        ({"model": "mlp", "colour": 3}, "options colour"),
        ({"model": "resnet50", "image_size": 10**6}, "image_size: expected"),
        ({"model": "gpt2", "sequence_length": 5000}, "sequence_length: expected a whole number from 1 to 1024"),
        ({"model": "mlp", "batch": 0}, "batch: expected"),
        ("missing.json", "cannot be read"),
    ],
    ids=str,
)
def test_bad_specifications_say_what_would_be_right(spec: Any, message: str) -> None:
    with pytest.raises(ModelSpecError, match=message):
        build(spec)


def test_the_list_names_what_the_brief_of_the_package_names() -> None:
    assert set(list_models()) >= {"resnet50", "mobilenet_v3_large", "vit_b_16", "yolo11n-pose", "stgcn", "bert-base", "gpt2", "llama-7b"}
    assert TransformerConfig.of(_LLAMA_CONFIG).head_dim == 16


def test_the_room_loads_no_torch_and_no_ultralytics() -> None:
    code = "import sys, gpu_optimizer.models, gpu_optimizer.profiling; sys.exit(any(m in sys.modules for m in ('torch', 'ultralytics')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_other_models_do_not_load_ultralytics() -> None:
    code = "import sys; from gpu_optimizer.models import build; build('resnet50'); sys.exit('ultralytics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
