"""Weighted fairness by tokens, priorities, and who gives way in a full queue."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.policy.requests.types import QueueLimits, Reason, Ticket
from tests.policy.requests.machine import Machine, upstream


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A tenant that keeps so many requests waiting or running, all alike."""

    weight: int = 1
    prompt: int = 100
    answer: int = 50
    keep: int = 20


class Load:
    """Serves tenants for a while; `used` is what each got, as it is charged."""

    def __init__(self, m: Machine, wishes: Mapping[str, Wish]) -> None:
        self.m = m
        self.wishes = dict(wishes)
        self.used: Counter[str] = Counter()
        self.waited: dict[str, int] = {}
        self._open: Counter[str] = Counter()
        self._running: deque[Ticket] = deque()
        self._came: dict[Ticket, int] = {}
        self._read = len(m.told)
        self._ends = 0

    def serve(self, ends: int) -> None:
        """So many requests end, those first that began first."""
        for _ in range(ends):
            for tenant, wish in self.wishes.items():
                while self._open[tenant] < wish.keep:
                    ticket = self.m.arrive(
                        tenant=tenant, weight=wish.weight, prompt=wish.prompt, wait=1e9
                    )
                    self._came[ticket] = self._ends
                    self._open[tenant] += 1
            self._look()
            ticket = self._running.popleft()
            wish = self.wishes[ticket.tenant]
            self._ends += 1
            self.m.now += 0.01
            self.m.end(ticket, tokens=wish.answer)
            self._open[ticket.tenant] -= 1
            self.used[ticket.tenant] += wish.prompt + 2 * wish.answer
            self._look()

    def _look(self) -> None:
        for instruction in self.m.told[self._read :]:
            ticket = instruction.ticket
            self._running.append(ticket)
            waited = self._ends - self._came.pop(ticket)
            self.waited[ticket.tenant] = max(waited, self.waited.get(ticket.tenant, 0))
        self._read = len(self.m.told)


def machine(places: int = 4, requests: int = 10_000) -> Machine:
    m = Machine(requests=requests, size=10**9)
    m.replicas(upstream(1, capacity=places))
    return m


@settings(max_examples=15, deadline=None)
@given(
    wishes=st.dictionaries(
        st.sampled_from("abcd"),
        st.builds(
            Wish,
            weight=st.integers(1, 4),
            prompt=st.integers(1, 400),
            answer=st.integers(1, 400),
            keep=st.integers(30, 60),
        ),
        min_size=2,
    )
)
def test_tenants_who_all_want_more_are_served_by_their_weights(wishes: dict[str, Wish]) -> None:
    load = Load(machine(), wishes)
    load.serve(50)
    load.used.clear()
    load.serve(400)
    total = sum(load.used.values())
    weights = sum(wish.weight for wish in wishes.values())
    largest = max((wish.prompt + 2 * wish.answer) / wish.weight for wish in wishes.values())
    for tenant, wish in wishes.items():
        fair = total * wish.weight / weights
        # A few requests in flight at both ends, and answers guessed before they are known.
        assert abs(load.used[tenant] - fair) <= 12 * largest * wish.weight + 2000, load.used


@pytest.mark.parametrize("answer", [0, 50, 128, 400])  # less, as many, and more than was guessed
def test_a_tenant_that_floods_does_not_delay_one_that_asks_for_little(answer: int) -> None:
    wishes = {"flood": Wish(keep=500, answer=answer), "light": Wish(keep=1, answer=answer)}
    load = Load(machine(places=4), wishes)
    load.serve(100)  # how long answers are is learned
    load.waited.clear()
    load.serve(400)
    assert load.waited["light"] <= 2  # ends until it has its place
    assert load.waited["flood"] > 100


def test_long_answers_are_paid_for_as_they_come() -> None:
    wishes = {"long": Wish(answer=2000, prompt=10), "short": Wish(answer=20, prompt=10)}
    load = Load(machine(places=2), wishes)
    load.serve(1200)
    assert load.used["long"] / load.used["short"] == pytest.approx(1.0, abs=0.15)


def test_a_start_is_charged_with_the_answers_that_its_tenant_got_before() -> None:
    m = machine(places=9)
    for _ in range(100):
        m.end(m.arrive(tenant="long"), tokens=1000)
        m.end(m.arrive(tenant="short"), tokens=10)
    for tenant, answer in (("long", 1000), ("short", 10), ("new", 500)):
        ticket = m.arrive(tenant=tenant)
        flow = m.it._models["m"].line.flow(ticket)
        before = flow.counter
        m.cancel(ticket)
        assert before - flow.counter == pytest.approx(2 * answer, rel=0.1)
        limited = m.arrive(tenant=tenant, answer=5)  # its own limit, where that is less
        before = flow.counter
        m.cancel(limited)
        assert before - flow.counter == pytest.approx(10)


def test_an_answer_that_goes_on_and_on_is_paid_for_before_it_ends() -> None:
    m = machine(places=2)
    endless, running = m.arrive(tenant="endless"), m.arrive(tenant="other")
    for _ in range(200):
        m.it.chunk(endless, 100)
    others = [m.arrive(tenant="other", prompt=100) for _ in range(20)]
    more = m.arrive(tenant="endless")
    for ticket in (running, *others[:-1]):
        m.end(ticket, tokens=100)
    assert more.place is None
    m.end(others[-1], tokens=100)
    assert more.place is not None
    flow = m.it._models["m"].line.flow(endless)
    m.cancel(more)
    m.cancel(endless)
    assert flow.counter == pytest.approx(2 * 20_000)


@pytest.mark.parametrize("known", [True, False])
def test_who_was_idle_has_no_credit(*, known: bool) -> None:
    m = machine()
    if known:
        m.end(m.arrive(tenant="late"))
    load = Load(m, {"busy": Wish(), "other": Wish()})
    load.serve(300)
    load.wishes["late"] = Wish()
    load.used.clear()
    load.serve(200)
    assert load.used["late"] / load.used["busy"] == pytest.approx(1.0, abs=0.15)


def test_who_had_everything_while_alone_owes_nothing_later() -> None:
    m = machine(places=4)
    alone = Load(m, {"early": Wish(keep=4)})  # never waits
    alone.serve(300)
    both = Load(m, {"early": Wish(keep=20), "new": Wish(keep=20)})
    for ticket in alone._running:
        m.end(ticket)
    both.serve(200)
    assert both.used["early"] / both.used["new"] == pytest.approx(1.0, abs=0.2)


def test_who_had_everything_while_alone_does_not_go_last_when_it_comes_back() -> None:
    m = machine(places=4)
    alone = Load(m, {"early": Wish(keep=4)})
    alone.serve(300)
    for ticket in alone._running:
        m.end(ticket)
    both = Load(m, {"new": Wish(keep=20), "early": Wish(keep=20)})  # here the new one comes first
    both.serve(200)
    assert both.used["early"] / both.used["new"] == pytest.approx(1.0, abs=0.2)


def test_what_starts_without_waiting_is_charged_from_the_level_of_the_others() -> None:
    m = machine(places=50)
    m.end(m.arrive(tenant="idle"))
    for _ in range(20):
        m.end(m.arrive(tenant="busy", prompt=1000))
    flow = m.it._models["m"].line.flow(m.arrive(tenant="idle", prompt=1000))
    assert flow.counter >= 19 * 1000 + 1000


@pytest.mark.interpreted
def test_prompt_tokens_that_a_replica_holds_cost_a_tenth() -> None:
    m = machine(places=1)
    place = m.place()
    router = m.it._models["m"].router
    choose = router.choose

    def cached(ticket: Ticket, now: float) -> object:
        found = choose(ticket, now)
        ticket.cached = ticket.prompt if ticket.tenant == "warm" else 0
        return found

    router.choose = cached  # type: ignore[method-assign]
    flows = {}
    for tenant in ("warm", "cold"):
        ticket = m.arrive(tenant=tenant, prompt=1000)
        assert ticket.place is place
        flows[tenant] = m.it._models["m"].line.flow(ticket)
        m.end(ticket, tokens=0)
    assert flows["warm"].counter - 0 == pytest.approx(100)
    assert flows["cold"].counter == pytest.approx(1000)


def test_a_try_that_failed_before_it_began_costs_its_tenant_nothing() -> None:
    m = Machine(tries=1)
    m.replicas(upstream(1), upstream(2))
    ticket = m.arrive(tenant="t", prompt=500)
    flow = m.it._models["m"].line.flow(ticket)
    m.fail(ticket)
    assert flow.counter == pytest.approx(0)
    left = m.arrive(tenant="t", prompt=500)
    m.cancel(left)  # the replica may have read its prompt
    assert flow.counter == pytest.approx(500)


def test_an_answer_that_is_resumed_is_charged_only_for_the_rest() -> None:
    m = machine(places=2)
    ticket = m.arrive(tenant="t", prompt=100)
    flow = m.it._models["m"].line.flow(ticket)
    m.it.began(ticket, m.now)
    m.it.chunk(ticket, 1000)
    m.fail(ticket, answering=True, resumable=True)
    resumed = flow.counter
    m.it.chunk(ticket, 20)
    assert flow.counter == resumed
    m.end(ticket)
    assert flow.counter == pytest.approx(100 + 2 * 1000 + 1100 + 2 * 20)


def test_a_higher_priority_goes_first_whatever_was_served_before() -> None:
    m = machine(places=1)
    running = m.arrive()
    low, high, higher = (m.arrive(priority=number) for number in (0, 1, 2))
    for ticket in (running, higher, high):
        m.end(ticket, tokens=1000)
    assert m.started() == [running, higher, high, low]


def test_of_two_that_were_served_alike_the_one_with_less_running_is_next() -> None:
    m = machine(places=2)
    running = [m.arrive(tenant="a") for _ in range(2)]
    waiting = [m.arrive(tenant=tenant) for tenant in "ab"]
    m.end(running[0], tokens=128)  # as many as were guessed
    assert [ticket.place is not None for ticket in waiting] == [False, True]


def test_what_was_charged_too_much_is_given_back_before_the_next_is_chosen() -> None:
    m = machine(places=2)
    m.arrive(tenant="a", prompt=100)
    cheap = m.arrive(tenant="b", prompt=200)
    waiting = {tenant: m.arrive(tenant=tenant) for tenant in "ab"}
    m.end(cheap, tokens=0)
    assert waiting["b"].place is not None
    assert waiting["a"].place is None


def test_within_a_tenant_first_come_is_first_served() -> None:
    m = machine(places=1)
    tickets = [m.arrive(tenant="t", prompt=1000 - 100 * number) for number in range(6)]
    for ticket in tickets:
        m.end(ticket)
    assert m.started() == tickets


def test_who_comes_while_others_flood_a_full_queue_displaces_the_floods_newest() -> None:
    m = machine(places=1, requests=10)
    m.arrive(tenant="flood")
    flood = [m.arrive(tenant="flood") for _ in range(10)]
    assert m.reason(m.arrive(tenant="flood")) is Reason.QUEUE_FULL
    light = [m.arrive(tenant="light") for _ in range(5)]
    assert [m.reason(ticket) for ticket in flood] == [None] * 5 + [Reason.QUEUE_FULL] * 5
    assert not any(m.reason(ticket) for ticket in light)
    assert m.reason(m.arrive(tenant="light")) is Reason.QUEUE_FULL  # both hold half
    assert m.it.queued("m") == 10


def test_who_held_most_of_the_queue_before_does_not_give_way_for_that() -> None:
    m = machine(places=1, requests=12)
    m.arrive()
    before = [m.arrive(tenant="before") for _ in range(7)]
    now = [m.arrive(tenant="now") for _ in range(5)]
    m.arrive(tenant="c")
    assert m.reason(before[-1]) is Reason.QUEUE_FULL
    for ticket in before[2:]:
        m.cancel(ticket)
    for tenant in "defg":
        m.arrive(tenant=tenant)
    m.arrive(tenant="h")
    assert m.reason(now[-1]) is Reason.QUEUE_FULL
    assert not any(ticket.over for ticket in before[:2])


def test_the_share_of_a_full_queue_is_by_weight() -> None:
    m = machine(places=1, requests=12)
    m.arrive()
    for _ in range(12):
        m.arrive(tenant="a", weight=1)
    for _ in range(20):
        m.arrive(tenant="b", weight=3)
    line = m.it._models["m"].line
    held = {flow.tenant: flow.queued for each in line._order for flow in each.flows.values()}
    assert (held["a"], held["b"]) == (3, 9)


def test_large_bodies_give_way_where_bytes_are_short() -> None:
    m = Machine(requests=100, size=1000)
    m.replicas(upstream(1, capacity=1))
    m.arrive()
    large = [m.arrive(tenant="large", size=240) for _ in range(4)]
    small = m.arrive(tenant="small", size=200)
    assert [bool(m.reason(ticket)) for ticket in large] == [False, False, False, True]
    assert m.reason(small) is None
    assert m.it.queued_bytes("m") == 920


def test_nobody_gives_way_where_that_would_not_be_enough() -> None:
    m = Machine(requests=100, size=1000)
    m.replicas(upstream(1, capacity=1))
    m.arrive()
    others = [m.arrive(tenant="other", size=500) for _ in range(2)]
    assert m.reason(m.arrive(tenant="new", size=1001)) is Reason.QUEUE_FULL
    assert m.reason(m.arrive(tenant="new", size=900)) is Reason.QUEUE_FULL
    assert not any(m.reason(ticket) for ticket in others)


def test_in_a_full_queue_lower_priorities_give_way_the_lowest_first() -> None:
    m = machine(places=1, requests=4)
    m.arrive()
    waiting = {number: m.arrive(priority=number) for number in (3, 0, 1, 2)}
    for _ in range(2):
        m.arrive(priority=2)
    assert [bool(m.reason(waiting[number])) for number in (0, 1, 2, 3)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert m.reason(m.arrive(priority=2)) is Reason.QUEUE_FULL


def test_who_lost_a_place_never_gives_way() -> None:
    m = machine(places=1, requests=1)
    lost = m.arrive(priority=0)
    m.replicas()
    m.fail(lost)
    assert m.it.queued("m") == 1
    assert m.reason(m.arrive(priority=9)) is Reason.QUEUE_FULL
    assert m.reason(lost) is None


@settings(max_examples=40, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 60)),
        min_size=10, max_size=120,
    ),
    requests=st.integers(1, 12),
)  # fmt: skip
def test_the_queue_never_passes_its_bounds_and_nobody_is_forgotten(
    arrivals: list[tuple[str, int, int]], requests: int
) -> None:
    m = Machine(requests=requests, size=200)
    m.replicas(upstream(1, capacity=1))
    tickets = [m.arrive(tenant=t, priority=p, size=s) for t, p, s in arrivals]
    assert m.it.queued("m") <= requests
    assert m.it.queued_bytes("m") <= 200
    over = sum(ticket.over for ticket in tickets)
    assert over == len(m.refused()) == len(tickets) - 1 - m.it.queued("m")


def test_many_tenants_that_come_once_are_not_remembered_for_ever() -> None:
    m = machine(places=2)
    m.arrive(tenant="stays")
    for number in range(5000):
        m.end(m.arrive(tenant=f"once-{number}", prompt=number % 97))
    line = m.it._models["m"].line
    assert sum(len(each.flows) for each in line._order) < 600


def test_priorities_that_nobody_uses_are_not_remembered_for_ever() -> None:
    m = machine(places=2)
    m.arrive(priority=-1)
    for number in range(1000):
        m.end(m.arrive(priority=number))
    assert len(m.it._models["m"].line._order) <= 65


def test_other_limits_hold_for_who_comes_and_spare_who_waits() -> None:
    m = machine(places=1, requests=5)
    m.arrive()
    waiting = [m.arrive(tenant="a") for _ in range(5)]
    m.it.limit(QueueLimits(requests=2, bytes=10**9))
    assert m.reason(m.arrive(tenant="a")) is Reason.QUEUE_FULL
    assert not any(m.reason(ticket) for ticket in waiting)
