"""Sizes of a transformer, read from a configuration in Hugging Face's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast, get_args

from gpu_optimizer.errors import ModelSpecError

ModelType = Literal["llama", "mistral", "gpt2", "bert"]

_SYNONYMS = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
    "n_inner": "intermediate_size",
}
_LARGEST = {
    "hidden_size": 65536,
    "num_hidden_layers": 512,
    "num_attention_heads": 1024,
    "num_key_value_heads": 1024,
    "intermediate_size": 262144,
    "vocab_size": 2_000_000,
    "max_position_embeddings": 20_000_000,
    "type_vocab_size": 1024,
    "head_dim": 4096,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """Sizes of a transformer under the names that Hugging Face's configurations use.

    Args:
        model_type: Family.
        hidden_size: Width.
        num_hidden_layers: Blocks.
        num_attention_heads: Heads of queries.
        intermediate_size: Width inside the feed-forward part; default: four times `hidden_size`.
        num_key_value_heads: Heads of keys and values; default: as many as of queries.
        head_dim: Width of a head; default: `hidden_size` divided by the heads.
        vocab_size: Words.
        max_position_embeddings: Longest sequence.
        type_vocab_size: Segments, for bert.
        tie_word_embeddings: Whether the last layer uses the weights of the first; default: gpt2 does, llama and mistral do not.
        attention_bias: Whether attention has biases, for llama and mistral.
        rope_theta: Base of rotary positions.

    Example:
        >>> TransformerConfig.of({"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4}).intermediate_size
        256
    """

    model_type: ModelType
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int = 32000
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2
    tie_word_embeddings: bool | None = None
    attention_bias: bool = False
    rope_theta: float = 10000.0

    def __post_init__(self) -> None:
        if self.model_type not in get_args(ModelType):
            raise ModelSpecError(f"model_type: expected one of {', '.join(get_args(ModelType))}, got {self.model_type!r}")
        _set = object.__setattr__
        if self.intermediate_size is None:
            _set(self, "intermediate_size", 4 * _whole("hidden_size", self.hidden_size))
        if self.num_key_value_heads is None:
            _set(self, "num_key_value_heads", self.num_attention_heads)
        if self.head_dim is None:
            heads = _whole("num_attention_heads", self.num_attention_heads)
            if _whole("hidden_size", self.hidden_size) % heads:
                raise ModelSpecError(
                    f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {heads}; give head_dim or change one"
                )
            _set(self, "head_dim", self.hidden_size // heads)
        if self.tie_word_embeddings is None:
            _set(self, "tie_word_embeddings", self.model_type == "gpt2")
        for name in _LARGEST:
            _whole(name, getattr(self, name))
        if self.num_attention_heads % cast("int", self.num_key_value_heads):
            raise ModelSpecError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of num_key_value_heads {self.num_key_value_heads}"
            )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TransformerConfig:
        """A configuration from a dictionary in Hugging Face's form; keys that change no size are ignored.

        Raises:
            ModelSpecError: A size is missing or no whole number in its range.
        """
        named = {_SYNONYMS.get(key, key): value for key, value in values.items() if value is not None}
        known = {field.name for field in fields(cls)}
        missing = [key for key in ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads") if key not in named]
        if missing:
            raise ModelSpecError(f"a model's configuration needs {', '.join(missing)}; pass the config.json that belongs to the model")
        return cls(**{key: value for key, value in named.items() if key in known})

    def replace(self, **changes: Any) -> TransformerConfig:
        """The same configuration with other sizes; what follows from a changed width is worked out again."""
        derived = {"hidden_size": ("intermediate_size", "head_dim"), "num_attention_heads": ("num_key_value_heads", "head_dim")}
        fresh = {name: None for key in changes for name in derived.get(key, ()) if name not in changes}
        return replace(self, **fresh, **changes)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST[name]:
        raise ModelSpecError(f"{name}: expected a whole number from 1 to {_LARGEST[name]}, got {value!r}")
    return value
