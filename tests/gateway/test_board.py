"""The board carries out what the state machine of requests says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from plimsoll.gateway.board import Board
from plimsoll.policy.requests.types import QueueLimits, Reason, Served, Ticket, Upstream
from plimsoll.policy.retry import Failure

MODEL = Served(name="m", aliases=("n",), task="chat", context=1)


def upstream(number: int, capacity: int = 2, *, model: str = "m") -> Upstream:
    return Upstream(replica=f"{model}-{number}", host="h", port=number, capacity=capacity)


@dataclass(eq=False)
class Caller:
    """Whose ticket it is: what it was told, and what it does when it is told."""

    board: Board
    model: str = "m"
    told: list[str] = field(default_factory=list)
    does: Callable[[], None] = lambda: None

    def ask(self, now: float = 0.0, wait: float = 60.0) -> Caller:
        self.ticket = Ticket(self, self.model, deadline=now + wait, prompt=1)
        self.board.arrive(self.ticket, now)
        return self

    def granted(self) -> None:
        assert self.ticket.place is not None
        self.told.append(self.ticket.place.upstream.replica)
        self.does()

    def refused(self, reason: Reason, retry_after: float) -> None:
        assert self.ticket.over
        self.told.append(reason)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def board(*upstreams: Upstream, wake: Callable[[str], None] | None = None) -> Board:
    made = Board([MODEL], wake=wake, clock=Clock())
    made.update("m", upstreams)
    return made


def test_a_caller_is_told_of_its_place_at_once_or_when_another_gives_it_up() -> None:
    it = board(upstream(1, capacity=1))
    first, second = Caller(it).ask(), Caller(it).ask()
    assert (first.told, second.told) == (["m-1"], [])
    it.end(first.ticket, 1.0)
    assert second.told == ["m-1"]
    it.cancel(second.ticket, 1.0)
    it.cancel(second.ticket, 1.0)
    assert it.in_flight("m-1") == 0


def test_a_caller_is_told_why_there_is_no_place() -> None:
    it = board(upstream(1, capacity=1))
    it.limit(QueueLimits(requests=1, bytes=10), tries=1, suspect=0.5)
    running, waiting, late = Caller(it).ask(), Caller(it).ask(wait=5.0), Caller(it).ask()
    assert late.told == [Reason.QUEUE_FULL]
    it.tick(5.0)
    assert waiting.told == [Reason.NO_REPLICA]
    it.failed(running.ticket, Failure.LOST, 5.0, sent=1, answering=False, resumable=False)
    assert running.told == ["m-1", Reason.GIVE_UP]


def test_a_caller_whose_try_failed_is_told_of_the_next_place() -> None:
    it = board(upstream(1), upstream(2))
    caller = Caller(it).ask()
    it.failed(caller.ticket, Failure.CONNECT, 0.0, sent=0, answering=False, resumable=False)
    assert sorted(caller.told) == ["m-1", "m-2"]


def test_a_model_without_replicas_is_called_for_by_its_name() -> None:
    woken: list[str] = []
    it = board(wake=woken.append)
    caller = Caller(it).ask()
    assert woken == ["m"]
    it.update("m", (upstream(1),))
    assert caller.told == ["m-1"]


def test_a_model_is_called_for_although_its_request_went_to_a_fallback() -> None:
    woken: list[str] = []
    it = Board([MODEL, Served(name="b", task="chat", context=1)], wake=woken.append, clock=Clock())
    it.update("b", (upstream(1, model="b"),))
    Caller(it).ask(wait=300.0)
    it._clock.now = 100.0  # type: ignore[attr-defined]
    it.update("m", (upstream(1),))
    it.update("m", ())
    woken.clear()
    caller = Caller(it)
    caller.ticket = Ticket(caller, "m", deadline=110.0, fallbacks=("b",))
    it.arrive(caller.ticket, 100.0)
    assert (caller.told, woken) == (["b-1"], ["m"])


def test_callers_who_wait_for_a_model_that_goes_are_told() -> None:
    it = board(upstream(1, capacity=1))
    running, waiting = Caller(it).ask(), Caller(it).ask()
    it.offer([])
    assert waiting.told == [Reason.WITHDRAWN]
    assert (it.upstreams(), list(it.places("m")), it.served("m")) == (frozenset(), [], None)
    assert it.in_flight("m-1") == 1
    it.end(running.ticket, 1.0)
    assert it.in_flight("m-1") == 0


def test_demand_is_by_name_whatever_the_caller_said() -> None:
    it = board(upstream(1, capacity=1))
    served = it.resolve("n", "key")
    assert served is MODEL
    for _ in range(2):
        Caller(it, served.name).ask(7.0)
    assert {name: (d.queued, d.in_flight, d.last_used) for name, d in it.demand().items()} == {
        "m": (1, 1, 7.0)
    }
    assert (it.names(), it.spoken(), list(it.offered())) == (("m",), ("m", "n"), [MODEL])


def test_whoever_watches_hears_that_replicas_changed() -> None:
    it = board()
    heard: list[int] = []
    it.watch(lambda: heard.append(len(it.upstreams())))
    it.update("m", (upstream(1), upstream(2)))
    it.update_all({"m": (upstream(1),)})
    it.offer([])
    assert heard == [2, 1, 0]


def test_a_replica_that_tells_of_others_work_gets_less() -> None:
    it = board(upstream(1, capacity=8), upstream(2, capacity=8))
    it.told("m", "m-1", 6)
    for _ in range(6):
        Caller(it).ask()
    assert (it.in_flight("m-1"), it.in_flight("m-2")) == (0, 6)
    it.told("x", "x-1", 6)  # no longer offered


def test_a_caller_that_gives_its_place_back_at_once_passes_it_on() -> None:
    it = board()
    callers = [Caller(it) for _ in range(2000)]
    for caller in callers:
        caller.does = lambda caller=caller: it.end(caller.ticket, 0.0)
        caller.ask()
    it.update("m", (upstream(1, capacity=1),))
    assert all(caller.told == ["m-1"] for caller in callers)
    assert it.in_flight("m-1") == 0


def test_a_caller_that_ends_another_before_it_is_told_is_not_told() -> None:
    it = board()
    first, second = Caller(it).ask(), Caller(it).ask()
    first.does = lambda: it.cancel(second.ticket, 0.0)
    it.update("m", (upstream(1),))
    assert (first.told, second.told) == (["m-1"], [])
    assert it.in_flight("m-1") == 1


def test_a_caller_whose_every_try_fails_at_once_does_not_keep_the_rest_from_being_told() -> None:
    it = board()
    caller, other = Caller(it).ask(), Caller(it).ask()
    caller.does = lambda: it.failed(
        caller.ticket, Failure.LOST, 0.0, sent=len(caller.told), answering=False, resumable=False
    )
    it.limit(QueueLimits(requests=9, bytes=9), tries=3, suspect=0.5)
    it.update("m", (upstream(1),))
    assert caller.told == ["m-1", "m-1", "m-1", Reason.GIVE_UP]
    assert other.told == ["m-1"]
    assert it.in_flight("m-1") == 1


def test_a_caller_that_breaks_is_over_and_those_after_it_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = board()
    broken, next_ = Caller(it).ask(), Caller(it).ask()

    def fail() -> None:
        raise RuntimeError("a defect")

    broken.does = fail
    with caplog.at_level(logging.ERROR):
        it.update("m", (upstream(1, capacity=1),))
    assert "a request failed" in caplog.text
    assert broken.told == ["m-1", Reason.GIVE_UP]
    assert next_.told == ["m-1"]
    assert it.in_flight("m-1") == 1
