"""How long requests wait: closed formulas of queues, seconds in and seconds out."""

from __future__ import annotations

import math


def normal_quantile(share: float) -> float:
    """Standard deviations above the mean that `share` of a normal variable stays under.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.23; error under 0.0005.
    """
    tail = min(share, 1.0 - share)
    t = math.sqrt(-2.0 * math.log(max(tail, 1e-12)))
    above = t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (
        1.0 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t**3
    )
    return above if share >= 0.5 else -above


def probability_of_waiting(servers: float, busy: float) -> float:
    """Chance that an arrival finds all of `servers` taken, `busy` being their share in use.

    The exponent is Sakasegawa's (1977) for queues with many servers.
    """
    if busy <= 0.0:
        return 0.0
    return float(min(1.0, busy) ** (math.sqrt(2.0 * (servers + 1.0)) - 1.0))


def slot_wait(servers: float, busy: float, service: float, variability: float) -> float:
    """Mean seconds in line for one of `servers` slots that each hold a request for `service` s.

    variability  mean of the squared coefficients of variation of arrivals and service
    Infinite when the servers cannot keep up.
    """
    if busy >= 1.0:
        return math.inf
    chance = probability_of_waiting(servers, busy)
    return variability * chance * service / (servers * (1.0 - busy))


def single_wait(rate: float, service: float, variability: float) -> float:
    """Mean seconds in line for a single server (Pollaczek and Khinchine).

    variability  as in `slot_wait`
    Infinite when the server cannot keep up.
    """
    busy = rate * service
    if busy >= 1.0:
        return math.inf
    return variability * busy * service / (1.0 - busy)


def wait_quantile(mean: float, chance: float, share: float) -> float:
    """Seconds of waiting that `share` of arrivals stay under.

    mean    mean seconds over all arrivals
    chance  share of arrivals that wait at all; their waits are exponential
    """
    if mean <= 0.0 or chance <= 0.0:
        return 0.0
    if math.isinf(mean):
        return math.inf
    return mean / chance * max(0.0, math.log(chance / (1.0 - share)))
