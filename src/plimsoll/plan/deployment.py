"""One way to run a model: device, engine, split, number formats and limits. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from plimsoll.facts.devices import Device
from plimsoll.facts.network import Network
from plimsoll.plan.split import Formats, Split

__all__ = ["Deployment", "Formats", "Split", "kernels_of"]

# Engines that run another one's kernels; `auto` and `custom` are reckoned as vLLM.
_KERNELS_OF = {
    "auto": "vllm", "custom": "vllm", "rayserve": "vllm", "ray": "vllm", "tgi": "vllm",
    "triton": "trtllm", "tensorrt-llm": "trtllm", "tensorrtllm": "trtllm",
}  # fmt: skip


def kernels_of(engine: str) -> str:
    """The engine whose kernels run in `engine`; itself where it has its own."""
    return _KERNELS_OF.get(engine, engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One way to run one replica.

    network       the model
    device        what each shard runs on
    engine        `vllm`, `sglang`, `trtllm`, ...
    version       of the engine; empty: the newest that is known
    split         over how many devices, and how
    formats       number formats
    context       tokens that one request may hold
    sequences     requests at once (max-num-seqs)
    batch_tokens  tokens of one engine step (max-num-batched-tokens); 0: the engine's default
    utilization   share of device memory that the engine may take (gpu-memory-utilization);
                  0: the engine's default
    graphs        whether decode steps are captured as CUDA graphs
    adapters      LoRA adapters held on the device
    adapter_rank  their largest rank
    draft         draft model for speculative decoding
    """

    network: Network
    device: Device
    engine: str = "vllm"
    version: str = ""
    split: Split = field(default_factory=Split)
    formats: Formats = field(default_factory=Formats)
    context: int
    sequences: int
    batch_tokens: int = 0
    utilization: float = 0.0
    graphs: bool = True
    adapters: int = 0
    adapter_rank: int = 0
    draft: Network | None = None
