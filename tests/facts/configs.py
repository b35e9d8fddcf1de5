"""Small configurations of several families, to be changed by tests."""

from __future__ import annotations

import json
from typing import Any

from plimsoll.facts.config import read_config
from plimsoll.facts.network import Network

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 160,
    "vocab_size": 100,
    "max_position_embeddings": 4096,
}
MIXTURE = LLAMA | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = MIXTURE | {
    "model_type": "deepseek_v3",
    "kv_lora_rank": 32,
    "q_lora_rank": 48,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
}
LINEAR = LLAMA | {
    "model_type": "qwen3_next",
    "full_attention_interval": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
}
HYBRID = LLAMA | {
    "model_type": "nemotron_h",
    "hybrid_override_pattern": "M*-E",
    "mamba_num_heads": 4,
    "mamba_head_dim": 32,
    "ssm_state_size": 16,
    "n_groups": 2,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
FAMILIES = {"llama": LLAMA, "mixture": MIXTURE, "latent": LATENT, "linear": LINEAR,
            "hybrid": HYBRID}  # fmt: skip


def read(config: object, **options: Any) -> Network:
    return read_config(json.dumps(config).encode(), **options)


def kinds(network: Network) -> list[tuple[int, str]]:
    return [(layer.count, layer.mixer.kind) for layer in network.layers]
