"""Prints the cost of every event, by how many wait, and what tenants get beside one that floods."""

from __future__ import annotations

import argparse
import gc
import json
import random
import timeit
from collections import Counter
from collections.abc import Callable
from time import process_time

from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.types import (
    Affinity,
    Do,
    Instructions,
    QueueLimits,
    Served,
    Ticket,
    Upstream,
)

_AFFINITIES: tuple[Affinity, ...] = ("none", "prefix", "session")
_MANY = QueueLimits(requests=10**6, bytes=10**12)


def machine(*, replicas: int, capacity: int, affinity: Affinity, limits: QueueLimits) -> Dispatcher:
    """One model with so many replicas."""
    made = Dispatcher(limits)
    made.offer([Served(name="m", task="chat", context=8192, affinity=affinity)], 0.0)
    upstreams = (
        Upstream(replica=f"m-{number}", host="h", port=number, capacity=capacity)
        for number in range(replicas)
    )
    made.replicas({"m": tuple(upstreams)}, 0.0)
    return made


def ticket(number: int, *, tenant: str = "", prompt: int = 100) -> Ticket:
    """A request."""
    return Ticket(
        None, "m", deadline=1e9, request_id=str(number), tenant=tenant, prompt=prompt, size=1000
    )


def idle(replicas: int, affinity: Affinity, count: int = 20_000) -> dict[str, float]:
    """Microseconds of a request that need not wait, its ticket left out, and of a chunk."""
    it = machine(replicas=replicas, capacity=8, affinity=affinity, limits=_MANY)

    def life() -> None:
        one = ticket(1)
        it.arrive(one, 0.0)
        it.began(one, 0.0)
        it.end(one, 0.0)

    def best(function: Callable[[], object]) -> float:
        taken = timeit.repeat(function, number=count, repeat=7, timer=process_time)
        return min(taken) / count * 1e6

    running = ticket(2)
    it.arrive(running, 0.0)
    return {
        "arrive, began, end": best(life) - best(lambda: ticket(1)),
        "chunk": best(lambda: it.chunk(running, 1)) - best(lambda: None),
    }


def waiting(count: int) -> dict[str, float]:
    """Microseconds of events while so many wait, of a tenth as many tenants."""
    limits = QueueLimits(requests=count, bytes=10**12)
    it = machine(replicas=1, capacity=1, affinity="none", limits=limits)
    chance = random.Random(1)
    first = ticket(0)
    it.arrive(first, 0.0)
    many = [ticket(n, tenant=str(chance.randrange(count // 10))) for n in range(count)]
    for one in many[count // 2 :]:
        one.tenant = "flood"
    new = [ticket(n, tenant=f"new-{n}") for n in range(count // 10)]
    cancelled = chance.sample(many, count // 4)
    took = {}
    for name, function, tickets in (
        ("arrive", it.arrive, many),
        ("arrive and displace", it.arrive, new),
        ("cancel", it.cancel, cancelled),
    ):
        since = process_time()
        for one in tickets:
            function(one, 0.0)
        took[name] = (process_time() - since) / len(tickets) * 1e6
    running, ends, since = [first], 0, process_time()
    while running:
        out = it.end(running.pop(), 0.0)
        running.extend(each.ticket for each in out if each.do is Do.START)
        ends += 1
    took["end and start the next"] = (process_time() - since) / ends * 1e6
    return took


def shares(ends: int = 4000) -> dict[str, dict[str, float]]:
    """Tokens by tenant, as charged, and the longest wait in ends of others' requests. `flood`
    keeps 1,000 requests waiting; `double` has twice the weight; `single` asks one at a time.
    """
    it = machine(replicas=4, capacity=8, affinity="none", limits=_MANY)
    chance = random.Random(2)
    keep = {"flood": 1000, "even": 50, "double": 50, "single": 1}
    weights = {"double": 2}
    open_: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    came: dict[Ticket, int] = {}
    running: list[Ticket] = []

    def started(out: Instructions, ended: int) -> None:
        for do, one, *_ in out:
            if do is Do.START:
                running.append(one)
                longest[one.tenant] = max(longest[one.tenant], ended - came.pop(one))

    for ended in range(ends):
        for tenant, count in keep.items():
            while open_[tenant] < count:
                one = ticket(ended, tenant=tenant, prompt=chance.randrange(20, 500))
                one.weight = weights.get(tenant, 1)
                open_[tenant] += 1
                came[one] = ended
                started(it.arrive(one, ended / 10), ended)
        one = running.pop(chance.randrange(len(running)))
        answer = chance.randrange(10, 400)
        it.began(one, ended / 10)
        it.chunk(one, answer)
        tokens[one.tenant] += one.prompt + 2 * answer
        open_[one.tenant] -= 1
        started(it.end(one, ended / 10), ended)
    return {name: {"tokens": tokens[name], "longest wait": longest[name]} for name in keep}


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    gc.disable()  # it would walk everything that waits, in the middle of an event
    found = {
        "idle": {
            f"{replicas} replicas, {affinity}": idle(replicas, affinity)
            for replicas in (2, 8, 64)
            for affinity in _AFFINITIES
        },
        "waiting": {f"{count} wait": waiting(count) for count in (1000, 10_000, 100_000)},
        "shares": shares(),
    }
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for title, rows in found.items():
        columns = list(next(iter(rows.values())))
        print(f"\n| {title} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
        for name, values in rows.items():
            print(f"| {name} | {' | '.join(f'{values[each]:,.2f}' for each in columns)} |")


if __name__ == "__main__":
    main()
