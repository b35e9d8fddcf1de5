"""Requests about one kind or one object, lists page by page, kinds that turn out to be gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.worlds.cluster.client.discovery import Discovery
from plimsoll.worlds.cluster.client.transport import Request, Transport
from plimsoll.worlds.cluster.errors import Expired, NotFound, missing_api
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.reference import Resource

_PAGE = 500  # objects per page of a list
_JSON = "application/json"
# What the API server says where a path, not an object, is not known.
_UNKNOWN_PATHS = ("could not find the requested resource", "404 page not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The objects of a kind at one moment.

    items             the objects, each with its `apiVersion` and `kind`
    resource_version  from which a watch sees every later change
    """

    items: tuple[Manifest, ...]
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about.

    namespace    None: every one, or the kind has none
    name         empty: the whole kind
    subresource  empty: the object itself
    """

    resource: Resource
    namespace: str | None = None
    name: str = ""
    subresource: str = ""

    def request(
        self,
        method: str,
        verb: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = _JSON,
        repeatable: bool = True,
    ) -> Request:
        """A request about it; `content` is the media type of `body`."""
        resource = self.resource
        place = self.namespace if resource.namespaced else None
        what = f"{resource.kind} {self.name}" if self.name else resource.plural
        suffix = f" --subresource={self.subresource}" if self.subresource else ""
        flag = f" -n {place}" if place else " -A" if resource.namespaced else ""
        return Request(
            method=method,
            path=resource.path(place, self.name, self.subresource),
            verb=verb,
            subject=f"{what} in namespace {place}" if place else what,
            can_i=f"{verb} {resource.full_name}{suffix}{flag}",
            query=query or {},
            body=body,
            kind=content,
            repeatable=repeatable,
        )


class Calls:
    """Requests to one API server by target."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.discovery = Discovery(transport)

    async def send(
        self,
        method: str,
        verb: str,
        target: Target,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = _JSON,
        repeatable: bool = True,
    ) -> Manifest:
        """The object that is answered. Raises MissingApi where the server forgot the kind."""
        request = target.request(
            method, verb, query=query, body=body, content=content, repeatable=repeatable
        )
        return await self._answer(request, target.resource)

    async def list(self, target: Target, query: Mapping[str, str]) -> Listed:
        """Every object that the selectors in `query` take."""
        try:
            return await self._pages(target, {**query, "limit": str(_PAGE)})
        except Expired:  # the snapshot behind the pages is gone: all at once, then
            return await self._pages(target, query)

    async def _pages(self, target: Target, query: Mapping[str, str]) -> Listed:
        items: list[Manifest] = []
        following = ""
        while True:
            request = target.request("GET", "list", query={**query, "continue": following})
            page = await self._answer(request, target.resource)
            items += page.get("items") or []
            following = page["metadata"].get("continue") or ""
            if not following:
                break
        for item in items:  # lists leave out what all their items have in common
            item.setdefault("apiVersion", target.resource.api_version)
            item.setdefault("kind", target.resource.kind)
        version = str(page["metadata"].get("resourceVersion", ""))
        return Listed(items=tuple(items), resource_version=version)

    async def _answer(self, request: Request, resource: Resource) -> Manifest:
        try:
            found: Manifest = await self._transport.json(request)
        except NotFound as error:
            if any(words in error.message for words in _UNKNOWN_PATHS):
                self.discovery.forget(resource.api_version)
                raise missing_api(resource.api_version, resource.kind) from error
            raise
        return found
