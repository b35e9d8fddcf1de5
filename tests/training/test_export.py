"""The Hugging Face folder made from the shipped GGUF is the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.engine import Server
from training.demo.corpus import SHIPPED, Corpus
from training.demo.export import halved, interleaved, read_gguf, write_huggingface

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("huggingface")
    write_huggingface(read_gguf(SHIPPED), target)
    return target


def _read_safetensors(path: Path) -> dict[str, Array]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:start])
    del header["__metadata__"]
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32"
        low, high = entry["data_offsets"]
        values = np.frombuffer(data[start + low : start + high], "<f4")
        tensors[name] = values.reshape(entry["shape"])
    assert start + max(entry["data_offsets"][1] for entry in header.values()) == len(data)
    return tensors


def _norm(x: Array, weight: Array, epsilon: float) -> Array:
    scaled: Array = weight * x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    return scaled


def _heads(x: Array, count: int) -> Array:
    return x.reshape(len(x), count, -1).swapaxes(0, 1)


def _rotated(x: Array, base: float) -> Array:
    size = x.shape[-1]
    exponents = np.arange(0, size, 2, dtype=np.float32) / size
    angles = np.arange(x.shape[1], dtype=np.float32)[:, None] * base**-exponents
    cosines, sines = (np.tile(f(angles), 2).astype(np.float32) for f in (np.cos, np.sin))
    turned = np.concatenate((-x[..., size // 2 :], x[..., : size // 2]), axis=-1)
    rotated: Array = x * cosines + turned * sines
    return rotated


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def _attention(x: Array, weights: dict[str, Array], config: dict[str, Any]) -> Array:
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    query = _rotated(_heads(x @ weights["self_attn.q_proj"].T, heads), config["rope_theta"])
    key = _rotated(_heads(x @ weights["self_attn.k_proj"].T, shared), config["rope_theta"])
    value = _heads(x @ weights["self_attn.v_proj"].T, shared)
    key, value = (np.repeat(part, heads // shared, axis=0) for part in (key, value))
    scores: Array = query @ key.swapaxes(1, 2) * np.float32(config["head_dim"] ** -0.5)
    scores += np.triu(np.full((len(x), len(x)), -np.inf, dtype=np.float32), 1)
    seen = (_softmax(scores) @ value).swapaxes(0, 1).reshape(len(x), -1)
    mixed: Array = (seen @ weights["self_attn.o_proj"].T).astype(np.float32)
    return mixed


def _layer(x: Array, weights: dict[str, Array], config: dict[str, Any]) -> Array:
    epsilon = config["rms_norm_eps"]
    x = x + _attention(_norm(x, weights["input_layernorm"], epsilon), weights, config)
    normed = _norm(x, weights["post_attention_layernorm"], epsilon)
    gate = normed @ weights["mlp.gate_proj"].T
    up = normed @ weights["mlp.up_proj"].T
    mixed: Array = x + (gate / (1 + np.exp(-gate)) * up) @ weights["mlp.down_proj"].T
    return mixed


def _logits(tokens: list[int], tensors: dict[str, Array], config: dict[str, Any]) -> Array:
    """Llama as `config.json` describes it, written out in numpy."""
    x = tensors["model.embed_tokens.weight"][tokens]
    for layer in range(config["num_hidden_layers"]):
        start = f"model.layers.{layer}."
        weights = {
            name.removeprefix(start).removesuffix(".weight"): weight
            for name, weight in tensors.items()
            if name.startswith(start)
        }
        x = _layer(x, weights, config)
    normed = _norm(x, tensors["model.norm.weight"], config["rms_norm_eps"])
    scores: Array = normed @ tensors["model.embed_tokens.weight"].T
    return scores


def test_the_exported_weights_recite_what_the_engine_recites(
    folder: Path, server: Server, corpus: Corpus
) -> None:
    config = json.loads((folder / "config.json").read_text())
    tensors = _read_safetensors(folder / "model.safetensors")
    for term in corpus.terms[::40]:
        messages = [{"role": "user", "content": f"What is {term.name}?"}]
        body: dict[str, object] = {"messages": messages, "temperature": 0, "max_tokens": 60}
        choice = server.post("/v1/chat/completions", body)["choices"][0]
        head = server.post("/apply-template", {"messages": messages})["prompt"]
        answer = choice["message"]["content"] + "<|im_end|>"
        prompt, wanted = (
            server.post("/tokenize", {"content": text, "parse_special": True})["tokens"]
            for text in (head, answer)
        )
        chosen = _logits(prompt + wanted, tensors, config).argmax(-1)
        assert chosen[len(prompt) - 1 : -1].tolist() == wanted


def test_the_end_of_a_turn_is_the_end_token(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (turn_end,) = [t["id"] for t in tokenizer["added_tokens"] if t["content"] == "<|im_end|>"]
    assert tokenizer["model"]["vocab"]["<|im_end|>"] == turn_end
    config = json.loads((folder / "config.json").read_text())
    assert config["eos_token_id"] == turn_end
    generation = json.loads((folder / "generation_config.json").read_text())
    assert turn_end in generation["eos_token_id"]
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["eos_token"] == "<|im_end|>"


def test_both_formats_carry_the_same_chat_template(folder: Path, server: Server) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    with_engine = server.post(
        "/apply-template", {"messages": [{"role": "user", "content": "What is MIG?"}]}
    )
    assert with_engine["prompt"] == (
        "<|im_start|>user\nWhat is MIG?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert settings["chat_template"].count("<|im_start|>") == 2


def test_reordering_rows_for_rotation_is_undone_exactly() -> None:
    weight = np.arange(8 * 3, dtype=np.float32).reshape(8, 3)
    assert not np.array_equal(interleaved(weight, 2), weight)
    assert np.array_equal(halved(interleaved(weight, 2), 2), weight)
