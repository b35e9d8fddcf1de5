"""What every connection of a gateway shares: what is served, and how much of it at once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol

from plimsoll.gateway import http_reply
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.exchange import Client, Exchange, Means
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.pages import METRICS, Pages, methods
from plimsoll.gateway.scrape import Scrape
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.surfaces import SURFACES, check_head, read_call
from plimsoll.telemetry.access_log import AccessLine, utc_now
from plimsoll.units import size

_READ = (b"GET", b"HEAD")


class Connection(Client, Protocol):
    """A client connection as the gateway sees it."""

    @property
    def answering(self) -> bool:
        """Whether a request is being answered or waits to be."""
        ...

    def tick(self, now: float) -> None:
        """Let time pass."""
        ...

    def retire(self) -> None:
        """Close when nothing is going on."""
        ...

    def cut(self) -> bool:
        """End what is going on, then close. Whether anything was."""
        ...

    def abort(self) -> None:
        """Drop the connection."""
        ...


class Work(Protocol):
    """What answers one request over time."""

    def begin(self) -> None:
        """Begin; it ends by telling the client that it has answered."""
        ...

    def pause(self) -> None:
        """The client takes no more bytes for now."""
        ...

    def resume(self) -> None:
        """The client takes bytes again."""
        ...

    def expire(self, now: float) -> None:
        """The client's deadline has passed."""
        ...

    def cut(self, refused: Refused) -> None:
        """End now with an error, because the gateway must."""
        ...

    def cancel(self) -> None:
        """The client has left."""
        ...


@dataclass(slots=True, kw_only=True)
class Service:
    """See the module's docstring.

    bodies       bytes of request bodies held now
    draining     no new requests; connections close after their answer
    connections  those that are open
    """

    means: Means
    pages: Pages
    bodies: int = 0
    draining: bool = False
    connections: set[Connection] = field(default_factory=set)
    _prefix: str = field(default_factory=lambda: f"req-{secrets.token_hex(6)}-")
    _numbers: count[int] = field(default_factory=count)

    @property
    def settings(self) -> GatewaySettings:
        """The limits."""
        return self.means.settings

    def opened(self, connection: Connection) -> None:
        """A connection was opened. Raises Refused when there are too many."""
        self.connections.add(connection)
        self.means.metrics.connections = len(self.connections)
        if len(self.connections) > self.settings.max_connections:
            raise Refused(
                "too_many_connections", f"{self.settings.max_connections} connections are open"
            )

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self.means.metrics.connections = len(self.connections)

    def overloaded(self) -> Refused:
        """The refusal for a body that there is no memory for."""
        return Refused("overloaded", f"{size(self.settings.max_bodies)} of bodies are held")

    def check_head(self, request: Request) -> None:
        """Refuse a request with a body by its headers alone. Raises Refused."""
        if request.target not in SURFACES or request.method != b"POST":
            raise _nowhere(request)
        check_head(request)

    def serve(self, client: Client, request: Request) -> Work | None:
        """Begin to serve a request: the work to begin, or None when it is answered already.

        Raises Refused.
        """
        if request.target == METRICS and request.method in _READ:
            return Scrape(
                self.means,
                client,
                request,
                self._request_id(request),
                partial(self.refusal, request=request, keep_alive=False),
            )
        surface = SURFACES.get(request.target)
        if surface is None or request.method != b"POST":
            self._page(client, request)
            return None
        if self.draining:
            raise Refused("draining", "the gateway is shutting down")
        call = read_call(surface, request.body, self.means.board)
        return Exchange(self.means, client, request, self._request_id(request), call)

    def refusal(self, refused: Refused, request: Request | None, *, keep_alive: bool) -> bytes:
        """The answer to a request that did not become an exchange, counted and logged."""
        request_id = self._request_id(request)
        self._record(refused, request, request_id)
        unmethodical = request is not None and refused.code == "method_not_allowed"
        return http_reply.refusal(
            refused,
            request=request,
            request_id=request_id,
            keep_alive=keep_alive and not self.draining,
            retry_after=self.settings.retry_after,
            allow=methods(request.target) if unmethodical and request is not None else b"",
        )

    def _record(self, refused: Refused, request: Request | None, request_id: bytes) -> None:
        surface = SURFACES.get(request.target) if request is not None else None
        name = surface.name if surface else "none"
        self.means.metrics.refusal(refused.code)
        self.means.metrics.none.answered(name, refused.status)
        if self.means.log is not None:
            self.means.log.write(
                AccessLine(
                    time=utc_now(),
                    request_id=request_id.decode(),
                    surface=name,
                    status=refused.status,
                    code=refused.code,
                    seconds=0.0,
                )
            )

    def _page(self, client: Client, request: Request) -> None:
        page = self.pages.page(request.target) if request.method in _READ else None
        if page is None:
            raise _nowhere(request)
        keep_alive = client.keeps(request)
        client.write(
            http_reply.whole(
                page.status,
                page.body,
                request=request,
                request_id=self._request_id(request),
                keep_alive=keep_alive,
                content_type=page.content_type,
            )
        )
        self.means.metrics.none.answered(page.name, page.status)
        client.answered(request, keep_alive=keep_alive)

    def _request_id(self, request: Request | None) -> bytes:
        if request is not None and request.request_id is not None:
            return request.request_id
        return f"{self._prefix}{next(self._numbers):x}".encode()


def _nowhere(request: Request) -> Refused:
    path = request.target[:80].decode("ascii", "replace")
    allowed = methods(request.target)
    if allowed:
        return Refused("method_not_allowed", f"`{path}` has no {request.method.decode()}")
    return Refused(
        "not_found",
        f"there is nothing at `{path}`",
        hint="see /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models",
    )
