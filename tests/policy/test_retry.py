from __future__ import annotations

import pytest

from plimsoll.policy.retry import Failure, Next, after_failure


@pytest.mark.parametrize("failure", Failure)
def test_after_the_first_byte_there_is_no_other_try(failure: Failure) -> None:
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
