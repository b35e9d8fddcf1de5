"""How long one engine step takes, term by term."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from plimsoll.facts.speed import speed_constants
from plimsoll.facts.weight_formats import weight_format
from plimsoll.plan.deployment import Deployment, kernels_of
from plimsoll.plan.speed.hardware import Hardware, hardware
from plimsoll.plan.speed.stages import handing
from plimsoll.plan.speed.work import Batch, Work, work

_JOIN = 4  # reading and multiplying overlap: the longer of both, rounded where they are alike


@cache
def bits_of(name: str) -> float:
    """Bits per element of a number format, scales included. Raises InputError."""
    return weight_format(name).bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One engine step.

    seconds  from its start to the start of the next
    terms    the seconds by what they are spent on; they add up to `seconds`
    """

    seconds: float
    terms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """Seconds of a step in which every request gets one token.

    dense      matrices beside experts
    starts     kernels that wait for nothing but their own start, layer by layer
    engine     the engine's own turn
    experts    weights and operations of experts
    cache      keys, values and states
    exchange   bytes between devices
    sequences  what the engine does for each request
    """

    dense: float
    starts: float
    engine: float
    experts: float
    cache: float
    exchange: float
    sequences: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return (
            self.dense + self.starts + self.engine + self.experts + self.cache + self.exchange
            + self.sequences
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Seconds that prompt tokens add to a step.

    compute  what grows with the tokens: matrices, attention, exchange
    layers   what every step with prompt tokens pays
    starts   kernels' starts, paid where the step had no decoding requests
    """

    compute: float
    layers: float
    starts: float


def _joined(one: float, other: float) -> float:
    """The longer of two overlapping times, rounded where they are alike."""
    joined: float = (one**_JOIN + other**_JOIN) ** (1 / _JOIN)
    return joined


def _dense(asked: Work, reach: Hardware, constants: Mapping[str, float]) -> float:
    read = asked.dense_bytes / reach.product_rate
    return _joined(read, asked.dense_flops / reach.product_compute) * constants["products"]


def _experts(asked: Work, reach: Hardware, constants: Mapping[str, float]) -> float:
    read = asked.expert_bytes / reach.mixture_rate
    both = _joined(read, asked.expert_flops / reach.mixture_compute)
    return (both + asked.expert_traffic / reach.mixture_traffic) * constants["experts"]


def _starts(asked: Work, reach: Hardware, constants: Mapping[str, float]) -> float:
    kernels = asked.products * reach.product_start * constants["product_start"]
    kernels += asked.mixture_layers * reach.mixture_start * constants["expert_start"]
    kernels += (asked.attention_layers + asked.latent_layers) * reach.attention_start
    own = asked.latent_layers * constants["latent_layer"]
    own += asked.indexed_layers * constants["indexed_layer"]
    own += asked.recurrent_layers * constants["recurrent_layer"]
    return kernels + asked.layers * constants["layer"] + own


def _reductions(asked: Work, reach: Hardware, constants: Mapping[str, float]) -> float:
    return asked.reductions * reach.reduction_start * constants["reduction"]


def _wire(asked: Work, reach: Hardware, constants: Mapping[str, float]) -> float:
    # What engines gain over kernels measured alone was fitted over NVLink.
    gain: float = constants["wire"] ** reach.nvlink
    return (asked.exchanged + asked.routed) / reach.wire / gain


def decode_seconds(
    asked: Work, requests: float, reach: Hardware, constants: Mapping[str, float]
) -> Decode:
    """The parts of a step that only decodes `requests` requests of the replica."""
    multiplied = asked.decode_flops / reach.attention_compute * constants["latent"]
    read = asked.decode_bytes / reach.attention_rate
    return Decode(
        dense=_dense(asked, reach, constants),
        starts=_starts(asked, reach, constants) + _reductions(asked, reach, constants),
        engine=constants["step"] + 0 * requests,
        experts=_experts(asked, reach, constants),
        cache=(read + multiplied * (asked.latent_layers > 0)) * constants["attention"],
        exchange=_wire(asked, reach, constants) + asked.routings * constants["routing"],
        sequences=requests * constants["sequence"],
    )


def prompt_seconds(asked: Work, reach: Hardware, constants: Mapping[str, float]) -> Prompts:
    """What prompt tokens add to a step."""
    compute = _dense(asked, reach, constants) * constants["prompt_products"]
    compute += _experts(asked, reach, constants) * constants["prompt_experts"]
    compute += asked.prefill_flops / reach.prompt_compute * constants["prompt_attention"]
    return Prompts(
        compute=compute + _wire(asked, reach, constants),
        layers=asked.layers * constants["prompt_layer"] + _reductions(asked, reach, constants),
        starts=_starts(asked, reach, constants),
    )


def step(deployment: Deployment, batch: Batch) -> Step:
    """The time of one step of a replica that computes `batch`.

    Pipeline stages work one after the other on the same requests; their times add up, and those
    in which they hand activations over.
    """
    constants = speed_constants(kernels_of(deployment.engine))
    reach = hardware(deployment)
    terms: dict[str, float] = {}
    if batch.decodes:
        asked = work(deployment, Batch(decodes=batch.decodes, context=batch.context), bits_of)
        parts = decode_seconds(asked, batch.decodes, reach, constants)
        terms = {name: getattr(parts, name) for name in Decode.__dataclass_fields__}
    if batch.prefill:
        alone = Batch(prefill=batch.prefill, prefill_seen=batch.prefill_seen)
        added = prompt_seconds(work(deployment, alone, bits_of), reach, constants)
        terms["prompts"] = added.compute + added.layers
        if not batch.decodes:
            terms["starts"], terms["engine"] = added.starts, constants["step"]
    stages = deployment.split.pipeline
    if stages > 1:
        terms = {name: value * stages for name, value in terms.items()}
        terms["stages"] = (stages - 1) * handing(deployment, batch.tokens, reach)
    return Step(seconds=sum(terms.values()), terms=terms)
