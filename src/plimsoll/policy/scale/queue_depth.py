"""How many replicas a model wants: the queue-depth rule. Pure; the caller hands in the time.

The number is absolute (it counts replicas that are still loading), so looking twice while
one loads never asks for two.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the fleet file allows.

    min            replicas kept without any demand; 0 stops an idle model
    max            replicas never exceeded
    target         requests, queued and running, that one replica should have
    cooldown       seconds without any request before the last replica is stopped
    stabilization  seconds for which fewer must have been enough before the number goes down
    """

    min: int
    max: int
    target: float
    cooldown: float
    stabilization: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LowWater:
    """Since when fewer replicas would do, and the most that were wanted since.

    since  seconds on the world's clock, or None while all are needed
    peak   replicas
    """

    since: float | None = None
    peak: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """The answer: a number of replicas, why, and what to remember."""

    replicas: int
    reason: str
    low: LowWater


def wanted_replicas(
    *,
    queued: int,
    in_flight: int,
    idle_since: float | None,
    live: int,
    bounds: Bounds,
    low: LowWater,
    now: float,
) -> Want:
    """Replicas wanted now.

    queued, in_flight  requests
    idle_since         when the last request arrived or ended, None if there was none
    live               replicas that are ready or loading
    """
    demand = queued + in_flight
    needed = min(max(ceil(demand / bounds.target), bounds.min), bounds.max)
    why = _demand_reason(demand, bounds, needed)
    if needed >= live:
        return Want(replicas=needed, reason=why, low=LowWater())
    since = now if low.since is None else low.since
    if demand == 0 and idle_since is not None:
        # A request may have come and gone between two looks.
        since = max(since, min(idle_since, now))
    peak = needed if low.since is None else max(low.peak, needed)
    allowed = _allowed(needed=needed, live=live, peak=peak, waited=now - since, bounds=bounds)
    if allowed == live:
        window = bounds.stabilization if live > max(peak, 1) else bounds.cooldown
        left = max(0.0, window - (now - since))
        why = f"{why}; {live} kept for another {left:.0f} s"
    elif allowed > needed and peak > needed:
        since, peak = now, needed  # the peak has been honoured: a new window begins
    low = LowWater() if allowed == needed else LowWater(since=since, peak=peak)
    return Want(replicas=min(allowed, bounds.max), reason=why, low=low)


def _allowed(*, needed: int, live: int, peak: int, waited: float, bounds: Bounds) -> int:
    """Replicas that must stay after fewer have been enough for `waited` seconds."""
    if needed == 0 and peak == 0 and waited >= bounds.cooldown:
        return 0
    if waited >= bounds.stabilization:
        return min(live, max(peak, needed, 1))
    return live


def _demand_reason(demand: int, bounds: Bounds, needed: int) -> str:
    if demand == 0:
        return "no requests" if bounds.min == 0 else f"no requests; min is {bounds.min}"
    requests = "1 request" if demand == 1 else f"{demand} requests"
    text = f"{requests} at {bounds.target:g} per replica"
    if needed == bounds.max and demand > bounds.target * bounds.max:
        return f"{text}; max is {bounds.max}"
    return text
