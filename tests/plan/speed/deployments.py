"""Deployments that the tests of latency share."""

from __future__ import annotations

from hypothesis import strategies as st

from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.plan.deployment import Deployment, Formats, Split

BLOCK = Formats(weights="fp8_block", experts="fp8_block", compute="fp8")
FP8 = Formats(weights="fp8", experts="fp8", compute="fp8")


def made(
    model: str,
    accelerator: str,
    *,
    engine: str = "vllm",
    version: str = "",
    formats: Formats = Formats(),  # noqa: B008  # frozen
    tensor: int = 1,
    expert: int = 1,
    sequences: int = 512,
) -> Deployment:
    """One deployment by names."""
    return Deployment(
        network=network(model), device=device(accelerator), engine=engine, version=version,
        split=Split(tensor=tensor, expert=expert), formats=formats, context=32768,
        sequences=sequences,
    )  # fmt: skip


MEASURED = made("DeepSeek-R1", "H200", engine="sglang", version="0.5.9", formats=BLOCK, tensor=8)
RUNS = st.sampled_from(
    [
        MEASURED,
        made("Llama-3.1-8B", "H100"),
        made("Llama-3.1-8B", "L4", formats=FP8),
        made("Llama-3.3-70B", "H100", engine="trtllm", formats=FP8, tensor=4),
        made("Qwen3-30B-A3B", "A100-80GB-SXM", tensor=2, expert=2),
        made("gpt-oss-120b", "B200", formats=Formats(experts="mxfp4", compute="fp8")),
        made("MiniMaxAI/MiniMax-M2.5", "B200", formats=BLOCK, tensor=4),
        made("Qwen/Qwen3.5-397B-A17B", "H200", engine="sglang", formats=BLOCK, tensor=8),
        made("zai-org/GLM-5", "B200", engine="sglang", formats=BLOCK, tensor=8),
        made("gpt-oss-20b", "MI300X", formats=Formats(experts="mxfp4"), engine="lmdeploy"),
    ]
)
PROMPTS = st.floats(16, 16000)
OUTPUTS = st.floats(1, 8000)
CONCURRENCIES = st.floats(1, 600)
