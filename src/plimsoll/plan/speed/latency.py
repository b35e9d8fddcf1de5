"""Time to the first token, time per output token and throughput at a steady concurrency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from plimsoll.facts.speed import fitted_engines, speed_constants
from plimsoll.plan.deployment import Deployment, kernels_of
from plimsoll.plan.speed.closed_loop import Flight, Pace, Start, pace, start
from plimsoll.plan.speed.effects import factors, levels, mode_of
from plimsoll.plan.speed.estimate import Estimate
from plimsoll.plan.speed.floor import Floor, decode_floor
from plimsoll.plan.speed.hardware import hardware
from plimsoll.plan.speed.intervals import fallen_back, interval, reasons
from plimsoll.plan.speed.stages import idle
from plimsoll.plan.speed.step import (
    Decode,
    bits_of,
    decode_seconds,
    prompt_seconds,
)
from plimsoll.plan.speed.work import Batch, Work, work
from plimsoll.plan.vram import largest_batch
from plimsoll.units import duration

__all__ = [
    "Floor",
    "Latency",
    "Workers",
    "decode_floor",
    "disaggregated",
    "latency",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Replicas of a deployment whose prompts are computed apart.

    prefills  replicas that compute prompts; 0 where not known
    decodes   replicas that decode; 0 where not known
    """

    prefills: int
    decodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What a client sees at a steady number of requests in flight.

    ttft        seconds to the first token
    tpot        seconds per output token after the first
    throughput  output tokens per second of all replicas that were asked about
    """

    ttft: Estimate
    tpot: Estimate
    throughput: Estimate


def decoding(deployment: Deployment, prompt: float, output: float, running: float) -> Work:
    """The work of a step in which `running` requests, half answered on average, decode."""
    return work(deployment, Batch(decodes=running, context=prompt + output / 2), bits_of)


def prompting(deployment: Deployment, prompt: float, cached: float) -> Work:
    """The work of one prompt of which `cached` tokens are in the cache already."""
    fresh = max(1.0, prompt - cached)
    batch = Batch(prefill=fresh, prefill_seen=prompt - fresh / 2)
    return work(deployment, batch, bits_of, head_tokens=1)


def flight_of(
    deployment: Deployment,
    prompt: float,
    output: float,
    concurrency: float,
    workers: Workers | None,
) -> Flight:
    """The requests in flight of one replica that decodes, of `concurrency` over all of them."""
    prefills, decodes = _replicas(deployment, workers, concurrency)
    each = max(1.0, concurrency / decodes)
    space = largest_batch(_measured_memory(deployment), prompt + output / 2)
    if deployment.sequences:
        space = min(space, float(deployment.sequences * deployment.split.data))
    budget = deployment.batch_tokens
    return Flight(
        concurrency=each,
        running=min(each, max(1.0, space)),
        output=max(1.0, output),
        chunks=max(1.0, prompt / budget) if budget else 1.0,
        together=0.0 if workers else 1.0,
        pressing=max(1.0, concurrency / prefills),
        stages=float(deployment.split.pipeline),
    )


def _replicas(
    deployment: Deployment, workers: Workers | None, concurrency: float
) -> tuple[float, float]:
    """Replicas that compute prompts, and that decode; as usual where it is not said.

    Attention that is cut over devices is usually decoded by several replicas; attention that is
    copied, by one large one. Replicas that compute prompts grow with the requests.
    """
    if workers is None:
        return 1.0, 1.0
    usual = speed_constants("")
    decodes = usual["usual_decodes"] if deployment.split.data == 1 else 1.0
    prefills = max(1.0, concurrency / usual["usual_pressing"])
    return workers.prefills or prefills, workers.decodes or decodes


def _measured_memory(deployment: Deployment) -> Deployment:
    """The deployment itself, or with vLLM's memory where that of its engine is not known."""
    engine = kernels_of(deployment.engine)
    if engine not in fitted_engines():
        engine = "vllm"
    return deployment if engine == deployment.engine else replace(deployment, engine=engine)


def latency(
    deployment: Deployment,
    prompt: float,
    output: float,
    concurrency: float,
    shared_prefix: float = 0,
) -> Latency:
    """What requests of `prompt` and `output` tokens see with `concurrency` of them in flight.

    shared_prefix  tokens of the prompt that are in the cache already
    """
    asked = _Asked(prompt=prompt, output=output, concurrency=concurrency, cached=shared_prefix)
    return _latency(deployment, deployment, None, asked)


def disaggregated(  # noqa: PLR0917  # as `latency`, with what it needs before
    prefill: Deployment,
    decode: Deployment,
    workers: Workers,
    prompt: float,
    output: float,
    concurrency: float,
    shared_prefix: float = 0,
) -> Latency:
    """The same where replicas of their own compute prompts and hand them to those that decode.

    concurrency  requests in flight over all replicas
    """
    asked = _Asked(prompt=prompt, output=output, concurrency=concurrency, cached=shared_prefix)
    return _latency(prefill, decode, workers, asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Requests that are asked about: tokens, how many in flight, tokens in the cache already."""

    prompt: float
    output: float
    concurrency: float
    cached: float


def _latency(
    prefill: Deployment, decode: Deployment, workers: Workers | None, requests: _Asked
) -> Latency:
    prompt, output, concurrency = requests.prompt, requests.output, requests.concurrency
    engine = kernels_of(decode.engine)
    constants = speed_constants(engine)
    flight = flight_of(decode, prompt, output, concurrency, workers)
    known = workers is not None and workers.decodes > 0
    mode = mode_of(decode, together=workers is None, workers=known)
    at = levels(decode, engine, mode, prompt, output)
    decoded = _decoded(decode, prompt, output, flight.running)
    asked = prompting(prefill, prompt, min(requests.cached, prompt))
    prompts = prompt_seconds(asked, hardware(prefill), constants)
    stages = decode.split.pipeline
    each_token = pace(decoded, prompts, flight)
    first_token = start(decoded, prompts, flight, each_token.seconds, constants)
    tpot_parts = _scaled(each_token, factors("tpot", at), stages)
    ttft_parts = _scaled(first_token, factors("ttft", at), stages)
    tpot, ttft = sum(tpot_parts.values()), sum(ttft_parts.values())
    asked_for = {"prompt": prompt, "output": output, "concurrency": flight.concurrency}
    why_not = reasons(decode, at, asked_for)
    unlike_any = len(why_not) - len(fallen_back(at))
    first = _estimate(ttft_parts, interval("ttft", at, mode, unlike_any), why_not)
    each = _estimate(tpot_parts, interval("tpot", at, mode, unlike_any), why_not)
    more = max(0.0, output - 1)
    return Latency(
        ttft=first,
        tpot=each,
        throughput=Estimate(
            value=concurrency * output / (ttft + more * tpot),
            low=concurrency * output / (first.high + more * each.high),
            high=concurrency * output / (first.low + more * each.low),
            extrapolates=why_not,
        ),
    )


def _decoded(deployment: Deployment, prompt: float, output: float, running: float) -> Decode:
    """The mean stage of a round in which each of `running` requests gets a token."""
    constants, reach = speed_constants(kernels_of(deployment.engine)), hardware(deployment)
    stages = deployment.split.pipeline
    group = max(1.0, running / stages)
    found = decode_seconds(decoding(deployment, prompt, output, group), group, reach, constants)
    if stages == 1:
        return found
    lost = idle(deployment, running, found.seconds, reach, constants) / stages
    return replace(found, exchange=found.exchange + lost)


def _scaled(parts: Pace | Start, by: Mapping[str, float], stages: int) -> dict[str, float]:
    """The parts times the factors of what was measured, over all pipeline stages."""
    whole = by.get("all", 1.0) * stages
    names = type(parts).__dataclass_fields__
    return {name: getattr(parts, name) * by.get(name, 1.0) * whole for name in names}


def _estimate(
    parts: Mapping[str, float], edges: tuple[float, float], why_not: tuple[str, ...]
) -> Estimate:
    value = sum(parts.values())
    low, high = edges
    return Estimate(
        value=value,
        low=value * math.exp(low),
        high=value * math.exp(high),
        why=_words(parts),
        extrapolates=why_not,
    )


def _words(parts: Mapping[str, float]) -> tuple[str, ...]:
    """The parts above a hundredth of the whole, largest first, for a reader."""
    least = sum(parts.values()) / 100
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    return tuple(f"{name} {_shown(value)}" for name, value in ordered if value > least)


def _shown(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.1 else duration(seconds)
