"""Files over HTTP with httpx: from an offset on, and only while they are still the same."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, ModuleType
from typing import Any
from urllib.parse import urlsplit

import plimsoll
from plimsoll.errors import MissingExtra, SourceError
from plimsoll.worlds.local.sources.remote import Changed, Stream, Transient

_CONNECT = 10.0  # seconds
_SILENCE = 20.0  # seconds between two reads
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")


class Refused(Exception):
    """The server answered, and no repetition will change its mind.

    status  of HTTP
    code    the header `X-Error-Code`, as a model hub sends it, or empty
    """

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.code = code


class Connection:
    """An HTTP client whose every answer is checked to be the content that was asked for."""

    def __init__(self, client: Any, httpx: ModuleType, where: str) -> None:
        self._client = client
        self._httpx = httpx
        self._where = where

    @contextmanager
    def open(
        self,
        url: str,
        *,
        offset: int,
        validator: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[Stream]:
        """The bytes of a URL from `offset` on.

        validator  a strong ETag or a date of change: other content starts over at 0
        Raises Transient, Refused, SourceError; iterating the chunks raises them too.
        """
        httpx = self._httpx
        asked = dict(headers)
        if offset:
            asked["Range"] = f"bytes={offset}-"
            if validator is not None:
                asked["If-Range"] = validator
        try:
            with self._client.stream("GET", url, headers=asked) as response:
                yield _answer(response, offset, validator, self._where)
        except httpx.TooManyRedirects as error:
            raise self._error("the server redirects in a circle") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise self._error("the address is not a URL") from error
        except httpx.RequestError as error:
            raise _broken(error, self._where) from error

    def _error(self, message: str) -> SourceError:
        return SourceError(
            message, where=self._where, hint="check the address", code="source.address"
        )


@contextmanager
def connection(where: str) -> Iterator[Connection]:
    """A client that follows redirects, but never from TLS to plain text on the network.

    Raises MissingExtra without httpx.
    """
    httpx = _httpx()

    def guard(request: Any) -> None:
        if not allowed(str(request.url)):
            raise SourceError(
                "the server redirects to a plain http address",
                where=where,
                hint="weights are only fetched over https; ask whoever runs the server",
                code="source.insecure",
            )

    # Addresses may carry signatures, and these loggers print addresses.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with httpx.Client(
        follow_redirects=True,
        timeout=httpx.Timeout(_SILENCE, connect=_CONNECT),
        headers={"User-Agent": f"plimsoll/{plimsoll.__version__}", "Accept-Encoding": "identity"},
        event_hooks={"request": [guard]},
    ) as client:
        yield Connection(client, httpx, where)


def allowed(url: str) -> bool:
    """Whether a URL is https, or http on this machine itself."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and _LOOPBACK.fullmatch(parts.hostname or "") is not None
    )


def _httpx() -> ModuleType:
    try:
        import httpx  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise MissingExtra(
            "fetching over HTTP needs the package httpx", hint="pip install 'plimsoll[local]'"
        ) from error
    return httpx


def _answer(response: Any, offset: int, validator: str | None, where: str) -> Stream:
    status = response.status_code
    if status in _TRANSIENT:
        raise Transient(f"the server answered {status}", retry_after=_seconds(response))
    if status in (412, 416):
        raise Changed("the file changed on the server")
    if status not in (200, 206) or (status == 206 and not offset):
        raise Refused(status, response.headers.get("X-Error-Code", ""))
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise SourceError(
            "the server compresses the file, so its size and place cannot be known",
            where=where,
            hint="serve it without Content-Encoding",
            code="source.format",
        )
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise SourceError(
            "the server answered with a web page, not with a model",
            where=where,
            hint="link to the file itself; on a model hub that is `/resolve/`, not `/blob/`",
            code="source.format",
        )
    found = _validator(response)
    start, total = (0, _length(response)) if status == 200 else _part(response)
    if start and (start != offset or (validator not in (None, found) and found is not None)):
        raise Changed("the file changed on the server")
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return Stream(
        offset=start,
        total=total,
        validator=found,
        delimited=total is not None or chunked or response.http_version == "HTTP/2",
        chunks=response.iter_raw(),
    )


def _validator(response: Any) -> str | None:
    tag: str | None = response.headers.get("ETag")
    changed: str | None = response.headers.get("Last-Modified")
    # A weak tag promises the same meaning, not the same bytes.
    return tag if tag and not tag.startswith("W/") else changed


def _length(response: Any) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _part(response: Any) -> tuple[int, int | None]:
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise Changed("the server answered with a part and does not say which")
    return int(match[1]), None if match[3] == "*" else int(match[3])


def _seconds(response: Any) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _broken(error: Exception, where: str) -> Transient | SourceError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceError(
                f"the server's certificate is not trusted: {cause.verify_message}",
                where=where,
                hint="for a private authority set SSL_CERT_FILE to its certificates",
                code="source.untrusted",
            )
        if isinstance(cause, OSError) and cause.strerror:
            return Transient(f"the server cannot be reached: {cause.strerror}")
        cause = cause.__cause__ or cause.__context__
    # Only the kind: messages of the library may quote headers.
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    return Transient(f"the connection failed ({words})")
