"""What recent requests did, for whoever asks about one by its id. Bounded; no text of theirs."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

KEPT: Final = 2000  # requests, a third of a KiB each


class Story(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request that is over.

    key         its id, with what keeps tenants apart before it
    surface     where it came
    model       that it was for at the end, after fallbacks
    replica     the last that worked on it, empty when none did
    status      HTTP status; 499 when the caller left first
    code        error code, empty when all went well
    streamed    whether the answer was streamed
    seconds     from the whole request to the end of the answer
    queued      seconds of that in the queue
    first_byte  seconds until the first byte of the answer, or None
    tries       tries that reached a replica
    continued   times that the answer went on at another replica
    """

    key: bytes
    surface: str
    model: str
    replica: str
    status: int
    code: str
    streamed: bool
    seconds: float
    queued: float
    first_byte: float | None
    tries: int
    continued: int = 0


class Recent:
    """The last requests that ended."""

    def __init__(self) -> None:
        self._stories: deque[Story] = deque(maxlen=KEPT)
        self.add = self._stories.append

    def find(self, key: bytes) -> Story | None:
        """The last request of that key; None when it is not known, or no longer."""
        return next((story for story in reversed(self._stories) if story.key == key), None)
