"""What callers want of each model, as gateways say it; a pod that is not heard is not idle.

The gateway holds requests, so its queue is the truth. Several gateway pods add up. Of a pod that
does not answer the last word counts, and nothing is scaled down meanwhile.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from plimsoll.errors import PlimsollError
from plimsoll.telemetry.metrics import IN_FLIGHT, QUEUED, REQUESTS
from plimsoll.worlds.cluster.operator.reading import FleetKey

_FIELDS = {QUEUED.name: "queued", IN_FLIGHT.name: "in_flight", f"{REQUESTS.name}_total": "answered"}
_SAMPLE = re.compile(
    rf"^({'|'.join(_FIELDS)})"
    r'\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*?\bmodel="((?:[^"\\]|\\.)*)"(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}'
    r"[ \t]+(\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)(?:[ \t]|$)",
    re.MULTILINE,
)
_ESCAPED = re.compile(r"\\(.)")
DEFAULT_PORT = 8080
_AT_ONCE = 32  # gateway pods asked at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one gateway pod says of one model.

    queued     requests that wait at it for a replica
    in_flight  requests that it has at replicas
    answered   requests answered since it started
    """

    queued: int = 0
    in_flight: int = 0
    answered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What callers want of one model, over all pods of its gateway.

    last_used  when a request was last seen, seconds since 1970; None where none was
    """

    queued: int = 0
    in_flight: int = 0
    last_used: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One gateway, at its last look.

    models  what callers want, by model
    silent  pods that did not answer
    heard   whether any pod has ever answered
    """

    models: Mapping[str, Wanted] = field(default_factory=lambda: MappingProxyType({}))
    silent: tuple[str, ...] = ()
    heard: bool = False

    @property
    def blind(self) -> bool:
        """Whether there may be requests that nobody told of."""
        return bool(self.silent) or not self.heard


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPod:
    """One pod of a gateway.

    uid      of the pod
    name     of the pod
    address  `http://host:port`
    """

    uid: str
    name: str
    address: str


@dataclass(slots=True)
class _Said:
    loads: Mapping[str, Load]
    silent: bool = False


Fetch = Callable[[str], Awaitable[str]]
"""The metrics text under an address; raises PlimsollError where there is no answer."""


class Demand:
    """What every gateway said last.

    fetch  asks one pod
    now    seconds since 1970
    """

    def __init__(self, fetch: Fetch, now: Callable[[], float]) -> None:
        self._fetch = fetch
        self._now = now
        self._said: dict[FleetKey, dict[str, _Said]] = {}
        self._looks: dict[FleetKey, Look] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    def look(self, gateway: FleetKey | None) -> Look:
        """What a gateway's callers want, as it was last seen."""
        return self._looks.get(gateway, Look()) if gateway is not None else Look()

    async def ask(self, gateway: FleetKey, pods: Sequence[GatewayPod]) -> frozenset[str]:
        """Ask every pod of a gateway. Returns the models for which the answer has changed."""
        before = self._said.get(gateway, {})
        answers = await asyncio.gather(*(self._one(pod, before.get(pod.uid)) for pod in pods))
        said = {pod.uid: answer for pod, answer in zip(pods, answers, strict=True) if answer}
        self._said[gateway] = said
        silent = tuple(pod.name for pod in pods if pod.uid not in said or said[pod.uid].silent)
        old = self.look(gateway)
        models = self._models(old, before, said)
        new = Look(models=models, silent=silent, heard=bool(said) or (old.heard and not pods))
        self._looks[gateway] = new
        changed = {
            name
            for name in models.keys() | old.models.keys()
            if _amount(models.get(name)) != _amount(old.models.get(name))
        }
        if new.blind != old.blind:
            changed |= models.keys()
        return frozenset(changed)

    def keep(self, gateways: Iterable[FleetKey]) -> None:
        """Forget gateways that are not among these."""
        for gone in self._looks.keys() - set(gateways):
            del self._looks[gone]
            self._said.pop(gone, None)

    async def _one(self, pod: GatewayPod, last: _Said | None) -> _Said | None:
        async with self._places:
            try:
                return _Said(loads=loads_of(await self._fetch(pod.address)))
            except PlimsollError:
                return None if last is None else _Said(loads=last.loads, silent=True)

    def _models(
        self, old: Look, before: Mapping[str, _Said], said: Mapping[str, _Said]
    ) -> dict[str, Wanted]:
        sums: dict[str, Wanted] = {}
        used: set[str] = set()
        for uid, answer in said.items():
            earlier = before.get(uid)
            for name, load in answer.loads.items():
                sum_ = sums.get(name, Wanted())
                sums[name] = Wanted(
                    queued=sum_.queued + load.queued, in_flight=sum_.in_flight + load.in_flight
                )
                known = earlier.loads.get(name, Load()) if earlier else load
                if load.queued or load.in_flight or load.answered != known.answered:
                    used.add(name)
        now = self._now()
        for name, wanted in sums.items():
            last = old.models.get(name, Wanted()).last_used
            sums[name] = replace(wanted, last_used=now if name in used else last)
        return sums


def loads_of(text: str) -> dict[str, Load]:
    """What one gateway's metrics text says of each model."""
    found: dict[str, dict[str, int]] = {}
    for family, name, value in _SAMPLE.findall(text):
        counts = found.setdefault(_ESCAPED.sub(_plain, name), {})
        kind = _FIELDS[family]
        counts[kind] = counts.get(kind, 0) + round(float(value))
    return {name: Load(**counts) for name, counts in found.items() if name}


def gateway_pods(pods: Iterable[Mapping[str, Any]]) -> list[GatewayPod]:
    """The pods of one gateway that can be asked: those with an address, also while they end."""
    found = []
    for pod in pods:
        meta, status = pod["metadata"], pod.get("status") or {}
        address = status.get("podIP")
        if not address or status.get("phase") != "Running":
            continue
        scheme, port = _door(pod)
        host = f"[{address}]" if ":" in address else address
        found.append(
            GatewayPod(uid=meta["uid"], name=meta["name"], address=f"{scheme}://{host}:{port}")
        )
    return sorted(found, key=lambda pod: pod.name)


def _door(pod: Mapping[str, Any]) -> tuple[str, int]:
    """How a gateway's pod is spoken to: as the kubelet asks whether it is ready."""
    for container in pod["spec"]["containers"]:
        ports = {port.get("name"): port["containerPort"] for port in container.get("ports") or ()}
        asked = (container.get("readinessProbe") or {}).get("httpGet") or {}
        port = ports.get(asked.get("port"), asked.get("port"))
        if isinstance(port, int):  # whoever may make pods may name a port that is not there
            return asked.get("scheme", "HTTP").lower(), port
    return "http", DEFAULT_PORT


def _amount(wanted: Wanted | None) -> tuple[int, int]:
    return (wanted.queued, wanted.in_flight) if wanted else (0, 0)


def _plain(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
