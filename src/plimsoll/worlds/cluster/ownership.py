"""Whose an object is and who owns which of its fields, read from the object itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from plimsoll.worlds.cluster.objects.names import FLEET, label_value
from plimsoll.worlds.cluster.objects.site import MANAGER, Manifest

HANDOFF_MANAGER = "plimsoll-handoff"  # keeps `replicas` where it is until a scaler sets it
OPERATOR_MANAGER = "plimsoll-operator"
OUR_MANAGERS = frozenset({MANAGER, HANDOFF_MANAGER, OPERATOR_MANAGER})
MANAGED_BY = "app.kubernetes.io/managed-by"


def labels_of(live: Mapping[str, Any]) -> Mapping[str, str]:
    """An object's labels; empty where it has none."""
    return live.get("metadata", {}).get("labels") or {}


def is_ours(live: Mapping[str, Any], fleet: str) -> bool:
    """Whether we applied the object for that fleet: by its labels and by its managed fields."""
    labels = labels_of(live)
    labelled = labels.get(MANAGED_BY) == MANAGER and labels.get(FLEET) == label_value(fleet)
    return labelled and applied_by(live, MANAGER)


def other_fleet(live: Mapping[str, Any], fleet: str) -> str:
    """The other fleet of ours that an object belongs to; empty: none."""
    labels = labels_of(live)
    owner = labels.get(FLEET, "") if labels.get(MANAGED_BY) == MANAGER else ""
    return owner if owner != label_value(fleet) else ""


def applied_by(live: Mapping[str, Any], manager: str) -> bool:
    """Whether `manager` owns anything of the object by server-side apply."""
    return any(True for _ in _entries(live, manager))


def owned_fields(live: Mapping[str, Any], manager: str) -> Manifest:
    """What `manager` owns by server-side apply, as a `fieldsV1` tree; empty: nothing."""
    for entry in _entries(live, manager):
        fields: Manifest = entry.get("fieldsV1") or {}
        return fields
    return {}


def owns(live: Mapping[str, Any], manager: str, *path: str) -> bool:
    """Whether `manager` owns the field at `path` by server-side apply."""
    here: Any = owned_fields(live, manager)
    for name in path:
        here = here.get(f"f:{name}") if isinstance(here, dict) else None
        if here is None:
            return False
    return True


def owners(live: Mapping[str, Any]) -> tuple[str, ...]:
    """The managers of an object that are not ours, by name."""
    found = {str(entry.get("manager", "")) for entry in _managed(live)}
    return tuple(sorted(found - OUR_MANAGERS - {""}))


def changes_ownership(live: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Whether an apply with this `result` would change what our manager owns."""
    before, after = owned_fields(live, MANAGER), owned_fields(result, MANAGER)
    return json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True)


def _entries(live: Mapping[str, Any], manager: str) -> Iterator[Mapping[str, Any]]:
    for entry in _managed(live):
        ours = entry.get("manager") == manager and entry.get("operation") == "Apply"
        if ours and not entry.get("subresource"):
            yield entry


def _managed(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return live.get("metadata", {}).get("managedFields") or []
