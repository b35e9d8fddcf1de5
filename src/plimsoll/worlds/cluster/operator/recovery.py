"""What was made for a Fleet whose status has lost its inventory: found by label and owner."""

from __future__ import annotations

from plimsoll.worlds.cluster.errors import Forbidden, MissingApi
from plimsoll.worlds.cluster.objects.names import FLEET, label_value
from plimsoll.worlds.cluster.operator.fence import Fenced
from plimsoll.worlds.cluster.operator.kinds import MADE
from plimsoll.worlds.cluster.operator.reading import FleetKey
from plimsoll.worlds.cluster.operator.sites import OWNER
from plimsoll.worlds.cluster.reference import Key, key_of


async def found_by_label(fenced: Fenced, fleet: FleetKey) -> frozenset[Key]:
    """Every object that is marked as this Fleet's, of every kind that is made for Fleets."""
    found: set[Key] = set()
    for api_version, kind in MADE:
        try:
            listed = await fenced.list(
                api_version, kind, labels=f"{FLEET}={label_value(fleet.name)}"
            )
        except (MissingApi, Forbidden):
            continue  # what is not installed or not ours to see was not made by us
        found |= {
            key_of(one)
            for one in listed
            if (one["metadata"].get("annotations") or {}).get(OWNER) == str(fleet)
        }
    return frozenset(found)
