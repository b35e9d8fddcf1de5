"""Long work in short turns: KEDA is answered in between."""

from __future__ import annotations

import asyncio
from time import monotonic

_TURN_SECONDS = 0.0002
"""A call of KEDA's passes through the event loop some five times, and meets a turn each time."""
_TURNS = 5
_REST_SECONDS = 0.001
"""After so many turns nothing is done for a while, so that the machine, too, thinks of us as one
that seldom wants a processor, and gives it at once when a call comes."""


class Turns:
    """Lets others run when a turn is over."""

    __slots__ = ("_left", "_until")

    def __init__(self) -> None:
        self._until = monotonic() + _TURN_SECONDS
        self._left = _TURNS

    async def pause(self) -> None:
        """To be called after every small piece of work."""
        if monotonic() < self._until:
            return
        self._left -= 1
        if self._left:
            await asyncio.sleep(0)
        else:
            self._left = _TURNS
            await asyncio.sleep(_REST_SECONDS)
        self._until = monotonic() + _TURN_SECONDS
