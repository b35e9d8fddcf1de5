"""Random GGUF models of any small shape, with a tokenizer that works, for tests of loading.

They load and answer in llama.cpp; what they answer is noise. `write_tiny_gguf` streams its
tensors, so models of several hundred MB need little memory to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType
from gguf.constants import GGMLQuantizationType, LlamaFileType
from gguf.quants import quant_shape_to_byte_shape, quantize
from numpy.typing import NDArray

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3")
TENSOR_TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q5_0": (GGMLQuantizationType.Q5_0, LlamaFileType.MOSTLY_Q5_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of one model; all counts.

    head_dim  elements of one attention head
    window    sliding window of the local layers in tokens, or None
    tied      the output matrix is the embedding matrix
    """

    arch: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    window: int | None
    tied: bool


def byte_characters() -> list[str]:
    """The 256 characters by which byte-level BPE writes the 256 bytes, in byte order."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    characters, shift = [], 0
    for byte in range(256):
        if byte in printable:
            characters.append(chr(byte))
        else:
            characters.append(chr(256 + shift))
            shift += 1
    return characters


def write_tiny_gguf(
    path: Path | str,
    *,
    arch: str = "llama",
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    vocab: int = 512,
    context: int = 512,
    ffn: int = 128,
    head_dim: int | None = None,
    sliding_window: int | None = None,
    tensor_type: str = "f16",
    tied: bool | None = None,
    name: str = "tiny-random",
    seed: int = 0,
) -> Path:
    """Write a random model that llama.cpp loads, and return its path.

    Matrices are of `tensor_type` (one of TENSOR_TYPES), norms and biases F32. `vocab` is at
    least 320. `head_dim` defaults to hidden / heads. Gemma layers alternate between local and
    global attention when `sliding_window` is set (gemma2 every second, gemma3 every sixth
    layer is global). `tied` defaults to what the architecture usually does. Raises ValueError
    for shapes that cannot be.
    """
    shape = Shape(
        arch=arch,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim or hidden // heads,
        ffn=ffn,
        vocab=vocab,
        context=context,
        window=sliding_window or (context if arch.startswith("gemma") else None),
        tied=arch.startswith("gemma") if tied is None else tied,
    )
    _check(shape, tensor_type)
    kind, file_type = TENSOR_TYPES[tensor_type]
    writer = GGUFWriter(str(path), arch)
    writer.add_name(name)
    writer.add_file_type(file_type)
    _add_shape(writer, shape)
    _add_tokenizer(writer, shape)
    tensors = _tensors(shape)
    for tensor, dimensions in tensors:
        stored = kind if len(dimensions) == 2 else GGMLQuantizationType.F32
        dtype, size, raw = _stored(dimensions, stored)
        writer.add_tensor_info(tensor, dimensions, dtype, size, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(seed)
    for tensor, dimensions in tensors:
        writer.write_tensor_data(_random(random, tensor, dimensions, kind))
    writer.close()
    return Path(path)


def _check(shape: Shape, tensor_type: str) -> None:
    if shape.arch not in ARCHITECTURES:
        raise ValueError(f"arch {shape.arch!r} is none of {', '.join(ARCHITECTURES)}")
    if tensor_type not in TENSOR_TYPES:
        raise ValueError(f"tensor_type {tensor_type!r} is none of {', '.join(TENSOR_TYPES)}")
    if shape.heads % shape.kv_heads:
        raise ValueError("heads must be a multiple of kv_heads")
    if shape.vocab < 320:
        raise ValueError("vocab must be at least 320: 256 bytes, merges and control tokens")
    rows = {shape.hidden, shape.ffn, shape.heads * shape.head_dim}
    if tensor_type.startswith("q") and any(row % 32 for row in rows):
        raise ValueError("quantised rows (hidden, ffn, heads x head_dim) are multiples of 32")
    if shape.window is not None and not shape.arch.startswith("gemma"):
        raise ValueError(f"{shape.arch} has no sliding window here; use gemma2 or gemma3")


def _add_shape(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(shape.vocab)
    if shape.arch in {"llama", "qwen2", "qwen3"}:
        writer.add_rope_dimension_count(shape.head_dim)
    if shape.window is not None:
        writer.add_sliding_window(shape.window)
    if shape.arch == "gemma2":
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)


def _add_tokenizer(writer: GGUFWriter, shape: Shape) -> None:
    """Byte-level BPE: every byte, the pairs `space + letter`, fillers, three control tokens."""
    letters = byte_characters()
    space = letters[ord(" ")]
    merges = [f"{space} {chr(code)}" for code in range(ord("a"), ord("z") + 1)]
    tokens = letters + [merge.replace(" ", "") for merge in merges]
    tokens += [f"{space}w{number}" for number in range(shape.vocab - len(tokens) - len(SPECIAL))]
    kinds = [TokenType.NORMAL] * len(tokens) + [TokenType.CONTROL] * len(SPECIAL)
    tokens += SPECIAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _tensors(shape: Shape) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes (rows, columns) of all tensors, in file order."""
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (shape.vocab, shape.hidden)),
        ("output_norm.weight", (shape.hidden,)),
    ]
    if not shape.tied:
        tensors.append(("output.weight", (shape.vocab, shape.hidden)))
    for layer in range(shape.layers):
        tensors += [(f"blk.{layer}.{name}", size) for name, size in _layer(shape)]
    return tensors


def _layer(shape: Shape) -> list[tuple[str, tuple[int, ...]]]:
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("attn_norm.weight", (shape.hidden,)),
        ("attn_q.weight", (query, shape.hidden)),
        ("attn_k.weight", (key, shape.hidden)),
        ("attn_v.weight", (key, shape.hidden)),
        ("attn_output.weight", (shape.hidden, query)),
        ("ffn_norm.weight", (shape.hidden,)),
        ("ffn_gate.weight", (shape.ffn, shape.hidden)),
        ("ffn_up.weight", (shape.ffn, shape.hidden)),
        ("ffn_down.weight", (shape.hidden, shape.ffn)),
    ]
    if shape.arch == "qwen2":
        tensors += [("attn_q.bias", (query,)), ("attn_k.bias", (key,)), ("attn_v.bias", (key,))]
    if shape.arch in {"qwen3", "gemma3"}:
        tensors += [
            ("attn_q_norm.weight", (shape.head_dim,)),
            ("attn_k_norm.weight", (shape.head_dim,)),
        ]
    if shape.arch.startswith("gemma"):
        tensors += [
            ("post_attention_norm.weight", (shape.hidden,)),
            ("post_ffw_norm.weight", (shape.hidden,)),
        ]
    return tensors


def _stored(
    dimensions: tuple[int, ...], kind: GGMLQuantizationType
) -> tuple[np.dtype[np.generic], int, GGMLQuantizationType | None]:
    """The numpy type, the bytes and the raw type by which the writer knows a tensor.

    The shape given with it stays in elements, because the type is never uint8 here.
    """
    if kind is GGMLQuantizationType.F32:
        return np.dtype(np.float32), 4 * int(np.prod(dimensions)), None
    if kind is GGMLQuantizationType.F16:
        return np.dtype(np.float16), 2 * int(np.prod(dimensions)), None
    size = int(np.prod(quant_shape_to_byte_shape(dimensions, kind)))
    return np.dtype(np.float32), size, kind


def _random(
    random: np.random.Generator,
    tensor: str,
    dimensions: tuple[int, ...],
    kind: GGMLQuantizationType,
) -> NDArray[np.generic]:
    if len(dimensions) == 1:
        fill = 0.0 if tensor.endswith(".bias") else 1.0
        return np.full(dimensions, fill, dtype=np.float32)
    values = random.standard_normal(dimensions, dtype=np.float32)
    values *= np.float32(dimensions[1] ** -0.5)
    if kind is GGMLQuantizationType.F32:
        return values
    return quantize(values, kind)
