"""The models and settings that are measured: different in shape, 100 to 400 MB each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plimsoll.plan.memory import Settings
from tests.models import write_tiny_gguf


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One model at one setting.

    name      as the table calls it
    model     arguments of write_tiny_gguf
    settings  what the replica is asked to do
    fill      tokens of each prompt, at most the context less the answer
    rounds    how often every slot gets another prompt
    """

    name: str
    model: dict[str, Any] = field(hash=False)
    settings: Settings
    fill: int
    rounds: int = 2

    def write(self, folder: Path) -> Path:
        """Write the model into a folder, and return its path."""
        return write_tiny_gguf(folder / f"{self.name.replace(' ', '-')}.gguf", **self.model)


def _settings(context: int, parallel: int, **more: Any) -> Settings:
    return Settings(context=context, parallel=parallel, batch=512, threads=1, **more)


CASES = (
    Case(
        name="grouped heads f16",
        model={
            "arch": "llama", "layers": 8, "hidden": 1024, "heads": 16, "kv_heads": 4,
            "ffn": 2816, "vocab": 32_000, "context": 8192, "tensor_type": "f16",
        },
        settings=_settings(1024, 4),
        fill=1000,
    ),
    Case(
        name="sliding window",
        model={
            "arch": "gemma3", "layers": 12, "hidden": 512, "heads": 8, "kv_heads": 4,
            "head_dim": 128, "ffn": 1536, "vocab": 48_000, "context": 8192,
            "sliding_window": 512, "tensor_type": "f16",
        },
        settings=_settings(2048, 2, checkpoints=3),
        fill=1200,
        rounds=3,
    ),
    Case(
        name="large vocabulary q8_0",
        model={
            "arch": "qwen2", "layers": 4, "hidden": 768, "heads": 12, "kv_heads": 2,
            "ffn": 2048, "vocab": 152_000, "context": 4096, "tensor_type": "q8_0",
        },
        settings=_settings(1024, 8),
        fill=520,
    ),
    Case(
        name="many slots long context",
        model={
            "arch": "llama", "layers": 6, "hidden": 512, "heads": 8, "kv_heads": 8,
            "ffn": 1536, "vocab": 40_000, "context": 16_384, "tensor_type": "f16",
        },
        settings=_settings(2048, 16),
        fill=520,
        rounds=1,
    ),
    Case(
        name="repacked q4_0 tied",
        model={
            "arch": "qwen3", "layers": 12, "hidden": 1024, "heads": 16, "kv_heads": 8,
            "head_dim": 128, "ffn": 3072, "vocab": 64_000, "context": 8192,
            "tensor_type": "q4_0", "tied": True,
        },
        settings=_settings(512, 2),
        fill=500,
    ),
    Case(
        name="prompt cache q8_0",
        model={
            "arch": "qwen3", "layers": 6, "hidden": 1024, "heads": 16, "kv_heads": 8,
            "ffn": 3072, "vocab": 32_000, "context": 8192, "tensor_type": "q8_0",
        },
        settings=_settings(1024, 2, prompt_cache=96 << 20),
        fill=700,
        rounds=6,
    ),
    Case(
        name="embedding",
        model={
            "arch": "qwen3", "layers": 6, "hidden": 768, "heads": 12, "kv_heads": 4,
            "ffn": 2304, "vocab": 64_000, "context": 4096, "tensor_type": "q8_0",
        },
        settings=_settings(512, 4, task="embedding"),
        fill=500,
        rounds=1,
    ),
)  # fmt: skip
