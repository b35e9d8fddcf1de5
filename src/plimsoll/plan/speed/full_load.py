"""Seconds that a full replica needs to serve as many requests as it holds.

The formulas use only `+ - * / **`, so that a fit may put arrays of many configurations where a
plan has one number each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plimsoll.facts.network import Network
from plimsoll.facts.weight_formats import weight_format
from plimsoll.plan.deployment import Deployment
from plimsoll.plan.speed.work import Batch, Work, work
from plimsoll.plan.vram import largest_batch, room

_ALL_EXPERTS = 1e9  # tokens that surely touch every expert
_SOFT = 1e9  # bytes over which free memory fades to none


@dataclass(frozen=True, slots=True, kw_only=True)
class FullLoad:
    """What one configuration asks at full load, of one device, in bytes, operations and tokens.

    weights expert_weights  bytes of dense weights, and of all experts
    experts used            experts to choose from and of one token; 1 and 1 without experts
    dense_flops expert_flops head_flops  operations per token; of the head per output token
    cache cache_full        bytes read for a request half way, and at its end
    prompt_flops            operations of attention over one prompt
    exchanged reductions    bytes per token, and exchanges, for tensor parallelism
    routed routings handed  the same to experts' devices, each exchange times the devices it waits
                            for; bytes per token to the next stage
    traffic                 bytes per token of activations beside matrices, one pass of each layer
    expert_traffic          bytes per token of activations of experts
    free                    bytes for the cache
    held held_full          bytes of cache of a request half way, and at its end
    bandwidth link          bytes per second
    flops wide prompt_rate  operations per second: experts, dense matrices, attention
    layers mixture stages copies  layers and mixture layers of a stage; stages; attention copies
    prompt output           tokens
    slots                   requests at once over the whole replica, by its settings
    requests                that are served in all
    step_tokens             tokens of one step
    """

    weights: float
    expert_weights: float
    experts: float
    used: float
    dense_flops: float
    expert_flops: float
    head_flops: float
    cache: float
    cache_full: float
    prompt_flops: float
    exchanged: float
    reductions: float
    routed: float
    routings: float
    handed: float
    traffic: float
    expert_traffic: float
    free: float
    held: float
    held_full: float
    bandwidth: float
    link: float
    flops: float
    wide: float
    prompt_rate: float
    layers: float
    mixture: float
    stages: float
    copies: float
    prompt: float
    output: float
    slots: float
    requests: float
    step_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Fitted constants of one configuration.

    release overhead  factors of the engine's release: of throughput, and of fixed times
    weights cache     share of bandwidth reached
    experts wide matrix prompts  share of peak operations: of experts beside `matrix`, ...
    link routed handed  share of link rate
    reduction routing layer mixture step sequence  seconds each
    traffic expert_traffic  passes over activations
    imbalance         share of a step for which copies of attention wait, for each other copy
    bubble            share of a stage's time that is lost for each other stage
    reserve           bytes of cache that are not used
    grown             share of slots that are sized for requests at their end, not half way
    sharpness         exponent with which reading and multiplying overlap
    chunk             factor of the tokens of a step
    tail              share of a round that is lost at the end
    """

    release: float
    overhead: float
    weights: float
    cache: float
    matrix: float
    wide: float
    experts: float
    prompts: float
    link: float
    routed: float
    handed: float
    reduction: float
    routing: float
    layer: float
    mixture: float
    step: float
    sequence: float
    traffic: float
    expert_traffic: float
    imbalance: float
    bubble: float
    reserve: float
    grown: float
    sharpness: float
    chunk: float
    tail: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The time in which every request that a full replica holds is served once.

    batch              requests at once
    by_memory          what memory alone would hold
    seconds            of the round
    tokens_per_second  output tokens of the whole replica
    terms              seconds of one step by what they are spent on
    """

    batch: float
    by_memory: float
    seconds: float
    tokens_per_second: float
    terms: Mapping[str, float]


def full_load(deployment: Deployment, prompt: float, output: float, requests: float) -> FullLoad:
    """What a configuration asks at full load of `requests` requests in all."""
    network, split, device = deployment.network, deployment.split, deployment.device
    none = _work(deployment, Batch(decodes=float(split.data)), head=1e-9)
    every = _work(deployment, Batch(decodes=_ALL_EXPERTS), head=1e-9)
    half = _work(deployment, Batch(decodes=float(split.data), context=prompt + output / 2))
    full = _work(deployment, Batch(decodes=float(split.data), context=prompt + output))
    reading = _work(
        deployment, Batch(prefill=prompt * split.data, prefill_seen=prompt / 2), head=1e-9
    )
    experts, used = _experts(network)
    memory = room(deployment).cache
    wide = device.flops.get("bf16") or max(device.flops.values())
    matrix = device.flops.get(deployment.formats.compute) or wide
    copies = float(split.data)
    return FullLoad(
        weights=none.dense_bytes,
        expert_weights=every.expert_bytes,
        experts=experts,
        used=used,
        dense_flops=none.dense_flops,
        expert_flops=none.expert_flops / copies,
        head_flops=half.dense_flops - none.dense_flops,
        cache=half.decode_bytes,
        cache_full=full.decode_bytes,
        prompt_flops=reading.prefill_flops,
        exchanged=none.exchanged,
        reductions=none.reductions,
        routed=none.routed,
        routings=none.routings * copies,
        handed=none.handed,
        traffic=none.layers * network.hidden * 2.0,
        expert_traffic=none.expert_traffic / copies,
        free=float(memory),
        held=_held(deployment, memory, prompt + output / 2),
        held_full=_held(deployment, memory, prompt + output),
        bandwidth=device.bandwidth,
        link=device.link or 1.0,
        flops=matrix,
        wide=wide if weight_format(deployment.formats.weights).bits >= 16 else matrix,
        prompt_rate=wide,
        layers=none.layers,
        mixture=none.mixture_layers,
        stages=float(split.pipeline),
        copies=copies,
        prompt=float(prompt),
        output=float(output),
        slots=float(deployment.sequences),
        requests=float(requests),
        step_tokens=float(deployment.batch_tokens or 8192),
    )


def _work(deployment: Deployment, batch: Batch, head: float = 0.0) -> Work:
    return work(deployment, batch, _bits, head_tokens=head)


def _bits(name: str) -> float:
    return weight_format(name).bits


def _experts(network: Network) -> tuple[float, float]:
    for layer in network.layers:
        if layer.feed_forward.experts:
            return float(layer.feed_forward.experts), float(layer.feed_forward.experts_used)
    return 1.0, 1.0


def _held(deployment: Deployment, memory: float, tokens: float) -> float:
    """Bytes of cache of one request on one device."""
    batch = largest_batch(deployment, tokens)
    if memory <= 0 or batch <= 0:
        copies = deployment.split.data
        return max(
            1.0, _work(deployment, Batch(decodes=float(copies), context=tokens)).decode_bytes
        )
    return memory / batch * deployment.split.data


def _soft(one: float, other: float, power: float) -> float:
    """A smooth maximum of both; a smooth minimum where `power` is below 0."""
    total: float = (one**power + other**power) ** (1.0 / power)
    return total


def round_of(load: FullLoad, rates: Rates) -> Round:
    """One round at full load."""
    whole = load.prompt + load.output
    spare = load.free - rates.reserve
    spare = 0.5 * (spare + (spare * spare + _SOFT * _SOFT) ** 0.5)
    request = load.held + (load.held_full - load.held) * rates.grown
    by_memory = spare / request * load.copies
    slots = _soft(by_memory, load.slots, -4.0)
    batch = _soft(_soft(slots, load.requests, -4.0), 0.5, 4.0)
    lost = 1.0 + rates.tail * batch / load.requests
    stage = batch / load.stages  # requests of one stage's step
    # As many steps as a request has tokens, or more where prompts fill them.
    steps = _soft(load.output, stage / load.copies * whole / (load.step_tokens * rates.chunk), 4.0)
    tokens = stage * whole / steps
    decodes = stage / load.copies * load.output / steps
    terms = _terms(load, rates, tokens=tokens, decodes=decodes, prompts=stage / load.copies / steps)
    step = sum(terms.values())
    step = step * (1.0 + rates.imbalance * (load.copies - 1.0))
    cycle = load.stages * step * (1.0 + rates.bubble * (load.stages - 1.0) / load.stages)
    seconds = steps * cycle * lost / rates.release
    return Round(
        batch=batch,
        by_memory=by_memory,
        seconds=seconds,
        tokens_per_second=batch * load.output / seconds,
        terms=terms,
    )


def _terms(
    load: FullLoad, rates: Rates, *, tokens: float, decodes: float, prompts: float
) -> dict[str, float]:
    """Seconds of one step of one stage.

    tokens   of the step over all copies of attention
    decodes  requests that decode on one of them
    prompts  prompts that one of them completes
    """
    here = tokens / load.copies
    bandwidth = load.bandwidth * rates.weights
    touched = 1.0 - (1.0 - load.used / load.experts * 0.999999) ** tokens
    dense = _soft(
        load.weights / bandwidth,
        load.dense_flops * here / (load.wide * rates.wide),
        rates.sharpness,
    )
    experts = _soft(
        load.expert_weights * touched / bandwidth + 1e-12,
        load.expert_flops * tokens / (load.flops * rates.matrix * rates.experts) + 1e-12,
        rates.sharpness,
    )
    fixed = load.layers * rates.layer + load.mixture * rates.mixture + rates.step
    return {
        "weights": dense,
        "experts": experts,
        "head": load.head_flops * decodes / (load.prompt_rate * rates.prompts),
        "cache": load.cache * decodes / (load.bandwidth * rates.cache),
        "prompts": load.prompt_flops * prompts / (load.prompt_rate * rates.prompts),
        "exchange": load.exchanged * here / (load.link * rates.link)
        + load.reductions * rates.reduction,
        "routing": load.routed * here / (load.link * rates.routed) + load.routings * rates.routing,
        "stages": load.handed * here / (load.link * rates.handed),
        "activations": load.traffic * here * rates.traffic / load.bandwidth
        + load.expert_traffic * tokens * rates.expert_traffic / load.bandwidth,
        "overhead": rates.overhead * (fixed + rates.sequence * decodes),
    }
