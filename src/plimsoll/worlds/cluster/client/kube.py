"""`Kube`: what Plimsoll asks of a Kubernetes API server, with every failure told apart."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self

from plimsoll.worlds.cluster.client.calls import Calls, Listed, Target
from plimsoll.worlds.cluster.client.login import Login
from plimsoll.worlds.cluster.client.transport import (
    APPLY_PATCH,
    MERGE_PATCH,
    Patience,
    Request,
    Transport,
)
from plimsoll.worlds.cluster.client.watching import Event, follow
from plimsoll.worlds.cluster.errors import Conflict, NotFound
from plimsoll.worlds.cluster.objects.site import MANAGER, Manifest
from plimsoll.worlds.cluster.reference import Resource, key_of

STATUS_MANAGER = "plimsoll-status"
SCALE_MANAGER = "plimsoll-operator"
REPORTER = "plimsoll.dev/plimsoll"
Propagation = Literal["Background", "Foreground", "Orphan"]
_LONGEST_NOTE = 1024  # bytes of an event's note; the API server takes no more
_LONGEST_EVENT = 230  # characters of an event's name before what makes it unique; 253 in all
_LOG_BYTES = 64 * 1024


class Kube:
    """One Kubernetes API server, as one user, in the caller's event loop.

    A `namespace` of None is every namespace for `list` and `watch`, and the context's own
    elsewhere; it is ignored for kinds that live in none. Every method raises Unreachable,
    Unauthorized, Forbidden, Throttled, ServerFault and MissingApi; others are named. Requests
    that may be repeated are, with growing pauses, as `patience` allows.

    namespace  the context's default
    server     `https://host:port`
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._calls = Calls(transport)
        self.namespace = transport.login.namespace
        self.server = transport.login.server

    @classmethod
    async def connect(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        url: str | None = None,
        patience: Patience | None = None,
    ) -> Kube:
        """Find the cluster and the credentials; nothing is sent yet.

        url  speak to it without credentials, as to `kubectl proxy`

        Raises InputError (no cluster, no such context, a broken kubeconfig) and Unauthorized.
        """
        login = await Login.open(kubeconfig=kubeconfig, context=context, url=url)
        return cls(await Transport.open(login, patience or Patience()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    async def version(self) -> str:
        """Version of the API server: `1.34.2`, with the cloud's suffix if any."""
        request = Request(
            method="GET", path="/version", verb="get", subject="the version", query={}
        )
        told = await self._transport.json(request)
        return str(told["gitVersion"]).removeprefix("v")

    async def api_versions(self) -> frozenset[str]:
        """Every API version that is served: `v1`, `apps/v1`, ..."""
        return await self._calls.discovery.api_versions()

    async def resources(self, api_version: str) -> tuple[Resource, ...]:
        """Every kind of an API version, as it is served."""
        return await self._calls.discovery.resources(api_version)

    async def resource(self, api_version: str, kind: str) -> Resource:
        """How a kind is served. Raises MissingApi."""
        return await self._calls.discovery.resource(api_version, kind)

    async def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Manifest | None:
        """The object, or None where there is none."""
        target = await self._target(api_version, kind, name, namespace)
        try:
            return await self._calls.send("GET", "get", target)
        except NotFound:
            return None

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
    ) -> Listed:
        """Every object of a kind that the selectors take, page by page."""
        resource = await self.resource(api_version, kind)
        return await self._calls.list(
            Target(resource=resource, namespace=namespace),
            {"labelSelector": labels, "fieldSelector": fields},
        )

    async def watch(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        resource_version: str,
    ) -> AsyncGenerator[Event, None]:
        """Changes since a list's `resource_version`, without end.

        Raises Expired when that version is gone (list again) and Unreachable when the
        connection is lost or silent (watch again from the last object's version, or list).
        """
        resource = await self.resource(api_version, kind)
        target = Target(resource=resource, namespace=namespace)
        query = {"labelSelector": labels, "fieldSelector": fields}
        request = target.request("GET", "watch", query=query)
        events = follow(self._transport, request, resource_version, (api_version, kind))
        async with aclosing(events):
            async for event in events:
                yield event

    async def apply(
        self,
        manifest: Manifest,
        *,
        manager: str = MANAGER,
        force: bool = False,
        dry_run: bool = False,
    ) -> Manifest:
        """Server-side apply: make or change the object so that our fields are as in `manifest`.

        force  take fields over that others own

        Raises Conflict (with the fields and their owners), Invalid, Immutable, QuotaExceeded,
        Terminating, and NotFound where the namespace is missing.
        """
        target = await self._target_of(manifest)
        query = {
            "fieldManager": manager,
            "force": "true" if force else "",
            "dryRun": "All" if dry_run else "",
            "fieldValidation": "Strict",
        }
        patience = self._transport.patience
        for attempt in range(1, patience.attempts + 1):
            try:
                return await self._calls.send(
                    "PATCH", "patch", target, query=query, body=manifest, content=APPLY_PATCH
                )
            except Conflict as conflict:
                # Only a race inside the server, with nobody's fields in dispute, is tried again.
                disputed = conflict.fields or "resourceVersion" in manifest["metadata"]
                if disputed or attempt == patience.attempts:
                    raise
            await asyncio.sleep(patience.pause)
        raise AssertionError("unreachable")

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Make an object; never repeated. Raises AlreadyExists, Invalid, QuotaExceeded."""
        resource = await self.resource(manifest["apiVersion"], manifest["kind"])
        meta = manifest.get("metadata") or {}
        target = Target(resource=resource, namespace=self._place(resource, meta.get("namespace")))
        query = {"fieldManager": MANAGER, "dryRun": "All" if dry_run else ""}
        return await self._calls.send(
            "POST", "create", target, query=query, body=manifest, repeatable=False
        )

    async def update(self, manifest: Manifest) -> Manifest:
        """Replace an object, if it still has the `resourceVersion` of `manifest`.

        Raises Conflict where it has changed meanwhile, NotFound, Invalid, Immutable.
        """
        target = await self._target_of(manifest)
        query = {"fieldManager": MANAGER}
        return await self._calls.send(
            "PUT", "update", target, query=query, body=manifest, repeatable=False
        )

    async def patch_status(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None,
        status: Mapping[str, Any],
        *,
        manager: str = STATUS_MANAGER,
    ) -> Manifest:
        """Apply `status` to the status subresource: fields left out are removed. NotFound."""
        target = await self._target(api_version, kind, name, namespace, "status")
        meta = {"name": name}
        if target.namespace:
            meta["namespace"] = target.namespace
        body = {"apiVersion": api_version, "kind": kind, "metadata": meta, "status": status}
        query = {"fieldManager": manager, "force": "true"}
        return await self._calls.send(
            "PATCH", "patch", target, query=query, body=body, content=APPLY_PATCH
        )

    async def scale(
        self, api_version: str, kind: str, name: str, namespace: str | None, replicas: int
    ) -> Manifest:
        """Set the replicas through the scale subresource. NotFound, Conflict."""
        target = await self._target(api_version, kind, name, namespace, "scale")
        query = {"fieldManager": SCALE_MANAGER}
        body = {"spec": {"replicas": replicas}}
        return await self._calls.send(
            "PATCH", "patch", target, query=query, body=body, content=MERGE_PATCH
        )

    async def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: Propagation = "Background",
    ) -> bool:
        """Delete an object; whether there was one. Conflict where its uid is another one."""
        target = await self._target(api_version, kind, name, namespace)
        options: Manifest = {
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
        }  # fmt: skip
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._calls.send("DELETE", "delete", target, body=options)
        except NotFound:
            return False
        return True

    async def allowed(
        self, verb: str, api_version: str, kind: str, namespace: str | None = None
    ) -> bool:
        """Whether we may do it; None: in every namespace."""
        resource = await self.resource(api_version, kind)
        attributes = {"verb": verb, "group": resource.group, "resource": resource.plural}
        if namespace and resource.namespaced:
            attributes["namespace"] = namespace
        review = await self.resource("authorization.k8s.io/v1", "SelfSubjectAccessReview")
        body = {
            "apiVersion": review.api_version,
            "kind": review.kind,
            "spec": {"resourceAttributes": attributes},
        }
        told = await self._calls.send("POST", "create", Target(resource=review), body=body)
        return bool((told.get("status") or {}).get("allowed"))

    async def event(
        self,
        regarding: Manifest,
        reason: str,
        note: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002  # Kubernetes' word
    ) -> None:
        """Record an event about an object, where `kubectl describe` shows it."""
        meta = regarding["metadata"]
        namespace = meta.get("namespace") or "default"
        reference = {
            "apiVersion": regarding["apiVersion"], "kind": regarding["kind"],
            "name": meta["name"], "namespace": meta.get("namespace"), "uid": meta.get("uid"),
            "resourceVersion": meta.get("resourceVersion"),
        }  # fmt: skip
        await self.create(
            {
                "apiVersion": "events.k8s.io/v1",
                "kind": "Event",
                "metadata": {"name": _event_name(meta["name"]), "namespace": namespace},
                "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "reportingController": REPORTER,
                "reportingInstance": REPORTER,
                "action": reason,
                "reason": reason,
                "note": note.encode()[:_LONGEST_NOTE].decode(errors="ignore"),
                "type": type,
                "regarding": {name: value for name, value in reference.items() if value},
            }
        )

    async def log(
        self,
        name: str,
        namespace: str | None,
        *,
        container: str,
        previous: bool = False,
        lines: int = 20,
    ) -> str:
        """The last lines of a container's log, or of the one that ran before it. NotFound."""
        target = await self._target("v1", "Pod", name, namespace, "log")
        query = {
            "container": container,
            "previous": "true" if previous else "",
            "tailLines": str(lines),
            "limitBytes": str(_LOG_BYTES),
        }
        content = await self._transport.content(target.request("GET", "get", query=query))
        return content.decode(errors="replace")

    def _place(self, resource: Resource, namespace: str | None) -> str | None:
        return (namespace or self.namespace) if resource.namespaced else None

    async def _target(
        self, api_version: str, kind: str, name: str, namespace: str | None, subresource: str = ""
    ) -> Target:
        resource = await self.resource(api_version, kind)
        place = self._place(resource, namespace)
        return Target(resource=resource, namespace=place, name=name, subresource=subresource)

    async def _target_of(self, manifest: Manifest) -> Target:
        key = key_of(manifest)
        return await self._target(key.api_version, key.kind, key.name, key.namespace)


def _event_name(about: str) -> str:
    """A name that no other event has. `generateName` would have to end in a letter or a hyphen."""
    return f"{about[:_LONGEST_EVENT].rstrip('-.')}.{secrets.token_hex(8)}"
