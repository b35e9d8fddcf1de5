"""What steps of one replica cost at every concurrency, worked out once for many questions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from plimsoll.facts.speed import speed_constants
from plimsoll.plan.deployment import Deployment, kernels_of
from plimsoll.plan.speed.hardware import Hardware, hardware
from plimsoll.plan.speed.stages import handing, idle
from plimsoll.plan.speed.step import bits_of, decode_seconds, prompt_seconds
from plimsoll.plan.speed.work import Batch, work

STEP_TOKENS = 8192.0  # tokens of one step where the deployment leaves them to the engine
_FEWEST = 64.0  # prompt tokens that a step has room for, however many requests decode
_RATIO = 2.5  # between the concurrencies that are worked out; between them lines are drawn


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """Steps at one concurrency; with pipeline stages, rounds of as many of them.

    concurrency  requests that decode
    decode       seconds of a step that only decodes
    mixed        seconds of a step that computes prompt tokens beside
    prompts      prompts that one mixed step of every stage completes: less than one where one
                 takes several
    most         prompts that a step has room for, likewise
    own          seconds of the mixed steps that one prompt needs, alone among its kind
    """

    concurrency: float
    decode: float
    mixed: float
    prompts: float
    most: float
    own: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Steps of one replica for requests of one size, by ascending concurrency."""

    points: tuple[Point, ...]

    def at(self, concurrency: float) -> Point:
        """Steps at any concurrency; past the last point those of the last."""
        points = self.points
        if concurrency <= points[0].concurrency:
            return points[0]
        if concurrency >= points[-1].concurrency:
            return points[-1]
        right = bisect_left(points, concurrency, key=_concurrency)
        low, high = points[right - 1], points[right]
        part = (concurrency - low.concurrency) / (high.concurrency - low.concurrency)
        return Point(
            concurrency=concurrency,
            decode=low.decode + part * (high.decode - low.decode),
            mixed=low.mixed + part * (high.mixed - low.mixed),
            prompts=low.prompts + part * (high.prompts - low.prompts),
            most=low.most + part * (high.most - low.most),
            own=low.own + part * (high.own - low.own),
        )


def _concurrency(point: Point) -> float:
    return point.concurrency


def pace(
    deployment: Deployment,
    prompt: float,
    output: float,
    shared_prefix: float,
    *,
    most: float,
    start: float,
) -> Pace:
    """The pace up to `most` requests at once, at concurrencies that do not depend on it.

    shared_prefix  tokens of every prompt that are in the cache already
    start          share that counts of what a step pays for prompts however short they are: `step`
                   is fitted where prompts begin together, and a graph captures a short one
    """
    fresh = max(1.0, prompt - shared_prefix)
    seen = shared_prefix + fresh / 2.0
    steps = _steps(deployment, prompt + output / 2.0)
    stages = deployment.split.pipeline
    points: list[Point] = []
    first, second = steps.decode(float(stages)), steps.decode(2.0 * stages)
    # One prompt token costs a step that much more than one more decoding request.
    saved = (1.0 - start) * max(0.0, first + steps.prompts(1.0, seen) - second)
    decode = mixed = own = 0.0
    n = 1.0
    while True:
        # Stages work on different requests at once, each on its part of those in flight.
        here = max(1.0, n / stages)
        budget = max(_FEWEST, (deployment.batch_tokens or STEP_TOKENS) - here)
        alone = min(fresh, budget)
        # Under load several prompts share a step.
        tokens = min(budget, max(alone, here * fresh / max(1.0, output)))
        decoding = first if n == stages else steps.decode(n)
        one = several = decoding + steps.prompts(alone, seen) - saved
        if tokens > alone:
            several = decoding + steps.prompts(tokens, seen) - saved
        # More requests in flight never make a step faster.
        decode = max(decode, decoding)
        mixed = max(mixed, several, decoding)
        own = max(own, max(one, decoding) * fresh / alone)
        points.append(
            Point(
                concurrency=n,
                decode=decode,
                mixed=mixed,
                prompts=stages * tokens / fresh,
                most=stages * budget / fresh,
                own=own,
            )
        )
        if n >= most:
            return Pace(points=tuple(points))
        n = n * _RATIO if n >= stages else float(stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """Steps of one deployment, as in `step`, worked out part by part.

    context  tokens in the cache of a decoding request
    """

    deployment: Deployment
    reach: Hardware
    constants: Mapping[str, float]
    context: float

    def decode(self, requests: float) -> float:
        """Seconds of a round that only decodes `requests` requests of the replica."""
        deployment, stages = self.deployment, self.deployment.split.pipeline
        group = max(1.0, requests / stages)
        asked = work(deployment, Batch(decodes=group, context=self.context), bits_of)
        seconds = decode_seconds(asked, group, self.reach, self.constants).seconds
        if stages == 1:
            return seconds
        return stages * seconds + idle(deployment, requests, seconds, self.reach, self.constants)

    def prompts(self, tokens: float, seen: float) -> float:
        """Seconds that `tokens` prompt tokens of every step add, `seen` before each on average."""
        deployment, stages = self.deployment, self.deployment.split.pipeline
        asked = work(deployment, Batch(prefill=tokens, prefill_seen=seen), bits_of)
        added = prompt_seconds(asked, self.reach, self.constants)
        seconds = added.compute + added.layers
        if stages == 1:
            return seconds
        moved = handing(deployment, tokens, self.reach) - self.reach.handing_start
        return stages * (seconds + moved)


def _steps(deployment: Deployment, context: float) -> _Steps:
    return _Steps(
        deployment=deployment,
        reach=hardware(deployment),
        constants=speed_constants(kernels_of(deployment.engine)),
        context=context,
    )
