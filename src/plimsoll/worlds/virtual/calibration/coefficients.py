"""Step times of a simulated engine from what the planner knows of model, accelerator and split."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plimsoll.facts.load import load_constants
from plimsoll.facts.speed import speed_constants
from plimsoll.facts.step_factors import step_factors
from plimsoll.plan.deployment import Deployment, kernels_of
from plimsoll.plan.speed.hardware import hardware
from plimsoll.plan.speed.stages import handing
from plimsoll.plan.speed.step import Decode, Prompts, bits_of, decode_seconds, prompt_seconds
from plimsoll.plan.speed.work import Batch, work
from plimsoll.worlds.virtual.engine.types import StepTimes

# Reading weights and multiplying with them overlap, as in `plan.speed.step`.
_JOIN = 4
# Sizes of steps, tokens, at which `dense` of StepTimes is worked out; between them it is linear.
SIZES = (
    1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096,
    6144, 8192, 12288, 16384,
)  # fmt: skip
_MANY = 8192  # prompt tokens, of which multiplying is all
_ANSWERS = 512  # most that are written together, mostly: the largest batch with a graph
_CONTEXT = 2048.0  # tokens: where layers look back over a window, the context they are taken at

FACTORS = (
    "fixed", "read", "multiply", "exchange", "experts", "answer", "context", "attention", "mixed",
    "request",
)  # fmt: skip
"""The coefficients that a calibration may multiply."""


class Coefficients(msgspec.Struct, frozen=True, kw_only=True):
    """What steps of one engine are made of; seconds.

    fixed      of every step: kernels' starts, layer by layer, and the engine's own turn
    read       weights beside experts, read once in every step
    multiply   per token: operations of the same weights, which overlap with reading them
    exchange   per token: bytes between devices
    experts    (tokens, seconds): reading and multiplying experts, more of which more tokens meet
    answer     per running answer
    context    per token of the context of running answers: keys and values read
    attention  per prompt token and token before it
    mixed      of a step that reads prompts, besides
    request    from a request's arrival until the scheduler may see it, and back
    """

    fixed: float
    read: float
    multiply: float
    exchange: float = 0.0
    experts: tuple[tuple[int, float], ...] = ()
    answer: float = 0.0
    context: float = 0.0
    attention: float = 0.0
    mixed: float = 0.0
    request: float = 0.0

    def scaled(self, factors: Mapping[str, float]) -> Coefficients:
        """The same with each coefficient of `factors` multiplied by its factor."""
        changed: dict[str, object] = {}
        for name, factor in factors.items():
            if name == "experts":
                changed[name] = tuple((size, seconds * factor) for size, seconds in self.experts)
            else:
                changed[name] = getattr(self, name) * factor
        return msgspec.structs.replace(self, **changed)

    def dense(self, tokens: int, experts: float = 0.0) -> float:
        """Seconds of a step that grow with its number of tokens."""
        multiplied = self.multiply * tokens
        joined: float = (self.read**_JOIN + multiplied**_JOIN) ** (1 / _JOIN)
        return joined + self.exchange * tokens + experts

    def times(self, *, padding: tuple[int, ...] = ()) -> StepTimes:
        """What the engine takes; `padding`: sizes of batches to which graphs were captured."""
        experts = self.experts or tuple((size, 0.0) for size in SIZES)
        return StepTimes(
            fixed=self.fixed,
            attention=self.attention,
            answer=self.answer,
            context=self.context,
            dense=tuple((size, self.dense(size, seconds)) for size, seconds in experts),
            mixed=self.mixed,
            padding=padding,
            before=self.request,
        )


def coefficients_of(deployment: Deployment, *, context: float = _CONTEXT) -> Coefficients:
    """What steps of a deployment are made of, as fitted on engines under load.

    context  tokens in the cache of an answer, on average; only layers that look back over a window
             depend on it
    Raises InputError for a number format that is not known.
    """
    fitted = step_factors(kernels_of(deployment.engine))
    return physics(deployment, context=context).scaled(fitted.of(deployment.network.name))


def physics(deployment: Deployment, *, context: float = _CONTEXT) -> Coefficients:
    """The same as the planner's physics has it, before any fit. Raises likewise."""
    parts = _Parts(deployment)
    one, later = parts.decode(1.0, 0.0), parts.decode(1.0, context)
    start, end = parts.prompts(_MANY / 2, 0.0), parts.prompts(_MANY, 0.0)
    seen = parts.prompts(_MANY, context)
    exchange = parts.decode(_MANY, 0.0).exchange - parts.decode(_MANY / 2, 0.0).exchange
    many = (parts.decode(_MANY, 0.0).experts - parts.decode(_MANY / 2, 0.0).experts) * parts.share
    product = end.compute - start.compute - exchange - many
    experts: tuple[tuple[int, float], ...] = ()
    if one.experts:
        experts = tuple((size, parts.stages * parts.experts(size)) for size in SIZES)
    stages, handed = parts.stages, parts.handed
    return Coefficients(
        fixed=stages * (one.starts + one.engine) + (stages - 1) * handed[0],
        read=stages * one.dense,
        multiply=stages * max(0.0, product) / (_MANY / 2),
        exchange=stages * exchange / (_MANY / 2) + (stages - 1) * handed[1],
        experts=experts,
        answer=stages * (one.sequences + one.cache),
        context=stages * max(0.0, later.cache - one.cache) / context,
        attention=stages * max(0.0, seen.compute - end.compute) / (_MANY * context),
        # Exchanges are paid by every step already.
        mixed=stages * max(0.0, end.layers - (one.starts - end.starts)),
        request=load_constants(kernels_of(deployment.engine))["request"],
    )


class _Parts:
    """The planner's parts of a step of one deployment, for one stage of its pipeline."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._reach = hardware(deployment)
        self._constants = speed_constants(kernels_of(deployment.engine))
        self.stages = deployment.split.pipeline
        self.share = self._constants["prompt_experts"]

    def experts(self, tokens: int) -> float:
        """Seconds of experts; steps of more tokens than answers at once are mostly of prompts."""
        some = self.decode(min(tokens, _ANSWERS), 0.0).experts
        return max(some, self.decode(tokens, 0.0).experts * self.share)

    @property
    def handed(self) -> tuple[float, float]:
        """Seconds of handing activations to the next stage: of a step, and per token."""
        none = handing(self._deployment, 0.0, self._reach)
        return none, handing(self._deployment, 1.0, self._reach) - none

    def decode(self, requests: float, context: float) -> Decode:
        """A step that gives each of `requests` one token, `context` in the cache of each."""
        asked = work(self._deployment, Batch(decodes=requests, context=context), bits_of)
        return decode_seconds(asked, requests, self._reach, self._constants)

    def prompts(self, tokens: float, seen: float) -> Prompts:
        """What prompt tokens add to a step, `seen` before each on average."""
        asked = work(self._deployment, Batch(prefill=tokens, prefill_seen=seen), bits_of)
        return prompt_seconds(asked, self._reach, self._constants)
