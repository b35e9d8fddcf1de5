"""What an engine's answer must be before a caller may have it: streamed, whole, or assembled.

Each takes the head and the data of one try and either yields bytes for the caller or raises
TryFailed; garbage never becomes a success.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from plimsoll.errors import Failed
from plimsoll.gateway.assemble import Assembler, as_stream
from plimsoll.gateway.engine_json import NULL, Usage, Whole, decode_usage, decode_whole
from plimsoll.gateway.errors import Refused, engines_too_long
from plimsoll.gateway.events import (
    DONE,
    EngineEventError,
    EventSplitter,
    before_trouble,
    begins,
    sound,
    to_done,
    without_progress,
)
from plimsoll.gateway.json_splice import added, replaced
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.surfaces import Call
from plimsoll.gateway.upstream import Head
from plimsoll.policy.requests.types import Served
from plimsoll.policy.retry import Failure
from plimsoll.providers.server_events import payloads
from plimsoll.units import size

_LONGEST: Final = 2000  # characters of an engine's own message that are passed on
_EVENTS: Final = b"text/event-stream"
_SHORT = len(DONE) + 2  # bytes of `[DONE]`, however its lines end


class TryFailed(Failed):
    """One try at a replica did not bring an answer.

    failure  how it failed
    refused  what the caller is told when there is no other try
    """

    def __init__(self, failure: Failure, refused: Refused) -> None:
        super().__init__(refused.message, code=refused.code)
        self.failure = failure
        self.refused = refused


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Answer(Protocol):
    """One try's answer as it comes in.

    usage  tokens, once they are known
    """

    usage: Usage | None

    def data(self, data: bytes) -> bytes:
        """Take more of the body; the bytes that may go to the caller now. Raises TryFailed."""
        ...

    def end(self) -> bytes:
        """The body is whole; what is left for the caller. Raises TryFailed."""
        ...


def body_for_engine(call: Call, body: bytes) -> bytes:
    """The body as the engine gets it: as it came, but for two things.

    An alias becomes the name that the engine knows. An engine that notices a caller that left
    only when it writes is asked for a stream, and for its progress on the prompt.
    """
    if call.named:
        body = replaced(body, "model", _encode(call.served.name))
    if _assembles(call):
        body = as_stream(body)
    fields = _added_fields(call, body)
    if fields:
        body = added(body, {name: _encode(value) for name, value in fields.items()})
    return body


def answer_to(head: Head, call: Call, body: bytes, settings: GatewaySettings) -> Answer:
    """What to do with an answer of that head.

    body  as the caller sent it

    Raises TryFailed when it can be no answer.
    """
    if head.encoded:
        raise garbage("the engine's answer is compressed")
    if head.status != 200:
        return EngineError(head.status, settings)
    events = head.content_type.startswith(_EVENTS)
    if events != (call.stream or _assembles(call)):
        kind = head.content_type.decode("latin-1")[:80] or "no content type"
        raise garbage(f"the engine answered with {kind}")
    if not events:
        return WholeAnswer(settings)
    if call.stream:
        hide = adapts(call.served) and bool(_added_fields(call, body))
        return StreamedAnswer(settings, hide_progress=hide)
    return AssembledAnswer(settings)


def adapts(served: Served) -> bool:
    """Whether requests are changed for the engine."""
    return served.assemble or bool(served.stream_fields)


def _assembles(call: Call) -> bool:
    return call.served.assemble and call.surface.streams and not call.stream


def _added_fields(call: Call, body: bytes) -> dict[str, bool]:
    """Fields that we alone ask for; what a caller sets by itself stays the caller's."""
    fields = call.served.stream_fields
    if not fields or not (call.stream or _assembles(call)):
        return {}
    return {name: value for name, value in fields.items() if b'"%b"' % name.encode() not in body}


def garbage(message: str) -> TryFailed:
    """A try that failed because the answer was none."""
    return TryFailed(Failure.GARBAGE, Refused("bad_answer", message))


class StreamedAnswer:
    """Events that go to the caller as they come, each one whole.

    done  whether `[DONE]` was among them: nothing after it counts
    """

    def __init__(self, settings: GatewaySettings, *, hide_progress: bool) -> None:
        self.usage: Usage | None = None
        self._splitter = EventSplitter()
        self._limit = settings.max_event
        self._hide_progress = hide_progress
        self._begun = False
        self._last = b""
        self.done = False
        self._failed: TryFailed | None = None

    def data(self, data: bytes) -> bytes:
        """The whole events of what has come. An engine's error is not among them: it is raised,
        after what came before it was returned.
        """
        if self._failed is not None:
            raise self._failed
        if self.done:
            return b""
        events = self._splitter.whole(data)
        if events:
            if not self._begun:
                if not begins(events):
                    raise garbage("the engine's answer is not a stream of events")
                self._begun = True
            if self._hide_progress:
                events = without_progress(events)
            if not sound(events):
                events = self._before_trouble(events)
            if events.find(b"[DONE]") >= 0:  # a third faster than `in`, at every read
                events, self.done = to_done(events)
                if self.done:
                    self._failed = None
            # Usage stands in the last two events at most.
            self._last = self._last[-4096:] + events if len(events) <= _SHORT else events
        elif len(self._splitter.held) > self._limit:
            raise garbage(f"one event of the engine is over {size(self._limit)}")
        return events

    def _before_trouble(self, events: bytes) -> bytes:
        before, error = before_trouble(events)
        self._failed = (
            engine_said(502, error)
            if error is not None
            else garbage("the engine's stream has an event that is none")
        )
        if not before:
            raise self._failed
        return before

    def end(self) -> bytes:
        """Nothing is left; raises when the stream did not end as streams do."""
        if self._failed is not None:
            raise self._failed
        if not self.done:
            where = "inside an event" if self._splitter.held.strip() else "early"
            raise lost(f"the engine's stream ended {where}")
        self._read_usage(self._last)
        return b""

    def _read_usage(self, tail: bytes) -> None:
        if b'"usage"' in tail:
            for payload in payloads(tail):
                if payload.startswith(b"{"):
                    self.usage = _usage(payload) or self.usage


class WholeAnswer:
    """A JSON body, kept until it is whole."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.usage: Usage | None = None
        self._limit = settings.max_reply
        self._pieces: list[bytes] = []
        self._size = 0

    def data(self, data: bytes) -> bytes:
        """Nothing yet."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._limit:
            raise garbage(f"the engine's answer is over {size(self._limit)}")
        return b""

    def end(self) -> bytes:
        """The body as the engine wrote it, checked to be a JSON object in UTF-8."""
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        try:
            if not body.isascii():
                str(body, "utf-8")
            answer = decode_whole(body)
            said = None if answer.error is NULL else _decode(answer.error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise garbage("the engine's answer is not a JSON object") from error
        if said is not None:
            raise engine_said(502, said)
        self.usage = _usage_of(answer)
        return body


class AssembledAnswer:
    """A stream that the caller gets as one JSON body."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.usage: Usage | None = None
        self._limit = settings.max_reply
        self._size = 0
        self._assembler = Assembler()

    @property
    def begun(self) -> bool:
        """Whether any part of an answer has come."""
        return self._assembler.begun

    def data(self, data: bytes) -> bytes:
        """Nothing yet."""
        self._size += len(data)
        if self._size > self._limit:
            raise garbage(f"the engine's answer is over {size(self._limit)}")
        try:
            self._assembler.feed(data)
        except EngineEventError as told:
            raise engine_said(502, told.error) from told
        except (ValueError, RecursionError) as error:
            raise garbage("the engine's stream has events of no known shape") from error
        return b""

    def end(self) -> bytes:
        """The assembled body."""
        if not self._assembler.done:
            raise lost("the engine's stream ended early")
        try:
            body = self._assembler.body()
        except ValueError as error:
            raise garbage("the engine's stream has no answer in it") from error
        self.usage = _usage(body)
        return body


class CountAnswer:
    """What an engine says of the tokens of a text, if it does."""

    def __init__(self, head: Head, settings: GatewaySettings) -> None:
        self.usage: Usage | None = None
        self._told = head.status == 200 and not head.encoded
        self._limit = settings.max_reply
        self._body = bytearray()

    def data(self, data: bytes) -> bytes:
        """Nothing yet."""
        if self._told:
            self._body += data
            self._told = len(self._body) <= self._limit
        return b""

    def end(self) -> bytes:
        """What it said; empty for anything but an answer."""
        return bytes(self._body) if self._told else b""


class EngineError:
    """An answer with a status other than 200: never a success, whatever it says."""

    def __init__(self, status: int, settings: GatewaySettings) -> None:
        self.usage: Usage | None = None
        self._status = status
        self._limit = settings.max_head
        self._body = b""

    def data(self, data: bytes) -> bytes:
        """Nothing ever; what is over the limit is left out."""
        self._body = (self._body + data)[: self._limit]
        return b""

    def end(self) -> bytes:
        """Raises TryFailed."""
        try:
            said = _decode(self._body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            said = None
        # SGLang says it without an `error` around it.
        raise engine_said(self._status, said.get("error", said) if isinstance(said, dict) else None)


def lost(message: str) -> TryFailed:
    """A try whose answer broke off."""
    return TryFailed(Failure.LOST, Refused("replica_lost", message))


def engine_said(status: int, error: object) -> TryFailed:
    """The failure for an engine's status and what stood under `error` in its body."""
    said: dict[str, Any] = error if isinstance(error, dict) else {}
    code = said.get("code")
    if status == 502 and isinstance(code, int) and 400 <= code < 600:
        status = code  # inside a stream the status stands in the event
    message = said.get("message")
    if not isinstance(message, str):
        message = error if isinstance(error, str) else f"the engine answered {status}"
    message = message[:_LONGEST].rstrip(". \n")
    if status in (429, 503):
        return TryFailed(Failure.BUSY, Refused("engine_busy", message))
    if 400 <= status < 500:
        too_long = engines_too_long(message)
        if too_long is not None:
            return TryFailed(Failure.REFUSED, too_long)
        kind, param = said.get("type"), said.get("param")
        return TryFailed(
            Failure.REFUSED,
            Refused(
                "engine_refused",
                message,
                status=status,
                type=kind if isinstance(kind, str) else None,
                param=param if isinstance(param, str) else None,
            ),
        )
    if status >= 500:
        return TryFailed(Failure.ENGINE, Refused("engine_error", message))
    return garbage(f"the engine answered {status}")


def _usage(body: bytes) -> Usage | None:
    try:
        return _usage_of(decode_whole(body))
    except msgspec.DecodeError:
        return None


def _usage_of(answer: Whole) -> Usage | None:
    if bytes(answer.usage) == b"null":
        return None
    try:
        return decode_usage(answer.usage)
    except msgspec.DecodeError:  # a usage of another shape is the caller's to read
        return None
