"""Transformers of the published shapes: Llama and Mistral, GPT-2, BERT.

Parameters and what is kept for backward are those of the published models with torch's fused attention;
weights are random. Sources: Touvron et al. 2023 (Llama), Jiang et al. 2023 (Mistral), Radford et al. 2019
(GPT-2), Devlin et al. 2019 (BERT).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from gpu_optimizer.models.config import TransformerConfig

Turns = tuple[torch.Tensor, torch.Tensor]


class LanguageModel(nn.Module):
    """Token ids (batch, length) to logits (batch, length, words), as Llama, Mistral and GPT-2 do it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        rotary = config.model_type != "gpt2"
        self.head_dim, self.theta = cast("int", config.head_dim), config.rope_theta
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = None if rotary else nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.blocks = nn.ModuleList(LlamaBlock(config) if rotary else PlainBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=1e-6) if rotary else nn.LayerNorm(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of each next word."""
        x = self.embed(ids)
        if self.positions is not None:
            x = x + self.positions(torch.arange(ids.shape[1], device=ids.device))
        turns = None if self.positions is not None else rotations(x.shape[1], self.head_dim, self.theta, x.device)
        for block in self.blocks:
            x = block(x, turns)
        return self.head(self.norm(x))


class LlamaBlock(nn.Module):
    """One block of Llama or Mistral: rotary attention with grouped keys, gated feed-forward part."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, cast("int", config.intermediate_size)
        self.head_dim, self.theta = cast("int", config.head_dim), config.rope_theta
        queries = config.num_attention_heads * self.head_dim
        keys = cast("int", config.num_key_value_heads) * self.head_dim
        self.query = nn.Linear(width, queries, bias=config.attention_bias)
        self.key = nn.Linear(width, keys, bias=config.attention_bias)
        self.value = nn.Linear(width, keys, bias=config.attention_bias)
        self.out = nn.Linear(queries, width, bias=config.attention_bias)
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        self.attention_norm, self.feed_norm = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)

    def forward(self, x: torch.Tensor, turns: Turns | None = None) -> torch.Tensor:
        """Words (batch, length, width) to words; `turns` are those of `rotations`, worked out where they are not given."""
        if turns is None:
            turns = rotations(x.shape[1], self.head_dim, self.theta, x.device)
        x = x + self._attend(self.attention_norm(x), turns)
        y = self.feed_norm(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))

    def _attend(self, x: torch.Tensor, turns: Turns) -> torch.Tensor:
        query, key, value = (self._heads(part(x)) for part in (self.query, self.key, self.value))
        query, key = rotated(query, turns), rotated(key, turns)
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (-1, self.head_dim)).transpose(1, 2)


class PlainBlock(nn.Module):
    """One block of GPT-2 (norms first, causal) or of BERT (norms last, both directions)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, cast("int", config.intermediate_size)
        self.causal, self.head_dim = config.model_type == "gpt2", cast("int", config.head_dim)
        self.attention, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor, turns: Turns | None = None) -> torch.Tensor:
        """Words (batch, length, width) to words; there are no rotary positions here."""
        if self.causal:
            x = x + self.dropout(self._attend(self.attention_norm(x)))
            return x + self.dropout(self._feed(self.feed_norm(x)))
        x = self.attention_norm(x + self.dropout(self._attend(x)))
        return self.feed_norm(x + self.dropout(self._feed(x)))

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (part.unflatten(2, (-1, self.head_dim)).transpose(1, 2) for part in self.attention(x).chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _feed(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(functional.gelu(self.up(x), approximate="tanh" if self.causal else "none"))


class Bert(nn.Module):
    """Token ids (batch, length) to hidden states and the pooled first one, as BERT without a head."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.embed = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.max_position_embeddings, width)
        self.segments = nn.Embedding(config.type_vocab_size, width)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(0.1)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.num_hidden_layers))
        self.pooler = nn.Linear(width, width)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (batch, length, width) and the pooled first one (batch, width)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.embed(ids) + self.positions(places) + self.segments(torch.zeros_like(ids))
        x = self.dropout(self.norm(x))
        for block in self.blocks:
            x = block(x)
        return x, torch.tanh(self.pooler(x[:, 0]))


def rotations(length: int, width: int, theta: float, device: torch.device) -> Turns:
    """Cosines and sines (length, width) of rotary positions (Su et al. 2021)."""
    rates = theta ** (-torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(length, device=device)[:, None] * torch.cat((rates, rates))
    return angles.cos(), angles.sin()


def rotated(x: torch.Tensor, turns: Turns) -> torch.Tensor:
    """Heads (batch, heads, length, width) with their pairs turned by an angle that grows with the place."""
    left, right = x.chunk(2, dim=-1)
    return x * turns[0] + torch.cat((-right, left), dim=-1) * turns[1]


def next_word_loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each next word, in float32 as training codes compute it."""
    return functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten())
