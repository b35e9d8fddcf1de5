"""Whether a failed try is followed by another: before the first byte, elsewhere, bounded. Pure."""

from __future__ import annotations

from enum import StrEnum


class Failure(StrEnum):
    """How one try at a replica ended without an answer."""

    CONNECT = "connect"  # refused, unreachable or too slow to accept: the request was never sent
    STALE = "stale"  # a kept connection was closed before any byte of the answer
    LOST = "lost"  # the connection broke after the request was sent
    GARBAGE = "garbage"  # the answer was not HTTP, not JSON, or not what was asked for
    BUSY = "busy"  # the engine said 429 or 503
    ENGINE = "engine"  # the engine said another 5xx
    REFUSED = "refused"  # the engine said another 4xx: the request is at fault
    FIRST_BYTE = "first_byte_timeout"
    BETWEEN = "between_timeout"  # silence inside an answer
    TOO_LONG = "too_long"  # the answer passed the longest allowed time


class Next(StrEnum):
    """What follows a failed try."""

    SAME = "same"  # again on a new connection to the same replica
    ELSEWHERE = "elsewhere"  # again on another replica, or on this one when there is no other
    GIVE_UP = "give-up"  # the caller is told


_UNSENT = frozenset({Failure.CONNECT})
_REPEATABLE = frozenset({Failure.LOST, Failure.GARBAGE, Failure.BUSY})
SUSPICIOUS = frozenset({Failure.CONNECT, Failure.LOST, Failure.GARBAGE})
"""Failures after which a replica gets no new work for a moment."""


def after_failure(failure: Failure, *, sent: int, answering: bool, limit: int) -> Next:
    """What to do after a failed try.

    failure    how it ended
    sent       tries so far, this one too, in which the request reached a replica; a stale
               connection does not count, because the caller opens a new one next time
    answering  whether any byte of the answer has gone to the caller
    limit      the most tries that may reach a replica

    A try that was never sent is repeated without counting: the time a request may wait bounds
    it. Timeouts and other engine errors are final, since a repetition would only add load.
    """
    if answering:
        return Next.GIVE_UP
    if failure is Failure.STALE:
        return Next.SAME
    if failure in _UNSENT:
        return Next.ELSEWHERE
    return Next.ELSEWHERE if failure in _REPEATABLE and sent < limit else Next.GIVE_UP
