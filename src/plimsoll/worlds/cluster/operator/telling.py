"""Writes the status of one Fleet, only where it changed, and says in events what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plimsoll.errors import PlimsollError
from plimsoll.policy.snapshot import Memory
from plimsoll.worlds.cluster.errors import NotFound
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.operator.conditions import Condition, changes, merged
from plimsoll.worlds.cluster.operator.fence import Fenced, NotLeading
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.mirror import Mirror
from plimsoll.worlds.cluster.operator.reading import FleetKey
from plimsoll.worlds.cluster.operator.status import (
    encode_inventory,
    encode_memory,
    models_status,
    worth_writing,
)
from plimsoll.worlds.cluster.operator.told import Course, conditions, event_kind
from plimsoll.worlds.cluster.reference import Key

_SLOW = 30.0  # seconds between two writes of what is not worth one on its own
_QUIET = frozenset({"Progressing"})  # comes and goes with every replica


class Telling:
    """The status of one Fleet as it stands, and how it becomes another.

    fleets  where the object is seen
    clock   seconds, never set back
    now     seconds since 1970
    status  as it stands
    """

    def __init__(
        self,
        *,
        fenced: Fenced,
        fleets: Mirror,
        clock: Callable[[], float],
        now: Callable[[], float],
        status: Mapping[str, Any],
    ) -> None:
        self._fenced = fenced
        self._fleets = fleets
        self._clock = clock
        self._now = now
        self._status = dict(status)
        self._written = float("-inf")

    async def tell(
        self,
        fleet: Manifest,
        effective: Effective,
        course: Course,
        *,
        memory: Memory,
        inventory: Iterable[Key],
    ) -> tuple[bool, float | None]:
        """Write what changed. Returns whether there was anything, and when to come again."""
        before = self._status.get("conditions") or []
        after = merged(
            before,
            conditions(effective, course),
            generation=effective.generation,
            at=self._now(),
        )
        status = {
            "observedGeneration": effective.generation,
            "models": len(course.models),
            "ready": sum(bool(model.ready) for model in course.models.values()),
            "conditions": after,
            "replicas": models_status(course.models),
            "memory": encode_memory(memory),
            "inventory": encode_inventory(inventory),
        }
        if effective.gateway is not None:
            status["gateway"] = str(effective.gateway)
        if status == self._status:
            return False, None
        slow = self._written + _SLOW - self._clock()
        if not worth_writing(self._status, status) and slow > 0:
            return False, slow
        await self._write(effective.key, status)
        for entry in changes(before, after):
            if entry["type"] not in _QUIET and not _expected(entry, before):
                await self.say(
                    fleet,
                    entry["reason"],
                    f"{entry['type']} is {entry['status']}: {entry['message']}",
                    kind=event_kind(entry),
                )
        return True, None

    async def remember(self, key: FleetKey, *, memory: Memory, inventory: Iterable[Key]) -> None:
        """Write what the next operator must know, before something is made."""
        await self._write(
            key,
            self._status
            | {"memory": encode_memory(memory), "inventory": encode_inventory(inventory)},
        )

    async def leaving(self, fleet: Manifest, waiting: str, *, inventory: Iterable[Key]) -> None:
        """Tell what a Fleet that is being deleted still waits for; its inventory stays."""
        meta = fleet["metadata"]
        generation = meta.get("generation", 0)
        message = f"being deleted: {waiting}"
        condition = Condition(kind="Ready", status="False", reason="Deleting", message=message)
        after = merged(
            self._status.get("conditions") or [],
            [condition],
            generation=generation,
            at=self._now(),
        )
        status = self._status | {
            "conditions": after,
            "inventory": encode_inventory(inventory),
            "observedGeneration": generation,
        }
        if worth_writing(self._status, status):
            await self._write(FleetKey(meta["namespace"], meta["name"]), status)

    async def say(self, fleet: Manifest, reason: str, note: str, *, kind: str = "Normal") -> None:
        """Record an event. One that cannot be recorded is not worth a failed pass."""
        try:
            await self._fenced.event(
                fleet, reason, note, "Warning" if kind == "Warning" else "Normal"
            )
        except NotLeading:
            raise
        except PlimsollError:
            return  # counted among the API's errors

    async def _write(self, key: FleetKey, status: Mapping[str, Any]) -> None:
        fleet = self._fleets.get(key)
        if fleet is None:
            return
        try:
            self._fleets.put(await self._fenced.patch_status(fleet, status))
        except NotFound:
            return  # it was deleted meanwhile
        self._status = dict(status)
        self._written = self._clock()


def _expected(entry: Mapping[str, Any], before: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a condition is new and as everybody hopes."""
    return event_kind(entry) == "Normal" and all(old["type"] != entry["type"] for old in before)
