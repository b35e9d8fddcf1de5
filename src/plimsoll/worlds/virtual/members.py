"""What there is while a world is simulated: models with their replicas, and nodes."""

from __future__ import annotations

from plimsoll.policy.requests.types import Upstream
from plimsoll.policy.snapshot import ReplicaState
from plimsoll.worlds.virtual.engine.types import Engine
from plimsoll.worlds.virtual.setup import ModelSetup, Zone
from plimsoll.worlds.virtual.tally import Tally


class Node:
    """A machine.

    zone   it is in
    spot   whether it may be taken away
    used   replicas on it
    gone   whether it is no more, or soon
    until  when it will be taken, once that was noticed
    made   whether it is there
    paid   until when room on it that nobody uses is paid for
    """

    __slots__ = ("gone", "made", "paid", "spot", "until", "used", "zone")

    def __init__(self, zone: Zone, *, spot: bool) -> None:
        self.zone = zone
        self.spot = spot
        self.used = 0
        self.gone = False
        self.until: float | None = None
        self.made = False
        self.paid = 0.0


class Member:
    """One replica.

    model     it serves
    slot      its number among the world's replicas
    name      unique in the world
    node      it runs on
    state     of its life
    since     when it came to this state
    asked     when it was asked for
    expected  when it is expected to be ready, while it loads
    upstream  as the gateway knows it
    engine    that it runs, from when it is ready on
    paid      until when its time is paid for, and
    busy      how much of its engine's time
    read, wrote, full  as of the last look at its metrics: tokens, and whether it had no room
    """

    __slots__ = (
        "asked", "busy", "engine", "expected", "full", "model", "name", "node", "paid", "read",
        "since", "slot", "state", "upstream", "wrote",
    )  # fmt: skip

    def __init__(
        self, model: Model, slot: int, name: str, node: Node, *, engine: Engine, now: float
    ) -> None:
        self.model = model
        self.slot = slot
        self.name = name
        self.node = node
        self.state = ReplicaState.STARTING
        self.since = self.asked = self.paid = now
        self.expected = now
        self.upstream = Upstream(replica=name, host="", port=slot, capacity=model.capacity)
        self.engine = engine
        self.busy = 0.0
        self.read = 0
        self.wrote = 0
        self.full = False


class Model:
    """One model.

    setup     what it is
    number    among the world's models
    name      of it
    capacity  requests that a replica has at once
    members   replicas, the oldest first: those that load, are ready, or drain
    tally     what became of its requests, and what its replicas cost
    tokens    of prompts that wait at the gateway
    arrived, asked  requests that came since the last look, and tokens of their prompts
    placed, cached  prompt tokens of requests that were placed since the last look, and how many
              of them are believed to be held where they went
    output    expected tokens of an answer
    wanted    replicas
    full      replica-seconds without room since the last look, tokens read and written in them
    """

    __slots__ = (
        "arrived", "asked", "cached", "capacity", "full", "members", "name", "number", "output",
        "placed", "setup", "tally", "tokens", "wanted",
    )  # fmt: skip

    def __init__(self, setup: ModelSetup, number: int) -> None:
        self.setup = setup
        self.number = number
        self.name = setup.served.name
        self.capacity = setup.capacity or setup.engine.max_num_seqs
        self.members: list[Member] = []
        self.tally = Tally(setup.objectives)
        self.tokens = 0
        self.arrived = 0
        self.asked = 0
        self.placed = 0
        self.cached = 0
        self.output = 128.0  # as the gateway's queue expects where nothing was seen
        self.wanted = 0
        self.full = (0.0, 0, 0)  # replica-seconds without room, tokens read and written in them

    def ready(self) -> list[Member]:
        """Those that get new work."""
        return [each for each in self.members if each.state is ReplicaState.READY]


class Told:
    """What the caller of a request has of it, where its replica was lost.

    first   when its first token came
    cached  prompt tokens found at the first try
    """

    __slots__ = ("cached", "first")

    def __init__(self, first: float, cached: int) -> None:
        self.first = first
        self.cached = cached
