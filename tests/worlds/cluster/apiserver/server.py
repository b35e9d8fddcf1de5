"""The HTTP side of the mocked API server: kmock receives and parses, this answers."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import aiohttp.web
import kmock
import msgspec

from tests.worlds.cluster.apiserver.kinds import VERBS, Kind
from tests.worlds.cluster.apiserver.selectors import Match, selector
from tests.worlds.cluster.apiserver.store import Address, Object, Refusal, Store
from tests.worlds.cluster.apiserver.watching import Dropped, Watch

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
_KEPT_REQUESTS = 1000


@dataclass(kw_only=True)
class Fault:
    """Something that goes wrong.

    match     which requests; `re.search`ed in `METHOD /path?query`
    times     how often; None: until it is taken out of `api.faults`
    skip      so many matching requests pass first
    status    HTTP status to answer with
    body      the `Status`, where the code does not say enough
    headers   such as `Retry-After`
    delay     seconds before anything else
    drop      break the connection instead of an answer
    after     do what was asked first: only the answer is lost
    """

    match: str = ""
    times: int | None = 1
    skip: int = 0
    status: int = 0
    body: Object | None = None
    headers: dict[str, str] | None = None
    delay: float = 0.0
    drop: bool = False
    after: bool = False
    hits: int = 0

    def takes(self, line: str) -> bool:
        """Whether this request is hit; counts."""
        if self.times == 0 or not re.search(self.match, line):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.hits += 1
        return True


class ApiServer(kmock.RawHandler):
    """The HTTP side: kmock receives and parses, this answers."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.faults: list[Fault] = []
        self.denied: set[tuple[str, str]] = set()  # (verb, plural); `*` for any
        self.logs: dict[tuple[str, str], str] = {}  # (pod, container) -> text
        self.server_version = "v1.34.2"
        self.bookmark_every = 5.0
        self.writes = 0  # that were carried out
        self.lost_after: int | None = None  # after so many writes nothing gets through
        self.lose_answer = False  # the last write's answer is lost too
        self.log: list[str] = []  # `METHOD /path?query` of every request
        self._drops: set[asyncio.Event] = set()

    async def _handle(self, request: kmock.Request) -> aiohttp.web.StreamResponse:
        if len(self._requests) > _KEPT_REQUESTS:
            del self._requests[: _KEPT_REQUESTS // 2]
        raw = request._raw_request
        line = f"{raw.method} {raw.path_qs}"
        self.log.append(line)
        if self.lost_after is not None and self.writes >= self.lost_after:
            return await self._abort(request)
        fault = next((fault for fault in self.faults if fault.takes(line)), None)
        if fault is not None and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault is not None and not fault.after and (fault.status or fault.drop):
            return await self._fail(request, fault)
        answer = await self._answered(request)
        lost = self.lost_after is not None and self.writes >= self.lost_after and self.lose_answer
        if lost and raw.method in WRITES:
            return await self._abort(request)
        return await self._fail(request, fault) if fault is not None and fault.after else answer

    async def _fail(self, request: kmock.Request, fault: Fault) -> aiohttp.web.StreamResponse:
        if fault.drop:
            return await self._abort(request)
        reasons = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 403: "Forbidden"}
        reason = reasons.get(fault.status, "InternalError")
        body = fault.body or Refusal(fault.status, reason, f"injected {fault.status}").body
        return _json(body, fault.status, fault.headers)

    async def _abort(self, request: kmock.Request) -> aiohttp.web.StreamResponse:
        transport = request._raw_request.transport
        if transport is not None:
            transport.abort()
        raise ConnectionResetError

    async def _answered(self, request: kmock.Request) -> aiohttp.web.StreamResponse:
        try:
            return await self._route(request)
        except Refusal as refusal:
            return _json(refusal.body, refusal.code)

    async def _render_error(self, exc: Exception) -> aiohttp.web.StreamResponse:
        if isinstance(exc, ConnectionResetError):  # we broke the connection ourselves
            self._errors[-1].remove(exc)
            raise exc
        return await super()._render_error(exc)

    async def _route(self, request: kmock.Request) -> aiohttp.web.StreamResponse:
        parts = request._raw_request.path.strip("/").split("/")
        if parts == ["version"]:
            return _json({"gitVersion": self.server_version, "major": "1", "minor": "34"})
        if parts == ["api"]:
            return _json({"kind": "APIVersions", "versions": ["v1"]})
        if parts == ["apis"]:
            return _json(self._groups())
        place = _place(parts)
        if place is None:
            raise _unknown_path()
        api_version, rest = place
        if not rest:
            return _json(self._resources(api_version))
        namespace, plural, name, subresource = _target(rest)
        kind = self.store.kinds.get((api_version, plural))
        if kind is None or (subresource and subresource not in kind.subresources):
            raise _unknown_path()
        self._authorize(request, kind, namespace, name, subresource)
        if kind.kind.startswith("SelfSubject"):
            return _json(self._review(request.data), 201)
        if not name and request._raw_request.method == "GET":
            if request.params.get("watch") in ("true", "1"):
                return await self._watch(request, kind, namespace)
            return _json(self._list(request, kind, namespace))
        return self._object(request, kind, namespace or "", name, subresource)

    # -- one object

    def _object(
        self, request: kmock.Request, kind: Kind, namespace: str, name: str, subresource: str
    ) -> aiohttp.web.StreamResponse:
        method = request._raw_request.method
        if method == "GET":
            if subresource == "log":
                return self._log(request, namespace, name)
            found = self.store.get(kind, namespace, name)
            return _json(_scale(found) if subresource == "scale" else found)
        dry = request.params.get("dryRun") == "All"
        address = (kind.slot, namespace if kind.namespaced else "", name)
        manager = request.params.get("fieldManager") or "unknown"
        new = name and address not in self.store.objects
        if method == "POST":
            found = self.store.create(kind, address[1], request.data, manager, dry=dry)
        elif method == "DELETE":
            found = self.store.delete(kind, address, request.data, dry=dry)
        elif "apply-patch" in request.headers.get("Content-Type", ""):
            found = self.store.apply(
                kind, address, request.data, manager, dry=dry, subresource=subresource,
                force=request.params.get("force") == "true",
            )  # fmt: skip
        else:
            new_one = self._replaced(request, kind, address, subresource)
            found = self.store.update(
                kind, address, new_one, manager, dry=dry, subresource=subresource
            )
        self.writes += not dry
        made = method == "POST" or (new and method == "PATCH")
        return _json(_scale(found) if subresource == "scale" else found, 201 if made else 200)

    def _replaced(
        self, request: kmock.Request, kind: Kind, address: Address, subresource: str
    ) -> Object:
        """What a PUT, or a PATCH other than apply, makes of an object."""
        old = self.store.get(kind, *address[1:])
        sent: Object = request.data
        if subresource == "scale":
            return {**old, "spec": {**old["spec"], "replicas": sent["spec"]["replicas"]}}
        return _merge_patch(old, sent) if request._raw_request.method == "PATCH" else sent

    def _log(self, request: kmock.Request, namespace: str, name: str) -> aiohttp.web.Response:
        self.store.get(self.store.kinds["v1", "pods"], namespace, name)
        text = self.logs.get((name, request.params.get("container", "")), "")
        lines = text.splitlines()[-int(request.params.get("tailLines", "1000")) :]
        return aiohttp.web.Response(text="\n".join(lines))

    # -- many objects

    def _list(self, request: kmock.Request, kind: Kind, namespace: str | None) -> Object:
        match = _selector(request)
        start, version = 0, self.store.version
        if following := request.params.get("continue"):
            first, _, then = following.partition(":")
            start, version = int(first), int(then)
            if version < self.store.oldest:
                text = "The provided continue parameter is too old"
                raise Refusal(410, "Expired", text)
        found = [one for one in self.store.all(kind, namespace) if match is None or match(one)]
        limit = int(request.params.get("limit") or 0) or len(found)
        page = found[start : start + limit]
        meta = {"resourceVersion": str(version)}
        if start + limit < len(found):
            meta["continue"] = f"{start + limit}:{version}"
        bare = [{k: v for k, v in one.items() if k not in {"apiVersion", "kind"}} for one in page]
        return {
            "kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta,
            "items": bare,
        }  # fmt: skip

    async def _watch(
        self, request: kmock.Request, kind: Kind, namespace: str | None
    ) -> aiohttp.web.StreamResponse:
        stream = aiohttp.web.StreamResponse(headers={"Content-Type": "application/json"})
        stream.enable_chunked_encoding()
        queue = self.store.watch(kind)
        dropped = asyncio.Event()
        self._drops.add(dropped)
        watch = Watch(
            store=self.store, kind=kind, namespace=namespace, match=_selector(request),
            since=int(request.params.get("resourceVersion") or 0),
            seconds=float(request.params.get("timeoutSeconds", 300)),
            bookmark_every=self.bookmark_every, stream=stream, dropped=dropped,
        )  # fmt: skip
        try:
            await stream.prepare(request._raw_request)
            await watch.run(queue)
        except Dropped:
            return await self._abort(request)
        finally:
            self._drops.discard(dropped)
            self.store.unwatch(kind, queue)
        return stream

    def drop_watches(self) -> None:
        """Break every open watch."""
        for dropped in self._drops:
            dropped.set()

    # -- discovery and rights

    def _groups(self) -> Object:
        groups: dict[str, list[str]] = {}
        for api_version, _ in self.store.kinds:
            group, _, version = api_version.rpartition("/")
            if group and version not in groups.setdefault(group, []):
                groups[group].append(version)
        return {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{v}", "version": v} for v in versions],
                }
                for group, versions in groups.items()
            ],
        }

    def _resources(self, api_version: str) -> Object:
        kinds = [kind for kind in self.store.kinds.values() if kind.api_version == api_version]
        if not kinds:
            raise _unknown_path()
        entries = []
        for kind in kinds:
            entry = {
                "name": kind.plural, "kind": kind.kind, "namespaced": kind.namespaced,
                "verbs": VERBS, "singularName": kind.kind.lower(),
            }  # fmt: skip
            entries.append(entry)
            entries += [{**entry, "name": f"{kind.plural}/{one}"} for one in kind.subresources]
        return {"kind": "APIResourceList", "groupVersion": api_version, "resources": entries}

    def _may(self, verb: str, plural: str) -> bool:
        return not self.denied & {(verb, plural), ("*", plural), (verb, "*")}

    def _authorize(
        self, request: kmock.Request, kind: Kind, namespace: str | None, name: str, sub: str
    ) -> None:
        method = request._raw_request.method
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method)
        if verb is None:
            watching = request.params.get("watch") in ("true", "1")
            verb = "get" if name else "watch" if watching else "list"
        plural = f"{kind.plural}/{sub}" if sub else kind.plural
        making = verb == "patch" and not sub and (
            (kind.slot, namespace or "", name) not in self.store.objects
        )  # fmt: skip
        if self._may(verb, plural) and (not making or self._may("create", plural)):
            return
        place = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
        text = f'{plural} is forbidden: User "tester" cannot {verb} resource "{plural}" in API '
        raise Refusal(403, "Forbidden", f'{text}group "{kind.group}"{place}', kind=plural)

    def _review(self, body: Object) -> Object:
        asked = body["spec"]["resourceAttributes"]
        return {**body, "status": {"allowed": self._may(asked["verb"], asked["resource"])}}


def _selector(request: kmock.Request) -> Match | None:
    return selector(
        request.params.get("labelSelector", ""), request.params.get("fieldSelector", "")
    )


def _json(
    body: Any, status: int = 200, headers: dict[str, str] | None = None
) -> aiohttp.web.Response:
    return aiohttp.web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json",
        headers=headers,
    )  # fmt: skip


def _unknown_path() -> Refusal:
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def _place(parts: list[str]) -> tuple[str, list[str]] | None:
    """API version and what follows it in a path."""
    if parts[0] == "api" and len(parts) > 1:
        return parts[1], parts[2:]
    if parts[0] == "apis" and len(parts) > 2:
        return f"{parts[1]}/{parts[2]}", parts[3:]
    return None


def _target(parts: list[str]) -> tuple[str | None, str, str, str]:
    """Namespace (None: any), plural, name and subresource."""
    namespace = None
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in {"status", "finalize"}:
        namespace, parts = parts[1], parts[2:]
    parts = [*parts, "", ""]
    return namespace, parts[0], parts[1], parts[2]


def _scale(found: Object) -> Object:
    return {
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            key: found["metadata"][key]
            for key in ("name", "namespace", "uid", "resourceVersion")
        },
        "spec": {"replicas": found["spec"].get("replicas", 0)},
        "status": {"replicas": (found.get("status") or {}).get("replicas", 0)},
    }  # fmt: skip


def _merge_patch(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_patch(merged.get(key), value)
    return merged
