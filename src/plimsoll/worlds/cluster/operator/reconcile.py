"""One pass over one Fleet: see, plan, decide, apply, tell. It may end anywhere and begin again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.errors import InputError, PlimsollError
from plimsoll.policy.snapshot import Memory, ReplicaSeen
from plimsoll.worlds.cluster.errors import (
    NotFound,
    ServerFault,
    Throttled,
    Unreachable,
)
from plimsoll.worlds.cluster.objects.site import Manifest, Workload
from plimsoll.worlds.cluster.operator.applying import Applied, Applying
from plimsoll.worlds.cluster.operator.fence import Fenced, NotLeading
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.kinds import SCALABLE
from plimsoll.worlds.cluster.operator.outlook import outlook
from plimsoll.worlds.cluster.operator.planning import Plans, is_final
from plimsoll.worlds.cluster.operator.progress import Made, Outcome, Progress
from plimsoll.worlds.cluster.operator.reading import FleetKey, digest_of
from plimsoll.worlds.cluster.operator.reading import key_of as fleet_key
from plimsoll.worlds.cluster.operator.recovery import found_by_label
from plimsoll.worlds.cluster.operator.removal import Removal
from plimsoll.worlds.cluster.operator.scene import Scene
from plimsoll.worlds.cluster.operator.sites import Planned, Render, Surroundings, Wished, wished
from plimsoll.worlds.cluster.operator.status import ModelStatus, decode_inventory, decode_memory
from plimsoll.worlds.cluster.operator.telling import Telling
from plimsoll.worlds.cluster.operator.told import Course, model_status
from plimsoll.worlds.cluster.reference import Key, key_of

FINALIZER = "plimsoll.dev/fleet"
DELETE_VOLUMES = "plimsoll.dev/delete-volumes"
"""Annotation of a Fleet: with `true`, its volumes are deleted with it or with their model."""

_AWAY = (Unreachable, Throttled, ServerFault)  # nobody can be told of these now
_SOON = 1.0  # seconds; nothing is looked at again sooner without a cause
_WAIT = 5.0  # seconds between two looks at a Fleet that is being deleted


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Passes over Fleets, one at a time for each.

    scene     what is seen of the cluster
    around    what sites have in common, as it is now
    clock     seconds, never set back
    now       seconds since 1970
    random    a number from 0 to 1
    resync    seconds after which everything is applied again, more or less
    within    namespaces that are watched; empty: all
    """

    scene: Scene
    fenced: Fenced
    plans: Plans
    render: Render
    around: Callable[[], Surroundings]
    clock: Callable[[], float]
    now: Callable[[], float]
    random: Callable[[], float]
    resync: float
    within: tuple[str, ...] = ()
    progress: dict[FleetKey, Progress] = field(default_factory=dict)

    async def look(self, key: FleetKey) -> Outcome | None:
        """One pass; None: the Fleet is gone. Raises NotLeading, and what the API answers."""
        fleet = self.scene.fleets.get(key)
        if fleet is None:
            self.progress.pop(key, None)
            self.plans.forget(key)
            return None
        progress = await self._known(key, fleet)
        if fleet["metadata"].get("deletionTimestamp"):
            return await self._leave(key, fleet, progress)
        effective = self.scene.sum.effective.get(key)
        if effective is None or effective.uid != progress.uid:
            return Outcome(result="waiting", after=1.0)  # it came after the last sum
        await self._hold(fleet)
        return await self._keep(fleet, effective, progress)

    async def _known(self, key: FleetKey, fleet: Manifest) -> Progress:
        uid = fleet["metadata"].get("uid", "")
        known = self.progress.get(key)
        if known is not None and known.uid == uid:
            return known
        status = fleet.get("status") or {}
        inventory = decode_inventory(status.get("inventory"))
        if inventory is None and FINALIZER in (fleet["metadata"].get("finalizers") or ()):
            inventory = await found_by_label(self.fenced, key, self.within)
        known = self.progress[key] = Progress(
            uid=uid,
            applied=Applied(inventory=set(inventory or ())),
            memory=decode_memory(status.get("memory")),
            telling=Telling(
                fenced=self.fenced, fleets=self.scene.fleets, clock=self.clock, now=self.now,
                status=status,
            ),
        )  # fmt: skip
        return known

    async def _hold(self, fleet: Manifest) -> None:
        """Have the Fleet wait for us when it is deleted. Raises Conflict where it has changed."""
        meta = fleet["metadata"]
        finalizers = meta.get("finalizers") or []
        if FINALIZER not in finalizers:
            held = {**fleet, "metadata": {**meta, "finalizers": [*finalizers, FINALIZER]}}
            self.scene.fleets.put(await self.fenced.update(held))

    async def _keep(self, fleet: Manifest, effective: Effective, progress: Progress) -> Outcome:
        planned = applied = None
        writes, after = 0, None
        try:
            if not await self._make(effective, progress):
                if progress.made is None:
                    return Outcome(result="waiting", after=self.resync)
                effective = progress.made.effective  # until its new plan is there
        except PlimsollError as error:
            planned = error
        models: dict[str, ModelStatus] = {}
        if progress.made is not None:
            after, replicas = self._decide(progress.made, progress)
            try:
                writes = await self._apply(fleet, progress.made, progress)
                writes += await self._scale(fleet, progress.made, progress)
            except (NotLeading, *_AWAY):
                raise
            except PlimsollError as error:
                applied = error
            models = self._models(progress.made, replicas, progress)
        made = progress.made.effective if progress.made else effective
        course = Course(
            planned=planned,
            applied=applied,
            look=self.scene.demand.look(made.gateway),
            scales=any(model.driver == "operator" for model in models.values()),
            made=progress.made is not None,
            models=models | _unserved(effective),
        )
        wrote, again = await progress.telling.tell(
            fleet,
            effective,
            course,
            memory=progress.memory,
            inventory=progress.applied.inventory,
        )
        failed = applied
        if failed is None and planned is not None and not is_final(planned):
            failed = planned
        waits = [wait for wait in (after, again) if wait is not None]
        if progress.again:
            waits.append(max(_SOON, progress.again - self.clock()))
        return Outcome(
            result="failed" if failed else "changed" if writes or wrote else "same",
            after=min(waits, default=self.resync),
            error=failed,
            trouble=_trouble(effective, planned),
        )

    async def _make(self, effective: Effective, progress: Progress) -> bool:
        """Render what changed, if its plan is there. Raises as planning and rendering do."""
        if effective.fleet is None:
            return True
        around = self.around()
        planned = self.plans.of(effective)
        if planned is None:
            return False
        others = self._others(effective)
        digest = digest_of([effective.digest, [(one.digest, one.key) for one, _ in others]])
        made = progress.made
        if made is None or made.digest != digest or made.around is not around:
            found = await asyncio.to_thread(
                wished, effective, planned, others, around=around, render=self.render
            )
            self._watched(found)
            progress.made = Made(
                digest=digest,
                around=around,
                effective=effective,
                wished=found,
                keys=_workload_keys(found),
            )
        return True

    def _watched(self, found: Wished) -> None:
        """Raises InputError where replicas would run unseen."""
        unseen = {one.namespace for one in found.workloads} - set(self.within)
        if self.within and unseen:
            raise InputError(
                f"models are to run in {', '.join(sorted(unseen))}, where this operator sees none",
                hint="name the namespace there with `--namespace`, or keep all of them",
                code="operator.namespace",
            )

    def _others(self, effective: Effective) -> list[tuple[Effective, Planned]]:
        """The other Fleets that this one's gateway serves, as far as they are planned."""
        found = []
        for key in effective.served:
            other = self.scene.sum.effective.get(key)
            if key == effective.key or other is None or other.fleet is None:
                continue
            planned = self.plans.known(other)
            if planned is not None:
                found.append((other, planned))
        return found

    def _decide(
        self, made: Made, progress: Progress
    ) -> tuple[float | None, dict[str, tuple[ReplicaSeen, ...]]]:
        now = self.now()
        servers = made.wished.servers
        replicas = {
            server.model.name: self.scene.replicas(server, now)
            for name, server in servers.items()
            if server.model.name == name
        }
        assert made.effective.fleet is not None
        found = outlook(
            made.effective.fleet,
            servers,
            replicas,
            self.scene.demand.look(made.effective.gateway),
            progress.memory,
            now=now,
        )
        progress.memory = found.memory
        return found.after, replicas

    async def _apply(self, fleet: Manifest, made: Made, progress: Progress) -> int:
        again = self.clock() >= progress.again
        first = {
            key: self._first(workload, progress.memory)
            for name, workload in made.wished.servers.items()
            if workload.driver != "none"
            and workload.model.name == name
            and (key := made.keys.get(workload.model.name))
        }
        writes = await self._applying(fleet, progress).bring(
            made.wished.manifests, first=first, all_again=again
        )
        if again:
            # Fleets that were first seen together are not all applied again together.
            least = 0.75 if progress.again else 0.0
            progress.again = self.clock() + self.resync * (least + (1 - least) * self.random())
        return writes

    def _applying(self, fleet: Manifest, progress: Progress) -> Applying:
        key = fleet_key(fleet)

        async def remember() -> None:
            await progress.telling.remember(
                key, memory=progress.memory, inventory=progress.applied.inventory
            )

        annotations = fleet["metadata"].get("annotations") or {}
        return Applying(
            fenced=self.fenced,
            fleet=key,
            applied=progress.applied,
            remember=remember,
            seen=self.scene.version,
            volumes=annotations.get(DELETE_VOLUMES) == "true",
        )

    async def _scale(self, fleet: Manifest, made: Made, progress: Progress) -> int:
        """Set replicas where they are ours to set and another number stands."""
        writes = 0
        for model, wanted in progress.memory.models.items():
            key = made.keys.get(model)
            stands = self.scene.replicas_written(key) if key is not None else None
            if key is None or stands is None or stands == wanted.wanted:
                continue
            await self.fenced.scale(key, wanted.wanted)
            self.scene.scaled(key, wanted.wanted)
            writes += 1
            await progress.telling.say(
                fleet, "Scaled", f"{model}: {stands} -> {wanted.wanted} replicas: {wanted.reason}"
            )
        return writes

    def _models(
        self,
        made: Made,
        replicas: Mapping[str, Sequence[ReplicaSeen]],
        progress: Progress,
    ) -> dict[str, ModelStatus]:
        return {
            name: model_status(
                server,
                replicas.get(server.model.name, ()),
                progress.memory,
                written=self._written(made.keys.get(server.model.name), server),
            )
            for name, server in made.wished.servers.items()
        }

    @staticmethod
    def _first(workload: Workload, memory: Memory) -> int:
        remembered = memory.models.get(workload.model.name)
        return workload.model.scaling.min if remembered is None else remembered.wanted

    def _written(self, key: Key | None, workload: Workload) -> int:
        found = self.scene.replicas_written(key) if key is not None else None
        return workload.model.scaling.min if found is None else found

    async def _leave(self, key: FleetKey, fleet: Manifest, progress: Progress) -> Outcome:
        """One pass over a Fleet that is being deleted."""
        finalizers = fleet["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return Outcome(result="waiting", after=self.resync)
        progress.removing = progress.removing or frozenset(progress.applied.inventory)
        removal = Removal(
            applying=self._applying(fleet, progress),
            made=progress.removing,
            pods=lambda: self.scene.pods_of_fleet(key),
            now=self.now(),
        )
        waiting = await removal.step()
        if waiting is not None:
            await progress.telling.leaving(fleet, waiting, inventory=progress.removing)
            return Outcome(result="waiting", after=_WAIT)
        if kept := sorted(str(one) for one in progress.applied.inventory):
            await progress.telling.say(fleet, "Kept", f"not deleted: {'; '.join(kept)}")
        rest = [name for name in finalizers if name != FINALIZER]
        freed = {**fleet, "metadata": {**fleet["metadata"], "finalizers": rest}}
        with contextlib.suppress(NotFound):
            self.scene.fleets.put(await self.fenced.update(freed))
        return Outcome(result="changed", after=self.resync)


def _workload_keys(wished: Wished) -> dict[str, Key]:
    """Where the pods of each model come from, by model."""
    by_place = {
        (key.namespace, key.name): key
        for key in map(key_of, wished.manifests)
        if (key.api_version, key.kind) in SCALABLE
    }
    return {
        workload.model.name: by_place[workload.namespace, workload.name]
        for workload in wished.workloads
        if (workload.namespace, workload.name) in by_place
    }


def _trouble(effective: Effective, planned: PlimsollError | None) -> str:
    if planned is not None:
        return str(planned)
    return "" if effective.accepted else "; ".join(map(str, effective.problems[:1]))


def _unserved(effective: Effective) -> dict[str, ModelStatus]:
    return {
        name: ModelStatus(phase="NotServed", reason=reason)
        for name, reason in effective.unserved.items()
    }
