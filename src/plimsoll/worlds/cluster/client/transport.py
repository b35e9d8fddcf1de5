"""Requests to the API server: timed, retried where that cannot do harm, failures told apart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from plimsoll.errors import PlimsollError
from plimsoll.worlds.cluster.client.login import Login
from plimsoll.worlds.cluster.errors import (
    ServerFault,
    Throttled,
    Unreachable,
    from_status,
    missing_library,
    unreachable,
)

try:
    import httpx
except ImportError as error:
    raise missing_library(error) from error

APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML, and msgspec writes it fast
MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_OK = 400
_UNAUTHORIZED = 401
_BROKEN = (httpx.TransportError, httpx.InvalidURL, httpx.StreamError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for an API server and how often to ask again.

    timeout   seconds one request may take
    attempts  tries of a request that may be repeated; 1 is none again
    pause     seconds before the second try; doubles with each
    longest   seconds of the longest pause, `Retry-After` included
    idle      seconds without any line after which a watch counts as lost
    """

    timeout: float = 30.0
    attempts: int = 4
    pause: float = 0.25
    longest: float = 5.0
    idle: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    method      HTTP's
    path        below the server, without the query
    verb        Kubernetes' word for it, for messages: `list`
    subject     on what, for messages
    can_i       what to ask `kubectl auth can-i` for
    query       parameters; empty values are left out
    body        sent as JSON; None: none
    kind        media type of the body
    repeatable  whether a second time does no harm
    """

    method: str
    path: str
    verb: str
    subject: str
    can_i: str = ""
    query: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    kind: str = _JSON
    repeatable: bool = True


class Transport:
    """One session with one API server."""

    def __init__(self, login: Login, session: httpx.AsyncClient, patience: Patience) -> None:
        self.login = login
        self.patience = patience
        self._session = session
        self._retired: httpx.AsyncClient | None = None
        self._renewing = asyncio.Lock()

    @classmethod
    async def open(cls, login: Login, patience: Patience) -> Transport:
        """A session for `login`; nothing is sent yet."""
        return cls(login, await login.session(patience.timeout), patience)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.aclose()
        if self._retired is not None:
            await self._retired.aclose()

    async def json(self, request: Request) -> Any:
        """The answer to a request, decoded.

        Raises what cluster/errors.py names, after the tries that `patience` allows.
        """
        return _decoded(await self.content(request), request)

    async def content(self, request: Request) -> bytes:
        """The answer's body as it came; raises as `json` does."""
        tries = self.patience.attempts
        for attempt in range(1, tries + 1):
            try:
                return await self._once(request)
            except (Unreachable, Throttled, ServerFault) as error:
                # What was throttled was not begun, so that anything of the kind may be repeated.
                again = request.repeatable or isinstance(error, Throttled)
                pause = self._pause(error, attempt)
                if attempt == tries or pause is None or not again:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def lines(self, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer line by line as it comes; raises Unreachable where it breaks off."""
        for last in (False, True):
            session = self._session
            async with _translated(self.login.server):
                sent = session.build_request(
                    request.method,
                    request.path,
                    params=_query(request),
                    extensions=self.login.extensions,
                    timeout=httpx.Timeout(self.patience.timeout, read=self.patience.idle),
                )
                answer = await session.send(sent, stream=True)
            try:
                if answer.status_code == _UNAUTHORIZED and not last and self.login.renewable:
                    await self._renew(session)
                    continue
                if answer.status_code >= _OK:
                    async with _translated(self.login.server):
                        body = await answer.aread()
                    raise _refusal(answer, body, request)
                yield self._guarded(answer)
                return
            finally:
                await answer.aclose()

    async def _guarded(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        """Lines that end in a line feed; a text within may hold what Unicode calls a line's end."""
        begun: list[bytes] = []
        async with _translated(self.login.server):
            async for chunk in answer.aiter_bytes():
                *ended, rest = chunk.split(b"\n")
                for part in ended:
                    yield b"".join([*begun, part])
                    begun.clear()
                if rest:
                    begun.append(rest)
            if begun:
                yield b"".join(begun)

    async def _once(self, request: Request) -> bytes:
        session = self._session
        answer = await self._send(session, request)
        if answer.status_code == _UNAUTHORIZED and self.login.renewable:
            await self._renew(session)
            answer = await self._send(self._session, request)
        if answer.status_code >= _OK:
            raise _refusal(answer, answer.content, request)
        return answer.content

    async def _send(self, session: httpx.AsyncClient, request: Request) -> httpx.Response:
        content = None if request.body is None else msgspec.json.encode(request.body)
        headers = {} if content is None else {"Content-Type": request.kind}
        try:
            async with _translated(self.login.server), asyncio.timeout(self.patience.timeout):
                return await session.request(
                    request.method,
                    request.path,
                    params=_query(request),
                    content=content,
                    headers=headers,
                    extensions=self.login.extensions,
                )
        except TimeoutError as error:
            raise unreachable(
                self.login.server, f"no answer within {self.patience.timeout:.0f} s"
            ) from error

    async def _renew(self, used: httpx.AsyncClient) -> None:
        """Take fresh credentials, once however many requests were refused with the old ones."""
        async with self._renewing:
            if self._session is not used:
                return
            await self.login.renew()
            self._session = await self.login.session(self.patience.timeout)
            # Requests may still run on the old session; at the next renewal they had their time.
            if self._retired is not None:
                await self._retired.aclose()
            self._retired = used

    def _pause(self, error: PlimsollError, attempt: int) -> float | None:
        """Seconds to wait before the next try; None: longer than we wait."""
        asked = error.retry_after if isinstance(error, Throttled | ServerFault) else None
        if asked is not None:
            return asked if asked <= self.patience.longest else None
        pause = min(self.patience.longest, self.patience.pause * 2.0 ** (attempt - 1))
        return pause * random.uniform(0.5, 1.0)  # so that many clients do not come back together


@asynccontextmanager
async def _translated(server: str) -> AsyncIterator[None]:
    """The HTTP library's failures as Unreachable."""
    try:
        yield
    except httpx.PoolTimeout as error:
        raise unreachable(server, "all connections are in use") from error
    except httpx.TimeoutException as error:
        raise unreachable(server, "it took too long") from error
    except _BROKEN as error:
        raise unreachable(server, str(error) or type(error).__name__) from error


def _query(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.query.items() if value}


def _decoded(content: bytes, request: Request) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        # A proxy or a login page in between; the next try may reach the API server.
        raise ServerFault(
            f"the answer to {request.verb} is not JSON",
            where=request.subject,
            hint="something between here and the API server answers in its place",
        ) from error


def _refusal(answer: httpx.Response, content: bytes, request: Request) -> PlimsollError:
    try:
        body = msgspec.json.decode(content)
    except msgspec.DecodeError:
        body = {"message": content[:300].decode(errors="replace").strip()}
    status: dict[str, Any] = body if isinstance(body, dict) else {}
    error = from_status(
        answer.status_code, status, verb=request.verb, subject=request.subject, can_i=request.can_i
    )
    header = answer.headers.get("Retry-After", "")
    if isinstance(error, Throttled | ServerFault) and header.isdecimal():
        error.retry_after = float(header[:9])
    return error
