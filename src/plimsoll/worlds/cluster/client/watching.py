"""Watches: the changes of a kind since a resource version, as they happen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from plimsoll.errors import PlimsollError
from plimsoll.worlds.cluster.client.transport import Request, Transport
from plimsoll.worlds.cluster.errors import Expired, Unreachable, from_status

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
_GONE = 410
_SHORTEST_TERM, _LONGEST_TERM = 240, 300  # seconds the server is asked to keep a watch open
_SHORT = 1.0  # seconds; a watch that ends sooner is not opened again at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change.

    type    what happened
    object  as it is now, or was before it was deleted
    """

    type: EventType
    object: dict[str, Any]


async def follow(
    transport: Transport, request: Request, resource_version: str, kind: tuple[str, str]
) -> AsyncGenerator[Event, None]:
    """Changes since `resource_version`, without end; a term that ends is followed by the next.

    kind  API version and kind, for objects that name none

    Raises Expired when the server has forgotten that version, Unreachable when the connection
    breaks off or stays silent (bookmarks keep a living one from that).
    """
    loop = asyncio.get_running_loop()
    while True:
        opened = loop.time()
        async with transport.lines(_term(request, resource_version)) as lines:
            async for line in lines:
                if not line:
                    continue
                told = _told(line, request)
                changed = told["object"]
                resource_version = changed["metadata"].get("resourceVersion") or resource_version
                if told["type"] != "BOOKMARK":
                    changed.setdefault("apiVersion", kind[0])
                    changed.setdefault("kind", kind[1])
                    yield Event(type=told["type"], object=changed)
        if loop.time() - opened < _SHORT:
            await asyncio.sleep(_SHORT)


def _term(request: Request, resource_version: str) -> Request:
    seconds = random.randint(_SHORTEST_TERM, _LONGEST_TERM)
    query = {
        **request.query,
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": resource_version,
        "timeoutSeconds": str(seconds),
    }
    return replace(request, query=query)


def _told(line: bytes, request: Request) -> dict[str, Any]:
    """One line of the stream. Raises what an ERROR means."""
    try:
        told: dict[str, Any] = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise Unreachable(
            "the watch broke off in the middle of a line", where=request.subject
        ) from error
    if told["type"] == "ERROR":
        raise _error(told["object"], request)
    return told


def _error(status: Mapping[str, Any], request: Request) -> PlimsollError:
    code = int(status.get("code") or 500)
    if code == _GONE or status.get("reason") == "Expired":
        return Expired(str(status.get("message") or "too old"), where=request.subject)
    return from_status(code, status, verb=request.verb, subject=request.subject)
