"""Makes a cluster what the manifests say, in order, so that it can be interrupted anywhere.

Everything is checked before anything is written. The inventory lists an object before it is made
and until it is gone, so that running again after an interruption leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from plimsoll.worlds.cluster import inventory as stock
from plimsoll.worlds.cluster.changes import Change, Changes, Scope, rank
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.each import each
from plimsoll.worlds.cluster.errors import Conflict, MissingApi
from plimsoll.worlds.cluster.handoff import (
    hand_off,
    hands_off,
    leaves_replicas,
    with_replicas,
)
from plimsoll.worlds.cluster.inventory import Inventory
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.ownership import is_ours
from plimsoll.worlds.cluster.planning import SCALERS, WIDTH, plan_changes
from plimsoll.worlds.cluster.reference import Key

_UNTIL_SERVED = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between tries

__all__ = ["Applied", "Progress", "Step", "apply_all", "plan_changes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One object is as wished.

    done, total  how many of how many
    change       what happened to it
    """

    done: int
    total: int
    change: Change


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply did.

    created, updated, deleted  objects that were written
    unchanged                  objects that were as wished
    kept                       objects that are no longer wished and stay, with the reason
    """

    created: tuple[Key, ...] = ()
    updated: tuple[Key, ...] = ()
    deleted: tuple[Key, ...] = ()
    unchanged: tuple[Key, ...] = ()
    kept: tuple[tuple[Key, str], ...] = ()


async def apply_all(
    kube: Kube,
    manifests: Sequence[Manifest],
    scope: Scope,
    progress: Progress | None = None,
    *,
    changes: Changes | None = None,
    width: int = WIDTH,
) -> Applied:
    """Make the cluster what `manifests` say; no manifests: delete what the fleet had.

    changes  what `plan_changes` found a moment ago; None: it is asked again
    width    requests at a time

    Raises Blocked, before anything is written, where some object cannot be applied; and what
    `Kube` raises when the cluster fails in the middle: then apply again.
    """
    if changes is None:
        changes = await plan_changes(kube, manifests, scope, width=width)
    changes.allow()
    work = _Work(kube, scope, changes, progress or _silent)
    await work.open()
    await work.write(width)
    await work.prune()
    await work.close()
    return Applied(
        created=_keys(changes.of("create")),
        updated=_keys(changes.of("update")),
        deleted=_keys(changes.of("delete")),
        unchanged=_keys(changes.of("unchanged")),
        kept=tuple((change.key, change.note) for change in changes.of("keep")),
    )


class _Work:
    """One apply under way."""

    def __init__(self, kube: Kube, scope: Scope, changes: Changes, progress: Progress) -> None:
        self._kube = kube
        self._scope = scope
        self._changes = changes
        self._progress = progress
        self._todo = changes.of("create", "update", "delete")
        self._done: set[Key] = set()

    async def open(self) -> None:
        """Put everything that will be there into the inventory; its namespace comes before it."""
        wished = self._changes.of("create", "update", "unchanged")
        if not wished and not self._changes.inventory.keys:
            return
        for change in wished:
            own = (change.key.kind, change.key.name) == ("Namespace", self._scope.namespace)
            if own and change.verdict == "create":
                await self._write(change)
        found = frozenset(
            change.key
            for change in wished
            if change.key.kind == "Namespace"
            and change.live is not None
            and not is_ours(change.live, self._scope.fleet)
        )
        more = Inventory(keys=frozenset(change.key for change in wished), found=found)
        await stock.widen(self._kube, self._scope.fleet, self._scope.namespace, more)

    async def write(self, width: int) -> None:
        """Apply what is wished, kind by kind; scalers that leave let go of their targets first."""
        for change in self._changes.of("delete"):
            if change.key.kind in SCALERS:
                await self._delete(change)
        todo = [c for c in self._changes.of("create", "update") if c.key not in self._done]
        for _, group in groupby(todo, key=lambda change: rank(change.key.kind)):
            await each(group, self._write, width=width)

    async def prune(self) -> None:
        """Delete what is no longer wished; let go of what was there before us."""
        for change in self._changes.of("delete"):
            if change.key not in self._done:
                await self._delete(change)
        for change in self._changes.of("keep"):
            if change.key in self._changes.inventory.found:
                await self._release(change)

    async def close(self) -> None:
        """Take out of the inventory what is gone or not ours any more."""
        left = [
            change.key
            for change in self._changes.of("keep")
            if change.live is None
            or change.key in self._changes.inventory.found
            or not is_ours(change.live, self._scope.fleet)
        ]
        gone = (*self._changes.gone, *_keys(self._changes.of("delete")), *left)
        if gone:
            await stock.narrow(self._kube, self._scope.fleet, self._scope.namespace, gone)

    async def _write(self, change: Change) -> None:
        manifest = change.wished
        assert manifest is not None
        force = self._scope.force or change.take
        start = self._scope.replicas.get(change.key)
        if change.live is None and start is not None and leaves_replicas(manifest):
            await self._kube.apply(with_replicas(manifest, start), force=force)
            await hand_off(self._kube, change.key, start)
        elif change.live is not None and hands_off(manifest, change.live):
            await hand_off(self._kube, change.key, change.live["spec"]["replicas"])
        await self._apply(change, manifest, force=force)
        self._tell(change)

    async def _apply(self, change: Change, manifest: Manifest, *, force: bool) -> None:
        """Apply; a kind whose definition was applied a moment ago takes a moment to be served."""
        for pause in _UNTIL_SERVED if change.untried else ():
            with suppress(MissingApi):
                await self._kube.apply(manifest, force=force)
                return
            await asyncio.sleep(pause)
        await self._kube.apply(manifest, force=force)

    async def _delete(self, change: Change) -> None:
        key, live = change.key, change.live
        assert live is not None
        with suppress(Conflict):  # by now another object may have the name: not the one we made
            await self._kube.delete(
                key.api_version, key.kind, key.name, key.namespace, uid=live["metadata"]["uid"]
            )
        self._tell(change)

    async def _release(self, change: Change) -> None:
        """Take our labels off an object that stays, by applying nothing to it."""
        key = change.key
        meta = {"name": key.name}
        if key.namespace:
            meta["namespace"] = key.namespace
        await self._kube.apply({"apiVersion": key.api_version, "kind": key.kind, "metadata": meta})

    def _tell(self, change: Change) -> None:
        self._done.add(change.key)
        self._progress(Step(done=len(self._done), total=len(self._todo), change=change))


def _keys(changes: Sequence[Change]) -> tuple[Key, ...]:
    return tuple(change.key for change in changes)


def _silent(_step: Step) -> None:
    """Nobody watches."""
