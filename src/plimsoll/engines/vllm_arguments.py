"""Placement -> vLLM's engine arguments, which its server, Ray Serve and Triton share. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from plimsoll.engines.catalogue import CPU, platform, word
from plimsoll.engines.protocol import Setting
from plimsoll.errors import InputError
from plimsoll.facts.engines import EngineFacts
from plimsoll.plan.types import Placement

# A word, a number, a switch that is on, or a record that a command line takes as JSON.
Value = str | int | float | bool | Mapping[str, Any]


def engine_arguments(facts: EngineFacts, place: Placement, setting: Setting) -> Mapping[str, Value]:
    """The engine arguments by vLLM's own names, such as `max_model_len`, in a reader's order.

    facts  vLLM's row of the catalogue, whichever program runs it
    What vLLM decides best itself (prefix caching, chunked prefill, its queue's length, which the
    gateway keeps short) is not said. Raises InputError for what vLLM cannot do.
    Source: vllm/engine/arg_utils.py of 0.33.0.
    """
    return dict(
        (
            *_sizes(place),
            *_memory(facts, place),
            *_formats(facts, place),
            *_split(place),
            *_task(place),
            *_adapters(facts, place),
            *_speculation(facts, place, setting),
        )
    )


def _sizes(place: Placement) -> Iterator[tuple[str, Value]]:
    yield "max_model_len", place.context
    # Every rank of data parallelism has a scheduler of its own, which counts its own requests.
    requests = ceil(place.parallel / place.split.data)
    yield "max_num_seqs", requests
    if place.batch:
        # A step holds at least one token of each request; a whole prompt where prompts are not cut.
        whole = place.context if place.task == "embedding" else 0
        yield "max_num_batched_tokens", max(place.batch, requests, whole)


def _memory(facts: EngineFacts, place: Placement) -> Iterator[tuple[str, Value]]:
    on_processors = platform(place) == CPU
    if place.utilization and not on_processors:
        yield "gpu_memory_utilization", place.utilization
    cache = place.cache_bytes
    if on_processors and not cache:
        cache = sum(term.bytes for term in place.ledger.terms if term.name == "kv cache")
    if cache:
        yield "kv_cache_memory_bytes", cache
    kind = word(facts, "cache", place.kv_type, place)
    if kind:
        yield "kv_cache_dtype", kind


def _formats(facts: EngineFacts, place: Placement) -> Iterator[tuple[str, Value]]:
    if place.converted:
        made = word(facts, "weights", place.formats.weights, place)
        if made:
            yield "quantization", made
    dtype = activations(facts, place)
    if dtype:
        yield "dtype", dtype


def activations(facts: EngineFacts, place: Placement) -> str:
    """The engine's word for the element type of activations; empty: as the checkpoint says."""
    wide = facts.words.get("dtype", {})
    planned = (place.formats.weights, place.formats.compute)
    return next((wide[name] for name in planned if name in wide), "")


def _split(place: Placement) -> Iterator[tuple[str, Value]]:
    split = place.split
    if split.tensor > 1:
        yield "tensor_parallel_size", split.tensor
    if split.pipeline > 1:
        yield "pipeline_parallel_size", split.pipeline
    if split.data > 1:
        yield "data_parallel_size", split.data
    if split.expert > 1:
        yield "enable_expert_parallel", True


def _task(place: Placement) -> Iterator[tuple[str, Value]]:
    if place.task == "embedding":
        yield "runner", "pooling"
        yield "convert", "embed"


def _adapters(facts: EngineFacts, place: Placement) -> Iterator[tuple[str, Value]]:
    if place.adapters:
        yield "enable_lora", True
        yield "max_loras", len(place.adapters)
        yield "max_lora_rank", adapter_rank(facts, place)


def adapter_rank(facts: EngineFacts, place: Placement) -> int:
    """The least rank that may be asked for and holds every adapter. Raises InputError."""
    fitting = [rank for rank in facts.lora_ranks if rank >= place.adapter_rank]
    if facts.lora_ranks and not fitting:
        raise InputError(
            f"{facts.name} serves adapters of rank {max(facts.lora_ranks)} at most, "
            f"and one has rank {place.adapter_rank}",
            where=f"model {place.model}",
            hint="merge that adapter into the weights, or train it with a smaller rank",
            code="engine.adapter-rank",
        )
    return min(fitting, default=place.adapter_rank)


def _speculation(
    facts: EngineFacts, place: Placement, setting: Setting
) -> Iterator[tuple[str, Value]]:
    guess = place.speculation
    if guess is None:
        return
    config: dict[str, Any] = {"method": word(facts, "speculation", guess.method, place)}
    if setting.draft:
        config["model"] = setting.draft
    config["num_speculative_tokens"] = guess.tokens
    yield "speculative_config", config
