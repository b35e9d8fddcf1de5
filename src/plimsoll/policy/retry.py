"""Whether a failed try is followed by another: elsewhere, bounded. Pure.

Before the first byte that is the request once more; after it, the rest of the answer.
"""

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


_CONTINUED = _REPEATABLE | {Failure.ENGINE, Failure.FIRST_BYTE, Failure.BETWEEN}
MOST_BREAKS = 16
"""How often one answer may break off and be continued."""

MOST_REPEATED = 1024
"""Tokens that are generated again, so that an answer at temperature 0 goes on exactly as it would
have. Beyond, the caller would wait too long: half a minute at 40 tokens per second.
"""


def after_failure(
    failure: Failure, *, sent: int, answering: bool, limit: int, resumable: bool = False
) -> Next:
    """What to do after a failed try.

    failure    how it ended
    sent       tries so far, this one too, in which the request reached a replica, and since the
               caller last got a part of the answer; a stale connection does not count, because
               the caller opens a new one next time
    answering  whether any byte of the answer has gone to the caller
    limit      the most tries that may reach a replica
    resumable  whether the rest of the answer can be generated elsewhere

    A try that was never sent is repeated without counting: the time a request may wait bounds
    it. Timeouts and other engine errors are final before the first byte, since a repetition
    would only add load; after it, the caller has no way to ask again for the rest alone.
    """
    if answering and not resumable:
        return Next.GIVE_UP
    if failure is Failure.STALE:
        return Next.SAME
    if failure in _UNSENT:
        return Next.ELSEWHERE
    repeatable = _CONTINUED if answering else _REPEATABLE
    return Next.ELSEWHERE if failure in repeatable and sent < limit else Next.GIVE_UP
