"""One request for a model, from its whole body to the end of its answer.

It waits for a place, tries a replica, relays the answer, and tries again where policy says so.
It owns its ticket and its upstream connection and gives both up in one place, `_over`.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from plimsoll.gateway import http_reply
from plimsoll.gateway.answers import Answer, TryFailed, answer_to, body_for_engine
from plimsoll.gateway.board import Board
from plimsoll.gateway.errors import Refused, error_event
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.queue import Ticket, Upstream
from plimsoll.gateway.record import Record
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.surfaces import Call
from plimsoll.gateway.upstream import Head, Opening, Pool, UpstreamConnection
from plimsoll.policy.retry import SUSPICIOUS, Failure, Next, after_failure
from plimsoll.telemetry.access_log import AccessLog
from plimsoll.telemetry.metrics import GatewayMetrics
from plimsoll.units import duration

CLIENT_LEFT = 499
"""Status in metrics and logs of a request whose caller left; never sent."""


class Client(Protocol):
    """The caller's side of an exchange.

    deadline  when the exchange's time is up, seconds of the monotonic clock
    paused    whether the caller takes no more bytes for now
    """

    deadline: float
    paused: bool

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def keeps(self, request: Request) -> bool:
        """Whether the connection may be used again after this request."""
        ...

    def answered(self, request: Request, *, keep_alive: bool) -> None:
        """The answer is sent; the connection goes on or is closed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every exchange of a gateway works with."""

    board: Board
    pool: Pool
    settings: GatewaySettings
    metrics: GatewayMetrics
    log: AccessLog | None


class Exchange:
    """See the module's docstring.

    phase  queued | connecting | waiting | answering | over
    """

    phase = "queued"
    _head = False  # whether the caller has the head of a stream
    _end = 0.0
    _ticket: Ticket | None = None
    _connection: UpstreamConnection | None = None
    _opening: Opening | None = None
    _answer: Answer | None = None

    def __init__(
        self, means: Means, client: Client, request: Request, request_id: bytes, call: Call
    ) -> None:
        self._means = means
        self._client = client
        self._request = request
        self._request_id = request_id
        self._call = call
        self._body = request.body
        self._record = Record(means.metrics, means.log, call, request_id, monotonic())
        self._wait_end = self._record.arrived + call.queue.patience(means.settings.queue_wait)

    def begin(self) -> None:
        """Ask for a place."""
        queue = self._call.queue
        if queue.adapts or self._call.alias:
            self._body = body_for_engine(self._call, self._body)
        try:
            ticket = queue.enter(len(self._body), self._granted, self._record.arrived, self._refuse)
        except Refused as refused:
            self._refuse(refused)
            return
        self._ticket = ticket
        if ticket.place is not None:
            self._granted()
        else:
            self._wait()

    def _wait(self) -> None:
        self.phase = "queued"
        self._client.deadline = self._wait_end

    def _granted(self) -> None:
        """A place is ours: open a connection, or use a kept one."""
        assert self._ticket is not None
        assert self._ticket.place is not None
        upstream = self._ticket.place.upstream
        now = monotonic()
        self._record.granted(upstream.replica, now)
        kept = self._means.pool.take(upstream, now)
        if kept is not None:
            self._send(kept, now)
        else:
            self._open(upstream)

    def _open(self, upstream: Upstream) -> None:
        self.phase = "connecting"
        self._client.deadline = monotonic() + self._means.settings.connect_seconds
        self._opening = self._means.pool.open(upstream, self._opened)

    def _opened(self, connection: UpstreamConnection | None, reason: str) -> None:
        self._opening = None
        if connection is None:
            self._failed(Failure.CONNECT, Refused("replica_lost", f"no connection: {reason}"))
        else:
            self._send(connection, monotonic())

    def _send(self, connection: UpstreamConnection, now: float) -> None:
        self.phase = "waiting"
        self._record.sent += 1
        settings = self._means.settings
        self._end = now + settings.max_stream
        self._client.deadline = min(now + settings.first_byte_seconds, self._end)
        self._connection = connection
        head = (
            b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nx-request-id: %b\r\n%b\r\n"
        ) % (
            self._call.surface.path,
            connection.kept.authority,
            len(self._body),
            self._request_id,
            self._request.trace,
        )
        connection.send(head, self._body, self)

    # What follows is told by the upstream connection.

    def upstream_head(self, head: Head) -> None:
        """The replica's headers are whole."""
        try:
            self._answer = answer_to(head, self._call, self._request.body, self._means.settings)
        except TryFailed as failed:
            self._try_failed(failed)

    def upstream_data(self, data: bytes) -> None:
        """More of the replica's answer."""
        assert self._answer is not None
        try:
            out = self._answer.data(data)
        except TryFailed as failed:
            self._try_failed(failed)
            return
        now = monotonic()
        self.phase = "answering"
        self._record.read(now)
        if out:
            self._relay(out, now)
        settings = self._means.settings
        patience = settings.write_seconds if self._client.paused else settings.between_seconds
        self._client.deadline = min(now + patience, self._end)

    def _relay(self, events: bytes, now: float) -> None:
        framed = events if self._request.http10 else http_reply.chunk(events)
        if not self._head:
            self._head = True
            self._record.began(now)
            framed = self._stream_head() + framed
        self._client.write(framed)

    def _stream_head(self) -> bytes:
        request = self._request
        keep_alive = self._client.keeps(request) and not request.http10
        return http_reply.stream_head(
            request=request, request_id=self._request_id, keep_alive=keep_alive
        )

    def upstream_done(self) -> None:
        """The replica's answer is whole, and its connection given back."""
        self._connection = None
        assert self._answer is not None
        try:
            body = self._answer.end()
        except TryFailed as failed:
            self._try_failed(failed)
            return
        self._record.tokens(self._answer.usage)
        if self._call.stream:
            self._end_stream(code="")
        else:
            self._reply(body)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """The replica's answer broke off, and its connection is gone."""
        self._connection = None
        code = "bad_answer" if failure is Failure.GARBAGE else "replica_lost"
        self._failed(failure, Refused(code, f"the answer broke off: {detail}"))

    # What follows ends a try or the exchange.

    def _try_failed(self, failed: TryFailed) -> None:
        self._failed(failed.failure, failed.refused)

    def _failed(self, failure: Failure, refused: Refused) -> None:
        """A try failed: another one, or tell the caller."""
        self._drop_connection()
        self._answer = None
        ticket = self._ticket
        assert ticket is not None
        assert ticket.place is not None
        self._record.failed(failure)
        now = monotonic()
        if failure in SUSPICIOUS:
            until = now + self._means.settings.suspect_seconds
            self._call.queue.suspect(ticket.place, until)
        then = after_failure(
            failure, sent=self._record.sent, answering=self._head, limit=self._means.settings.tries
        )
        if then is Next.GIVE_UP:
            self._refuse(refused)
            return
        self._record.retried(failure)
        if then is Next.SAME:
            self._record.sent -= 1
            self._open(ticket.place.upstream)
            return
        self._record.since = now
        if failure is not Failure.CONNECT:  # it did reach a replica, so it may wait anew
            self._wait_end = now + self._call.queue.patience(self._means.settings.queue_wait)
        try:
            placed = ticket.again(now)
        except Refused as gone:
            self._refuse(gone)
            return
        if placed:
            self._granted()
        else:
            self._wait()

    def expire(self, now: float) -> None:
        """Its deadline has passed."""
        if self.phase == "queued":
            self._refuse(
                Refused(
                    "no_replica", f"no replica was free in {duration(now - self._record.since)}"
                )
            )
        elif self.phase == "connecting":
            self._failed(Failure.CONNECT, Refused("replica_lost", "a replica did not accept"))
        elif now >= self._end:
            self._failed(Failure.TOO_LONG, Refused("stream_too_long", "the answer took too long"))
        elif self.phase == "waiting":
            refused = Refused("upstream_timeout", "the engine did not begin to answer in time")
            self._failed(Failure.FIRST_BYTE, refused)
        else:
            refused = Refused("upstream_timeout", "the engine fell silent")
            self._failed(Failure.BETWEEN, refused)

    def cut(self, refused: Refused) -> None:
        """End it now with an error, because the gateway must."""
        self._refuse(refused)

    def cancel(self) -> None:
        """The caller has left: stop the work at once, wherever it is."""
        if self.phase == "over":
            return
        self._record.cancelled(self.phase)
        self._over(CLIENT_LEFT, "cancelled")

    def pause(self) -> None:
        """The caller takes no more bytes for now."""
        if self._connection is not None:
            self._connection.pause()
            now = monotonic()
            self._client.deadline = min(now + self._means.settings.write_seconds, self._end)

    def resume(self) -> None:
        """The caller takes bytes again."""
        if self._connection is not None:
            self._connection.resume()
            now = monotonic()
            self._client.deadline = min(now + self._means.settings.between_seconds, self._end)

    def _refuse(self, refused: Refused) -> None:
        self._record.refused(refused.code, broken=self._head)
        if self._head:
            self._client.write(self._framed(error_event(refused)))
            self._end_stream(code=refused.code)
            return
        keep_alive = self._client.keeps(self._request)
        self._client.write(
            http_reply.refusal(
                refused,
                request=self._request,
                request_id=self._request_id,
                keep_alive=keep_alive,
                retry_after=self._means.settings.retry_after,
            )
        )
        self._over(refused.status, refused.code)
        self._client.answered(self._request, keep_alive=keep_alive)

    def _reply(self, body: bytes) -> None:
        keep_alive = self._client.keeps(self._request)
        self._client.write(
            http_reply.whole(
                200, body, request=self._request, request_id=self._request_id,
                keep_alive=keep_alive,
            )
        )  # fmt: skip
        self._over(200, "")
        self._client.answered(self._request, keep_alive=keep_alive)

    def _end_stream(self, *, code: str) -> None:
        request = self._request
        if not self._head:
            self._head = True
            self._client.write(self._stream_head())
        if not request.http10:
            self._client.write(http_reply.LAST_CHUNK)
        self._over(200, code)
        self._client.answered(request, keep_alive=request.keep_alive and not request.http10)

    def _framed(self, data: bytes) -> bytes:
        return data if self._request.http10 else http_reply.chunk(data)

    def _over(self, status: int, code: str) -> None:
        """Release everything, and count and log what it was."""
        self.phase = "over"
        now = monotonic()
        self._drop_connection()
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.leave(now)
        self._record.over(status, code, now)

    def _drop_connection(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
