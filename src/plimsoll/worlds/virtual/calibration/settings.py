"""What a simulated engine needs of a real one's settings, as a benchmark recorded them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.facts.schedulers import scheduler
from plimsoll.facts.vram import default_batch_tokens
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.vram.room import blocks
from plimsoll.worlds.virtual.calibration.request_log import RequestLog
from plimsoll.worlds.virtual.engine.types import EngineLimits

_ENGINE = "vllm"
_BLOCK = 16
_NARROW = "fp8"
_CONTEXT = 32768  # tokens, where the run does not say: only the size of the KV cache hangs on it


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One measured server.

    limits      of each of its ranks
    ranks       engines behind it (data parallel)
    padding     sizes of batches to which graphs were captured
    deployment  what the planner knows it as; None: model or accelerator are not known
    notes       what was not written and is taken from elsewhere, for a reader
    """

    limits: EngineLimits
    ranks: int
    padding: tuple[int, ...]
    deployment: Deployment | None
    notes: tuple[str, ...]


def settings_of(log: RequestLog) -> Settings:
    """The settings of a log. Raises InputError for what is missing and cannot be taken as usual."""
    where = f"{log.name}_meta.json"
    asked = _Asked(log.meta, where)
    version = str(log.meta.get("vllm_version", ""))
    known = scheduler(_ENGINE, version)
    sequences = asked.count("max_num_seqs", "scheduler_config")
    if not sequences:
        raise InputError(
            "does not say how many requests may run at once",
            where=where,
            hint="write `engine_kwargs.max_num_seqs`, as the engine logs it when it starts",
        )
    notes: list[str] = []
    deployment = _deployment(log, asked, version, sequences, notes)
    tokens = asked.count("max_num_batched_tokens", "scheduler_config")
    if not tokens and deployment:
        found = deployment.device
        tokens = default_batch_tokens(_ENGINE, found.memory, found.generation)
        notes.append(f"max_num_batched_tokens is not written: {tokens}, as usual on such a device")
    if not tokens:
        raise InputError(
            "does not say how many tokens a step may have",
            where=where,
            hint="write `engine_kwargs.max_num_batched_tokens`",
        )
    ahead = asked.flag("async_scheduling", "scheduler_config", bool(known.steps_ahead))
    limits = EngineLimits(
        max_num_batched_tokens=max(tokens, sequences),
        max_num_seqs=sequences,
        kv_blocks=_blocks(asked, deployment, where, notes),
        block_size=asked.block_size,
        hash_tokens=asked.block_size,
        prefix_caching=asked.flag("enable_prefix_caching", "cache_config", True),
        steps_ahead=int(ahead),
        reserve_prompt=asked.flag(
            "scheduler_reserve_full_isl", "scheduler_config", known.reserve_prompt
        ),
    )
    _check(log, limits)
    captured = asked.resolved("compilation_config").get("cudagraph_capture_sizes")
    padding = tuple(sorted(captured)) if captured else known.graph_sizes.sizes(sequences)
    if asked.flag("enforce_eager", "model_config", False):
        padding = ()
    return Settings(
        limits=limits,
        ranks=max(1, asked.count("data_parallel_size", "parallel_config")),
        padding=padding,
        deployment=deployment,
        notes=tuple(notes),
    )


def _check(log: RequestLog, limits: EngineLimits) -> None:
    """Raises InputError for a request that such an engine could never have served."""
    longest = max(log.requests, key=lambda one: one.prompt + one.output)
    if not limits.fits(longest.prompt, longest.output):
        raise InputError(
            f"a request of {longest.prompt} and {longest.output} tokens does not fit"
            f" {limits.kv_blocks} blocks of {limits.block_size}",
            where=f"{log.name}_meta.json",
            hint="write `kv_cache.num_gpu_blocks`, as the engine logs it when it starts",
        )


class _Asked:
    """What the engine was told, and what it made of it, where the run wrote that too."""

    def __init__(self, meta: Mapping[str, Any], where: str) -> None:
        self._meta = meta
        self._where = where
        self.given = self._part("engine_kwargs")
        self.cache = self._part("kv_cache")

    def _part(self, name: str) -> Mapping[str, Any]:
        found = self._meta.get(name) or {}
        if not isinstance(found, dict):
            raise InputError(f"`{name}` is not an object", where=self._where)
        return found

    def resolved(self, part: str) -> Mapping[str, Any]:
        """One part of the resolved configuration; empty where it is not there."""
        found = self._part("resolved_config").get(part)
        return found if isinstance(found, dict) else {}

    def count(self, name: str, part: str) -> int:
        """A number as it was told, else as it was resolved; 0 where neither is written."""
        value = self.given.get(name) or self.resolved(part).get(name) or 0
        if not isinstance(value, int) or value < 0:
            raise InputError(f"`{name}` is not a number: {value!r}", where=self._where)
        return value

    def flag(self, name: str, part: str, otherwise: bool) -> bool:
        """A switch as it was resolved, else as it was told, else as usual."""
        for found in (self.resolved(part).get(name), self.cache.get(name), self.given.get(name)):
            if isinstance(found, bool):
                return found
        return otherwise

    def word(self, name: str, part: str) -> str:
        """A word as it was told, else as it was resolved; empty where neither is written."""
        return str(self.given.get(name) or self.resolved(part).get(name) or "")

    @property
    def block_size(self) -> int:
        """Tokens of a block."""
        found = self.cache.get("block_size") or self.resolved("cache_config").get("block_size")
        return int(found or _BLOCK)


def _deployment(
    log: RequestLog, asked: _Asked, version: str, sequences: int, notes: list[str]
) -> Deployment | None:
    model = str(log.meta.get("model") or asked.given.get("model") or "")
    hardware = log.meta.get("hardware")
    named = hardware.get("device_name") if isinstance(hardware, dict) else None
    accelerator = str(named or log.name.partition("_")[0])
    word = f"{model} {asked.word('quantization', 'model_config')}".lower()
    weights = _NARROW if _NARROW in word else "bf16"
    cache = _NARROW if _NARROW in asked.word("kv_cache_dtype", "cache_config") else "bf16"
    try:
        return Deployment(
            network=network(model),
            device=device(accelerator),
            engine=_ENGINE,
            version=version,
            split=Split(
                tensor=max(1, asked.count("tensor_parallel_size", "parallel_config")),
                pipeline=max(1, asked.count("pipeline_parallel_size", "parallel_config")),
            ),
            formats=Formats(weights=weights, experts=weights, compute=weights, cache=cache),
            context=asked.count("max_model_len", "model_config") or _CONTEXT,
            sequences=sequences,
            batch_tokens=asked.count("max_num_batched_tokens", "scheduler_config"),
        )
    except InputError as error:
        notes.append(f"fitted without physics: {error}")
        return None


def _blocks(asked: _Asked, deployment: Deployment | None, where: str, notes: list[str]) -> int:
    """Usable blocks: one of those that vLLM counts stays empty."""
    written = asked.cache.get("num_gpu_blocks")
    written = written or asked.resolved("cache_config").get("num_gpu_blocks")
    if isinstance(written, int) and written > 1:
        return written - 1
    if deployment is None:
        raise InputError(
            "does not say how large the KV cache is",
            where=where,
            hint="write `kv_cache.num_gpu_blocks`, as the engine logs it when it starts",
        )
    reckoned = max(1, blocks(deployment) - 1)
    notes.append(f"num_gpu_blocks is not written: {reckoned + 1}, as the planner reckons")
    return reckoned
