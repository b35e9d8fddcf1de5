"""One term of a leader: it watches, and looks at whatever may have changed until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any

from plimsoll.errors import PlimsollError
from plimsoll.fleet import API_VERSION, KIND
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.following import Pace as WatchPace
from plimsoll.worlds.cluster.objects.names import FLEET, label_value
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.operator.demand import Demand, gateway_pods
from plimsoll.worlds.cluster.operator.fence import Fenced, NotLeading
from plimsoll.worlds.cluster.operator.fleets import Effective, add_up
from plimsoll.worlds.cluster.operator.kinds import SCALABLE
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.operator.mirror import Kind, Mirror
from plimsoll.worlds.cluster.operator.parts import Parts, Settings
from plimsoll.worlds.cluster.operator.planning import Plans
from plimsoll.worlds.cluster.operator.queue import WorkQueue
from plimsoll.worlds.cluster.operator.reading import FleetKey, Reading, read_object
from plimsoll.worlds.cluster.operator.reading import key_of as fleet_key
from plimsoll.worlds.cluster.operator.reconcile import FINALIZER, Reconciler
from plimsoll.worlds.cluster.operator.scene import Scene, pod_index
from plimsoll.worlds.cluster.operator.sites import OWNER

_log = logging.getLogger(__name__)
_SOON = 20  # times `settle`, for what many Fleets at once may ask of one gateway


class Term:
    """One term of one leader: mirrors, queue and workers, all made anew.

    left  seconds for which we may surely write
    """

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        parts: Parts,
        metrics: OperatorMetrics,
        *,
        left: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._parts = parts
        self._metrics = metrics
        self._left = left
        self._queue: WorkQueue[FleetKey] = WorkQueue(
            pace=settings.pace, clock=parts.clock, random=parts.random
        )
        self._readings: dict[FleetKey, Reading] = {}
        self._by_label: dict[str, set[FleetKey]] = defaultdict(set)
        self._summed = asyncio.Event()
        self._stale = asyncio.Event()
        self._failed: dict[FleetKey, str] = {}
        self._seen: set[FleetKey] = set()
        self._scene = Scene(
            fleets=self._mirror(Kind(api_version=API_VERSION, kind=KIND), self._fleet_changed),
            workloads={
                kind: self._mirror(
                    Kind(
                        api_version=api_version,
                        kind=kind,
                        labels=FLEET,
                        optional="." in api_version.partition("/")[0],
                    ),
                    self._workload_changed,
                )
                for api_version, kind in SCALABLE
            },
            pods=self._mirror(
                Kind(api_version="v1", kind="Pod", labels=FLEET), self._pod_changed, pod_index
            ),
            demand=Demand(parts.fetch, parts.now),
            observe=parts.observe,
        )
        self._plans = Plans(parts.plan, made=self._planned, metrics=metrics, clock=parts.clock)
        self._reconciler = Reconciler(
            scene=self._scene,
            fenced=Fenced(kube, left=left, metrics=metrics),
            plans=self._plans,
            render=parts.render,
            around=parts.around,
            clock=parts.clock,
            now=parts.now,
            random=parts.random,
            resync=settings.resync,
            within=settings.namespaces,
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """What could not be done at the last look at each Fleet."""
        return tuple(f"{key}: {text}" for key, text in sorted(self._failed.items()))

    async def run(self, *, once: bool, synced: Callable[[], None]) -> None:
        """Keep every Fleet true; with `once`, return when each was looked at."""
        mirrors = (self._scene.fleets, self._scene.pods, *self._scene.workloads.values())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(mirror.run()) for mirror in mirrors]
            for mirror in mirrors:
                await mirror.synced()
            tasks.append(group.create_task(self._add_up()))
            await self._summed.wait()
            await self._ask()
            synced()
            workers = [self._work() for _ in range(self._settings.workers)]
            more = (*workers, self._poll(), self._plans.run())
            tasks += [group.create_task(task) for task in more]
            if once:
                await self._settled()
                for task in tasks:
                    task.cancel()

    async def _settled(self) -> None:
        """Wait until every Fleet was looked at and nothing more is due."""
        while (  # noqa: ASYNC110 -- several things have to be quiet at once
            len(self._queue)
            or self._queue.busy
            or self._plans.busy
            or self._stale.is_set()
            or not self._readings.keys() <= self._seen
        ):
            await asyncio.sleep(self._settings.settle)

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await self._look(key)
            except NotLeading as error:
                if self._left() <= 0:
                    return  # the term is over; whoever watches the Lease ends it
                self._failing(key, error)  # one write took longer than the Lease was sure
            except Exception as fault:  # noqa: BLE001 -- one Fleet must not stop the others
                _log.exception("a fault in Plimsoll, at Fleet %s", key)
                self._failing(key, PlimsollError(f"a fault in Plimsoll: {fault!r}", code="fault"))
            finally:
                self._queue.done(key)

    async def _look(self, key: FleetKey) -> None:
        began = self._parts.clock()
        result = "failed"
        try:
            outcome = await self._reconciler.look(key)
        except NotLeading:
            raise
        except PlimsollError as error:
            self._failing(key, error)
        else:
            if outcome is None:
                self._queue.forget(key)
                self._failed.pop(key, None)
                result = "gone"
            elif outcome.error is not None:
                self._failing(key, outcome.error)
            else:
                result = outcome.result
                self._failed.pop(key, None)
                if outcome.trouble:
                    self._failed[key] = outcome.trouble
                self._queue.succeeded(key)
                self._queue.add(key, after=outcome.after)
        self._seen.add(key)
        self._metrics.reconciles.labels(result).inc()
        self._metrics.seconds.observe(self._parts.clock() - began)
        self._metrics.queue.set(len(self._queue))
        self._metrics.delayed.set(self._queue.delayed)

    def _failing(self, key: FleetKey, error: PlimsollError) -> None:
        wait = self._queue.failed(key)
        self._failed[key] = str(error)
        _log.warning("Fleet %s: %s; again in %.1f s", key, error, wait)

    async def _add_up(self) -> None:
        """Add all Fleets up whenever one of them means something else."""
        self._stale.set()
        while True:
            await self._stale.wait()
            await asyncio.sleep(self._settings.settle if self._summed.is_set() else 0)
            self._stale.clear()
            before = self._scene.sum
            self._scene.sum = await asyncio.to_thread(
                add_up, tuple(self._readings.values()), before
            )
            self._metrics.fleets.set(len(self._readings))
            for key, effective in self._scene.sum.effective.items():
                last = before.effective.get(key)
                if last is None or (last.digest, last.accepted, last.problems, last.loose) != (
                    effective.digest, effective.accepted, effective.problems, effective.loose
                ):  # fmt: skip
                    self._queue.add(key)
            self._scene.demand.keep(
                one.gateway for one in self._scene.sum.effective.values() if one.gateway
            )
            self._summed.set()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._settings.poll)
            await self._ask()

    async def _ask(self) -> None:
        """Ask every gateway, and have those Fleets looked at whose callers want something else."""
        served: dict[FleetKey, list[FleetKey]] = defaultdict(list)
        for key, effective in self._scene.sum.effective.items():
            if effective.gateway is not None:
                served[effective.gateway].append(key)
        changes = await asyncio.gather(
            *(
                self._scene.demand.ask(gateway, gateway_pods(self._scene.gateway_pods(gateway)))
                for gateway in served
            )
        )
        silent = 0
        for (gateway, keys), changed in zip(served.items(), changes, strict=True):
            silent += len(self._scene.demand.look(gateway).silent)
            if not changed:
                continue
            for key in keys:
                fleet = self._scene.sum.effective[key].fleet
                if fleet is not None and any(model.name in changed for model in fleet.models):
                    self._queue.add(key)
        self._metrics.silent.set(silent)

    def _planned(self, effective: Effective) -> None:
        """Wake the Fleet whose plan is there, and the one whose gateway serves it."""
        self._queue.add(effective.key)
        if effective.gateway is not None and effective.gateway != effective.key:
            self._queue.add(effective.gateway, after=_SOON * self._settings.settle)

    def _fleet_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        """Wake, where what the Fleet says has changed; its own status wakes nobody."""
        if new is None:
            assert old is not None
            key = fleet_key(old)
            self._readings.pop(key, None)
            self._by_label[label_value(key.name)].discard(key)
            self._queue.add(key)
            self._stale.set()
            return
        key = fleet_key(new)
        self._by_label[label_value(key.name)].add(key)
        if old is None or _wish(old) != _wish(new):
            self._readings[key] = read_object(new)
            self._stale.set()
            self._queue.add(key)

    def _workload_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        """Wake the owner, where the spec of a workload has changed or it has gone."""
        there = new or old
        assert there is not None
        written = (there["metadata"].get("annotations") or {}).get(OWNER)
        if written is None or (old and new and _generation(old) == _generation(new)):
            return
        namespace, _, name = written.partition("/")
        self._queue.add(FleetKey(namespace, name), after=self._settings.settle)

    def _pod_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        pod = new or old
        assert pod is not None
        for key in self._by_label.get(pod["metadata"]["labels"][FLEET], ()):
            self._queue.add(key, after=self._settings.settle)

    def _mirror(
        self,
        kind: Kind,
        changed: Callable[[Manifest | None, Manifest | None], None],
        index: Callable[[Manifest], Hashable | None] = lambda _: None,
    ) -> Mirror:
        return Mirror(
            self._kube,
            kind,
            namespaces=self._settings.namespaces,
            pace=WatchPace(jitter=self._parts.random),
            metrics=self._metrics,
            index=index,
            changed=changed,
            clock=self._parts.clock,
        )


def _wish(fleet: Manifest) -> tuple[Any, ...]:
    meta = fleet["metadata"]
    return (
        meta.get("uid"),
        meta.get("generation"),
        meta.get("deletionTimestamp"),
        meta.get("annotations"),
        FINALIZER in (meta.get("finalizers") or ()),
    )


def _generation(item: Manifest) -> tuple[Any, Any]:
    meta = item["metadata"]
    return meta.get("uid"), meta.get("generation")
