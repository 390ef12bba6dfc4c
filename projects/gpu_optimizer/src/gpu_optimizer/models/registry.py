"""Build a training step from a name or a configuration: a fixed list, nothing that runs code from the specification.

A name is one of `list_models()` or `torchvision:NAME`; a mapping is either `{"model": name, ...options}` or a
configuration in Hugging Face's form (`{"model_type": "llama", ...}`); a path ending in `.json` is read as one.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from gpu_optimizer.errors import ModelSpecError
from gpu_optimizer.models.config import TransformerConfig
from gpu_optimizer.steps import Sample, TrainingStep, map_tensors

Device = Literal["meta", "cpu", "cuda"]

_GPT2 = TransformerConfig(
    model_type="gpt2", hidden_size=768, num_hidden_layers=12, num_attention_heads=12, vocab_size=50257, max_position_embeddings=1024
)
_BERT = TransformerConfig(
    model_type="bert", hidden_size=768, num_hidden_layers=12, num_attention_heads=12, vocab_size=30522, max_position_embeddings=512
)
_LLAMA = TransformerConfig(model_type="llama", hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, intermediate_size=11008)
_LARGEST_BATCH, _LARGEST_SIDE, _LARGEST_CONFIG_BYTES = 65536, 8192, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A model with what it is called with.

    Args:
        model: The model.
        sample: Its arguments.
        loss: Loss, None for the default one.
        target: Second argument of the loss.
    """

    model: nn.Module
    sample: tuple[Any, ...]
    loss: Callable[..., torch.Tensor] | None = None
    target: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model of the list.

    Args:
        summary: What it is, in a line.
        make: Builds it: `make(batch, **options)`.
        batch: Examples where none are asked for.
        options: Names of the options `make` takes.
    """

    summary: str
    make: Callable[..., Built]
    batch: int
    options: tuple[str, ...] = ()


def list_models() -> dict[str, str]:
    """Names that `build` knows, each with what it is.

    Example:
        >>> sorted(list_models())[:3]
        ['bert-base', 'gpt2', 'llama-7b']
    """
    return {name: entry.summary for name, entry in _ENTRIES.items()}


def build(
    spec: str | Path | Mapping[str, Any],
    *,
    batch: int | None = None,
    device: Device = "meta",
    optimizer: Any = "adamw",
    precision: Any = "fp32",
) -> TrainingStep:
    """A training step of a model with random weights.

    Args:
        spec: A name, `torchvision:NAME`, the path of a JSON file, or a mapping: `{"model": name, ...options}` or a
            configuration in Hugging Face's form, there also with `batch` and `sequence_length`.
        batch: Examples; default: the specification's, else the model's own.
        device: Where parameters and sample lie; on "meta" nothing is allocated, whatever the size.
        optimizer: As in `TrainingStep`.
        precision: As in `TrainingStep`.

    Raises:
        ModelSpecError: The specification names nothing known, or sizes that cannot be.

    Example:
        >>> step = build("gpt2", batch=2)
        >>> sum(parameter.numel() for parameter in step.model.parameters()), step.sample.batch_size
        (124439808, 2)
    """
    entry, options = _resolved(spec)
    asked = options.pop("batch", None) if batch is None else (options.pop("batch", None), batch)[1]
    size = _limited("batch", entry.batch if asked is None else asked, _LARGEST_BATCH)
    unknown = sorted(set(options) - set(entry.options))
    if unknown:
        raise ModelSpecError(
            f"options {', '.join(unknown)} are not known here; there are: batch, {', '.join(entry.options) or 'no others'}"
        )
    built = _made(entry, size, options, device)
    return TrainingStep(
        model=built.model, sample=Sample.of(built.sample), loss=built.loss, target=built.target, optimizer=optimizer, precision=precision
    )


def _made(entry: Entry, batch: int, options: Mapping[str, Any], device: Device) -> Built:
    """What an entry makes, with the same random weights each time and the caller's generators left alone."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelSpecError("device 'cuda' is not there on this machine; use 'meta' for estimates or 'cpu'")
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(0)
        built = entry.make(batch, **options)
    move: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor.to(device)  # noqa: E731
    return Built(
        model=built.model.to(device), sample=map_tensors(built.sample, move), loss=built.loss, target=map_tensors(built.target, move)
    )


def _resolved(spec: str | Path | Mapping[str, Any]) -> tuple[Entry, dict[str, Any]]:
    if isinstance(spec, Path) or (isinstance(spec, str) and spec.endswith(".json")):
        spec = _read(Path(spec))
    if isinstance(spec, str):
        return _entry(spec), {}
    options = dict(spec)
    if "model" in options:
        return _entry(options.pop("model")), options
    if "model_type" not in options:
        raise ModelSpecError('a model\'s mapping needs "model" (a name of list_models()) or "model_type" (llama, mistral, gpt2, bert)')
    config = TransformerConfig.of(options)
    kept = {key: options[key] for key in ("batch", "sequence_length") if key in options}
    return Entry(summary="", make=partial(_transformer, config), batch=1, options=("sequence_length",)), kept


def _entry(name: Any) -> Entry:
    if isinstance(name, str) and name in _ENTRIES:
        return _ENTRIES[name]
    if isinstance(name, str) and name.startswith("torchvision:"):
        return Entry(summary="", make=partial(_torchvision, name.removeprefix("torchvision:")), batch=8, options=("image_size",))
    close = difflib.get_close_matches(str(name), _ENTRIES, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else "list_models() names them all (`gpu-optimizer models`)"
    raise ModelSpecError(f"no model {name!r} is known; {hint}; torchvision:NAME and Hugging Face's config.json work, too")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_CONFIG_BYTES:
            raise ModelSpecError(f"{path} is larger than a model's configuration is ({_LARGEST_CONFIG_BYTES} bytes); pass its config.json")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, ModelSpecError):
            raise
        raise ModelSpecError(f"{path} cannot be read as JSON ({error}); pass a model's config.json") from error
    if not isinstance(values, Mapping):
        raise ModelSpecError(f"{path} holds no JSON object; pass a model's config.json")
    return values


def _limited(name: str, value: Any, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ModelSpecError(f"{name}: expected a whole number from 1 to {largest}, got {value!r}")
    return value


def _torchvision(name: str, batch: int, *, image_size: int | None = None) -> Built:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        raise ModelSpecError(
            f"torchvision has no classifier {name!r}; {'close names: ' + ', '.join(close) if close else 'see its list_models()'}"
        )
    side = _limited("image_size", image_size or (299 if name == "inception_v3" else 224), _LARGEST_SIDE)
    quiet = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = models.get_model(name, weights=None, **quiet)
    images, labels = torch.rand(batch, 3, side, side), torch.randint(0, 1000, (batch,))
    several = name in ("googlenet", "inception_v3")
    return Built(model=model, sample=(images,), loss=None if several else functional.cross_entropy, target=None if several else labels)


def _yolo_pose(batch: int, *, image_size: int = 640) -> Built:
    from ultralytics.nn.tasks import PoseModel

    side = _limited("image_size", image_size, _LARGEST_SIDE)
    with torch.device("cpu"):  # its constructor runs a small image to learn its own strides
        model = PoseModel("yolo11n-pose.yaml", verbose=False)
    return Built(model=model.train(), sample=(torch.rand(batch, 3, side, side),))


def _transformer(config: TransformerConfig, batch: int, *, sequence_length: int | None = None, **sizes: Any) -> Built:
    from gpu_optimizer.models.transformers import Bert, LanguageModel, next_word_loss

    config = config.replace(**sizes) if sizes else config
    length = _limited("sequence_length", sequence_length or min(config.max_position_embeddings, 2048), config.max_position_embeddings)
    ids = torch.randint(0, config.vocab_size, (batch, length))
    if config.model_type == "bert":
        return Built(model=Bert(config), sample=(ids,))
    return Built(model=LanguageModel(config), sample=(ids,), loss=next_word_loss, target=ids)


def _llama_block(batch: int, *, sequence_length: int = 2048, **sizes: Any) -> Built:
    from gpu_optimizer.models.transformers import LlamaBlock

    config = _LLAMA.replace(**sizes)
    length = _limited("sequence_length", sequence_length, config.max_position_embeddings)
    return Built(model=LlamaBlock(config), sample=(torch.randn(batch, length, config.hidden_size),))


def _stable_diffusion(batch: int, *, image_size: int = 512) -> Built:
    from gpu_optimizer.models.diffusion import DiffusionUNet

    side = _limited("image_size", image_size, _LARGEST_SIDE) // 8
    latents, times = torch.randn(batch, 4, side, side), torch.randint(0, 1000, (batch,))
    text = torch.randn(batch, 77, 768)
    return Built(model=DiffusionUNet(), sample=(latents, times, text), loss=functional.mse_loss, target=torch.randn(batch, 4, side, side))


def _unet(batch: int, *, image_size: int = 256) -> Built:
    from gpu_optimizer.models.diffusion import UNet

    side = _limited("image_size", image_size, _LARGEST_SIDE)
    labels = torch.randint(0, 2, (batch, side, side))
    return Built(model=UNet(), sample=(torch.rand(batch, 3, side, side),), loss=functional.cross_entropy, target=labels)


def _skeletons(batch: int, *, frames: int = 64) -> Built:
    from gpu_optimizer.models.small import SkeletonNet

    poses, labels = torch.randn(batch, 3, _limited("frames", frames, 4096), 17), torch.randint(0, 60, (batch,))
    return Built(model=SkeletonNet(), sample=(poses,), loss=functional.cross_entropy, target=labels)


def _words(batch: int, *, sequence_length: int = 128) -> Built:
    from gpu_optimizer.models.small import WordModel
    from gpu_optimizer.models.transformers import next_word_loss

    ids = torch.randint(0, 10000, (batch, _limited("sequence_length", sequence_length, 65536)))
    return Built(model=WordModel(), sample=(ids,), loss=next_word_loss, target=ids)


def _layers(batch: int) -> Built:
    from gpu_optimizer.models.small import mlp

    return Built(model=mlp(), sample=(torch.randn(batch, 1024),), loss=functional.cross_entropy, target=torch.randint(0, 1000, (batch,)))


_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size")
_WORDS = ("sequence_length", *_SIZES)
_ENTRIES: dict[str, Entry] = {
    "resnet50": Entry(summary="ResNet-50 (torchvision)", make=partial(_torchvision, "resnet50"), batch=16, options=("image_size",)),
    "mobilenet_v3_large": Entry(
        summary="MobileNetV3-Large (torchvision)", make=partial(_torchvision, "mobilenet_v3_large"), batch=16, options=("image_size",)
    ),
    "vit_b_16": Entry(summary="ViT-B/16 (torchvision)", make=partial(_torchvision, "vit_b_16"), batch=8),
    "yolo11n-pose": Entry(
        summary="YOLO11n-pose from its yaml (ultralytics, AGPL-3.0, loaded only here)", make=_yolo_pose, batch=4, options=("image_size",)
    ),
    "stgcn": Entry(summary="ST-GCN on 17 joints", make=_skeletons, batch=16, options=("frames",)),
    "bert-base": Entry(summary="BERT-base without a head", make=partial(_transformer, _BERT), batch=8, options=_WORDS),
    "gpt2": Entry(summary="GPT-2 (124M)", make=partial(_transformer, _GPT2), batch=4, options=_WORDS),
    "llama-7b": Entry(summary="Llama 7B", make=partial(_transformer, _LLAMA), batch=1, options=_WORDS),
    "llama-block": Entry(summary="one block of Llama 7B", make=_llama_block, batch=1, options=_WORDS),
    "unet": Entry(summary="U-Net for masks", make=_unet, batch=4, options=("image_size",)),
    "sd-unet": Entry(summary="noise predictor of Stable Diffusion 1.5", make=_stable_diffusion, batch=1, options=("image_size",)),
    "lstm": Entry(summary="two layers of LSTM between words", make=_words, batch=16, options=("sequence_length",)),
    "mlp": Entry(summary="six linear layers", make=_layers, batch=256),
}
