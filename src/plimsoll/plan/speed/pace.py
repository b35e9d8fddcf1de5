"""What steps of one replica cost at every concurrency, worked out once for many questions."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from plimsoll.plan.deployment import Deployment
from plimsoll.plan.speed.step import step
from plimsoll.plan.speed.work import Batch

STEP_TOKENS = 8192.0  # tokens of one step where the deployment leaves them to the engine
_FEWEST = 64.0  # prompt tokens that a step has room for, however many requests decode
_RATIO = 2.5  # between the concurrencies that are worked out; between them lines are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Steps at one concurrency.

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
    context = prompt + output / 2.0
    seen = shared_prefix + fresh / 2.0
    stages = deployment.split.pipeline
    points: list[Point] = []
    saved = (1.0 - start) * _start(deployment, seen, context)
    n = 1.0
    while True:
        # Stages work on different requests at once, each on its part of those in flight.
        here = max(1.0, n / stages)
        decoding = step(deployment, Batch(decodes=here, context=context)).seconds
        budget = max(_FEWEST, (deployment.batch_tokens or STEP_TOKENS) - here)
        alone = min(fresh, budget)
        # Under load several prompts share a step.
        tokens = min(budget, max(alone, here * fresh / max(1.0, output)))
        one, mixed = (
            step(
                deployment,
                Batch(prefill=some, prefill_seen=seen, decodes=here, context=context),
            ).seconds
            - saved
            for some in (alone, tokens)
        )
        before = points[-1] if points else None
        # More requests in flight never make a step faster.
        points.append(
            Point(
                concurrency=n,
                decode=max(decoding, before.decode if before else 0.0),
                mixed=max(mixed, decoding, before.mixed if before else 0.0),
                prompts=stages * tokens / fresh,
                most=stages * budget / fresh,
                own=max(max(one, decoding) * fresh / alone, before.own if before else 0.0),
            )
        )
        if n >= most:
            return Pace(points=tuple(points))
        n *= _RATIO


def _start(deployment: Deployment, seen: float, context: float) -> float:
    """Seconds that one prompt token costs a step more than one more decoding request."""
    prompt = Batch(prefill=1.0, prefill_seen=seen, decodes=1.0, context=context)
    more = step(deployment, Batch(decodes=2.0, context=context)).seconds
    return max(0.0, step(deployment, prompt).seconds - more)
