"""The models on offer: which there are, what callers call them, and what is known of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.policy.requests.health import HealthPolicy
from plimsoll.policy.requests.model import Model
from plimsoll.policy.requests.names import Names
from plimsoll.policy.requests.types import Place, QueueLimits, Served
from plimsoll.policy.routing.protocol import Explanation, Router


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What follows failed tries.

    tries   per request, that may reach a replica
    health  when a replica gets no new work for them
    """

    tries: int = 3
    health: HealthPolicy = field(default_factory=HealthPolicy)


class Offered:
    """See the module's docstring.

    limits  how much may wait per model
    router  makes the router of a model
    retry   what follows failed tries
    """

    def __init__(
        self, limits: QueueLimits, router: Callable[[Served], Router], retry: RetryPolicy
    ) -> None:
        self._limits = limits
        self._router = router
        self._retry = retry
        self._models: dict[str, Model] = {}
        self._gone: dict[str, Model] = {}  # withdrawn, and something still runs there
        self._names = Names(())

    def _offer(self, models: Iterable[Served], now: float) -> list[Model]:
        """Offer exactly these models; the ones that are withdrawn by that, without replicas.

        Raises ValueError where two have one name; then nothing has changed.
        """
        models = list(models)
        twice = [name for name, count in Counter(each.name for each in models).items() if count > 1]
        if twice:
            raise ValueError(f"offered twice: {', '.join(twice)}")
        before, self._models = {**self._gone, **self._models}, {}
        for served in models:
            model = before.pop(served.name, None)
            if model is None:
                model = Model(served, self._limits, self._retry.health, self._router)
            else:
                model.describe(served, self._router, now)
            self._models[served.name] = model
        self._names = Names(model.served for model in self._models.values())
        for model in before.values():
            model.withdrawn = True
            model.replace((), now)
        self._gone = {name: model for name, model in before.items() if model.in_flight}
        return list(before.values())

    def names(self) -> Sequence[str]:
        """The names of all models, in the fleet's order."""
        return tuple(self._models)

    def spoken(self) -> Sequence[str]:
        """Every name that a caller may use: names, aliases, tiers and adapters."""
        return self._names.spoken()

    def served(self, name: str) -> Served | None:
        """A model by its own name."""
        model = self._models.get(name)
        return None if model is None else model.served

    def resolve(self, name: str, key: str) -> Served | None:
        """The model for a caller's word, or None. Where several models share the word, `key` (a
        session or a request) chooses by weight among those with ready replicas, the same at
        every gateway.
        """
        return self._names.resolve(name, key, self._ready)

    def _ready(self, model: str) -> bool:
        return bool(self._models[model].places)

    # Of one model; each raises KeyError for one that is not offered.

    def places(self, model: str) -> Sequence[Place]:
        """Its ready replicas."""
        return self._models[model].places

    def queued(self, model: str) -> int:
        """Tickets that wait for it."""
        return self._models[model].line.queued

    def queued_bytes(self, model: str) -> int:
        """Bytes that wait with them."""
        return self._models[model].line.size

    def held(self, model: str) -> int:
        """Tickets that wait while none of its replicas is ready."""
        known = self._models[model]
        return 0 if known.places else known.line.queued

    def in_flight_of(self, model: str) -> int:
        """Tickets that hold a place at its replicas, also at those that are leaving."""
        return self._models[model].in_flight

    def last_used(self, model: str) -> float | None:
        """When a ticket for it last came or ended."""
        return self._models[model].last_used

    def drained(self, model: str, now: float) -> float:
        """Tickets for it that end a second."""
        return self._models[model].pace.rate(now)

    def ejections(self, model: str) -> Mapping[tuple[str, str], int]:
        """How often a ready replica of it got no new work for a while, by replica and by why:
        `broken` (failures in a row) or `outlier` (more failures than its peers).
        """
        return self._models[model].health.counts

    # Of all models.

    def in_flight(self, replica: str) -> int:
        """Tickets at one replica, also when it no longer gets new work."""
        here = 0
        for models in (self._models, self._gone):
            for model in models.values():
                here += model.in_flight_at(replica)
        return here

    def explain(self, request_id: str | bytes, model: str = "") -> Explanation | None:
        """Why a recent request went where it went; None when it is no longer known.

        model  that it went to, which spares looking at all of them; empty: not known
        """
        known = self._models.get(model)
        for each in self._models.values() if known is None else (known,):
            explanation = each.router.explain(request_id)
            if explanation is not None:
                return explanation
        return None
