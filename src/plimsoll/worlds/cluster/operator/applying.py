"""Brings the objects of one Fleet to what they are to be, and leaves everybody else's alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.worlds.cluster.errors import ClusterError, Forbidden, MissingApi
from plimsoll.worlds.cluster.handoff import hands_off, with_replicas
from plimsoll.worlds.cluster.objects.names import COMPONENT, FLEET, GATEWAY_COMPONENT, label_value
from plimsoll.worlds.cluster.objects.site import MANAGER, Manifest
from plimsoll.worlds.cluster.operator.fence import Fenced
from plimsoll.worlds.cluster.operator.kinds import NAMESPACE, VOLUME, rank
from plimsoll.worlds.cluster.operator.reading import FleetKey, digest_of
from plimsoll.worlds.cluster.operator.sites import OWNER
from plimsoll.worlds.cluster.ownership import HANDOFF_MANAGER
from plimsoll.worlds.cluster.reference import Key, key_of


class Taken(ClusterError):
    """An object of that name is somebody else's; nothing was changed."""

    default_code = "operator.taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One state of the wished part of an object.

    uid         of the object; empty where it is not there
    generation  counts changes of its spec
    digest      of what was applied; empty where that is not known
    """

    uid: str = ""
    generation: int = 0
    digest: str = ""


@dataclass(slots=True, kw_only=True)
class Applied:
    """What is known of the objects of one Fleet.

    inventory  everything that was made for it, or is about to be; the status has it too
    versions   as they were when they were applied last
    """

    inventory: set[Key] = field(default_factory=set)
    versions: dict[Key, Version] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Applying:
    """One pass over the objects of one Fleet.

    fleet        whose they are
    applied      what is known of them; kept up to date
    remember     writes the inventory into the status; called before anything new is made
    seen         an object as the watch has it; None where nobody watches its kind
    volumes      whether volumes may be deleted
    """

    fenced: Fenced
    fleet: FleetKey
    applied: Applied
    remember: Callable[[], Awaitable[None]]
    seen: Callable[[Key], Version | None]
    volumes: bool

    async def bring(
        self, manifests: Sequence[Manifest], *, first: Mapping[Key, int], all_again: bool
    ) -> int:
        """Make, change and remove what differs. Returns the number of writes.

            first      replicas of workloads when they are made, where others set them later
        all_again  apply everything, for kinds that nobody watches

        Raises Taken before anything is changed when one of them is somebody else's, and what the
        API answers.
        """
        wished = {key_of(manifest): manifest for manifest in manifests}
        new = [key for key in wished if key not in self.applied.inventory]
        shared = {key for key in new if key.kind == NAMESPACE and await self._shared(key)}
        there = {key: await self.fenced.get(key) for key in new if key not in shared}
        self._refuse_others(there)
        await self._enter(set(new) - shared)
        writes = 0
        for key, manifest in wished.items():
            if key in shared:
                continue  # a namespace that was there before us
            if not all_again and self._as_applied(key, manifest):
                continue
            if key in first:
                await self._leave_replicas(key, manifest, first[key])
            done = (await self.fenced.apply(manifest))["metadata"]
            self.applied.versions[key] = Version(
                uid=done.get("uid", ""),
                generation=done.get("generation", 0),
                digest=digest_of(manifest),
            )
            writes += 1
        return writes + await self.remove(self.applied.inventory - wished.keys())

    async def _enter(self, fresh: set[Key]) -> None:
        """Write into the inventory what is about to be made; all or nothing."""
        if not fresh:
            return
        self.applied.inventory |= fresh
        try:
            await self.remember()
        except BaseException:
            self.applied.inventory -= fresh  # the next pass must write it before it makes any
            raise

    async def remove(self, keys: Iterable[Key]) -> int:
        """Remove objects that are ours, the last made first. Returns how many there were."""
        removed = 0
        for key in sorted(keys, key=rank, reverse=True):
            if key.kind == NAMESPACE or (key.kind == VOLUME and not self.volumes):
                continue  # others may use it; it stays in the inventory, and that is told
            try:
                live = await self.fenced.get(key)
                if live is not None and self._ours(live):
                    removed += await self.fenced.delete(key, uid=live["metadata"].get("uid"))
            except MissingApi:
                pass  # its kind is gone, and with it every object
            self.forget(key)
        return removed

    def forget(self, key: Key) -> None:
        """The object is gone, or was never ours."""
        self.applied.inventory.discard(key)
        self.applied.versions.pop(key, None)

    def _as_applied(self, key: Key, manifest: Manifest) -> bool:
        last = self.applied.versions.get(key)
        if last is None or last.digest != digest_of(manifest):
            return False
        seen = self.seen(key)
        # An older generation is one that the watch has not caught up from.
        return seen is None or (seen.uid == last.uid and seen.generation <= last.generation)

    async def _leave_replicas(self, key: Key, manifest: Manifest, first: int) -> None:
        """See to it that a workload whose manifest says no replicas keeps some.

        Without that the API server would start one, even of a model that is to start at none, and
        would go back to one when the manifest stops saying a number.
        """
        live = await self.fenced.get(key)
        if live is None:
            await self.fenced.apply(with_replicas(manifest, first))
        elif not hands_off(manifest, live):
            return
        meta = {"name": key.name, "namespace": key.namespace}
        stands = first if live is None else live["spec"].get("replicas", first)
        part = {"apiVersion": key.api_version, "kind": key.kind, "metadata": meta}
        await self.fenced.apply({**part, "spec": {"replicas": stands}}, manager=HANDOFF_MANAGER)

    async def _shared(self, namespace: Key) -> bool:
        """Whether a namespace was there before us, or is none of our business."""
        try:
            live = await self.fenced.get(namespace)
        except Forbidden:
            return True
        return live is not None and not self._ours(live)

    def _refuse_others(self, there: Mapping[Key, Manifest | None]) -> None:
        for key, found in there.items():
            if found is None or self._ours(found):
                continue
            raise Taken(
                f"{key} is there and is not this Fleet's",
                where=f"Fleet {self.fleet}",
                hint="delete it, or rename the model or the Fleet",
            )

    def _ours(self, live: Manifest) -> bool:
        meta = live["metadata"]
        owner = (meta.get("annotations") or {}).get(OWNER)
        if owner is not None:
            return bool(owner == str(self.fleet))
        labels = meta.get("labels") or {}
        managed = labels.get("app.kubernetes.io/managed-by") == MANAGER
        return managed and labels.get(FLEET) == label_value(self.fleet.name)


def is_gateway(live: Manifest) -> bool:
    """Whether an object belongs to a gateway."""
    return (live["metadata"].get("labels") or {}).get(COMPONENT) == GATEWAY_COMPONENT
