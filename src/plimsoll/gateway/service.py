"""What every connection of a gateway shares: what is served, and how much of it at once."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol

from plimsoll.gateway import http_reply
from plimsoll.gateway.access import ANYONE, Access, Caller, Open
from plimsoll.gateway.bodies import too_deep
from plimsoll.gateway.counting import work_for
from plimsoll.gateway.errors import Refused, error_body
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.pages import METRICS, Page, Pages, methods, of_request
from plimsoll.gateway.reply import Client
from plimsoll.gateway.scrape import SlowPage, in_slices
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.surfaces import SURFACES, check_head, read_call
from plimsoll.gateway.workers.member import Siblings
from plimsoll.telemetry.access_log import AccessLine, utc_now
from plimsoll.telemetry.metrics import CONTENT_TYPE
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

    def retire(self, since: float) -> None:
        """Close if nothing has gone on since then, and no request is on its way to be read."""
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
    draining     every answer ends its connection
    access       who may call
    siblings     other workers of the same gateway, or None
    connections  those that are open
    """

    means: Means
    pages: Pages
    access: Access = field(default_factory=Open)
    siblings: Siblings | None = None
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
        if not request.sound:
            if request.target not in SURFACES or request.method != b"POST":
                raise _nowhere(request)
            check_head(request)
            request.sound = True
        request.caller = self.access.admit(request.authorization, request.api_key)

    def serve(self, client: Client, request: Request) -> Work | None:
        """Begin to serve a request: the work to begin, or None when it is answered already.

        Raises Refused.
        """
        if request.target == METRICS and request.method in _READ:
            return self._slow(client, request, self._numbers_page, "the text of metrics")
        if self.siblings is not None and request.method in _READ and of_request(request.target):
            make = partial(self._request_page, self.siblings, request)
            return self._slow(client, request, make, "what is known of a request")
        surface = SURFACES.get(request.target)
        if surface is None or request.method != b"POST":
            self._page(client, request)
            return None
        request_id = self._request_id(request)
        try:
            call = read_call(
                surface,
                request.body,
                self.means.board,
                self._caller(request),
                request_id=request_id,
                headers=request.sessions,
            )
        except RecursionError as error:  # at a depth that its decoder could just follow
            raise too_deep() from error
        return work_for(self.means, client, request, request_id, call)

    def _slow(
        self, client: Client, request: Request, make: Callable[[], Awaitable[Page]], what: str
    ) -> SlowPage:
        return SlowPage(
            self.means,
            client,
            request,
            self._request_id(request),
            make=make,
            what=what,
            refusal=partial(self.refusal, request=request, keep_alive=False),
        )

    async def _numbers_page(self) -> Page:
        """The metrics of the whole gateway. Raises LinkEnded when its parent does not answer."""
        if self.siblings is not None:
            text = await self.siblings.metrics()
        else:
            text = await in_slices(self.means.metrics.parts())
        return Page(name="metrics", status=200, body=text, content_type=CONTENT_TYPE.encode())

    async def _request_page(self, siblings: Siblings, request: Request) -> Page:
        """What became of a request, whichever worker had it. Raises Refused and LinkEnded."""
        caller = self._caller(request)
        try:
            page = self.pages.page(request.target, lambda: caller)
        except Refused as refused:
            if refused.code != "not_found":
                raise
            key = self.pages.request_key(request.target, caller)
            page = self.pages.told(request.target, await siblings.explain(key))
            if page is None:
                raise
        assert page is not None
        return page

    def _caller(self, request: Request) -> Caller:
        """Who sends a request, looked up once. Raises Refused `bad_key`."""
        if request.caller is not None:
            return request.caller
        return self.access.admit(request.authorization, request.api_key)

    def refusal(self, refused: Refused, request: Request | None, *, keep_alive: bool) -> bytes:
        """The answer to a request that did not become an exchange, counted and logged."""
        request_id = self._request_id(request)
        self._record(refused, request, request_id)
        surface = SURFACES.get(request.target) if request is not None else None
        translation = surface.translation if surface is not None else None
        unmethodical = request is not None and refused.code == "method_not_allowed"
        return http_reply.refusal(
            refused,
            request=request,
            request_id=request_id,
            keep_alive=keep_alive and not self.draining,
            retry_after=self.settings.retry_after,
            allow=methods(request.target) if unmethodical and request is not None else b"",
            body=error_body(refused, translation, request_id),
        )

    def _record(self, refused: Refused, request: Request | None, request_id: bytes) -> None:
        surface = SURFACES.get(request.target) if request is not None else None
        name = surface.name if surface else "none"
        self.means.metrics.refusal(refused.code)
        self.means.metrics.none.answered(name, refused.status)
        if self.means.log is not None:
            caller = (request.caller if request is not None else None) or ANYONE
            self.means.log.write(
                AccessLine(
                    time=utc_now(),
                    request_id=request_id.decode(),
                    tenant=caller.tenant,
                    key=caller.key,
                    surface=name,
                    status=refused.status,
                    code=refused.code,
                    seconds=0.0,
                )
            )

    def _page(self, client: Client, request: Request) -> None:
        caller = partial(self._caller, request)
        page = self.pages.page(request.target, caller) if request.method in _READ else None
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
        hint=f"see {', '.join(known.decode() for known in SURFACES)}, /v1/models",
    )
