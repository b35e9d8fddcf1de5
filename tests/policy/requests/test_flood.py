"""What a tenant notices of another that floods, in imagined time."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from itertools import count

import pytest

from plimsoll.policy.requests.types import Do, Instructions, Ticket
from tests.policy.requests.machine import Machine, upstream

_TOKEN = 0.02  # seconds
_FIRST = 0.1


def latencies(places: int, rate: float, *, flood: bool, seconds: float) -> list[float]:
    """Seconds from arrival to end of each request of a tenant that sends `rate` a second; beside
    another, where there is a flood, that always has 600 waiting.
    """
    m = Machine(requests=500, size=10**9)
    m.replicas(upstream(1, capacity=places))
    chance = random.Random(1)
    events: list[tuple[float, int, str, Ticket | None]] = []
    number = count()
    came: dict[Ticket, float] = {}
    took: list[float] = []

    def later(at: float, what: str, ticket: Ticket | None = None) -> None:
        heappush(events, (at, next(number), what, ticket))

    def start(out: Instructions) -> None:
        for each in out:
            if each.do is Do.START:
                later(m.now + _FIRST + _TOKEN * each.ticket.answer, "end", each.ticket)
            elif each.ticket.tenant == "light":
                raise AssertionError("who asks for little is refused")

    later(0.0, "light")
    for _ in range(600 if flood else 0):
        later(0.0, "flood")
    while events[0][0] < seconds:
        m.now, _, what, ended = heappop(events)
        if ended is not None:
            m.it.began(ended, m.now)
            m.it.chunk(ended, ended.answer)
            if ended.tenant == "light":
                took.append(m.now - came.pop(ended))
            else:
                later(m.now, "flood")
            start(m.it.end(ended, m.now))
            continue
        answer = chance.randrange(20, 200)
        ticket = Ticket(None, "m", deadline=1e9, tenant=what, prompt=100, answer=answer)
        if what == "light":
            came[ticket] = m.now
            later(m.now + chance.expovariate(rate), "light")
        start(m.it.arrive(ticket, m.now))
    return sorted(took)


@pytest.mark.parametrize(("places", "busy"), [(8, 0.5), (8, 0.8), (32, 0.8)])
def test_beside_a_flood_a_tenants_p99_is_that_of_being_alone_with_its_share(
    places: int, busy: float
) -> None:
    rate = busy * (places // 2) / (_FIRST + 110 * _TOKEN)
    alone = latencies(places // 2, rate, flood=False, seconds=1500.0)
    beside = latencies(places, rate, flood=True, seconds=1500.0)
    p99 = [each[int(len(each) * 0.99)] for each in (alone, beside)]
    assert len(beside) > 0.9 * len(alone)
    assert p99[1] <= 1.3 * p99[0]
