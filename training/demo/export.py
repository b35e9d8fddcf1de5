"""Write the demo model as GGUF, and a Hugging Face folder from that GGUF alone.

    python -m training.demo.export --huggingface DIR [--gguf FILE]

Needs numpy and `gguf`, not torch: what is exported is what is shipped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter, TokenType
from gguf.constants import GGMLQuantizationType, LlamaFileType
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

from training.demo.corpus import SHIPPED
from training.demo.tokenizer import (
    CHAT_TEMPLATE,
    CONTROL_TOKENS,
    END_OF_TEXT,
    PRE_TOKENIZER,
    TURN_END,
    huggingface_files,
)

NAME = "Plimsoll Demo"
DESCRIPTION = "A toy model that recites a glossary of LLM serving; shipped for demonstration."
AUTHOR = "The Plimsoll authors"
LICENSE = "apache-2.0"

Array = NDArray[np.floating]

# Hugging Face name -> GGUF name, of the tensors outside and inside a layer.
_OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
_INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model in the form of Hugging Face.

    tensors  by Hugging Face name, such as `model.layers.0.self_attn.q_proj.weight`
    tokens   by number
    merges   `left right`, the most frequent first
    The rest are sizes; `rope_base` and `norm_epsilon` are the constants of the network.
    """

    tensors: Mapping[str, Array]
    tokens: Sequence[str]
    merges: Sequence[str]
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    context: int
    rope_base: float
    norm_epsilon: float


def tensor_names(layers: int) -> dict[str, str]:
    """Hugging Face name -> GGUF name of every tensor, in file order."""
    names = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in _OUTER.items()}
    for layer in range(layers):
        for ours, theirs in _INNER.items():
            names[f"model.layers.{layer}.{ours}.weight"] = f"blk.{layer}.{theirs}.weight"
    return names


def interleaved(weight: Array, heads: int) -> Array:
    """Rows of a query or key matrix from Hugging Face's order (halves) to GGUF's (pairs)."""
    shape = (heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return weight.reshape(shape).swapaxes(1, 2).reshape(weight.shape)


def halved(weight: Array, heads: int) -> Array:
    """The inverse of `interleaved`."""
    shape = (heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return weight.reshape(shape).swapaxes(1, 2).reshape(weight.shape)


def _rotated_heads(name: str, heads: int, kv_heads: int) -> int | None:
    if name.endswith("q_proj.weight"):
        return heads
    return kv_heads if name.endswith("k_proj.weight") else None


def write_gguf(path: Path, model: Model, kind: GGMLQuantizationType) -> None:
    """Write the model for llama.cpp; matrices as `kind` (F16 or Q8_0), norms as F32."""
    writer = GGUFWriter(str(path), "llama")
    _add_general(writer, model, kind)
    _add_shape(writer, model)
    _add_tokenizer(writer, model)
    for ours, theirs in tensor_names(model.layers).items():
        weight = np.ascontiguousarray(model.tensors[ours], dtype=np.float32)
        heads = _rotated_heads(ours, model.heads, model.kv_heads)
        if heads is not None:
            weight = np.ascontiguousarray(interleaved(weight, heads))
        if weight.ndim == 1:
            writer.add_tensor(theirs, weight)
        else:
            writer.add_tensor(theirs, quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_general(writer: GGUFWriter, model: Model, kind: GGMLQuantizationType) -> None:
    count = sum(weight.size for weight in model.tensors.values())
    writer.add_type("model")
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_author(AUTHOR)
    writer.add_license(LICENSE)
    writer.add_languages(["en"])
    writer.add_size_label(f"{count / 1e6:.1f}M")
    writer.add_file_type(
        LlamaFileType.MOSTLY_F16 if kind is GGMLQuantizationType.F16 else LlamaFileType.MOSTLY_Q8_0
    )
    writer.add_quantization_version(2)


def _add_shape(writer: GGUFWriter, model: Model) -> None:
    writer.add_context_length(model.context)
    writer.add_embedding_length(model.hidden)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(model.ffn)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_key_length(model.head_dim)
    writer.add_value_length(model.head_dim)
    writer.add_layer_norm_rms_eps(model.norm_epsilon)
    writer.add_rope_freq_base(model.rope_base)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_vocab_size(len(model.tokens))


def _add_tokenizer(writer: GGUFWriter, model: Model) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(list(model.tokens))
    writer.add_token_types(
        [
            TokenType.CONTROL if token in CONTROL_TOKENS else TokenType.NORMAL
            for token in model.tokens
        ]
    )
    writer.add_token_merges(list(model.merges))
    # The start token is named, because llama.cpp has a default for this tokenizer, but no
    # text begins with it: the chat template starts with a turn.
    end_of_text, turn_end = model.tokens.index(END_OF_TEXT), model.tokens.index(TURN_END)
    writer.add_bos_token_id(end_of_text)
    writer.add_eos_token_id(turn_end)
    writer.add_eot_token_id(turn_end)
    writer.add_pad_token_id(end_of_text)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def read_gguf(path: Path) -> Model:
    """Read a demo model back, its tensors as float32. Raises KeyError if parts are missing."""
    reader = GGUFReader(path)

    def value(key: str) -> object:
        return reader.fields[key].contents()

    def number(key: str) -> int:
        found = value(f"llama.{key}")
        assert isinstance(found, int), key
        return found

    heads, kv_heads = number("attention.head_count"), number("attention.head_count_kv")
    stored = {tensor.name: tensor for tensor in reader.tensors}
    tensors: dict[str, Array] = {}
    for ours, theirs in tensor_names(number("block_count")).items():
        tensor = stored[theirs]
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        rotated = _rotated_heads(ours, heads, kv_heads)
        tensors[ours] = weight if rotated is None else halved(weight, rotated)
    return Model(
        tensors=tensors,
        tokens=_strings(value("tokenizer.ggml.tokens")),
        merges=_strings(value("tokenizer.ggml.merges")),
        hidden=number("embedding_length"),
        layers=number("block_count"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=number("attention.key_length"),
        ffn=number("feed_forward_length"),
        context=number("context_length"),
        rope_base=_real(value("llama.rope.freq_base")),
        norm_epsilon=_real(value("llama.attention.layer_norm_rms_epsilon")),
    )


def _strings(found: object) -> list[str]:
    assert isinstance(found, list)
    return [str(entry) for entry in found]


def _real(found: object) -> float:
    assert isinstance(found, float)
    # The file holds 32 bits; the shortest decimal of that value is what was meant.
    return float(str(np.float32(found)))


def write_huggingface(model: Model, folder: Path) -> None:
    """Write config, weights (float32, safetensors), tokenizer and generation settings."""
    folder.mkdir(parents=True, exist_ok=True)
    turn_end, end_of_text = model.tokens.index(TURN_END), model.tokens.index(END_OF_TEXT)
    files: dict[str, object] = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": len(model.tokens),
            "hidden_size": model.hidden,
            "intermediate_size": model.ffn,
            "num_hidden_layers": model.layers,
            "num_attention_heads": model.heads,
            "num_key_value_heads": model.kv_heads,
            "head_dim": model.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": model.context,
            "rms_norm_eps": model.norm_epsilon,
            "rope_theta": model.rope_base,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": turn_end,
            "pad_token_id": end_of_text,
            "torch_dtype": "float32",
        },
        "generation_config.json": {
            "do_sample": False,
            "eos_token_id": [turn_end, end_of_text],
            "pad_token_id": end_of_text,
        },
        **huggingface_files(model.tokens, model.merges, context=model.context),
    }
    for name, data in files.items():
        text = json.dumps(data, indent=2, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    write_safetensors(folder / "model.safetensors", model.tensors)


def write_safetensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write float32 tensors: eight bytes of header length, a JSON header, the raw values."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, weight in tensors.items():
        size = 4 * weight.size
        header[name] = {
            "dtype": "F32",
            "shape": list(weight.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for weight in tensors.values():
            file.write(np.ascontiguousarray(weight, dtype="<f4").tobytes())


def main() -> None:
    """Write the Hugging Face folder of a demo GGUF."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--huggingface", type=Path, required=True, metavar="DIR")
    parser.add_argument("--gguf", type=Path, default=SHIPPED, metavar="FILE")
    arguments = parser.parse_args()
    write_huggingface(read_gguf(arguments.gguf), arguments.huggingface)
    print(f"wrote {arguments.huggingface} from {arguments.gguf}")


if __name__ == "__main__":
    main()
