"""`python -m benchmarks.routing.cost [--json]`: what a routing decision costs, in microseconds.

Prompts of 64,000 tokens (125 blocks of 512) among 1,000 replicas, conversations that share a first
block and part anywhere; and all that a router does for a request of 1 KB at two replicas. Time of
this thread alone, so that others on the machine do not count.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from time import thread_time

from benchmarks.routing.score import quantile
from benchmarks.routing.trace import BLOCK
from plimsoll.policy.requests.types import Place, Served, Ticket, Upstream
from plimsoll.policy.routing.choice import router_for
from plimsoll.policy.routing.prefix import PrefixRouter
from plimsoll.policy.routing.prompt import blocks_of

DEPTH = 125


def places(number: int, capacity: int) -> list[Place]:
    return [
        Place(Upstream(replica=f"replica-{index}", host="", port=1, capacity=capacity))
        for index in range(number)
    ]


def many(replicas: int, requests: int) -> dict[str, float]:
    """Microseconds of `choose` and of `placed` where much is known and much is going on."""
    router = PrefixRouter(
        "model", ends=range(BLOCK, BLOCK * 4097, BLOCK), tokens=800_000, rate=20_000.0
    )
    router.replace(places(replicas, 64), 0.0)
    chance = random.Random(1)
    known = [[0, *range(number * 1000, number * 1000 + DEPTH - 1)] for number in range(1, 301)]
    fresh = 10**7
    choose: list[float] = []
    placed: list[float] = []
    live: list[tuple[float, float, Ticket]] = []
    now = 0.0
    for _ in range(requests):
        now += 0.01
        blocks = chance.choice(known)
        if chance.random() < 0.3:  # it parts from the conversation somewhere
            shared = chance.randrange(1, DEPTH)
            blocks = blocks[:shared] + list(range(fresh, fresh + DEPTH - shared))
            fresh += DEPTH
        ticket = Ticket(None, "model", deadline=1e9, prompt=BLOCK * DEPTH, blocks=blocks)
        start = thread_time()
        place = router.choose(ticket, now)
        middle = thread_time()
        assert place is not None
        ticket.place = place
        place.in_flight += 1
        again = thread_time()
        router.placed(ticket, now)
        placed.append((thread_time() - again) * 1e6)
        choose.append((middle - start) * 1e6)
        live.append((now + chance.expovariate(1 / 3), now + 6.0, ticket))
        for begins, _, each in live:
            if begins <= now and not each.began:
                each.began = True
                router.began(each, now)
        while live and live[0][1] <= now:
            ended = live.pop(0)[2]
            if not ended.began:
                router.began(ended, now)
            assert ended.place is not None
            ended.place.in_flight -= 1
            router.left(ended, now)
    choose, placed = sorted(choose[requests // 5 :]), sorted(placed[requests // 5 :])
    return {
        "choose_p50_us": quantile(choose, 0.5),
        "choose_p99_us": quantile(choose, 0.99),
        "placed_p50_us": quantile(placed, 0.5),
        "placed_p99_us": quantile(placed, 0.99),
    }


def small(affinity: str, requests: int = 20_000, repeats: int = 7) -> float:
    """Microseconds of choose, placed, began and left together, 1 KB prompts, two replicas."""
    served = Served(name="model", task="chat", context=8192, affinity=affinity)  # type: ignore[arg-type]
    router = router_for(served)
    router.replace(places(2, 64), 0.0)
    chance = random.Random(1)
    tickets = [
        Ticket(
            None, "model", deadline=1e9, request_id=str(number), prompt=250, session=str(number),
            blocks=blocks_of(chance.randbytes(1024)),
        )
        for number in range(64)
    ]  # fmt: skip
    best, now = float("inf"), 0.0
    for _ in range(repeats):
        start = thread_time()
        for number in range(requests):
            now += 0.0001
            ticket = tickets[number & 63]
            place = router.choose(ticket, now)
            assert place is not None
            ticket.place = place
            place.in_flight += 1
            router.placed(ticket, now)
            router.began(ticket, now)
            place.in_flight -= 1
            router.left(ticket, now)
        best = min(best, (thread_time() - start) / requests * 1e6)
    return best


def hashing(size: int, requests: int) -> float:
    """Microseconds of `blocks_of` for a prompt of so many bytes."""
    raw = random.Random(1).randbytes(size)
    best = float("inf")
    for _ in range(7):
        start = thread_time()
        for _ in range(requests):
            blocks_of(raw)
        best = min(best, (thread_time() - start) / requests * 1e6)
    return best


def main() -> int:
    """Measure and print; 1 when a decision takes longer than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.cost", description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {
        **many(1_000, 6_000),
        **{f"request_{name}_us": small(name) for name in ("prefix", "session", "none")},
        "blocks_1_kb_us": hashing(1024, 20_000),
        "blocks_256_kb_us": hashing(262_144, 500),
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:20} {value:8.2f}")
    return int(found["choose_p99_us"] > 200.0 or found["request_prefix_us"] > 5.0)


if __name__ == "__main__":
    sys.exit(main())
