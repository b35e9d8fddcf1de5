"""What requests see when a fixed number of them is always in flight, part by part.

Each answered request is followed by the next one, as load generators do it; all of them start at
once. Arithmetic only, so that a fit can pass arrays where a planner passes numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from plimsoll.plan.speed.step import Decode, Prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """Requests in flight.

    concurrency  per replica that decodes, at least 1
    running      of those, the ones that memory has room for
    output       tokens of each
    chunks       steps over which a prompt is spread
    together     1 where the same replica computes prompts, 0 where others do
    pressing     requests in flight per replica that computes prompts, at least 1
    stages       of its pipeline, each with its part of the requests; times below are of one stage
    """

    concurrency: float
    running: float
    output: float
    chunks: float
    together: float
    pressing: float
    stages: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds per output token by what they grow with.

    base     what every step takes
    experts  of which more are read, the more requests decode
    cache    read for every token in it
    each     what every request adds
    stall    prompts of other requests
    """

    base: float
    experts: float
    cache: float
    each: float
    stall: float

    @property
    def seconds(self) -> float:
        """The sum of all parts."""
        return self.base + self.experts + self.cache + self.each + self.stall


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds to the first token by what they are spent on.

    request  the way in and out, and the step that runs when the request comes
    own      its own prompt
    burst    prompts of those that came at the same time
    queue    waiting for memory, or for the replicas that compute prompts
    """

    request: float
    own: float
    burst: float
    queue: float


def pace(decode: Decode, prompts: Prompts, flight: Flight) -> Pace:
    """The parts of the time per output token.

    During the life of a request, each of the others computes one prompt: its work is spread over
    the request's tokens. What every such step pays is paid once where several prompts share one.
    """
    others = (flight.concurrency - 1) * flight.running / flight.concurrency / flight.output
    others = others / flight.stages
    steps = 1 - math.e ** (-others * flight.chunks)
    return Pace(
        base=decode.dense + decode.starts + decode.engine,
        experts=decode.experts,
        cache=decode.cache,
        each=decode.exchange + decode.sequences,
        stall=flight.together * (others * prompts.compute + steps * prompts.layers),
    )


def start(
    decode: Decode, prompts: Prompts, flight: Flight, tpot: float, constants: Mapping[str, float]
) -> Start:
    """The parts of the time to the first token."""
    own = prompts.compute + prompts.layers * flight.chunks + prompts.starts
    shared, apart = flight.together, 1 - flight.together
    stay = flight.output * tpot
    waiting = flight.concurrency / flight.running - 1
    # Where prompts take longer than answers, requests queue for the replicas that compute them.
    late = flight.pressing * prompts.compute / flight.stages - stay
    late = (late + abs(late)) / 2
    burst = shared * constants["burst"] + apart * constants["burst_apart"]
    return Start(
        request=shared * (constants["request"] / flight.stages + constants["wait"] * decode.seconds)
        + apart * constants["request_apart"] / flight.stages,
        own=constants["own"] * own,
        burst=burst * (flight.pressing - 1) * prompts.compute / flight.stages,
        queue=shared * constants["memory_queue"] * waiting * stay
        + apart * constants["prompt_queue"] * late,
    )
