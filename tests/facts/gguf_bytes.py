"""Writes GGUF headers byte by byte, wrong ones too, without the library under comparison."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, value: object) -> bytes:
    if isinstance(value, bool):
        return text(key) + struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    assert isinstance(value, list)
    if value and isinstance(value[0], str):
        return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(v) for v in value)
    return (
        text(key) + struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
    )


def tensor(name: str, shape: Sequence[int], kind: int = 1, offset: int = 0) -> bytes:
    head = text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
    return head + struct.pack("<IQ", kind, offset)


def header(
    metadata: dict[str, object],
    tensors: Sequence[bytes] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    tensor_count: int | None = None,
    pair_count: int | None = None,
) -> bytes:
    counts = struct.pack(
        "<IQQ",
        version,
        len(tensors) if tensor_count is None else tensor_count,
        len(metadata) if pair_count is None else pair_count,
    )
    pairs = b"".join(pair(key, value) for key, value in metadata.items())
    return magic + counts + pairs + b"".join(tensors)


def metadata(arch: str = "llama", **more: object) -> dict[str, object]:
    """What a small model of an architecture says; `more` with `__` for dots."""
    own = {
        "block_count": 2,
        "embedding_length": 64,
        "feed_forward_length": 128,
        "context_length": 2048,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
    } | {key.replace("__", "."): value for key, value in more.items()}
    said: dict[str, object] = {"general.architecture": arch}
    said |= {f"{arch}.{key}": value for key, value in own.items() if value is not None}
    return said | {"tokenizer.ggml.tokens": ["a", "b", "c"]}


def model(arch: str = "llama", *, room: int = 4096, **more: object) -> bytes:
    """A whole small file: header, one tensor of 16 x 16 F16, and `room` bytes of data."""
    raw = header(metadata(arch, **more), [tensor("token_embd.weight", (16, 16))])
    return raw + bytes(-len(raw) % 32) + bytes(room)
