"""What is simulated: models, their engines, where their replicas run, and who scales them."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec

from plimsoll.policy.requests.types import QueueLimits, Served
from plimsoll.policy.scale.types import Limits, Policy
from plimsoll.worlds.virtual.durations import Constant, Duration
from plimsoll.worlds.virtual.engine.types import EngineLimits, StepTimes


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """A cold start, phase by phase.

    node     until a new node is there; none where one with room is kept
    image    until a new node has the engine's image
    weights  until the weights are loaded
    engine   until the engine listens: compilation, graphs, memory
    first    until it has answered a first token
    """

    node: Duration = Constant()
    image: Duration = Constant()
    weights: Duration = Constant()
    engine: Duration = Constant()
    first: Duration = Constant()

    def expected(self, *, new_node: bool) -> float:
        """Seconds that they take, each taken at its median."""
        warm = self.weights.median + self.engine.median + self.first.median
        return warm + (self.node.median + self.image.median if new_node else 0.0)


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone of a cloud, and how it treats spot nodes.

    name      of the zone
    losses    of one spot node per hour, each by itself
    outages   per hour in which the zone takes a part of all its spot nodes at once
    part      of them, 0..1
    closed    seconds after an outage in which it gives no new spot nodes
    notice    seconds between the notice and the loss
    """

    name: str = "zone"
    losses: float = 0.0
    outages: float = 0.0
    part: float = 1.0
    closed: float = 1800.0
    notice: float = 120.0


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """What the replicas of a model run on.

    gpus       of a replica
    per_node   replicas that a node has room for
    price      US dollars per GPU and hour
    spot       the same as spot
    share      of the replicas that are to be spot, 0..1
    linger     seconds that a node without replicas is kept
    zones      where nodes are made, in turn
    """

    gpus: int = 1
    per_node: int = 1
    price: float = 0.0
    spot: float = 0.0
    share: float = 0.0
    linger: float = 0.0
    zones: tuple[Zone, ...] = (Zone(),)


class Objectives(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is to hold, seconds: until its first token, and per further token."""

    ttft: float = 2.0
    tpot: float = 0.05


class ModelSetup(msgspec.Struct, frozen=True, kw_only=True):
    """One model.

    served      as the gateway offers it
    times       of its engine's steps
    engine      limits of its engine
    capacity    requests that the gateway lets a replica have at once; 0: as many as run at once
    scaling     who says how many replicas there are; None: always `limits.min`
    limits      replicas at least and at most
    ready       replicas that are ready when it begins
    hardware    that its replicas run on
    phases      of a cold start
    patience    seconds that a request waits for a place; finite, lest the world never ends
    drain       seconds after which a replica that is to stop ends what it still has
    objectives  that its requests are to hold
    """

    served: Served
    times: StepTimes
    engine: EngineLimits
    limits: Limits
    capacity: int = 0
    scaling: Policy[Any] | None = None
    ready: int = 0
    hardware: Hardware = Hardware()
    phases: Phases = Phases()
    patience: float = 120.0
    drain: float = 600.0
    objectives: Objectives = Objectives()

    def __post_init__(self) -> None:
        if not 0.0 <= self.patience < inf:
            raise ValueError("patience is a number of seconds, 0 or more")
        if not 0 <= self.ready <= self.limits.max:
            raise ValueError("no more replicas are ready than `limits.max`")


class WorldSetup(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet.

    models   by the names that arrivals have
    queue    how much may wait per model
    weights  of tenants where they are not 1
    priorities  of tenants where they are not 0
    scrape   seconds between two looks of the gateway at the replicas' metrics
    look     seconds between two looks of the scaler
    age      seconds by which the figures of such a look are old
    wake     seconds after which the scaler looks again where a request waits for a model without
             replicas
    """

    models: tuple[ModelSetup, ...]
    queue: QueueLimits = QueueLimits(requests=100_000, bytes=1 << 40)
    weights: dict[str, int] = {}
    priorities: dict[str, int] = {}
    scrape: float = 5.0
    look: float = 15.0
    age: float = 5.0
    wake: float = 0.5
