from __future__ import annotations

import pytest

from plimsoll.policy.retry import Failure, Next, after_failure


@pytest.mark.parametrize("failure", Failure)
def test_after_the_first_byte_only_what_can_be_carried_on_is_repeated(failure: Failure) -> None:
    assert after_failure(failure, sent=1, answering=True, limit=3) is Next.GIVE_UP


@pytest.mark.parametrize("failure", [Failure.LOST, Failure.GARBAGE, Failure.BUSY])
def test_a_lost_try_is_repeated_elsewhere_up_to_the_limit(failure: Failure) -> None:
    steps = [after_failure(failure, sent=sent, answering=False, limit=3) for sent in (1, 2, 3)]
    assert steps == [Next.ELSEWHERE, Next.ELSEWHERE, Next.GIVE_UP]


def test_a_try_that_was_never_sent_does_not_count() -> None:
    step = after_failure(Failure.CONNECT, sent=99, answering=False, limit=3)
    assert step is Next.ELSEWHERE


def test_a_stale_connection_is_opened_anew_to_the_same_replica() -> None:
    assert after_failure(Failure.STALE, sent=3, answering=False, limit=3) is Next.SAME


@pytest.mark.parametrize(
    "failure",
    [Failure.ENGINE, Failure.REFUSED, Failure.FIRST_BYTE, Failure.BETWEEN, Failure.TOO_LONG],
)
def test_what_would_only_add_load_is_not_repeated(failure: Failure) -> None:
    assert after_failure(failure, sent=1, answering=False, limit=3) is Next.GIVE_UP


CARRIED_ON = set(Failure) - {Failure.STALE, Failure.REFUSED, Failure.TOO_LONG}


@pytest.mark.parametrize("failure", sorted(CARRIED_ON))
def test_a_stream_that_can_be_carried_on_goes_on_elsewhere(failure: Failure) -> None:
    step = after_failure(failure, sent=0, answering=True, limit=3, resumable=True)
    assert step is Next.ELSEWHERE


@pytest.mark.parametrize("failure", sorted(CARRIED_ON - {Failure.CONNECT}))
def test_the_rest_of_a_stream_is_tried_as_often_as_a_request(failure: Failure) -> None:
    steps = [
        after_failure(failure, sent=sent, answering=True, limit=3, resumable=True)
        for sent in (1, 2, 3)
    ]
    assert steps == [Next.ELSEWHERE, Next.ELSEWHERE, Next.GIVE_UP]


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.TOO_LONG])
def test_what_is_at_fault_itself_is_not_carried_on(failure: Failure) -> None:
    step = after_failure(failure, sent=1, answering=True, limit=3, resumable=True)
    assert step is Next.GIVE_UP
