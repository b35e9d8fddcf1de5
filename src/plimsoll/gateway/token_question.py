"""One question to one replica: how many tokens a prompt has."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import msgspec

from plimsoll.facts.engines import Counter
from plimsoll.gateway.answers import EngineError, TryFailed, WholeAnswer, garbage
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.json_splice import replaced
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.surfaces import COMPLETIONS, EMBEDDINGS, Call, fitted
from plimsoll.gateway.upstream import Head, Opening, UpstreamConnection
from plimsoll.policy.requests.types import Upstream
from plimsoll.policy.retry import Failure

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode

Told = Callable[[int | TryFailed], None]


class Question:
    """One question to one replica: how many tokens? `told` gets the number, or why not."""

    __slots__ = (
        "_answer", "_connection", "_counter", "_means", "_message", "_opening", "_told",
        "_upstream",
    )  # fmt: skip

    def __init__(self, means: Means, counter: Counter, upstream: Upstream, told: Told) -> None:
        self._means = means
        self._counter = counter
        self._upstream = upstream
        self._told = told
        self._message = b""
        self._connection: UpstreamConnection | None = None
        self._opening: Opening | None = None
        self._answer: WholeAnswer | EngineError | None = None

    def ask(self, body: bytes, request: Request, request_id: bytes) -> None:
        """Ask the replica; `told` is called later."""
        self._message = (
            b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b"
        ) % (len(body), request_id, request.trace, body)
        kept = self._means.pool.take(self._upstream, monotonic())
        if kept is not None:
            self._send(kept)
        else:
            self._open()

    def _open(self) -> None:
        self._opening = self._means.pool.open(self._upstream, self._opened)

    def drop(self) -> None:
        """Ask no more; `told` will not be called."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _opened(self, connection: UpstreamConnection | None, reason: str) -> None:
        self._opening = None
        if connection is None:
            self._told(_lost(Failure.CONNECT, reason))
        else:
            self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        line = b"POST %b HTTP/1.1\r\nhost: %b\r\n"
        head = line % (self._counter.path.encode(), connection.kept.authority)
        connection.send(head, self._message, self)

    # What follows is told by the connection.

    def upstream_head(self, head: Head) -> None:
        """The headers are whole."""
        settings = self._means.settings
        good = head.status == 200
        self._answer = WholeAnswer(settings) if good else EngineError(head.status, settings)

    def upstream_data(self, data: bytes) -> None:
        """More of the answer."""
        assert self._answer is not None
        try:
            self._answer.data(data)
        except TryFailed as failed:
            self._end(failed)

    def upstream_done(self) -> None:
        """The answer is whole."""
        self._connection = None
        assert self._answer is not None
        try:
            self._end(self._read(self._answer.end()))
        except TryFailed as failed:
            self._end(failed)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """There will be no answer."""
        self._connection = None
        if failure is Failure.STALE:  # only a kept connection can be
            self._open()
            return
        self._end(_lost(failure, detail))

    def _read(self, body: bytes) -> int:
        """The number in an answer, or of the tokens in it."""
        try:
            told = _decode_any(_decode(body).get(self._counter.count, b"null"))
        except RecursionError as error:
            raise garbage("the engine's count is no number") from error
        if isinstance(told, list):
            return len(told)
        if isinstance(told, int) and not isinstance(told, bool) and told >= 0:
            return told
        raise garbage("the engine's count is no number")

    def _end(self, told: int | TryFailed) -> None:
        self.drop()
        self._told(told)


def _lost(failure: Failure, reason: str) -> TryFailed:
    return TryFailed(failure, Refused("replica_lost", f"the tokens were not counted: {reason}"))


def question_body(call: Call) -> tuple[Counter, bytes] | None:
    """How the prompt of a call is counted: how the engine is asked, and the body for that; None
    where its engine cannot, where it is no text, or nested too deeply.
    """
    try:
        return _question_body(call)
    except RecursionError:
        return None


def _question_body(call: Call) -> tuple[Counter, bytes] | None:
    served = call.served
    body = fitted(call)
    if call.surface not in (COMPLETIONS, EMBEDDINGS):
        if served.chat_counter is None:
            return None
        if call.named:
            body = replaced(body, "model", _encode(served.name))
        return served.chat_counter, body
    counter = served.text_counter
    text = _decode_any(_decode(body)["prompt" if call.surface is COMPLETIONS else "input"])
    if counter is None or not isinstance(text, str):
        return None
    model = call.named and served.name
    told = {**({"model": model} if model else {}), counter.text: text, **counter.fields}
    return counter, _encode(told)
