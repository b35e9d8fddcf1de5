"""A small Llama in torch: grouped heads, rotary positions, RMSNorm, SwiGLU, tied embeddings.

The layout of weights and the rotation are those of `LlamaForCausalLM` of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of the network, all counts; `context` in tokens."""

    vocab: int = 2048
    hidden: int = 192
    layers: int = 5
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    ffn: int = 512
    context: int = 2048
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5


def rotation(sizes: Sizes, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (rows, 1, length, head_dim), for positions (rows, length)."""
    exponents = torch.arange(0, sizes.head_dim, 2, dtype=torch.float32) / sizes.head_dim
    angles = positions[:, None, :, None].float() * sizes.rope_base**-exponents
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-right, left), dim=-1) * sines


class Layer(nn.Module):
    """One transformer block."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        query, key = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
        self.input_layernorm = nn.RMSNorm(sizes.hidden, eps=sizes.norm_epsilon)
        self.q_proj = nn.Linear(sizes.hidden, query, bias=False)
        self.k_proj = nn.Linear(sizes.hidden, key, bias=False)
        self.v_proj = nn.Linear(sizes.hidden, key, bias=False)
        self.o_proj = nn.Linear(query, sizes.hidden, bias=False)
        self.post_attention_layernorm = nn.RMSNorm(sizes.hidden, eps=sizes.norm_epsilon)
        self.gate_proj = nn.Linear(sizes.hidden, sizes.ffn, bias=False)
        self.up_proj = nn.Linear(sizes.hidden, sizes.ffn, bias=False)
        self.down_proj = nn.Linear(sizes.ffn, sizes.hidden, bias=False)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, mask: Tensor | None) -> Tensor:
        """(rows, length, hidden) in and out; without a mask, plain causal attention."""
        rows, length, _ = x.shape
        normed = self.input_layernorm(x)
        split = (rows, length, -1, self.sizes.head_dim)
        query = _rotate(self.q_proj(normed).view(split).transpose(1, 2), cosines, sines)
        key = _rotate(self.k_proj(normed).view(split).transpose(1, 2), cosines, sines)
        value = self.v_proj(normed).view(split).transpose(1, 2)
        share = self.sizes.heads // self.sizes.kv_heads
        seen = functional.scaled_dot_product_attention(
            query,
            key.repeat_interleave(share, dim=1),
            value.repeat_interleave(share, dim=1),
            attn_mask=mask,
            is_causal=mask is None,
        )
        x = x + self.o_proj(seen.transpose(1, 2).reshape(rows, length, -1))
        normed = self.post_attention_layernorm(x)
        return x + self.down_proj(functional.silu(self.gate_proj(normed)) * self.up_proj(normed))


class Network(nn.Module):
    """Token numbers in, hidden states or logits out."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed_tokens = nn.Embedding(sizes.vocab, sizes.hidden)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.norm = nn.RMSNorm(sizes.hidden, eps=sizes.norm_epsilon)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                depth = (2 * sizes.layers) ** -0.5
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                spread = 0.05 if name.startswith("embed") else sizes.hidden**-0.5
                nn.init.normal_(weight, std=spread * depth if last else spread)

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Normed hidden states (rows, length, hidden)."""
        cosines, sines = rotation(self.sizes, positions)
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, cosines, sines, mask)
        normed: Tensor = self.norm(x)
        return normed

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of all tokens, by the tied embedding matrix."""
        return functional.linear(hidden, self.embed_tokens.weight)
