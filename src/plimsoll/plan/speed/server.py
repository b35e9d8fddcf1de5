"""One continuously batching replica as a server in a queue, in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from plimsoll.plan.deployment import Deployment
from plimsoll.plan.speed.pace import Pace, Point, pace
from plimsoll.plan.speed.queueing import (
    normal_quantile,
    probability_of_waiting,
    single_wait,
    slot_wait,
    wait_quantile,
)
from plimsoll.plan.vram import largest_batch

_RATIO = 1.7  # between concurrencies at which a crossing is looked for
HALVINGS = 18  # of the interval in which a rate lies: to a part in 10^5


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One replica serving requests of one size.

    pace      its steps
    slots     requests at once, as a fraction where memory is the bound
    slots_of  what bounds them: `sequences` or `kv cache`
    nodes     its steps at the concurrencies at which a crossing is looked for
    output    tokens of an answer
    overhead  seconds of a request outside of steps
    lag       steps that pass until the first token is out, beside those that compute it
    factor    of the seconds of steps
    arrivals  sum of the squared coefficients of variation of arrivals and service
    """

    pace: Pace
    slots: float
    slots_of: str
    nodes: tuple[Point, ...]
    output: float
    overhead: float
    lag: float
    factor: float
    arrivals: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A rate at which the replica keeps up.

    server rate at     the replica, requests per second, and its steps there
    concurrency        requests in flight, on average
    tpot               seconds per output token after the first
    first              seconds to the first token of a request that waits for nothing
    prompt_wait        mean seconds in line for room in a step
    prompt_chance      share of requests that stand in that line
    slot_wait          mean seconds in line for a slot
    slot_chance        share of requests that stand in that line
    tpot_deviation     standard deviation of `tpot` between requests
    """

    server: Server
    rate: float
    at: Point
    concurrency: float
    tpot: float
    first: float
    prompt_wait: float
    prompt_chance: float
    slot_wait: float
    slot_chance: float
    tpot_deviation: float

    def ttft(self, share: float | None = None) -> float:
        """Seconds to the first token: on average, or what `share` of requests stay under."""
        if share is None:
            return self.first + self.step_wait() + self.prompt_wait + self.slot_wait
        waits = wait_quantile(self.prompt_wait, self.prompt_chance, share)
        waits += wait_quantile(self.slot_wait, self.slot_chance, share)
        return self.first + self.step_wait(share) + waits

    def step_wait(self, share: float | None = None) -> float:
        """Seconds until a step begins that takes the request."""
        busy = min(1.0, self.concurrency)
        return busy * _step_wait(self.server, self.rate, self.at, share)

    def per_token(self, share: float | None = None) -> float:
        """Seconds per token of one request: on average, or what `share` of them stay under."""
        if share is None:
            return self.tpot
        return self.tpot + max(0.0, normal_quantile(share)) * self.tpot_deviation

    def end_to_end(self, output: float, share: float | None = None) -> float:
        """Seconds to the last of `output` tokens."""
        after = max(0.0, output - 1.0) * self.per_token(share)
        if share is None:
            return self.ttft() + after
        slots = wait_quantile(self.slot_wait, self.slot_chance, share)
        return self.first + self.step_wait() + self.prompt_wait + slots + after


def server_of(
    deployment: Deployment,
    prompt: float,
    output: float,
    shared_prefix: float,
    constants: Mapping[str, float],
) -> Server:
    """The replica of a deployment for requests of `prompt` and `output` tokens.

    shared_prefix  tokens of every prompt that are in the cache already
    constants      as in `facts.load`
    """
    by_memory = largest_batch(deployment, prompt + output / 2.0)
    by_settings = float(deployment.sequences) if deployment.sequences else by_memory
    slots = min(by_memory, by_settings)
    most = max(1.0, slots)
    steps = pace(
        deployment,
        prompt,
        output,
        min(shared_prefix, prompt),
        most=most,
        start=constants["prompt_start"],
    )
    return Server(
        pace=steps,
        slots=slots,
        slots_of="sequences" if by_settings <= by_memory else "kv cache",
        nodes=tuple(_nodes(steps, most)),
        output=max(1.0, output),
        overhead=constants["request"] + constants["prompt_token"] * prompt,
        lag=constants["lag"],
        factor=constants["steps"],
        arrivals=constants["arrivals"],
    )


def _nodes(steps: Pace, most: float) -> Iterator[Point]:
    """The steps at 1, ..., `most` requests."""
    n = 1.0
    while n < most:
        yield steps.at(n)
        n *= _RATIO
    yield steps.at(most)


def token_seconds(server: Server, rate: float, at: Point) -> float:
    """Seconds per token when prompts arrive at `rate`; infinite where prompts take every step."""
    share = rate * _extra(server, at)
    seconds = server.factor * at.decode / (1.0 - share) if share < 1.0 else math.inf
    return seconds if rate * seconds <= at.prompts else math.inf


def _extra(server: Server, at: Point) -> float:
    """Seconds that one prompt adds to the steps of those that decode."""
    return server.factor * (at.mixed - at.decode) / at.prompts


def _life(server: Server, rate: float, at: Point) -> float:
    """Seconds that a request is in flight, its wait for a slot not counted."""
    token = token_seconds(server, rate, at)
    if math.isinf(token):
        return token
    waits = single_wait(rate, _turn(server, at), 0.5) + _step_wait(server, rate, at)
    return _first(server, at, token) + waits + (server.output - 1.0) * token


def _turn(server: Server, at: Point) -> float:
    """Seconds that one prompt takes of the steps' room for prompts."""
    return server.factor * at.mixed / at.most


def _mixed_share(server: Server, rate: float, at: Point) -> float:
    """Share of time in steps that compute prompts."""
    return min(1.0, rate * server.factor * at.mixed / at.prompts)


def _step_wait(server: Server, rate: float, at: Point, share: float | None = None) -> float:
    """Seconds until the step ends in which a request arrives: mean, or what `share` stay under."""
    mixed, decode = server.factor * at.mixed, server.factor * at.decode
    part = _mixed_share(server, rate, at)
    if share is None:
        return (part * mixed + (1.0 - part) * decode) / 2.0
    left = 1.0 - share
    if part * (1.0 - decode / mixed) >= left:
        return mixed * (1.0 - left / part)
    return share / (part / mixed + (1.0 - part) / decode)


def _first(server: Server, at: Point, token: float) -> float:
    """Seconds to the first token where a step begins as the request arrives."""
    return server.overhead + server.factor * at.own + server.lag * token


def concurrency_at(server: Server, rate: float) -> float | None:
    """The least number of requests in flight that a rate leads to; None where it has no end."""
    low, before = 0.0, rate * _life(server, rate, server.nodes[0])
    for node in server.nodes:
        held = node.concurrency
        led = rate * _life(server, rate, node)
        if led <= held:
            if math.isinf(before):
                return held
            # Between the two points the line of what is led to crosses what is held.
            gap, over = before - low, held - led
            return low + (held - low) * gap / (gap + over) if gap + over > 0 else held
        low, before = held, led
    return None


def state_at(server: Server, rate: float) -> State | None:
    """What requests see at a rate; None where the replica does not keep up with it."""
    held = concurrency_at(server, rate)
    if held is None:
        return None
    at = server.pace.at(max(1.0, held))
    token = token_seconds(server, rate, at)
    if math.isinf(token):
        return None
    slots = max(1.0, server.slots)
    busy = held / slots
    life = _life(server, rate, at)
    waiting = slot_wait(slots, busy, life, server.arrivals / 2.0)
    if math.isinf(waiting):
        return None
    more = server.pace.at(max(1.0, held) * 1.1 + 1.0)
    slope = max(0.0, (_finite(token_seconds(server, rate, more), token) - token)) / max(
        1e-9, more.concurrency - at.concurrency
    )
    # Over a life as long as theirs, the mean number of others varies by 2/3 of a Poisson count.
    deviation = slope * math.sqrt(held * 2.0 / 3.0)
    turn = _turn(server, at)
    return State(
        server=server,
        rate=rate,
        at=at,
        concurrency=held,
        tpot=token,
        first=_first(server, at, token),
        prompt_wait=single_wait(rate, turn, 0.5),
        prompt_chance=min(1.0, rate * turn),
        slot_wait=waiting,
        slot_chance=probability_of_waiting(slots, busy),
        tpot_deviation=deviation,
    )


def _finite(value: float, other: float) -> float:
    return other if math.isinf(value) else value


def highest_rate(server: Server) -> float:
    """Requests per second above which the replica cannot keep up."""
    if server.slots < 1.0:
        return 0.0
    top = server.nodes[-1]
    return _bisect(0.0, top.concurrency / _life(server, 0.0, top), server)


def _bisect(low: float, high: float, server: Server) -> float:
    if concurrency_at(server, high) is not None:
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        if concurrency_at(server, middle) is None:
            high = middle
        else:
            low = middle
    return low
