"""A stream of chat completions, read event by event on its way into another API. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod

from plimsoll.providers.chat_answer import DONE, Answer, read
from plimsoll.providers.server_events import payloads


class ChatStream(ABC):
    """What every StreamTranslation does with the events that it is fed."""

    __slots__ = ("_out", "_over")

    def __init__(self) -> None:
        self._out = bytearray()  # events for the caller that were not handed over yet
        self._over = False

    def feed(self, events: bytes) -> bytes:
        """See StreamTranslation."""
        for payload in payloads(events):
            if self._over:
                break
            if payload == DONE:
                self._finish()
            else:
                self._take(read(payload))
        return self._flushed()

    def _flushed(self) -> bytes:
        out = bytes(self._out)
        self._out.clear()
        return out

    @abstractmethod
    def _take(self, answer: Answer) -> None:
        """One event of the answer."""

    @abstractmethod
    def _finish(self) -> None:
        """The answer is whole."""
