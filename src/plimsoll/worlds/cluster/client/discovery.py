"""Which kinds the API server serves, and under which names: asked once, again on a miss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plimsoll.worlds.cluster.client.transport import Request, Transport
from plimsoll.worlds.cluster.errors import NotFound, missing_api
from plimsoll.worlds.cluster.reference import Resource, api_path


class Discovery:
    """The kinds of one API server by API version and kind."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._found: dict[tuple[str, str], Resource] = {}

    async def resource(self, api_version: str, kind: str) -> Resource:
        """The resource of a kind. Raises MissingApi when the server does not know it."""
        key = (api_version, kind)
        if key not in self._found:
            await self._refresh(api_version)
        if key not in self._found:
            raise missing_api(api_version, kind)
        return self._found[key]

    def forget(self, api_version: str) -> None:
        """Ask again next time: the server did not know a path that it had announced."""
        self._found = {key: value for key, value in self._found.items() if key[0] != api_version}

    async def api_versions(self) -> frozenset[str]:
        """Every API version that is served: `v1`, `apps/v1`, ..."""
        groups = (await self._get("/apis")).get("groups") or []
        core = (await self._get("/api")).get("versions") or []
        named = (v["groupVersion"] for group in groups for v in group.get("versions") or [])
        return frozenset([*core, *named])

    async def resources(self, api_version: str) -> tuple[Resource, ...]:
        """Every kind of an API version; none where it is not served, or its server is away."""
        await self._refresh(api_version)
        return tuple(found for key, found in self._found.items() if key[0] == api_version)

    async def _refresh(self, api_version: str) -> None:
        try:
            listed = await self._get(api_path(api_version))
        except NotFound:
            return
        entries = listed.get("resources") or []
        subresources: dict[str, list[str]] = {}
        for entry in entries:
            plural, _, subresource = entry["name"].partition("/")
            if subresource:
                subresources.setdefault(plural, []).append(subresource)
        for entry in entries:
            if "/" not in entry["name"]:
                self._found[api_version, entry["kind"]] = _resource(
                    api_version, entry, subresources.get(entry["name"], [])
                )

    async def _get(self, path: str) -> Mapping[str, Any]:
        request = Request(method="GET", path=path, verb="discover", subject=f"API {path}", query={})
        found: Mapping[str, Any] = await self._transport.json(request)
        return found


def _resource(api_version: str, entry: Mapping[str, Any], subresources: list[str]) -> Resource:
    return Resource(
        api_version=api_version,
        kind=entry["kind"],
        plural=entry["name"],
        namespaced=bool(entry.get("namespaced")),
        verbs=tuple(entry.get("verbs") or ()),
        subresources=tuple(sorted(subresources)),
    )
