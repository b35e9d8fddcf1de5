"""Which router a model gets, and routing by session and by load."""

from __future__ import annotations

from collections import Counter

import pytest

from plimsoll.policy.requests.types import Place, Served
from plimsoll.policy.routing.choice import router_for
from plimsoll.policy.routing.load import LeastLoaded
from plimsoll.policy.routing.prefix import PrefixRouter
from plimsoll.policy.routing.sessions import SessionRouter
from tests.policy.routing.fleet import begin, leave, place, send, serve, ticket


@pytest.mark.parametrize(
    ("affinity", "kind"),
    [
        ("prefix", PrefixRouter),
        ("session", SessionRouter),
        ("tenant", SessionRouter),
        ("none", LeastLoaded),
    ],
)
def test_the_affinity_of_a_model_names_its_router(affinity: str, kind: type) -> None:
    routing = router_for(Served(name="m", task="chat", context=1024, affinity=affinity))
    assert type(routing) is kind
    places = [place("a", 2), place("b", 2)]
    routing.replace(places, 0.0)
    for number in range(4):
        sent = ticket(session=str(number), prompt=10, name=f"r{number}")
        chosen = send(routing, sent)
        assert chosen is not None
        begin(routing, sent)
        assert routing.explain(f"r{number}").chosen == chosen.upstream.replica
    assert not routing.room()
    assert routing.choose(ticket(session="x"), 0.0) is None
    assert [each.in_flight for each in places] == [2, 2]


def sessions(places: list[Place], **options: object) -> SessionRouter:
    made = SessionRouter("m", **{"ttl": 600.0, **options})
    made.replace(places, 0.0)
    return made


def test_a_session_keeps_its_place_when_replicas_come_and_others_go() -> None:
    places = [place(f"r{number}") for number in range(6)]
    routing = sessions(places[:4])
    homes = {number: serve(routing, ticket(session=str(number))) for number in range(50)}
    routing.replace(places[1:], 1.0)
    for number, home in homes.items():
        chosen = serve(routing, ticket(session=str(number)), 2.0)
        assert chosen is home or home is places[0]
        assert chosen is not places[0]


def test_gateways_send_a_new_session_to_the_same_place() -> None:
    one, other = (sessions([place(f"r{n}", 64) for n in range(5)]) for _ in range(2))
    homes = [serve(one, ticket(session=f"user-{n}")).upstream.replica for n in range(500)]
    assert homes == [serve(other, ticket(session=f"user-{n}")).upstream.replica for n in range(500)]
    assert max(Counter(homes).values()) < 2 * 500 / 5


def test_new_sessions_go_on_where_a_place_has_more_than_its_share() -> None:
    places = [place(f"r{number}", capacity=100) for number in range(5)]
    routing = sessions(places)
    for number in range(100):
        send(routing, ticket(session=str(number)))
    assert max(each.in_flight for each in places) <= 1.25 * 100 / 5 + 1


def test_while_its_place_is_full_a_session_is_served_elsewhere_and_comes_back() -> None:
    places = [place("a", 1), place("b", 1)]
    routing = sessions(places)
    first = ticket(session="s")
    home = send(routing, first)
    second = ticket(session="s")
    assert send(routing, second) is not home
    leave(routing, first)
    leave(routing, second)
    assert send(routing, ticket(session="s")) is home


def test_sessions_are_forgotten_after_their_time_and_beyond_a_number() -> None:
    routing = sessions([place("a")], ttl=10.0, kept=20)
    for number in range(100):
        serve(routing, ticket(session=str(number)), 0.0)
    assert len(routing) <= 20
    for _ in range(20):
        serve(routing, ticket(session="one"), 11.0)
    assert len(routing) == 1


def test_the_least_loaded_place_by_share_of_its_capacity() -> None:
    small, large = place("small", 2), place("large", 8)
    routing = LeastLoaded("m")
    routing.replace([small, large], 0.0)
    for _ in range(10):
        send(routing, ticket())
    assert (small.in_flight, large.in_flight) == (2, 8)


def test_places_alike_take_turns() -> None:
    routing = LeastLoaded("m")
    routing.replace([place(name) for name in "abc"], 0.0)
    assert {serve(routing, ticket()).upstream.replica for _ in range(3)} == set("abc")
