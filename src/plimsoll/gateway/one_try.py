"""One try of a request at one replica: a connection to it, its deadlines, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from plimsoll.gateway.board import Board
from plimsoll.gateway.carrying import Kept
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.reply import Client
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.upstream import Head, Opening, Pool, UpstreamConnection
from plimsoll.policy.requests.types import Upstream
from plimsoll.policy.retry import Failure
from plimsoll.telemetry.access_log import AccessLog
from plimsoll.telemetry.metrics import GatewayMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every exchange of a gateway works with.

    kept  what all of them keep of their streams
    """

    board: Board
    pool: Pool
    settings: GatewaySettings
    metrics: GatewayMetrics
    log: AccessLog | None
    kept: Kept = field(default_factory=Kept)


class OneTry:
    """What every try does alike; `Exchange` says what the answer is, and what follows a failure.

    phase  queued | connecting | waiting | answering | over
    """

    phase = "queued"
    _answering = False  # whether any part of a stream has been relayed
    _counting = False  # whether the engine is asked for the tokens of a text, not for an answer
    _tries = 0  # that reached a replica, since the last part of an answer was relayed
    _end = 0.0
    _path = b""
    _connection: UpstreamConnection | None = None
    _opening: Opening | None = None

    def __init__(self, means: Means, client: Client, request: Request, request_id: bytes) -> None:
        self._means = means
        self._client = client
        self._request = request
        self._request_id = request_id
        self._body = request.body

    # What follows is told by the upstream connection.

    def upstream_head(self, head: Head) -> None:
        """The replica's headers are whole."""
        raise NotImplementedError

    def upstream_data(self, data: bytes) -> None:
        """More of the replica's answer."""
        raise NotImplementedError

    def upstream_done(self) -> None:
        """The replica's answer is whole, and its connection given back."""
        raise NotImplementedError

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """The replica's answer broke off, and its connection is gone."""
        self._connection = None
        code = "bad_answer" if failure is Failure.GARBAGE else "replica_lost"
        self._failed(failure, Refused(code, f"the answer broke off: {detail}"))

    def _sends(self) -> None:
        """The request goes to the replica."""
        raise NotImplementedError

    def _failed(self, failure: Failure, refused: Refused) -> None:
        """The try failed; `refused` is what the caller is told when there is no other."""
        raise NotImplementedError

    def _go(self, upstream: Upstream, now: float) -> None:
        """Send over a kept connection, or open one."""
        kept = self._means.pool.take(upstream, now)
        if kept is not None:
            self._send(kept, now)
        else:
            self._open(upstream)

    def _open(self, upstream: Upstream) -> None:
        self.phase = "connecting"
        settings = self._means.settings
        # The deadline of a caller that takes no bytes is its own: it is cut off then.
        patience = settings.write_seconds if self._client.paused else settings.connect_seconds
        self._client.deadline = monotonic() + patience
        self._opening = self._means.pool.open(upstream, self._opened)

    def _opened(self, connection: UpstreamConnection | None, reason: str) -> None:
        self._opening = None
        if connection is None:
            self._failed(Failure.CONNECT, Refused("replica_lost", f"no connection: {reason}"))
        else:
            self._send(connection, monotonic())

    def _send(self, connection: UpstreamConnection, now: float) -> None:
        self.phase = "waiting"
        settings = self._means.settings
        patience = settings.first_byte_seconds
        if not self._answering:
            self._end = now + settings.max_stream
        elif self._client.paused:
            connection.pause()
            patience = settings.write_seconds
        if not self._counting:
            self._tries += 1
            self._sends()
        self._client.deadline = min(now + patience, self._end)
        self._connection = connection
        head = (
            b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nx-request-id: %b\r\n%b\r\n"
        ) % (
            self._path,
            connection.kept.authority,
            len(self._body),
            self._request_id,
            self._request.trace,
        )
        connection.send(head, self._body, self)

    def expire(self, now: float) -> None:
        """Its deadline has passed."""
        if self.phase == "connecting":
            self._failed(Failure.CONNECT, Refused("replica_lost", "a replica did not accept"))
        elif now >= self._end:
            self._failed(Failure.TOO_LONG, Refused("stream_too_long", "the answer took too long"))
        elif self.phase == "waiting":
            refused = Refused("upstream_timeout", "the engine did not begin to answer in time")
            self._failed(Failure.FIRST_BYTE, refused)
        else:
            refused = Refused("upstream_timeout", "the engine fell silent")
            self._failed(Failure.BETWEEN, refused)

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
            settings = self._means.settings
            waiting = self.phase == "waiting"
            patience = settings.first_byte_seconds if waiting else settings.between_seconds
            self._client.deadline = min(monotonic() + patience, self._end)

    def _drop_connection(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
