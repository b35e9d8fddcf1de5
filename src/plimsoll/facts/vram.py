"""What engines and drivers take of an accelerator's memory beside weights and KV cache."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerators
from plimsoll.facts.devices import Device
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.table import csv_rows


class EngineMemory(msgspec.Struct, frozen=True, kw_only=True):
    """How one engine, from one version on, divides a device.

    share_of             what `utilization` is a share of: `device`, all of it; `free`, what is
                         free before weights are loaded; `left`, what is free after everything
    utilization          the default share; 0 where the engine works it out from its reserve
    context_counted      whether the CUDA context comes out of the share
    graphs_counted       whether the engine sets memory for CUDA graphs aside before the cache
    block_tokens         tokens of one block of the cache
    latent_block_tokens  the same for compressed keys and values (MLA)
    grouped_cache        whether layers of several kinds share blocks of one size
    sampler_bytes        bytes per logit while the engine samples from a full batch
    compile_copies       whether compiling copies the largest table that a kernel reads
    rotation_bytes       bytes per element of the rotation table; 0 where there is none
    non_torch            bytes of kernels and libraries
    graph_bytes          bytes per layer and captured batch size
    spread               bytes that 90 % of predictions are off by at most
    reserve_fixed        bytes that stay free, with the next four; 0 where there is no reserve
    reserve_token        bytes per token of a step
    reserve_device       bytes per device of the replica
    reserve_sequence     bytes per captured sequence
    reserve_least        bytes at least, on devices of more than `reserve_least_above` bytes
    captured_sequences   sequences for which graphs are captured at most
    """

    share_of: Literal["device", "free", "left"]
    utilization: float
    context_counted: bool
    graphs_counted: bool = False
    block_tokens: int
    latent_block_tokens: int
    grouped_cache: bool = False
    sampler_bytes: int
    compile_copies: bool = False
    rotation_bytes: int = 0
    non_torch: int
    graph_bytes: int
    spread: int
    reserve_fixed: int = 0
    reserve_token: int = 0
    reserve_device: int = 0
    reserve_sequence: int = 0
    reserve_least: int = 0
    reserve_least_above: int = 0
    captured_sequences: int = 512


class DeviceMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for every engine; `vram_devices.csv` says where from.

    driver_held           bytes of a whole device that programs cannot take, where not known of it
    context               bytes of one process's CUDA context
    exchange              bytes of buffers between devices, where there is more than one
    allocation_large      bytes from which a tensor has memory of its own
    allocation_step       bytes that such memory is a multiple of
    allocation_spare      bytes at its end that are not split off
    few_requests          requests under which a replica is starved
    starved_share         cache over weights, under which it is starved too, if it holds
    starved_requests      fewer requests than these
    vocab_multiple        tokens that engines round a vocabulary up to
    expert_chunk          tokens that experts take at a time
    row_scale             bytes of a row's scale, in formats of exactly 8 bits
    index_scale           bytes of a token's scale in an indexer's cache
    highest_share         the largest share of a device that engines are usually given
    """

    driver_held: int
    context: int
    exchange: int
    allocation_large: int
    allocation_step: int
    allocation_spare: int
    few_requests: int
    starved_share: float
    starved_requests: int
    vocab_multiple: int
    expert_chunk: int
    row_scale: int
    index_scale: int
    highest_share: float


class _EngineRow(msgspec.Struct, frozen=True, kw_only=True):
    engine: str
    since: str
    name: str
    value: str
    unit: str
    source: str
    date: dt.date


class _DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: float
    unit: str
    source: str
    date: dt.date


class _BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    engine: str
    from_memory: int
    not_generation: str
    tokens: int
    source: str
    date: dt.date


class _WorkspaceRow(msgspec.Struct, frozen=True, kw_only=True):
    generation: str
    bytes: int
    source: str
    date: dt.date


class _KeptRow(msgspec.Struct, frozen=True, kw_only=True):
    architecture: str
    part: str
    source: str
    date: dt.date


@cache
def engine_memory(engine: str, version: str = "") -> EngineMemory:
    """How an engine divides a device; an empty version is the newest that is known.

    Raises InputError for an engine of which nothing is known.
    """
    rows = _engine_rows()
    name = _known_as(engine)
    if name not in rows:
        raise InputError(
            f"no facts about the device memory of an engine `{engine}`",
            hint=nearest_hint(engine, rows),
            code="facts.unknown-engine-memory",
        )
    wanted = _release(version)
    values: dict[str, Any] = {
        row.name: row.value for row in rows[name] if not wanted or _release(row.since) <= wanted
    }
    return msgspec.convert(values, type=EngineMemory, strict=False)


@cache
def device_memory() -> DeviceMemory:
    """What is the same for every engine."""
    rows = csv_rows("vram_devices.csv", _DeviceRow)
    return msgspec.convert({row.name: row.value for row in rows}, type=DeviceMemory, strict=False)


@cache
def kept_parts(architecture: str) -> frozenset[str]:
    """Parts that published quantized checkpoints of an architecture leave at 16 bits."""
    return frozenset(row.part for row in _kept_rows() if row.architecture == architecture)


@cache
def workspace_bytes(generation: str) -> int:
    """Bytes of cuBLAS's workspace; of a generation that is not known, the most of any."""
    rows = {row.generation: row.bytes for row in csv_rows("vram_workspaces.csv", _WorkspaceRow)}
    return rows.get(generation, max(rows.values()))


def driver_held(device: Device) -> int:
    """Bytes of a device that the driver shows and programs cannot take.

    Of an instance, its share of them.
    """
    known = accelerators().get(device.accelerator)
    if known is None:
        held = device_memory().driver_held
        return min(held, device.memory)
    held = (
        device_memory().driver_held if known.cuda_total is None else known.usable - known.cuda_total
    )
    if device.profile:
        return held * device.memory // known.usable
    return min(held, device.memory)


@cache
def default_batch_tokens(engine: str, memory: int, generation: str) -> int:
    """Tokens of one step where nothing is said, on a device of `memory` bytes."""
    name = _known_as(engine)
    return max(
        row.tokens
        for row in _batch_rows()
        if row.engine == name
        and row.from_memory <= memory
        and (not row.not_generation or row.not_generation != generation)
    )


@cache
def _known_as(engine: str) -> str:
    """The engine whose rows hold for another one too, or itself."""
    for row in _engine_rows().get(engine.lower(), ()):
        if row.name == "same_as":
            return row.value
    return engine.lower()


def _release(version: str) -> tuple[int, ...]:
    """`0.15.1` as (0, 15, 1); what is not a number ends it."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


@cache
def _engine_rows() -> Mapping[str, tuple[_EngineRow, ...]]:
    """The rows of each engine, oldest first, so that later ones win."""
    rows = sorted(csv_rows("vram_engines.csv", _EngineRow), key=lambda row: _release(row.since))
    return {
        engine: tuple(row for row in rows if row.engine == engine)
        for engine in dict.fromkeys(row.engine for row in rows)
    }


@cache
def _batch_rows() -> tuple[_BatchRow, ...]:
    return csv_rows("vram_batch_tokens.csv", _BatchRow)


@cache
def _kept_rows() -> tuple[_KeptRow, ...]:
    return csv_rows("vram_kept.csv", _KeptRow)
