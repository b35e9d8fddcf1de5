"""Takes away what was made for a Fleet: engines first, then the gateway, so that streams end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.worlds.cluster.errors import MissingApi
from plimsoll.worlds.cluster.objects.names import COMPONENT, GATEWAY_COMPONENT
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.operator.applying import Applying, is_gateway
from plimsoll.worlds.cluster.operator.kinds import runs
from plimsoll.worlds.cluster.operator.reading import seconds_of
from plimsoll.worlds.cluster.reference import Key

_LOST = 60.0  # seconds after its grace period in which a pod must be gone; else its node is


@dataclass(frozen=True, kw_only=True)
class Removal:
    """One pass over a Fleet that is being deleted.

    made  everything that was made for it, also what is gone already
    pods  those that are marked as its own
    now   seconds since 1970
    """

    applying: Applying
    made: frozenset[Key]
    pods: Callable[[], Iterable[Manifest]]
    now: float

    async def step(self) -> str | None:
        """Take away what may go now. Returns what is waited for; None: nothing is left to do."""
        there = await self._there(key for key in self.made if runs(key))
        engines = [key for key, live in there.items() if not is_gateway(live)]
        await self.applying.remove(engines)
        if waiting := self._pods(gateway=False):
            return f"{len(waiting)} replicas finish their streams, {waiting[0]} among them"
        await self.applying.remove(there)
        if waiting := self._pods(gateway=True):
            return f"the gateway finishes its streams: {waiting[0]}"
        await self.applying.remove(self.made)
        return None

    async def _there(self, keys: Iterable[Key]) -> Mapping[Key, Manifest]:
        found = {}
        for key in sorted(keys):
            try:
                live = await self.applying.fenced.get(key)
            except MissingApi:
                continue
            if live is not None:
                found[key] = live
        return found

    def _pods(self, *, gateway: bool) -> list[str]:
        """Names of pods that still run for what was made."""
        mine = [(key.namespace, f"{key.name}-") for key in self.made if runs(key)]
        return sorted(
            pod["metadata"]["name"]
            for pod in self.pods()
            if _of_gateway(pod) == gateway
            and not self._lost(pod)
            and any(
                pod["metadata"]["namespace"] == namespace
                and pod["metadata"]["name"].startswith(prefix)
                for namespace, prefix in mine
            )
        )

    def _lost(self, pod: Mapping[str, Any]) -> bool:
        ends = seconds_of(pod["metadata"].get("deletionTimestamp"))
        return bool(ends) and self.now > ends + _LOST


def _of_gateway(pod: Mapping[str, Any]) -> bool:
    return (pod["metadata"].get("labels") or {}).get(COMPONENT) == GATEWAY_COMPONENT
