"""Several gateways of one fleet as one: their words merged, aged, and turned into looks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from plimsoll.policy.scale.types import Arrived, Queued, Signals
from plimsoll.scaler.gateway_pages import Counts

BLIND_SECONDS = 15.0
"""Where no gateway has answered for so long, nothing is known any more."""
GONE_SECONDS = 60.0
"""The last words of a gateway that nobody lists any more count for so long: it may only be too
busy to be listed."""
_PRIOR = 20.0  # requests that the expected lengths weigh before any was seen
_REMEMBERED = 1000.0  # requests over which lengths are averaged


@dataclass(slots=True, kw_only=True)
class _Gateway:
    """One gateway: what it said last, and when; `listed` until when it was known to be there."""

    heard: float
    listed: float
    said: Mapping[str, Counts] = field(default_factory=dict)
    ever: bool = False


@dataclass(slots=True, kw_only=True)
class _Model:
    """What is summed up of one model between two looks, and what is remembered of it."""

    prompt: float
    completion: float
    requests: float = _PRIOR
    arrived: float = 0.0
    missed: float = 0.0
    looked: float | None = None
    loading: list[float] = field(default_factory=list)


class FleetDemand:
    """The gateways of one fleet, as they answer. Times are seconds of one clock, handed in."""

    def __init__(self) -> None:
        self._gateways: dict[str, _Gateway] = {}
        self._models: dict[str, _Model] = {}

    def listed(self, addresses: Iterable[str], now: float) -> None:
        """These gateways there are now."""
        for address in addresses:
            known = self._gateways.get(address)
            if known is None:
                self._gateways[address] = _Gateway(heard=now, listed=now)
            else:
                known.listed = now
        gone = [
            address
            for address, each in self._gateways.items()
            if now - each.listed > GONE_SECONDS and self._others(address)
        ]
        for address in gone:
            del self._gateways[address]

    def _others(self, address: str) -> bool:
        """Whether another gateway is still there: the last one's words are never forgotten."""
        mine = self._gateways[address].listed
        return any(each.listed > mine for each in self._gateways.values())

    def heard(self, address: str, said: Mapping[str, Counts], now: float) -> None:
        """A gateway has answered."""
        gateway = self._gateways.setdefault(address, _Gateway(heard=now, listed=now))
        if gateway.ever:
            for name, counts in said.items():
                model = self._models.get(name)
                if model is not None:
                    _count(model, gateway.said.get(name) or Counts(), counts)
        gateway.said, gateway.heard, gateway.ever = said, now, True

    def offer(self, name: str, *, prompt_tokens: float, output_tokens: float) -> None:
        """A model to look at; the lengths are believed until answers have shown better."""
        if name not in self._models:
            self._models[name] = _Model(
                prompt=prompt_tokens * _PRIOR, completion=output_tokens * _PRIOR
            )

    def keep(self, names: Iterable[str]) -> None:
        """Forget models that are not among these."""
        for gone in self._models.keys() - set(names):
            del self._models[gone]

    @property
    def known(self) -> bool:
        """Whether any gateway has ever answered."""
        return any(each.ever for each in self._gateways.values())

    def waits(self, name: str) -> bool:
        """Whether anybody wants a model: a request waits, runs, or came since the last look."""
        model = self._models.get(name)
        return any(counts.queued or counts.in_flight for counts in self._said(name)) or bool(
            model is not None and model.arrived > 0
        )

    def look(self, name: str, now: float, *, wanted: int | None, cold_start: float) -> Signals:
        """What is known of a model that is offered, since the look before.

        wanted      the last decision: what is not ready of it is taken to load
        cold_start  seconds that this takes
        """
        model = self._models[name]
        seconds = 0.0 if model.looked is None else max(0.0, now - model.looked)
        arrived = max(0.0, model.arrived) if seconds else 0.0
        missed = model.missed if seconds else 0.0
        model.looked, model.arrived, model.missed = now, min(0.0, model.arrived), 0.0
        prompt, completion = model.prompt / model.requests, model.completion / model.requests
        said = list(self._said(name))
        queued = sum(counts.queued for counts in said)
        ready = int(max((counts.ready for counts in said), default=0.0))
        oldest = min((each.heard for each in self._gateways.values()), default=now)
        newest = max((each.heard for each in self._gateways.values() if each.ever), default=0.0)
        return Signals(
            now=now,
            arrived=Arrived(
                seconds=seconds,
                requests=arrived,
                missed=missed,
                prompt_tokens=arrived * prompt,
                output_tokens=arrived * completion,
            ),
            queued=Queued(
                requests=queued, prompt_tokens=queued * prompt, output_tokens=queued * completion
            ),
            in_flight=sum(counts.in_flight for counts in said),
            ready=ready,
            loading=_loading(model, max(0, (wanted or 0) - ready), now, cold_start),
            age=max(0.0, now - oldest),
            blind=now - newest > BLIND_SECONDS,
        )

    def _said(self, name: str) -> Iterable[Counts]:
        for each in self._gateways.values():
            counts = each.said.get(name)
            if counts is not None:
                yield counts


def _count(model: _Model, before: Counts, now: Counts) -> None:
    """What has come and ended at one gateway between two of its answers.

    What came is what has ended since, and what is there more than before. A gateway whose count
    has fallen began anew.
    """
    if now.ended < before.ended:
        before = Counts()
    came = now.ended - before.ended
    came += now.queued + now.in_flight - before.queued - before.in_flight
    model.arrived += came
    model.missed += now.missed - before.missed
    prompt, completion = now.prompt - before.prompt, now.completion - before.completion
    answered = now.answered - before.answered
    # Answers that state no usage say nothing of lengths.
    if answered > 0 and prompt + completion > 0:
        model.prompt += prompt
        model.completion += completion
        model.requests += answered
    if model.requests > _REMEMBERED:
        share = _REMEMBERED / 2 / model.requests
        model.prompt *= share
        model.completion *= share
        model.requests *= share


def _loading(model: _Model, count: int, now: float, cold_start: float) -> tuple[float, ...]:
    """When the replicas that load are expected; the ones that were asked for first come first."""
    loading = model.loading
    if len(loading) > count:
        del loading[: len(loading) - count]
    loading.extend([now + cold_start] * (count - len(loading)))
    return tuple(loading)
