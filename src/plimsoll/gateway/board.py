"""What the gateway knows: every model that it offers, with its replicas and its demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from plimsoll.gateway.queue import ModelQueue, QueueLimits, Served, Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDemand:
    """What is asked of a model now.

    queued     requests that wait for a place
    in_flight  requests that hold one
    last_used  when a request last came or ended, seconds of the caller's clock; None before
    """

    queued: int
    in_flight: int
    last_used: float | None


class Board:
    """Every model with its replicas and its demand."""

    def __init__(
        self, models: Iterable[Served], *, wake: Callable[[str], None] | None = None
    ) -> None:
        self._limits = QueueLimits(requests=2000, bytes=64 * 1024 * 1024)
        self._wake = wake
        self._queues: dict[str, ModelQueue] = {}
        self._by_name: dict[str, ModelQueue] = {}
        self._changed: Callable[[], None] | None = None
        self.offer(models)

    def offer(self, models: Iterable[Served]) -> None:
        """Offer exactly these models from now on.

        One that was offered before keeps its replicas and requests. One that is not among them is
        withdrawn: who waits for it is refused, and what runs goes on.
        """
        before, self._queues = self._queues, {}
        for served in models:
            queue = before.pop(served.name, None) or ModelQueue(served, self._limits, self._wake)
            queue.describe(served)
            self._queues[served.name] = queue
        self._by_name = dict(self._queues)
        for queue in self._queues.values():
            for name in (*queue.served.aliases, *queue.served.adapters):
                self._by_name.setdefault(name, queue)
        for queue in before.values():
            queue.withdraw()
        if self._changed is not None:
            self._changed()

    def limit(self, limits: QueueLimits) -> None:
        """Set how much may wait, for every model."""
        self._limits = limits
        for queue in self._queues.values():
            queue.limits = limits

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called after the replicas of a model changed."""
        self._changed = changed

    def names(self) -> tuple[str, ...]:
        """The names of all models, in the fleet's order."""
        return tuple(self._queues)

    def spoken(self) -> tuple[str, ...]:
        """Every name that a caller may use: names and aliases."""
        return tuple(self._by_name)

    def find(self, name: str) -> ModelQueue | None:
        """The queue of a model by name or alias."""
        return self._by_name.get(name)

    def queues(self) -> Iterable[ModelQueue]:
        """The queue of every model."""
        return self._queues.values()

    def update(self, model: str, upstreams: tuple[Upstream, ...]) -> None:
        """Set the ready replicas of a model. Requests that wait are released to them; a replica
        that is no longer there gets no new work, and what runs on it goes on.

        Raises KeyError for a model that is not offered.
        """
        self.update_all({model: upstreams})

    def update_all(self, replicas: Mapping[str, tuple[Upstream, ...]]) -> None:
        """Set the ready replicas of several models, as `update` does."""
        for model, upstreams in replicas.items():
            self._queues[model].replace(upstreams)
        if self._changed is not None:
            self._changed()

    def upstreams(self) -> frozenset[Upstream]:
        """Every ready replica of every model."""
        places = (place for queue in self._queues.values() for place in queue.places)
        return frozenset(place.upstream for place in places)

    def demand(self) -> Mapping[str, ModelDemand]:
        """What is asked of every model now."""
        return {
            name: ModelDemand(
                queued=queue.queued, in_flight=queue.in_flight, last_used=queue.last_used
            )
            for name, queue in self._queues.items()
        }

    def in_flight(self, replica: str) -> int:
        """Requests at one replica, also when it no longer gets new work."""
        return sum(queue.in_flight_at(replica) for queue in self._queues.values())

    def tick(self, now: float) -> None:
        """Let time pass: end suspicions whose time is over."""
        for queue in self._queues.values():
            queue.tick(now)
