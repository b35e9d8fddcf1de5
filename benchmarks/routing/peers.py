"""Rules that others route by, written anew from their descriptions, on blocks of the trace.

Each is told what it would know in its own router: what it sent where, and what of it has begun
and ended. Where they walk characters or hash blocks of their own size, the trace's blocks stand
for both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import pstdev

from benchmarks.routing.trace import BLOCK
from plimsoll.policy.requests.types import Place, Served, Ticket
from plimsoll.policy.routing.protocol import Explanation, Router


class Rule:
    """What all of them need: the places, and the prompts that were sent to each.

    size  blocks remembered for each place, least recently used first out
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.places: list[Place] = []
        self.sent: dict[Place, OrderedDict[int, None]] = {}
        self.holders: dict[int, set[Place]] = {}

    def pick(self, ticket: Ticket, ready: Sequence[Place], now: float) -> Place:
        """Which of those with room."""
        raise NotImplementedError

    def choose(self, ticket: Ticket, now: float) -> Place | None:
        """See Router.choose."""
        ready = [place for place in self.places if place.in_flight < place.limit]
        return self.pick(ticket, ready, now) if ready else None

    def room(self) -> bool:
        """See Router.room."""
        return any(place.in_flight < place.limit for place in self.places)

    def placed(self, ticket: Ticket, now: float) -> None:
        """See Router.placed."""
        place = ticket.place
        assert place is not None
        sent, holders = self.sent[place], self.holders
        for block in reversed(ticket.blocks):
            if block in sent:
                sent.move_to_end(block)
            else:
                sent[block] = None
                holders.setdefault(block, set()).add(place)
        while len(sent) > self.size:
            block, _ = sent.popitem(last=False)
            holders[block].discard(place)
            if not holders[block]:
                del holders[block]

    def began(self, ticket: Ticket, now: float) -> None:
        """See Router.began."""

    def left(self, ticket: Ticket, now: float) -> None:
        """See Router.left."""

    def replace(self, places: Sequence[Place], now: float) -> None:
        """See Router.replace."""
        self.places = list(places)
        self.sent = {place: OrderedDict() for place in places}

    def changed(self, place: Place) -> None:
        """See Router.changed."""

    def explain(self, request_id: str | bytes) -> Explanation | None:
        """See Router.explain."""
        return None

    def matches(self, blocks: Sequence[int]) -> dict[Place, int]:
        """How many blocks of a prompt were sent before, by place; those with none are left out."""
        found: dict[Place, int] = {}
        alive: set[Place] | None = None
        for depth, block in enumerate(blocks):
            has = self.holders.get(block, set())
            still = set(has) if alive is None else alive & has
            for place in (alive or set()) - still:
                found[place] = depth
            alive = still
            if not alive:
                break
        for place in alive or ():
            found[place] = len(blocks)
        return found


class RoundRobin(Rule):
    """The next one."""

    def __init__(self) -> None:
        super().__init__(0)
        self._turn = 0

    def pick(self, ticket: Ticket, ready: Sequence[Place], now: float) -> Place:
        """See Rule."""
        self._turn += 1
        return ready[self._turn % len(ready)]

    def placed(self, ticket: Ticket, now: float) -> None:
        """It remembers nothing."""


class CacheAware(Rule):
    """SGLang's router (sgl-router, `cache_aware`): the worker that was sent the longest match, if
    that is more than a share of the prompt, else the one with the smallest tree; the shortest
    queue while the queues are far apart.

    threshold  share of the prompt that must match
    apart      requests between the longest queue and the shortest, and
    times      how many times longer, before only the queues count
    """

    def __init__(self, size: int, *, threshold: float, apart: int, times: float) -> None:
        super().__init__(size)
        self._threshold = threshold
        self._apart = apart
        self._times = times

    def pick(self, ticket: Ticket, ready: Sequence[Place], now: float) -> Place:
        """See Rule."""
        most = max(place.in_flight for place in ready)
        least = min(place.in_flight for place in ready)
        if most - least > self._apart and most > self._times * least:
            return min(ready, key=lambda place: place.in_flight)
        found = self.matches(ticket.blocks)
        best = max(ready, key=lambda place: found.get(place, 0))
        if found.get(best, 0) > self._threshold * len(ticket.blocks):
            return best
        return min(ready, key=lambda place: len(self.sent[place]))


class PrefixCache(Rule):
    """AIBrix's gateway (`prefix-cache`): the best match, the least busy of those alike, that does
    not run many more requests than the average; the least busy of all where there is no match,
    or while some run many more than others.

    apart       requests between the busiest and the least busy before only these count
    deviations  standard deviations above the average that a match may run
    """

    def __init__(self, size: int, *, apart: int, deviations: float) -> None:
        super().__init__(size)
        self._apart = apart
        self._deviations = deviations

    def pick(self, ticket: Ticket, ready: Sequence[Place], now: float) -> Place:
        """See Rule."""
        running = [place.in_flight for place in ready]
        if max(running) - min(running) <= self._apart:
            found = self.matches(ticket.blocks)
            limit = sum(running) / len(running) + self._deviations * pstdev(running)
            allowed = [each for each in ready if each in found and each.in_flight <= limit]
            if allowed:
                return min(allowed, key=lambda each: (-found[each], each.in_flight))
        return min(ready, key=lambda place: place.in_flight)


class StickyUntilSaturated(Rule):
    """llm-d's router (`prefix-cache-affinity-filter` and `token-load-scorer`): among those that
    hold most of the prompt, and those that have much less to read than the best of them, the one
    with the least to read, this prompt included; among all where nobody holds that much.

    affinity  share of the prompt that must be held
    seconds   by which the wait may be longer there, at its peak rate
    rate      the peak: prompt tokens per second
    """

    def __init__(self, size: int, *, affinity: float, seconds: float, rate: float) -> None:
        super().__init__(size)
        self._affinity = affinity
        self._gap = seconds * rate
        self._unread: dict[Place, int] = {}
        self._counted: dict[Ticket, int] = {}

    def replace(self, places: Sequence[Place], now: float) -> None:
        """See Rule."""
        super().replace(places, now)
        self._unread = dict.fromkeys(places, 0)

    def pick(self, ticket: Ticket, ready: Sequence[Place], now: float) -> Place:
        """See Rule."""
        found = self.matches(ticket.blocks)
        enough = self._affinity * len(ticket.blocks)
        unread = self._unread
        among: Sequence[Place] = [each for each in ready if found.get(each, 0) >= enough]
        if not among:
            among = ready
        elif len(among) < len(ready):
            best = min(unread[each] for each in among)
            among = [
                each
                for each in ready
                if found.get(each, 0) >= enough or unread[each] <= best - self._gap
            ]
        chosen = min(among, key=lambda each: unread[each] - BLOCK * found.get(each, 0))
        self._counted[ticket] = max(0, ticket.prompt - BLOCK * found.get(chosen, 0))
        return chosen

    def placed(self, ticket: Ticket, now: float) -> None:
        """See Rule."""
        super().placed(ticket, now)
        assert ticket.place is not None
        self._unread[ticket.place] += self._counted[ticket]

    def began(self, ticket: Ticket, now: float) -> None:
        """Its tokens are no longer in flight once the first chunk of the answer came."""
        assert ticket.place is not None
        self._unread[ticket.place] -= self._counted.pop(ticket, 0)

    def left(self, ticket: Ticket, now: float) -> None:
        """See Rule."""
        self.began(ticket, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One choice of a rule's parameters."""

    parameters: Mapping[str, float]
    router: Callable[[Served], Router]


def _blocks(served: Served) -> int:
    return (served.kv_tokens or 400_000) // BLOCK


def cache_aware(threshold: float, apart: int, times: float, trees: float) -> Variant:
    """`trees`: size of a worker's tree over that of its cache."""
    return Variant(
        parameters={"threshold": threshold, "apart": apart, "times": times, "trees": trees},
        router=lambda served: CacheAware(
            int(_blocks(served) * trees), threshold=threshold, apart=apart, times=times
        ),
    )


def prefix_cache(apart: int, deviations: float) -> Variant:
    return Variant(
        parameters={"apart": apart, "deviations": deviations},
        router=lambda served: PrefixCache(_blocks(served), apart=apart, deviations=deviations),
    )


def sticky(affinity: float, seconds: float, rate: float) -> Variant:
    return Variant(
        parameters={"affinity": affinity, "seconds": seconds, "rate": rate},
        router=lambda served: StickyUntilSaturated(
            _blocks(served), affinity=affinity, seconds=seconds, rate=rate
        ),
    )


def grids(rate: float) -> Mapping[str, Sequence[Variant]]:
    """The parameters to try, each rule's own defaults first.

    rate  prompt tokens per second at a replica's peak
    """
    return {
        "SGLang cache-aware": [
            cache_aware(threshold, apart, times, trees)
            for threshold in (0.3, 0.5)
            for apart, times in ((64, 1.5), (32, 1.1), (8, 1.1))
            for trees in (1.0, 5.0)
        ],
        "AIBrix prefix-cache": [
            prefix_cache(apart, deviations)
            for apart in (8, 16, 32, 64)
            for deviations in (1.0, 2.0)
        ],
        "llm-d sticky": [
            sticky(affinity, seconds, rate)
            for affinity in (0.8, 0.5, 0.2)
            for seconds in (18.0, 5.0, 1.5)
        ],
    }
