"""Prefix routing: what a conversation, a hot prompt and a dead replica make of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.policy.requests.types import Place, Ticket
from plimsoll.policy.routing.prefix import PrefixRouter
from plimsoll.policy.routing.seats import Seat
from plimsoll.policy.routing.weights import Weights
from tests.policy.routing.fleet import BLOCK, ENDS, begin, leave, place, send, serve, take, ticket


def router(places: list[Place], **options: object) -> PrefixRouter:
    made = PrefixRouter("m", ends=ENDS, **{"rate": 1000.0, **options})
    made.replace(places, 0.0)
    return made


def conversation(number: int, turns: int) -> tuple[int, ...]:
    return tuple(number * 1000 + depth for depth in range(turns))


def test_a_conversation_stays_where_it_is() -> None:
    routing = router([place(f"r{number}") for number in range(5)])
    homes = {}
    for turn in range(1, 6):
        for number in range(20):
            chosen = serve(routing, ticket(*conversation(number, turn * 3)), turn * 100.0 + number)
            assert homes.setdefault(number, chosen) is chosen
    assert len(set(homes.values())) == 5


def test_a_block_that_everybody_begins_with_attracts_nobody() -> None:
    places = [place(f"r{number}", capacity=64) for number in range(4)]
    routing = router(places)
    for number in range(200):
        serve(routing, ticket(0, *conversation(number + 1, 8)), number * 10.0)
    counts = {each.upstream.replica: 0 for each in places}
    for number in range(200, 400):
        chosen = serve(routing, ticket(0, *conversation(number + 1, 8)), number * 10.0)
        counts[chosen.upstream.replica] += 1
    assert max(counts.values()) <= 1.1 * 200 / 4


def _queue_at_which_it_leaves(other: int) -> float:
    """Seconds of reading that wait where a conversation is when it goes to another place, where
    so many blocks of something else wait.
    """
    places = [place("a", capacity=100), place("b", capacity=100)]
    routing = router(places, weights=Weights(balance=0.0))
    home = serve(routing, ticket(*conversation(1, 10)), 0.0)
    away = next(each for each in places if each is not home)
    for number in range(other):
        take(routing, ticket(5_000 + number), away, 1.0)
    waits = 0.0
    for number in range(60):
        sent = ticket(*conversation(1, 10), *conversation(100 + number, 2))
        if send(routing, sent, 1.0) is away:
            return waits
        waits += (sent.prompt - sent.cached) / 1000.0
    return waits


def test_a_conversation_leaves_when_the_queue_costs_more_than_to_read_it_again() -> None:
    assert 1.0 < _queue_at_which_it_leaves(0) < 8.0


def test_a_conversation_stays_longer_when_others_wait_where_it_would_go() -> None:
    # To read it again there delays them, so more is saved by waiting than their queue is long.
    assert _queue_at_which_it_leaves(10) > _queue_at_which_it_leaves(0) + 2.0


def test_a_place_near_its_limit_repels_more_than_a_warm_one_attracts() -> None:
    places = [place("a", capacity=40), place("b", capacity=40)]
    routing = router(places)
    home = serve(routing, ticket(*conversation(1, 3)), 0.0)
    for number in range(39):
        filler = ticket(9_000 + number)
        take(routing, filler, home, 1.0)
        begin(routing, filler, 1.0)
    assert routing.room()
    assert send(routing, ticket(*conversation(1, 4)), 100.0) is not home


def test_a_hot_prefix_gets_a_second_owner() -> None:
    places = [place(f"r{number}", capacity=100) for number in range(3)]
    routing = router(places)
    owners = set()
    for number in range(60):
        sent = ticket(*conversation(1, 10), *conversation(100 + number, 5))
        owners.add(send(routing, sent, 0.0))
    assert len(owners) == 3


def test_a_dead_replica_is_forgotten() -> None:
    places = [place("a"), place("b")]
    routing = router(places)
    home = serve(routing, ticket(*conversation(1, 10)))
    routing.replace([each for each in places if each is not home], 1.0)
    moved = ticket(*conversation(1, 10))
    assert serve(routing, moved, 2.0) is not home
    assert moved.cached == 0
    routing.replace(places, 3.0)
    assert serve(routing, ticket(*conversation(1, 10)), 4.0) is not home


def test_what_ends_at_a_replica_that_left_harms_nothing() -> None:
    places = [place("a"), place("b")]
    routing = router(places)
    waiting, answering = ticket(*conversation(1, 3)), ticket(*conversation(2, 3))
    gone = send(routing, waiting)
    send(routing, answering)
    begin(routing, answering)
    routing.replace([], 1.0)
    assert not routing.room()
    routing.replace([place("c")], 1.0)
    leave(routing, waiting, 2.0)
    leave(routing, answering, 2.0)
    assert serve(routing, ticket(*conversation(3, 3)), 3.0).upstream.replica == "c"
    assert gone is not None


def test_a_suspect_replica_gets_nothing_until_it_is_trusted() -> None:
    places = [place("a"), place("b")]
    routing = router(places)
    home = serve(routing, ticket(*conversation(1, 10)))
    home.suspect = 5.0
    routing.changed(home)
    assert serve(routing, ticket(*conversation(1, 10)), 1.0) is not home
    home.suspect = 0.0
    routing.changed(home)
    assert routing.room()


def test_places_that_failed_before_come_last() -> None:
    places = [place("a"), place("b")]
    routing = router(places)
    sent = ticket(*conversation(1, 10))
    home = serve(routing, sent)
    sent.tried = (home,)
    other = routing.choose(sent, 1.0)
    assert other is not home
    sent.tried = tuple(places)
    assert routing.choose(sent, 1.0) is home


def test_stale_or_missing_reports_harm_nothing() -> None:
    places = [place("a"), place("b")]
    routing = router(places)
    for requests, usage in ((None, None), (0, None), (99, 2.0), (None, 0.5)):
        places[0].told(requests, 0, usage)
        routing.changed(places[0])
        assert serve(routing, ticket(*conversation(1, 3))) is not None


def test_a_full_kv_cache_and_the_requests_of_others_repel() -> None:
    for requests, usage in ((0, 1.0), (3, None)):
        places = [place("a"), place("b")]
        routing = router(places)
        places[0].told(requests, 0, usage)
        routing.changed(places[0])
        assert [serve(routing, ticket(n)).upstream.replica for n in range(3)] == ["b"] * 3


def test_gateways_that_know_the_same_choose_the_same() -> None:
    one, other = (router([place(f"r{n}", 64) for n in range(7)]) for _ in range(2))
    chosen = set()
    for number in range(50):
        sent = ticket(*conversation(number, 4))
        here = one.choose(sent, 0.0)
        assert other.choose(sent, 0.0).upstream == here.upstream
        chosen.add(here)
    assert len(chosen) == 7


def test_the_speed_of_reading_is_learnt() -> None:
    routing = PrefixRouter("m", ends=ENDS)
    routing.replace([place("a")], 0.0)
    chance = random.Random(1)
    now = 0.0
    for number in range(400):
        sent = ticket(*conversation(number, chance.randrange(1, 100)))
        send(routing, sent, now)
        tokens = sent.prompt - sent.cached
        begin(routing, sent, now + 0.05 + tokens / 20_000 + tokens * tokens / 2 * 1e-9)
        leave(routing, sent, now)
        now += 30.0
    assert routing._reading.seconds(1, 0) == pytest.approx(1 / 20_000, rel=0.05)
    assert routing._reading.seconds(9_000, 0) == pytest.approx(0.45 + 0.0405, rel=0.02)


def test_a_decision_is_explained() -> None:
    places = [place(name, capacity=1) for name in "abc"]
    routing = router(places)
    home = serve(routing, ticket(*conversation(1, 10)))
    full = next(each for each in places if each is not home)
    full.in_flight = 1
    routing.changed(full)
    send(routing, ticket(*conversation(1, 12), name="here"), 1.0)
    told = routing.explain(b"here")
    assert told is not None
    assert told.model == "m"
    assert told.chosen == home.upstream.replica == told.candidates[0].replica
    assert told.candidates[0].cached == 10 * BLOCK
    assert told.candidates[-1].reason == "it has no room"
    assert told.candidates[-1].replica == full.upstream.replica
    assert told.candidates[1].terms["prefill"] == pytest.approx(1.2)
    assert "1,000 of 1,200" in told.why
    assert routing.explain("another") is None


def test_only_the_last_decisions_are_remembered() -> None:
    routing = router([place("a")])
    for number in range(2_001):
        serve(routing, ticket(number, name=str(number)))
    assert routing.explain("0") is None
    assert routing.explain("1") is not None


events = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "begin", "leave", "drop", "add", "told", "doubt"]),
        st.integers(0, 10**6),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(events, st.integers(1, 40))
def test_whatever_happens_the_chosen_place_has_room_and_costs_least(
    happens: list[tuple[str, int]], count: int
) -> None:
    places = [place(f"r{number}", capacity=3) for number in range(count)]
    routing = router(list(places), tokens=3_000, entries=400)
    live: list[Ticket] = []
    now = 0.0
    for what, value in happens:
        now += (value % 7) * 0.3
        if what == "send":
            sent = ticket(*conversation(value % 5, 1 + value % 9))
            ready = [each for each in places if each.in_flight < each.limit and not each.suspect]
            assert routing.room() == bool(ready)
            chosen = routing.choose(sent, now)
            assert (chosen is None) == (not ready)
            if chosen is not None:
                costs = {each: _cost(routing, each, sent, now) for each in ready}
                assert costs[chosen] <= min(costs.values()) + 1e-9
                take(routing, sent, chosen, now)
                live.append(sent)
        elif what == "begin" and live:
            begin(routing, live[value % len(live)], now)
        elif what == "leave" and live:
            leave(routing, live.pop(value % len(live)), now)
        elif what == "drop" and len(places) > 1:
            places.pop(value % len(places))
            routing.replace(list(places), now)
        elif what == "add":
            places.append(place(f"n{value}-{len(places)}", capacity=3))
            routing.replace(list(places), now)
        elif what == "told" and places:
            each = places[value % len(places)]
            each.told(value % 6, each.in_flight, None if value % 3 else value % 100 / 100)
            routing.changed(each)
        elif what == "doubt" and places:
            each = places[value % len(places)]
            each.suspect = 0.0 if each.suspect else now + 1
            routing.changed(each)
        held = [seat.shelf for seat in routing._seats.of.values()]
        assert all(shelf.tokens <= 3_000 for shelf in held)
        assert sum(len(shelf.blocks) for shelf in held) <= 400 + len(held)
    for each in live:
        leave(routing, each, now)
    assert routing._reads == 0
    assert all(not seat.waiting and seat.pending == 0.0 for seat in routing._seats.of.values())


def _cost(routing: PrefixRouter, each: Place, sent: Ticket, now: float) -> float:
    """What one place costs, said plainly."""
    seat = each.routing
    assert isinstance(seat, Seat)
    cost = routing._cost(seat, now)
    depth = 0
    while depth < len(sent.blocks) and sent.blocks[depth] in seat.shelf.blocks:
        depth += 1
    held = min(ENDS[depth - 1], sent.prompt) if depth else 0
    reads = routing._reading.seconds(sent.prompt - held, held)
    return cost + reads + routing._others(cost, reads)
