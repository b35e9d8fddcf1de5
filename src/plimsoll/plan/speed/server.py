"""One continuously batching replica as a server in a queue, in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

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


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """Steps at one concurrency, as those in a queue see them; seconds.

    concurrency    requests that decode
    decode mixed   a step that only decodes, and one that computes prompts beside
    extra          that one prompt adds to the steps of those that decode
    prompts        prompts that one mixed step completes
    share          of time in mixed steps, for a rate of one request per second
    turn           that one prompt takes of the steps' room for prompts
    alone          to the first token, where a step begins as the request arrives, but for `lag`
    """

    concurrency: float
    decode: float
    mixed: float
    extra: float
    prompts: float
    share: float
    turn: float
    alone: float


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
    factor    of the seconds of steps, contained in those of `nodes`
    arrivals  sum of the squared coefficients of variation of arrivals and service
    """

    pace: Pace
    slots: float
    slots_of: str
    nodes: tuple[Node, ...]
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
    at: Node
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
        return busy * _step_wait(self.rate, self.at, share)

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
    overhead = constants["request"] + constants["prompt_token"] * prompt
    factor = constants["steps"]
    return Server(
        pace=steps,
        slots=slots,
        slots_of="sequences" if by_settings <= by_memory else "kv cache",
        nodes=tuple(_node(point, factor, overhead) for point in _points(steps, most)),
        output=max(1.0, output),
        overhead=overhead,
        lag=constants["lag"],
        factor=factor,
        arrivals=constants["arrivals"],
    )


def _points(steps: Pace, most: float) -> Iterator[Point]:
    """The steps at 1, ..., `most` requests."""
    n = 1.0
    while n < most:
        yield steps.at(n)
        n *= _RATIO
    yield steps.at(most)


def _node(point: Point, factor: float, overhead: float) -> Node:
    decode, mixed = factor * point.decode, factor * point.mixed
    return Node(
        concurrency=point.concurrency,
        decode=decode,
        mixed=mixed,
        extra=(mixed - decode) / point.prompts,
        prompts=point.prompts,
        share=mixed / point.prompts,
        turn=mixed / point.most,
        alone=overhead + factor * point.own,
    )


def node_at(server: Server, concurrency: float) -> Node:
    """The steps at any concurrency."""
    return _node(server.pace.at(concurrency), server.factor, server.overhead)


def token_seconds(rate: float, at: Node) -> float:
    """Seconds per token when prompts arrive at `rate`; infinite where prompts take every step."""
    left = 1.0 - rate * at.extra
    seconds = at.decode / left if left > 0.0 else math.inf
    return seconds if rate * seconds <= at.prompts else math.inf


def _life(server: Server, rate: float, at: Node) -> float:
    """Seconds that a request is in flight, its wait for a slot not counted."""
    token = token_seconds(rate, at)
    busy = rate * at.turn
    if busy >= 1.0:
        return math.inf
    # In line for room in a step, and until the step ends in which it arrives: as `single_wait` and
    # `_step_wait` have them, written out for the many times that they are asked.
    part = rate * at.share
    begun = at.decode + min(1.0, part) * (at.mixed - at.decode)
    waits = 0.5 * (busy * at.turn / (1.0 - busy) + begun)
    return at.alone + waits + (server.lag + server.output - 1.0) * token


def _step_wait(rate: float, at: Node, share: float | None = None) -> float:
    """Seconds until the step ends in which a request arrives: mean, or what `share` stay under."""
    part = min(1.0, rate * at.share)
    if share is None:
        return (part * at.mixed + (1.0 - part) * at.decode) / 2.0
    left = 1.0 - share
    if part * (1.0 - at.decode / at.mixed) >= left:
        return at.mixed * (1.0 - left / part)
    return share / (part / at.mixed + (1.0 - part) / at.decode)


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
    at = node_at(server, max(1.0, held))
    token = token_seconds(rate, at)
    if math.isinf(token):
        return None
    slots = max(1.0, server.slots)
    busy = held / slots
    life = _life(server, rate, at)
    waiting = slot_wait(slots, busy, life, server.arrivals / 2.0)
    if math.isinf(waiting):
        return None
    more = node_at(server, max(1.0, held) * 1.1 + 1.0)
    slope = max(0.0, (_finite(token_seconds(rate, more), token) - token)) / max(
        1e-9, more.concurrency - at.concurrency
    )
    # Over a life as long as theirs, the mean number of others varies by 2/3 of a Poisson count.
    deviation = slope * math.sqrt(held * 2.0 / 3.0)
    return State(
        server=server,
        rate=rate,
        at=at,
        concurrency=held,
        tpot=token,
        first=at.alone + server.lag * token,
        prompt_wait=single_wait(rate, at.turn, 0.5),
        prompt_chance=min(1.0, rate * at.turn),
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
