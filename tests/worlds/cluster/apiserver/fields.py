"""Who owns which field: server-side apply as the API server does it, for the kinds that we use.

A set of fields is a set of paths; a path is a tuple of names, of `("k", ((key, value), ...))` for
an item of a keyed list and of `("v", value)` for an item of a set. Lists whose keys are not known
here, and maps that Kubernetes declares atomic, are one value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Path = tuple[Any, ...]
Owners = dict[tuple[str, str, str], set[Path]]  # (manager, operation, subresource) -> fields

LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",), "initContainers": ("name",), "ephemeralContainers": ("name",),
    "volumes": ("name",), "env": ("name",), "imagePullSecrets": ("name",),
    "resourceClaims": ("name",), "claims": ("name",), "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",), "conditions": ("type",), "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"), "hostAliases": ("ip",),
}  # fmt: skip
SETS = {"finalizers"}
ATOMIC_MAPS = {
    "selector", "nodeSelector", "labelSelector", "podSelector", "namespaceSelector", "secretRef",
    "configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef", "localObjectReference",
}  # fmt: skip
SERVER_FIELDS = {
    ("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"),
    ("metadata", "uid"), ("metadata", "resourceVersion"), ("metadata", "generation"),
    ("metadata", "creationTimestamp"), ("metadata", "managedFields"),
    ("metadata", "deletionTimestamp"), ("metadata", "generateName"),
}  # fmt: skip


def clone(value: Any) -> Any:
    """A copy that shares nothing; faster than `copy.deepcopy` for plain data."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def list_keys(name: str, items: list[Any]) -> tuple[str, ...]:
    """The keys of a list's items; empty: it is atomic."""
    if not items or not all(isinstance(item, dict) for item in items):
        return ()
    if name == "ports":  # of containers and of Services; those of policies are atomic
        if all("containerPort" in item for item in items):
            return ("containerPort", "protocol")
        if all("port" in item and "name" in item for item in items):
            return ("port", "protocol")
        return ()
    keys = LIST_KEYS.get(name, ())
    return keys if all(key in item for item in items for key in keys) else ()


def item_key(item: dict[str, Any], keys: tuple[str, ...]) -> Path:
    return ("k", tuple((key, item.get(key, "TCP" if key == "protocol" else None)) for key in keys))


def children(value: Any, name: str) -> Iterator[tuple[Any, Any]] | None:
    """The parts of a value by path element; None: it is one."""
    if isinstance(value, dict) and value and name not in ATOMIC_MAPS:
        return iter(value.items())
    if isinstance(value, list):
        if name in SETS and value:
            return ((("v", item), item) for item in value)
        if keys := list_keys(name, value):
            return ((item_key(item, keys), item) for item in value)
    return None


def fields(value: Any, prefix: Path = (), name: str = "") -> dict[Path, Any]:
    """Every field below `value` by path; items of keyed lists count as fields themselves."""
    found: dict[Path, Any] = {}
    for element, child in children(value, name) or ():
        path = (*prefix, element)
        below = element if isinstance(element, str) else ""
        if path in SERVER_FIELDS:
            continue
        if isinstance(element, tuple) and element[0] == "k":
            found[path] = None
        if children(child, below) is None:
            found[path] = child
        else:
            found |= fields(child, path, below)
    return found


def find(value: Any, path: Path) -> tuple[bool, Any]:
    """Whether there is something at `path`, and what."""
    name = ""
    for element in path:
        parts = dict(children(value, name) or ())
        if element not in parts:
            return False, None
        value, name = parts[element], element if isinstance(element, str) else ""
    return True, value


def remove(value: Any, path: Path) -> None:
    """Take out what is at `path`, and the maps and lists that this leaves empty."""
    if not path:
        return
    found, parent = find(value, path[:-1])
    if not found:
        return
    last = path[-1]
    if isinstance(parent, dict):
        parent.pop(last, None)
    elif isinstance(parent, list):
        _remove_item(parent, last)
    if not parent and path[:-1]:
        remove(value, path[:-1])


def _remove_item(items: list[Any], element: Path) -> None:
    for item in list(items):
        same = (
            item == element[1]
            if element[0] == "v"
            else item_key(item, tuple(key for key, _ in element[1])) == element
        )
        if same:
            items.remove(item)


def merge(live: Any, wished: Any, name: str = "") -> Any:
    """`wished` over `live`, as server-side apply merges them."""
    if isinstance(live, dict) and isinstance(wished, dict) and name not in ATOMIC_MAPS:
        merged = dict(live)
        for key, value in wished.items():
            merged[key] = merge(live.get(key), value, key)
        return merged
    if isinstance(live, list) and isinstance(wished, list):
        if name in SETS:
            return live + [item for item in wished if item not in live]
        keys = list_keys(name, wished)
        if keys and (not live or list_keys(name, live)):
            return _merge_items(live, wished, keys)
    return clone(wished)


def _merge_items(live: list[Any], wished: list[Any], keys: tuple[str, ...]) -> list[Any]:
    merged = {item_key(item, keys): item for item in live}
    for item in wished:
        key = item_key(item, keys)
        merged[key] = merge(merged.get(key), item)
    ours = [merged[item_key(item, keys)] for item in wished]
    others = [
        item for item in live if item_key(item, keys) not in {item_key(i, keys) for i in wished}
    ]
    return ours + others


def conflicts(
    live: dict[str, Any], wished: dict[Path, Any], manager: str, owners: Owners
) -> list[tuple[Path, str, str]]:
    """Fields of `wished` that others own and that would change: path, manager, operation."""
    found = []
    for (owner, operation, _), owned in owners.items():
        if owner == manager and operation == "Apply":
            continue
        for path in owned & wished.keys():
            there, value = find(live, path)
            if there and wished[path] is not None and value != wished[path]:
                found.append((path, owner, operation))
    return sorted(found, key=lambda one: (one[1], str(one[0])))


def dotted(path: Path) -> str:
    """A path as the API server writes it: `.spec.template.spec.containers[name="x"].image`."""
    text = ""
    for element in path:
        if isinstance(element, str):
            text += f".{element}"
        elif element[0] == "k":
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in element[1]) + "]"
        else:
            text += f"[={json.dumps(element[1])}]"
    return text


def fields_v1(paths: set[Path]) -> dict[str, Any]:
    """A set of fields as `managedFields[].fieldsV1` holds it."""
    tree: dict[str, Any] = {}
    for path in sorted(paths, key=str):
        node = tree
        for element in path:
            node = node.setdefault(_v1_name(element), {})
        if path and isinstance(path[-1], tuple) and path[-1][0] == "k":
            node["."] = {}
    return tree


def _v1_name(element: Any) -> str:
    if isinstance(element, str):
        return f"f:{element}"
    if element[0] == "k":
        return "k:" + json.dumps(dict(element[1]), separators=(",", ":"))
    return "v:" + json.dumps(element[1])


def apply(
    live: dict[str, Any], wished: dict[str, Any], manager: str, subresource: str, owners: Owners
) -> dict[str, Any]:
    """`wished` applied over `live` by `manager`; `owners` is changed in place.

    What the manager applied before and leaves out now goes, unless somebody else owns it too.
    """
    key = (manager, "Apply", subresource)
    wished_fields = fields(wished)
    merged = merge(clone(live), wished)
    before = owners.pop(key, set())
    for owner, owned in list(owners.items()):
        for path in owned & wished_fields.keys():
            there, value = find(live, path)
            if not there or (wished_fields[path] is not None and value != wished_fields[path]):
                owned.discard(path)
        if not owned:
            del owners[owner]
    elsewhere = set().union(*owners.values()) if owners else set()
    gone = before - wished_fields.keys() - elsewhere
    for path in sorted(gone, key=len, reverse=True):
        if not _holds_owned(path, elsewhere | wished_fields.keys()):
            remove(merged, path)
    owners[key] = set(wished_fields)
    return merged


def _holds_owned(path: Path, owned: set[Path]) -> bool:
    """Whether an owned field lies below `path`."""
    return any(other[: len(path)] == path and len(other) > len(path) for other in owned)


def update(
    old: dict[str, Any], new: dict[str, Any], manager: str, subresource: str, owners: Owners
) -> None:
    """The change from `old` to `new` made by `manager`; `owners` is changed in place."""
    before, after = fields(old), fields(new)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = before.keys() - after.keys()
    for owner, owned in list(owners.items()):
        owned.difference_update(changed | gone)
        if not owned:
            del owners[owner]
    if changed:
        owners.setdefault((manager, "Update", subresource), set()).update(changed)
