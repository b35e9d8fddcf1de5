"""What requests see while they arrive at a rate, and the highest rate that keeps objectives.

An open queue into one continuously batching replica, in closed form: as many requests are in
flight as arrive during the life of one (Little's law), and the life of one follows from the steps
at that concurrency. The least such concurrency is the answer, so that whatever makes a step
shorter never makes a request slower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from plimsoll.facts.load import load_constants
from plimsoll.plan.deployment import Deployment
from plimsoll.plan.speed.estimate import Estimate
from plimsoll.plan.speed.server import (
    HALVINGS,
    Server,
    concurrency_at,
    highest_rate,
    server_of,
    state_at,
    token_seconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One kind of seconds over all requests: on average, and what 90 and 99 of 100 stay under."""

    mean: Estimate
    p90: Estimate
    p99: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLatency:
    """What requests see at a rate.

    ttft         seconds to the first token
    tpot         seconds per output token after the first, on average
    end_to_end   seconds to the last token
    concurrency  requests in flight, on average
    utilization  share of the highest rate that the replica can keep up with
    stable       whether it keeps up; where not, all seconds grow without bound
    """

    ttft: Spread
    tpot: Estimate
    end_to_end: Spread
    concurrency: float
    utilization: float
    stable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """Seconds that `percentile` of 100 requests stay under; None where not asked for.

    tpot is of the mean over a request's tokens
    """

    ttft: float | None = None
    tpot: float | None = None
    end_to_end: float | None = None
    percentile: float = 95.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The highest rate at which objectives hold.

    requests_per_second  of one replica; 0 where one request alone misses them or does not fit
    limited_by           `ttft`, `tpot`, `end to end`, `kv cache`, `sequences` or `compute`
    concurrency          requests in flight at that rate
    """

    requests_per_second: float
    limited_by: str
    concurrency: float


def capacity(
    deployment: Deployment,
    prompt: float,
    output: float,
    objectives: Objectives,
    shared_prefix: float = 0.0,
    *,
    constants: Mapping[str, float] | None = None,
) -> Capacity:
    """The highest rate at which requests of `prompt` and `output` tokens keep objectives.

    shared_prefix  tokens of every prompt that are in the cache already
    constants      in place of the engine's, for a fit of them
    A tighter objective never yields more, nor does a slower device.
    """
    constants = constants or load_constants(deployment.engine)
    server = server_of(deployment, prompt, output, shared_prefix, constants)
    if server.slots < 1.0:
        return Capacity(requests_per_second=0.0, limited_by=server.slots_of, concurrency=0.0)
    low, high = 0.0, highest_rate(server)
    limit = _limit(server, high)
    reason = _missed(server, high * (1.0 - 1e-3), objectives)
    if reason is None:
        rate = high * (1.0 - 1e-3)
        state = state_at(server, rate)
        return Capacity(
            requests_per_second=rate,
            limited_by=limit,
            concurrency=state.concurrency if state else server.slots,
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        missed = _missed(server, middle, objectives)
        if missed:
            high, reason = middle, missed
        else:
            low = middle
    if low <= 0.0:
        return Capacity(requests_per_second=0.0, limited_by=reason, concurrency=0.0)
    state = state_at(server, low)
    return Capacity(
        requests_per_second=low,
        limited_by=reason,
        concurrency=state.concurrency if state else 0.0,
    )


def _limit(server: Server, rate: float) -> str:
    """What keeps a replica from more than `rate` requests per second."""
    held = concurrency_at(server, rate) or server.slots
    return server.slots_of if held >= 0.98 * server.slots else "compute"


def _missed(server: Server, rate: float, objectives: Objectives) -> str | None:
    """The objective that a rate misses; None where all hold."""
    state = state_at(server, rate)
    share = objectives.percentile / 100.0
    if state is None:
        return _limit(server, rate)
    if objectives.ttft is not None and state.ttft(share) > objectives.ttft:
        return "ttft"
    if objectives.tpot is not None and state.per_token(share) > objectives.tpot:
        return "tpot"
    whole = state.end_to_end(server.output, share)
    if objectives.end_to_end is not None and whole > objectives.end_to_end:
        return "end to end"
    return None


def under_load(
    deployment: Deployment,
    rate: float,
    prompt: float,
    output: float,
    shared_prefix: float = 0.0,
    *,
    constants: Mapping[str, float] | None = None,
) -> LoadedLatency:
    """What requests of `prompt` and `output` tokens see while `rate` of them arrive per second.

    shared_prefix  tokens of every prompt that are in the cache already
    constants      in place of the engine's, for a fit of them
    """
    constants = constants or load_constants(deployment.engine)
    server = server_of(deployment, prompt, output, shared_prefix, constants)
    highest = highest_rate(server)
    state = state_at(server, rate) if rate < highest else None
    spread = {name: math.exp(1.645 * constants[f"spread_{name}"]) for name in _METRICS}
    if state is None:
        never = Estimate(value=math.inf, low=math.inf, high=math.inf)
        return LoadedLatency(
            ttft=Spread(mean=never, p90=never, p99=never),
            tpot=_around(token_seconds(0.0, server.nodes[-1]), spread["tpot"]),
            end_to_end=Spread(mean=never, p90=never, p99=never),
            concurrency=server.slots,
            utilization=rate / highest if highest else math.inf,
            stable=False,
        )
    firsts = (state.ttft(), state.ttft(0.9), state.ttft(0.99))
    wholes = tuple(state.end_to_end(server.output, share) for share in (None, 0.9, 0.99))
    return LoadedLatency(
        ttft=_spread(firsts, spread["ttft"]),
        tpot=_around(state.tpot, spread["tpot"]),
        end_to_end=_spread((wholes[0], wholes[1], wholes[2]), spread["end_to_end"]),
        concurrency=state.concurrency,
        utilization=rate / highest,
        stable=True,
    )


_METRICS = ("ttft", "tpot", "end_to_end")


def _spread(values: tuple[float, float, float], factor: float) -> Spread:
    mean, p90, p99 = (_around(value, factor) for value in values)
    return Spread(mean=mean, p90=p90, p99=p99)


def _around(value: float, factor: float) -> Estimate:
    return Estimate(value=value, low=value / factor, high=value * factor)
