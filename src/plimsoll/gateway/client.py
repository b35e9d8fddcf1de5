"""A small HTTP client for one gateway: JSON answers and streams of events."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec

from plimsoll.errors import Failed, InputError
from plimsoll.gateway.events import EventSplitter
from plimsoll.providers.server_events import payloads

_READ = 64 * 1024  # bytes per read
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class GatewayError(Failed):
    """The gateway answered with an error, or not at all.

    status  HTTP status, or 0 when there was no answer
    """

    def __init__(
        self, message: str, *, status: int, code: str | None = None, where: str | None = None
    ) -> None:
        super().__init__(message, where=where, code=code or "gateway")
        self.status = status


class GatewayClient:
    """Speaks to the gateway at a URL such as `http://127.0.0.1:8080`.

    key      sent as a bearer token, or None
    seconds  the longest silence before giving up
    """

    def __init__(self, url: str, *, key: str | None = None, seconds: float = 600.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"`{url}` is not the URL of a gateway", hint="http://HOST:PORT")
        self.url = url.rstrip("/")
        self._host = parts.hostname
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._path = parts.path.rstrip("/")
        self._key = key
        self._seconds = seconds

    async def json(self, method: str, path: str, body: object = None) -> Any:
        """The JSON answer to a request. Raises GatewayError."""
        async with self._answer(method, path, body) as answer:
            whole = b"".join([piece async for piece in answer.pieces()])
        return self._checked(answer, whole)

    async def text(self, path: str) -> str:
        """The text of a page such as `/metrics`. Raises GatewayError."""
        async with self._answer("GET", path, None) as answer:
            whole = b"".join([piece async for piece in answer.pieces()])
        if answer.status != 200:
            self._checked(answer, whole)
        return whole.decode("utf-8", "replace")

    async def events(self, path: str, body: object) -> AsyncIterator[Any]:
        """The decoded events of a streamed answer, until `[DONE]`. Raises GatewayError, also for
        an error event and for a stream that ends without `[DONE]`.
        """
        async with self._answer("POST", path, body) as answer:
            if answer.status != 200:
                whole = b"".join([piece async for piece in answer.pieces()])
                self._checked(answer, whole)
            splitter = EventSplitter()
            async for piece in answer.pieces():
                for payload in payloads(splitter.whole(piece)):
                    if payload == b"[DONE]":
                        return
                    yield self._event(payload)
        raise GatewayError("the stream ended early", status=200, where=self.url)

    def _event(self, payload: bytes) -> Any:
        try:
            event = _decode(payload)
        except msgspec.DecodeError as error:
            raise GatewayError("an event that is not JSON", status=200, where=self.url) from error
        if isinstance(event, dict) and event.get("error"):
            raise self._error(event, 200)
        return event

    def _checked(self, answer: _Answer, whole: bytes) -> Any:
        try:
            said = _decode(whole)
        except msgspec.DecodeError as error:
            message = f"answered {answer.status} without JSON"
            raise GatewayError(message, status=answer.status, where=self.url) from error
        if answer.status >= 400:
            raise self._error(said, answer.status)
        return said

    def _error(self, said: object, status: int) -> GatewayError:
        error = said.get("error") if isinstance(said, dict) else None
        fields = error if isinstance(error, dict) else {}
        message = str(fields.get("message") or said)
        code = fields.get("code")
        return GatewayError(
            message, status=status, code=code if isinstance(code, str) else None, where=self.url
        )

    @asynccontextmanager
    async def _answer(self, method: str, path: str, body: object) -> AsyncIterator[_Answer]:
        tls = ssl.create_default_context() if self._tls else None
        try:
            async with asyncio.timeout(min(10.0, self._seconds)):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=tls)
        except (OSError, TimeoutError) as error:
            message = f"no gateway answers: {str(error) or 'no connection in time'}"
            raise GatewayError(message, status=0, where=self.url) from error
        try:
            writer.write(self._request(method, path, body))
            answer = _Answer(reader, self._seconds, self.url)
            await answer.head()
            yield answer
        finally:
            writer.transport.abort()

    def _request(self, method: str, path: str, body: object) -> bytes:
        payload = b"" if body is None else _encode(body)
        lines = [
            f"{method} {self._path}{path} HTTP/1.1",
            f"host: {self._authority}",
            "connection: close",
        ]
        if body is not None:
            lines += ["content-type: application/json", f"content-length: {len(payload)}"]
        if self._key is not None:
            lines.append(f"authorization: Bearer {self._key}")
        return "\r\n".join([*lines, "", ""]).encode() + payload


class _Answer:
    """One answer while it is read.

    status  HTTP status
    """

    def __init__(self, reader: asyncio.StreamReader, seconds: float, url: str) -> None:
        self.status = 0
        self._reader = reader
        self._seconds = seconds
        self._url = url
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._whole = False

    async def head(self) -> None:
        """Read up to the end of the headers."""
        while not self.status:
            if not await self._read():
                raise GatewayError("the gateway closed the connection", status=0, where=self._url)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body in pieces. Raises GatewayError when it breaks off."""
        while True:
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                yield piece
            if self._whole:
                return
            if not await self._read():
                raise GatewayError("the answer broke off", status=self.status, where=self._url)

    async def _read(self) -> bool:
        try:
            async with asyncio.timeout(self._seconds):
                data = await self._reader.read(_READ)
            if data:
                self._parser.feed_data(data)
        except TimeoutError as error:
            raise GatewayError("the gateway is silent", status=0, where=self._url) from error
        except (OSError, httptools.HttpParserError) as error:
            message = f"the answer cannot be read: {error}"
            raise GatewayError(message, status=0, where=self._url) from error
        return bool(data)

    def on_headers_complete(self) -> None:
        """The headers are whole."""
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._whole = True
