"""The objects of the mocked API server: versions, ownership of fields, watches, garbage."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from tests.worlds.cluster.apiserver import fields as api_fields
from tests.worlds.cluster.apiserver.fields import Owners, clone
from tests.worlds.cluster.apiserver.kinds import BUILT_IN, INSTALLED, Kind, broken_rules, defaults

Object = dict[str, Any]
Address = tuple[tuple[str, str], str, str]  # (slot, namespace, name)
HISTORY = 20_000  # changes that watches can look back on


class Refusal(Exception):
    """A `Status` that the server answers with."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code, "details": details,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change; `before` and `after` let a watch see what enters and leaves its selector."""

    version: int
    before: Object | None
    after: Object | None


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Objects by kind, namespace and name; each is replaced whole and never changed in place."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[str, str], Kind] = {}
        self.objects: dict[Address, Object] = {}
        self.version = 100
        self.oldest = 0  # watches from before this version have expired
        self._by_slot: dict[tuple[str, str], dict[Address, Object]] = defaultdict(dict)
        self._owners: dict[Address, Owners] = {}
        self._dependents: dict[str, set[Address]] = defaultdict(set)
        self._history: dict[tuple[str, str], deque[Change]] = defaultdict(
            lambda: deque(maxlen=HISTORY)
        )
        self._watchers: dict[tuple[str, str], set[asyncio.Queue[Change]]] = defaultdict(set)
        self._uids = itertools.count(1)
        for kind in (*BUILT_IN, *INSTALLED):
            self.kinds[kind.api_version, kind.plural] = kind

    def kind_of(self, manifest: Object) -> Kind:
        for kind in self.kinds.values():
            if (kind.api_version, kind.kind) == (manifest["apiVersion"], manifest["kind"]):
                return kind
        raise KeyError(manifest["kind"])

    # -- reading

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self.objects.get((kind.slot, namespace, name))
        if found is None:
            raise self._not_found(kind, name)
        return found

    def all(self, kind: Kind, namespace: str | None) -> list[Object]:
        return [
            found
            for (_, place, _), found in sorted(self._by_slot[kind.slot].items())
            if namespace is None or place == namespace
        ]

    def history(self, kind: Kind) -> deque[Change]:
        return self._history[kind.slot]

    def watch(self, kind: Kind) -> asyncio.Queue[Change]:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._watchers[kind.slot].add(queue)
        return queue

    def unwatch(self, kind: Kind, queue: asyncio.Queue[Change]) -> None:
        self._watchers[kind.slot].discard(queue)

    def watchers(self, plural: str) -> int:
        """How many watches of a resource are open."""
        return sum(len(queues) for slot, queues in self._watchers.items() if slot[1] == plural)

    def compact(self) -> None:
        """Forget every change so far: older watches get 410."""
        self.oldest = self.version
        for changes in self._history.values():
            changes.clear()

    def owners(self, kind: Kind, namespace: str, name: str) -> Owners:
        return self._owners.get((kind.slot, namespace, name), {})

    # -- writing

    def create(
        self, kind: Kind, namespace: str, manifest: Object, manager: str, *, dry: bool = False
    ) -> Object:
        new = clone(manifest)
        meta = new.setdefault("metadata", {})
        if not meta.get("name"):
            meta["name"] = f"{meta.pop('generateName', '')}{next(self._uids):05d}"
        address = (kind.slot, namespace, meta["name"])
        if address in self.objects:
            text = f'{kind.plural} "{meta["name"]}" already exists'
            raise Refusal(409, "AlreadyExists", text, name=meta["name"], kind=kind.plural)
        if "status" in kind.subresources:
            new.pop("status", None)
        owners: Owners = {}
        api_fields.update({}, new, manager, "", owners)
        return self._put(kind, address, None, new, owners, dry=dry)

    def update(
        self, kind: Kind, address: Address, manifest: Object, manager: str, *,
        subresource: str = "", dry: bool = False,
    ) -> Object:  # fmt: skip
        old = self.get(kind, *address[1:])
        self._check_version(kind, old, manifest)
        new = self._only(kind, old, clone(manifest), subresource)
        owners = {key: set(owned) for key, owned in self._owners[address].items()}
        api_fields.update(old, new, manager, subresource, owners)
        return self._put(kind, address, old, new, owners, dry=dry)

    def apply(
        self, kind: Kind, address: Address, manifest: Object, manager: str, *,
        force: bool, subresource: str = "", dry: bool = False,
    ) -> Object:  # fmt: skip
        old = self.objects.get(address)
        if old is None and subresource:
            raise self._not_found(kind, address[2])
        wished = clone(manifest)
        if subresource:
            wished = {"status": wished.get("status", {})}
        elif "status" in kind.subresources:
            wished.pop("status", None)
        meta = wished.get("metadata") or {}
        if old is not None:
            self._check_version(kind, old, manifest)
        owners = {key: set(owned) for key, owned in self._owners.get(address, {}).items()}
        wished_fields = api_fields.fields(wished)
        disputed = api_fields.conflicts(old or {}, wished_fields, manager, owners)
        if disputed and not force:
            raise self._disputed(kind, disputed)
        before = old or {k: v for k, v in manifest.items() if k in {"apiVersion", "kind"}}
        new = api_fields.apply(before, wished, manager, subresource, owners)
        if old is None:
            new["metadata"] = {**(new.get("metadata") or {}), "name": address[2]}
        elif not meta:
            new["metadata"] = clone(old["metadata"])
        return self._put(kind, address, old, new, owners, dry=dry)

    def delete(
        self, kind: Kind, address: Address, options: Object | None = None, *, dry: bool = False
    ) -> Object:
        old = self.get(kind, *address[1:])
        wanted = ((options or {}).get("preconditions") or {}).get("uid")
        if wanted and wanted != old["metadata"]["uid"]:
            text = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: "
            raise Refusal(409, "Conflict", text + old["metadata"]["uid"], name=address[2])
        if dry:
            return old
        if (options or {}).get("propagationPolicy") == "Orphan":
            self._dependents.pop(old["metadata"]["uid"], None)
        if kind.kind == "Namespace":
            self._empty(address[2])
        held = old["metadata"].get("finalizers") or self._holds(kind, address[2])
        if not held:
            self._drop(address, old)
            return old
        if "deletionTimestamp" in old["metadata"]:
            return old
        new = clone(old)
        new["metadata"]["deletionTimestamp"] = now()
        new["metadata"]["deletionGracePeriodSeconds"] = 0
        if kind.kind == "Namespace":
            new["status"] = {"phase": "Terminating"}
        return self._put(kind, address, old, new, self._owners[address])

    # -- how

    def _put(
        self, kind: Kind, address: Address, old: Object | None, new: Object, owners: Owners, *,
        dry: bool = False,
    ) -> Object:  # fmt: skip
        self._complete(kind, address, old, new, owners)
        broken = broken_rules(old, new)
        if broken:
            raise self._invalid(kind, address[2], broken)
        if old is None:
            self._may_create(kind, address[1])
        if old is not None and _same(old, new):
            return old  # nothing changes: neither does the version
        if dry:
            return new
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self._keep(address, old, new, owners)
        if new["metadata"].get("deletionTimestamp") and not (
            new["metadata"].get("finalizers") or self._holds(kind, address[2])
        ):
            self._drop(address, new)
        elif kind.kind == "CustomResourceDefinition":
            self._install(new)
        return new

    def _complete(
        self, kind: Kind, address: Address, old: Object | None, new: Object, owners: Owners
    ) -> None:
        """What the server itself writes into an object."""
        new["apiVersion"], new["kind"] = kind.api_version, kind.kind
        meta = new.setdefault("metadata", {})
        meta["name"] = address[2]
        if kind.namespaced:
            meta["namespace"] = address[1]
        before = (old or {}).get("metadata") or {}
        meta["uid"] = before.get("uid") or f"00000000-0000-4000-8000-{next(self._uids):012d}"
        meta["creationTimestamp"] = before.get("creationTimestamp") or now()
        meta["resourceVersion"] = before.get("resourceVersion", "")
        if "deletionTimestamp" in before:
            meta["deletionTimestamp"] = before["deletionTimestamp"]
        defaults(new)
        changed = old is None or any(
            new.get(part) != old.get(part)
            for part in (new.keys() | old.keys()) - {"metadata", "status"}
        )
        meta["generation"] = before.get("generation", 0) + (1 if changed else 0)
        meta["managedFields"] = [
            {
                "manager": manager, "operation": operation, "apiVersion": kind.api_version,
                "fieldsType": "FieldsV1", "fieldsV1": api_fields.fields_v1(owned),
                **({"subresource": subresource} if subresource else {}),
            }
            for (manager, operation, subresource), owned in owners.items()
        ]  # fmt: skip

    def _keep(self, address: Address, old: Object | None, new: Object, owners: Owners) -> None:
        self.objects[address] = self._by_slot[address[0]][address] = new
        self._owners[address] = owners
        for reference in new["metadata"].get("ownerReferences") or []:
            self._dependents[reference["uid"]].add(address)
        self._tell(address[0], old, new)

    def _drop(self, address: Address, old: Object) -> None:
        """Remove an object and whatever only it owned; a namespace that waited for it too."""
        self.version += 1
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
        self.objects.pop(address, None)
        self._by_slot[address[0]].pop(address, None)
        self._owners.pop(address, None)
        self._tell(address[0], last, None)
        for dependent in self._dependents.pop(old["metadata"]["uid"], set()):
            found = self.objects.get(dependent)
            if found is not None and not self._owned(found):
                self._delete_at(dependent)
        space = (("", "namespaces"), "", address[1])
        waiting = self.objects.get(space)
        if waiting is not None and waiting["metadata"].get("deletionTimestamp"):
            self._delete_at(space)

    def _delete_at(self, address: Address) -> None:
        kind = next(kind for kind in self.kinds.values() if kind.slot == address[0])
        if address in self.objects:
            self.delete(kind, address)

    def _owned(self, found: Object) -> bool:
        uids = {one["metadata"]["uid"] for one in self.objects.values()}
        return any(ref["uid"] in uids for ref in found["metadata"].get("ownerReferences") or [])

    def _empty(self, namespace: str) -> None:
        for address in [address for address in self.objects if address[1] == namespace]:
            self._delete_at(address)

    def _holds(self, kind: Kind, name: str) -> bool:
        """Whether a namespace still has objects."""
        return kind.kind == "Namespace" and any(address[1] == name for address in self.objects)

    def _tell(self, slot: tuple[str, str], before: Object | None, after: Object | None) -> None:
        change = Change(version=self.version, before=before, after=after)
        self._history[slot].append(change)
        for queue in self._watchers[slot]:
            queue.put_nowait(change)

    def _install(self, definition: Object) -> None:
        spec = definition["spec"]
        for version in spec["versions"]:
            subresources = tuple(version.get("subresources") or ())
            kind = Kind(
                api_version=f"{spec['group']}/{version['name']}", kind=spec["names"]["kind"],
                plural=spec["names"]["plural"], namespaced=spec["scope"] == "Namespaced",
                subresources=subresources,
            )  # fmt: skip
            self.kinds[kind.api_version, kind.plural] = kind

    def _may_create(self, kind: Kind, namespace: str) -> None:
        if not kind.namespaced:
            return
        space = self.objects.get((("", "namespaces"), "", namespace))
        if space is None:
            text = f'namespaces "{namespace}" not found'
            raise Refusal(404, "NotFound", text, name=namespace, kind="namespaces")
        if space["metadata"].get("deletionTimestamp"):
            text = f"unable to create new content in namespace {namespace} because it is being "
            text += "terminated"
            cause = {
                "reason": "NamespaceTerminating",
                "message": text,
                "field": "metadata.namespace",
            }
            raise Refusal(403, "Forbidden", text, causes=[cause])

    @staticmethod
    def _only(kind: Kind, old: Object, new: Object, subresource: str) -> Object:
        """What an update of that (sub)resource may change."""
        if subresource == "status":
            return {**clone(old), "status": new.get("status", {})}
        if "status" in kind.subresources:
            new.pop("status", None)
            if "status" in old:
                new["status"] = clone(old["status"])
        return new

    @staticmethod
    def _check_version(kind: Kind, old: Object, manifest: Object) -> None:
        wanted = (manifest.get("metadata") or {}).get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            name = old["metadata"]["name"]
            text = f'Operation cannot be fulfilled on {kind.plural} "{name}": the object has been '
            text += "modified; please apply your changes to the latest version and try again"
            raise Refusal(409, "Conflict", text, name=name, kind=kind.plural)

    @staticmethod
    def _not_found(kind: Kind, name: str) -> Refusal:
        full = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        return Refusal(404, "NotFound", f'{full} "{name}" not found', name=name, kind=kind.plural)

    @staticmethod
    def _invalid(kind: Kind, name: str, broken: list[tuple[str, str]]) -> Refusal:
        causes = [
            {"reason": "FieldValueInvalid", "message": text, "field": field}
            for field, text in broken
        ]
        text = f'{kind.kind} "{name}" is invalid: {"; ".join(": ".join(one) for one in broken)}'
        return Refusal(422, "Invalid", text, name=name, kind=kind.kind, causes=causes)

    @staticmethod
    def _disputed(kind: Kind, disputed: list[tuple[Any, str, str]]) -> Refusal:
        causes = [
            {
                "reason": "FieldManagerConflict", "field": api_fields.dotted(path),
                "message": f'conflict with "{manager}"'
                + (f" using {kind.api_version}" if operation == "Update" else ""),
            }
            for path, manager, operation in disputed
        ]  # fmt: skip
        text = f"Apply failed with {len(causes)} conflict" + ("s" if len(causes) > 1 else "")
        return Refusal(409, "Conflict", text, causes=causes)


def _same(old: Object, new: Object) -> bool:
    return msgspec.json.encode(old) == msgspec.json.encode(new) or old == new
