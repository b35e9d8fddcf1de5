"""What we applied for a fleet, kept in the cluster, so that what is no longer wished can go.

A ConfigMap `plimsoll-inventory-<fleet>` in the fleet's namespace lists every object. It is
widened before new objects are applied and narrowed after old ones are deleted, so that it never
lists less than there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from plimsoll.errors import Failed
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.errors import AlreadyExists, Conflict, NotFound
from plimsoll.worlds.cluster.objects.names import FLEET, label_value, object_name
from plimsoll.worlds.cluster.objects.site import MANAGER, Manifest
from plimsoll.worlds.cluster.ownership import MANAGED_BY
from plimsoll.worlds.cluster.reference import Key

_OBJECTS, _FOUND = "objects", "found"
_ATTEMPTS = 10
_Tree = dict[str, dict[str, list[str]]]  # `apps/v1 Deployment` -> namespace -> names


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What we applied.

    keys   every object
    found  those among them that were there before us, such as a namespace: never deleted
    """

    keys: frozenset[Key] = frozenset()
    found: frozenset[Key] = frozenset()


def inventory_name(fleet: str) -> str:
    """Name of the ConfigMap."""
    return object_name("plimsoll", "inventory", fleet)


async def read(kube: Kube, fleet: str, namespace: str) -> Inventory:
    """The inventory of a fleet; empty where there is none. Raises Failed where it is broken."""
    live = await kube.get("v1", "ConfigMap", inventory_name(fleet), namespace)
    return Inventory() if live is None else _decoded(live)


async def widen(kube: Kube, fleet: str, namespace: str, more: Inventory) -> None:
    """Add to the inventory, whoever else adds at the same time."""
    for _ in range(_ATTEMPTS):
        live = await kube.get("v1", "ConfigMap", inventory_name(fleet), namespace)
        have = Inventory() if live is None else _decoded(live)
        wider = Inventory(keys=have.keys | more.keys, found=have.found | more.found)
        if live is not None and wider == have:
            return
        if await _write(kube, fleet, namespace, wider, live):
            return
    raise _contended(fleet)


async def narrow(kube: Kube, fleet: str, namespace: str, gone: Iterable[Key]) -> None:
    """Take objects out of the inventory; an empty one is deleted."""
    leaving = frozenset(gone)
    for _ in range(_ATTEMPTS):
        live = await kube.get("v1", "ConfigMap", inventory_name(fleet), namespace)
        if live is None:
            return
        have = _decoded(live)
        left = Inventory(keys=have.keys - leaving, found=have.found - leaving)
        if left == have and left.keys:
            return
        if not left.keys:
            uid = live["metadata"]["uid"]
            await kube.delete("v1", "ConfigMap", inventory_name(fleet), namespace, uid=uid)
            return
        if await _write(kube, fleet, namespace, left, live):
            return
    raise _contended(fleet)


async def _write(
    kube: Kube, fleet: str, namespace: str, wished: Inventory, live: Manifest | None
) -> bool:
    """Write over `live`; False where somebody was faster."""
    manifest = _manifest(fleet, namespace, wished)
    try:
        if live is None:
            await kube.create(manifest)
        else:
            manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            await kube.update(manifest)
    except (AlreadyExists, Conflict):
        return False
    except NotFound:
        if live is None:
            raise  # the namespace is missing
        return False
    return True


def _manifest(fleet: str, namespace: str, wished: Inventory) -> Manifest:
    data = {_OBJECTS: _encoded(wished.keys)}
    if wished.found:
        data[_FOUND] = _encoded(wished.found)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": inventory_name(fleet),
            "namespace": namespace,
            "labels": {
                MANAGED_BY: MANAGER,
                "app.kubernetes.io/component": "inventory",
                FLEET: label_value(fleet),
            },
        },
        "data": data,
    }


def _encoded(keys: Iterable[Key]) -> str:
    tree: _Tree = {}
    for key in sorted(keys):
        kind = tree.setdefault(f"{key.api_version} {key.kind}", {})
        kind.setdefault(key.namespace, []).append(key.name)
    return msgspec.json.encode(tree, order="sorted").decode()


def _decoded(live: Manifest) -> Inventory:
    data = live.get("data") or {}
    return Inventory(keys=_keys(data.get(_OBJECTS), live), found=_keys(data.get(_FOUND), live))


def _keys(text: str | None, live: Manifest) -> frozenset[Key]:
    if not text:
        return frozenset()
    try:
        tree = msgspec.json.decode(text, type=_Tree)
        found = []
        for heading, spaces in tree.items():
            api_version, kind = heading.split(" ", 1)
            found += [
                Key(api_version=api_version, kind=kind, namespace=namespace, name=name)
                for namespace, names in spaces.items()
                for name in names
            ]
    except (msgspec.DecodeError, ValueError) as error:
        name = live["metadata"]["name"]
        raise Failed(
            f"the inventory is broken: {error}",
            where=f"ConfigMap {name} in namespace {live['metadata'].get('namespace', '')}",
            hint="delete the ConfigMap: what is wished is applied again, what is not stays",
            code="cluster.inventory",
        ) from error
    return frozenset(found)


def _contended(fleet: str) -> Failed:
    return Failed(
        "others keep changing the inventory",
        where=f"fleet {fleet}",
        hint="let one `apply` of a fleet run at a time",
        code="cluster.inventory",
    )
