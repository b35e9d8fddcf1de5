"""What was made for a Fleet whose status has lost its inventory: found by label and owner."""

from __future__ import annotations

from plimsoll.worlds.cluster.errors import Forbidden, MissingApi
from plimsoll.worlds.cluster.objects.names import FLEET, label_value
from plimsoll.worlds.cluster.operator.fence import Fenced
from plimsoll.worlds.cluster.operator.kinds import MADE
from plimsoll.worlds.cluster.operator.reading import FleetKey
from plimsoll.worlds.cluster.operator.sites import OWNER
from plimsoll.worlds.cluster.reference import Key, key_of


async def found_by_label(
    fenced: Fenced, fleet: FleetKey, within: tuple[str, ...]
) -> frozenset[Key]:
    """Every object that is marked as this Fleet's, of every kind that is made for Fleets.

    within  namespaces to look in, where we may look in no others; empty: all
    """
    found: set[Key] = set()
    for api_version, kind in MADE:
        for namespace in within or (None,):
            try:
                listed = await fenced.list(
                    api_version, kind, namespace=namespace,
                    labels=f"{FLEET}={label_value(fleet.name)}",
                )  # fmt: skip
            except (MissingApi, Forbidden):
                continue  # what is not installed or not ours to see was not made by us
            found |= {
                key_of(one)
                for one in listed
                if (one["metadata"].get("annotations") or {}).get(OWNER) == str(fleet)
            }
    return frozenset(found)
