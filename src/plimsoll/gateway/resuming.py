"""How one request goes on when its stream broke off: what of the answer its caller has, and what
the next engine is asked for.
"""

from __future__ import annotations

from time import monotonic

from plimsoll.gateway.answers import Answer
from plimsoll.gateway.carrying import Carrying
from plimsoll.gateway.continuation import UnsoundError
from plimsoll.gateway.engine_json import Usage
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.events import DONE
from plimsoll.gateway.one_try import OneTry
from plimsoll.gateway.surfaces import Call
from plimsoll.policy.requests.types import Ticket


class Resuming(OneTry):
    """See the module's docstring; `Exchange` says how it begins and ends."""

    _call: Call
    _ticket: Ticket
    _last: Refused | None  # what the last failed try would tell the caller
    _carrying: Carrying | None = None
    _answer: Answer | None

    def _say(self, events: bytes) -> bool:
        """Have the caller get events; False when that ended the exchange."""
        raise NotImplementedError

    def _streamed(self, usage: Usage | None) -> None:
        """The stream is whole."""
        raise NotImplementedError

    def _refuse(self, refused: Refused, retry_after: float = 0.0) -> None:
        """Tell the caller an error, and end the exchange."""
        raise NotImplementedError

    def _resumes(self, refused: Refused, *, reached: bool = True) -> bool:
        """Prepare to ask for the rest of the stream; False when that cannot be. Ends the exchange
        when nothing of the answer is missing.

        reached  whether the last try reached a replica
        """
        carrying = self._carrying
        if carrying is None:
            return False
        try:
            ending = carrying.broke(reached=reached)
        except UnsoundError as error:
            self._last = Refused(
                refused.code,
                f"{refused.message}; the rest cannot be generated elsewhere: {error}",
                type=refused.type,
            )
            return False
        return self._aim(carrying, ending)

    def _aim(self, carrying: Carrying, events: bytes | None) -> bool:
        """Send events on, and prepare what the next engine is asked; False when they are the
        last.
        """
        if events is not None and (not events or events.endswith(DONE)):
            self._complete(carrying, events)
            return False
        if events is not None:
            carrying.keep(events)
            if not self._say(events):
                return False
        self._counting = carrying.uncounted
        counter = self._call.served.text_counter
        if self._counting and counter is not None:
            self._path = counter.path.encode()
            self._body = carrying.question()
        else:
            self._path = self._call.surface.engine_path
            self._body = carrying.rest
        return True

    def _counted(self, answer: bytes) -> None:
        """The engine told the tokens of a text: ask for the rest."""
        carrying, place = self._carrying, self._ticket.place
        assert carrying is not None
        assert place is not None
        self._counting = False
        try:
            events = carrying.counted(answer)
        except UnsoundError as error:
            self._refuse(Refused("replica_lost", f"the answer broke off: {error}"))
            return
        if self._aim(carrying, events):
            self._go(place.upstream, monotonic())

    def _rejoin(self) -> None:
        """Ask the same replica for the rest in another way."""
        self._drop_connection()
        self._answer = None
        place = self._ticket.place
        assert place is not None
        if self._resumes(Refused("replica_lost", "the answer broke off")):
            self._go(place.upstream, monotonic())
        elif self.phase != "over":
            assert self._last is not None
            self._refuse(self._last)

    def _complete(self, carrying: Carrying, events: bytes) -> None:
        """Nothing is missing but these events."""
        if not events or self._say(events):
            self._streamed(carrying.usage)
