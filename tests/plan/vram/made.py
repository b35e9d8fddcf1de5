"""Deployments for the tests of GPU memory: drawn at random, or of models that were measured."""

from dataclasses import replace

from hypothesis import strategies as st

from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.facts.network import FeedForward, Layer, Mixer, Network
from plimsoll.plan.deployment import Deployment, Formats, Split

ENGINES = ("vllm", "sglang", "trtllm")
MODELS = (
    "Llama-3.1-8B",
    "Llama-3.1-70B",
    "gpt-oss-20b",
    "google/gemma-3-27b-it",
    "deepseek-ai/DeepSeek-R1",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "Qwen3-30B-A3B",
)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks of one to three kinds of layers."""
    heads = draw(st.sampled_from((8, 16, 32, 64)))
    mixers = {
        "grouped": Mixer(
            kind="attention",
            heads=heads,
            kv_heads=draw(st.sampled_from((1, 2, 4, 8))),
            key_dim=128,
            value_dim=draw(st.sampled_from((64, 128))),
            window=draw(st.sampled_from((0, 512))),
        ),
        "latent": Mixer(
            kind="latent", heads=heads, kv_heads=1, key_dim=192, value_dim=128, q_rank=1536,
            kv_rank=512, rope_dim=64,
        ),
        "recurrent": Mixer(kind="recurrent", heads=heads, state=524_288, parameters=20_000_000),
    }  # fmt: skip
    wide = FeedForward(width=draw(st.sampled_from((4096, 14_336))))
    experts = FeedForward(experts=16, experts_used=2, expert_width=2048, shared_width=2048)
    kinds = draw(st.lists(st.sampled_from(sorted(mixers)), min_size=1, max_size=3, unique=True))
    return Network(
        name="made",
        architecture="Made",
        hidden=draw(st.sampled_from((1024, 4096, 8192))),
        vocab=draw(st.integers(1000, 200_000)),
        tied=draw(st.booleans()),
        context=131_072,
        layers=tuple(
            Layer(
                count=draw(st.integers(1, 40)),
                mixer=mixers[kind],
                feed_forward=draw(st.sampled_from((wide, experts))),
            )
            for kind in kinds
        ),
    )


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    """Ways to run a made or a known model on H100s, H200s or smaller devices."""
    return Deployment(
        network=draw(networks()) if draw(st.booleans()) else network(draw(st.sampled_from(MODELS))),
        device=device(draw(st.sampled_from(("H100", "H200", "L40S", "A100", "RTX-4090")))),
        engine=draw(st.sampled_from(ENGINES)),
        version=draw(st.sampled_from(("", "0.15.1"))),
        split=Split(
            tensor=draw(st.sampled_from((1, 2, 4, 8))),
            pipeline=draw(st.sampled_from((1, 1, 2))),
            data=draw(st.sampled_from((1, 1, 4))),
            expert=draw(st.sampled_from((1, 1, 4))),
        ),
        formats=Formats(
            weights=draw(st.sampled_from(("bf16", "fp8", "int4"))),
            experts=draw(st.sampled_from(("bf16", "fp8", "mxfp4"))),
            cache=draw(st.sampled_from(("bf16", "fp8"))),
        ),
        context=draw(st.integers(1, 200_000)),
        sequences=draw(st.integers(1, 2048)),
        batch_tokens=draw(st.sampled_from((0, 512, 8192))),
        utilization=draw(st.sampled_from((0.0, 0.8, 0.9))),
        graphs=draw(st.booleans()),
        adapters=draw(st.integers(0, 4)),
        adapter_rank=draw(st.sampled_from((0, 16))),
    )


def plain(model: str = "Llama-3.1-8B", accelerator: str = "H100", **changes: object) -> Deployment:
    """A deployment of a known model with a few settings changed."""
    found = Deployment(
        network=network(model), device=device(accelerator), context=8192, sequences=128
    )
    return replace(found, **changes)  # type: ignore[arg-type]
