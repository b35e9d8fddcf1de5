"""Carries one stream over the death of its replica: keeps what was sent, asks for the rest.

A stream that never breaks pays for the keeping alone; what was sent is read when it breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from msgspec import MsgspecError, ValidationError, convert

from plimsoll.gateway.continuation import (
    Resumption,
    UnsoundError,
    body_to_count,
    body_to_resume,
    choices,
    resume,
    shorten,
    wants_usage,
)
from plimsoll.gateway.continuation_sent import Sent, read_sent
from plimsoll.gateway.continuation_splice import DivergedError, Splice, finish
from plimsoll.gateway.continuation_tokens import cut_of, question
from plimsoll.gateway.engine_json import Usage
from plimsoll.gateway.events import DONE
from plimsoll.policy.requests.types import Served
from plimsoll.policy.retry import MOST_BREAKS
from plimsoll.units import MIB

_MOST_KEPT: Final = 8 * MIB  # of one stream
_MOST_IN_ALL: Final = 256 * MIB
_NOTHING = Resumption(drop={}, exact=True)
_UNREADABLE = (MsgspecError, UnicodeError, TypeError, OverflowError, RecursionError)
"""What JSON of an odd shape may raise that is read or written."""


class Kept:
    """What all streams keep together.

    size  bytes
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Carrying:
    """One stream. It keeps nothing any more once it is too long, or all are together; `release`
    is to be called at its end.

    splicing   whether the engine's events must be changed to fit
    usage      of the whole answer, as far as it was told
    uncounted  whether the engine has still to be asked for the tokens of a text, see `question`
    rest       the request for the rest, once the tokens are known
    """

    __slots__ = (
        "_body", "_breaks", "_diverged", "_engine", "_kept", "_pieces", "_resumption", "_sent",
        "_size", "_splice", "_total_only", "rest", "splicing", "uncounted",
    )  # fmt: skip

    def __init__(self, body: bytes, engine: Served, kept: Kept) -> None:
        """The stream that answers `body` as `engine` gets it."""
        self._kept = kept
        self._body = body
        self._engine = engine
        self._pieces: list[bytes] | None = []
        self._size = 0
        self._breaks = 0
        self._diverged = False
        self._sent: Sent | None = None
        self._resumption = _NOTHING
        self._total_only = False
        self._splice: Splice | None = None
        self.splicing = False
        self.uncounted = False
        self.rest = body

    def keep(self, events: bytes) -> None:
        """These whole events go to the caller."""
        pieces = self._pieces
        if pieces is not None:
            size = len(events)
            pieces.append(events)
            self._size += size
            self._kept.size += size
            if self._size > _MOST_KEPT or self._kept.size > _MOST_IN_ALL:
                self.release()

    def release(self) -> None:
        """Let go of what was kept."""
        self._pieces = None
        self._kept.size -= self._size
        self._size = 0

    def spliced(self, events: bytes) -> bytes:
        """Events of an engine as the caller gets them. Raises DivergedError when they do not fit,
        and ValueError when they are of no known shape.
        """
        assert self._splice is not None
        try:
            return self._splice.feed(events)
        except DivergedError:
            self._diverged = True
            raise
        except _UNREADABLE as error:
            raise ValueError("events of no known shape") from error

    def retreats(self) -> bool:
        """The engine refused to go on from given text: whether it can begin anew instead."""
        if not self._resumption.given:
            return False
        self._engine = replace(self._engine, continues=False)
        self._diverged = False
        return True

    @property
    def usage(self) -> Usage | None:
        """See the class."""
        told = (self._splice and self._splice.usage) or (self._sent and self._sent.usage)
        try:
            return convert(told, Usage) if told else None
        except ValidationError:  # a usage of another shape is the caller's to read
            return None

    def broke(self, *, reached: bool = True) -> bytes | None:
        """The stream broke off. Events that go to the caller now; None when there are none.
        `rest` is then to be asked for, after `question` when `uncounted`, unless the events end
        the stream or are empty: then it is whole. Raises UnsoundError when it cannot be.

        reached  whether the last try reached a replica; others may fail as often as they will
        """
        if self._pieces is None:
            raise UnsoundError("too much was sent to be kept")
        try:
            return self._broke(self._pieces, reached=reached)
        except _UNREADABLE as error:
            raise UnsoundError("its request cannot be written anew") from error

    def _broke(self, pieces: list[bytes], *, reached: bool) -> bytes | None:
        try:
            self._sent = sent = read_sent(b"".join(pieces))
        except (ValueError, RecursionError) as error:
            raise UnsoundError("it holds events of no known shape") from error
        if sent.done:
            return b""
        self._total_only = len(sent.finished) >= choices(self._body)
        if self._total_only:
            self._resumption = _NOTHING
            if sent.total or not wants_usage(self._body):
                return DONE
        else:
            self._resumption = resume(sent, self._body, self._engine, diverged=self._diverged)
        self._breaks += reached
        if self._breaks > MOST_BREAKS:
            raise UnsoundError(f"it broke off {self._breaks} times")
        self.uncounted = bool(self._engine.text_counter and self._counts())
        if not self.uncounted:
            return self._prepare(len(self._counts()))
        return None

    def _counts(self) -> Sequence[str]:
        """The pieces of the text whose tokens must be known."""
        if not self._total_only or self._sent is None:
            return self._resumption.pieces
        return [piece for text in self._sent.pieces.values() for piece in text]

    def question(self) -> bytes:
        """What the engine is asked for the tokens of a text, at its path for that."""
        return question(self._engine.name, self._counts())

    def counted(self, answer: bytes) -> bytes | None:
        """Take the engine's answer to `question`, empty when it gave none. Events that go to the
        caller now; None when there are none. `rest` is then to be asked for, unless the events
        end the stream. Raises UnsoundError when it cannot be.
        """
        try:
            return self._counted(answer)
        except _UNREADABLE as error:
            raise UnsoundError("its request cannot be written anew") from error

    def _counted(self, answer: bytes) -> bytes | None:
        cut = cut_of(self._counts(), answer)
        if not self._total_only:
            assert self._sent is not None
            self._resumption = shorten(self._resumption, self._sent, cut.alike)
        return self._prepare(sum(cut.tokens[: len(self._counts())]))

    def _prepare(self, tokens: int) -> bytes | None:
        """Make the request for the rest, when the text has so many tokens."""
        self.uncounted = False
        sent, ending = self._sent, None
        assert sent is not None
        self.splicing = True
        if not self._total_only:
            rest = body_to_resume(self._body, self._resumption, tokens, self._engine)
            if rest is not None:
                self.rest = rest
                self._splice = Splice(sent, self._resumption, tokens)
                return None
            ending = finish(sent, "length", chat="text" not in sent.pieces)
            if not wants_usage(self._body):
                return ending + DONE
            sent.finished[0] = "length"
            self._total_only = True
        self.rest = body_to_count(self._body)
        self._splice = Splice(sent, _NOTHING, sent.tokens(tokens), total_only=True)
        return ending
