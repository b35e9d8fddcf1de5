"""The last decisions of a router, cheap to note down, put in words only when somebody asks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from plimsoll.policy.routing.protocol import Candidate, Explanation

KEPT: Final = 2_000
"""Decisions remembered per model."""

SHOWN: Final = 8
"""Replicas remembered per decision."""

Note = TypeVar("Note")


class Decisions(Generic[Note]):
    """The last ones of a model; the oldest is forgotten for the newest.

    note  takes one: whose request, and anything that the reader understands later
    """

    __slots__ = ("_noted", "_read", "note")

    def __init__(self, read: Callable[[Note], Explanation]) -> None:
        self._noted: deque[tuple[str | bytes, Note]] = deque(maxlen=KEPT)
        self._read = read
        self.note = self._noted.append

    def explain(self, request_id: str | bytes) -> Explanation | None:
        """The last decision for a request; None when it is no longer known."""
        wanted = _bytes(request_id)
        for known, note in reversed(self._noted):
            if _bytes(known) == wanted:
                return self._read(note)
        return None


def explanation(model: str, chosen: str, why: str, candidates: Iterable[Candidate]) -> Explanation:
    """With the cheapest replica first and those out of the question last."""
    ordered = sorted(candidates, key=lambda each: (bool(each.reason), sum(each.terms.values())))
    return Explanation(model=model, chosen=chosen, why=why, candidates=tuple(ordered))


def _bytes(request_id: str | bytes) -> bytes:
    return request_id.encode() if isinstance(request_id, str) else request_id
