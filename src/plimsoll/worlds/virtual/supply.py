"""Replicas and nodes: asked for, loading phase by phase, ready, draining, taken away; paid for."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from plimsoll.policy.snapshot import ReplicaState
from plimsoll.worlds.virtual.agenda import Agenda
from plimsoll.worlds.virtual.engine.types import Engine, EngineLimits, StepTimes
from plimsoll.worlds.virtual.measures import Quantiles
from plimsoll.worlds.virtual.members import Member, Model, Node
from plimsoll.worlds.virtual.setup import Zone
from plimsoll.worlds.virtual.tally import Spent
from plimsoll.worlds.virtual.traffic import Traffic

MakeEngine = Callable[[StepTimes, EngineLimits], Engine]

_HOUR = 3600.0
_DRAINED = 1.0  # seconds between two looks whether a replica has nothing left


class Supply:
    """See the module's docstring.

    agenda   of the world
    chance   of everything that happens to nodes and starts
    members  every replica by its slot
    traffic  is told which replicas are ready, and which are gone
    engine   makes the engine of a replica
    """

    def __init__(
        self,
        agenda: Agenda,
        chance: Random,
        members: list[Member | None],
        traffic: Traffic,
        engine: MakeEngine,
    ) -> None:
        self._agenda = agenda
        self._chance = chance
        self._members = members
        self._traffic = traffic
        self._engine = engine
        self._free: list[int] = []
        self._nodes: dict[int, list[Node]] = {}  # by number of the model that they are for
        self._turn = 0
        self._named = 0
        self._closed: dict[str, int] = {}  # zones without new spot nodes, for how many outages

    # Starting.

    def start(self, model: Model, now: float, *, at_once: bool = False) -> None:
        """One more replica; at once: it was ready before the world began."""
        spot = self._next_is_spot(model)
        node = self._node_for(model, spot, now)
        new = not node.made
        self._pay_node(model, node, now)
        node.used += 1
        slot = self._free.pop() if self._free else len(self._members)
        if slot == len(self._members):
            self._members.append(None)
        self._named += 1
        engine = self._engine(model.setup.times, model.setup.engine)
        member = Member(model, slot, f"{model.name}-{self._named}", node, engine=engine, now=now)
        self._members[slot] = member
        model.members.append(member)
        if at_once:
            self._made(node, model, now)
            self._ready(member, now)
            return
        phases = model.setup.phases
        member.expected = now + phases.expected(new_node=new)
        self._load(member, now, new=new)

    def _load(self, member: Member, now: float, *, new: bool) -> None:
        """Go through the phases, and note how long each took."""
        phases, chance = member.model.setup.phases, self._chance
        took = {
            "weights": phases.weights.draw(chance),
            "engine": phases.engine.draw(chance),
            "first": phases.first.draw(chance),
        }
        if new:
            took = {"node": phases.node.draw(chance), "image": phases.image.draw(chance), **took}
            node = member.node

            def made(at: float) -> None:
                self._made(node, member.model, at)

            self._agenda.at(now + took["node"], made)

        def ready(at: float) -> None:
            if member.state is not ReplicaState.STARTING:
                return
            known = member.model.tally.phases
            for phase, seconds in took.items():
                known.setdefault(phase, Quantiles()).add(seconds)
            self._ready(member, at)
            self._traffic.ready(member.model, at)

        self._agenda.at(now + sum(took.values()), ready)

    def _ready(self, member: Member, now: float) -> None:
        self.pay(member, now)
        member.state = ReplicaState.READY
        member.since = now
        member.model.tally.starts += 1

    def _next_is_spot(self, model: Model) -> bool:
        share = model.setup.hardware.share
        if share <= 0.0:
            return False
        live = [each for each in model.members if each.state is not ReplicaState.DRAINING]
        spot = sum(1 for each in live if each.node.spot)
        return spot < share * (len(live) + 1) - 1e-9 and bool(self._open_zones(model))

    def _open_zones(self, model: Model) -> list[Zone]:
        return [zone for zone in model.setup.hardware.zones if zone.name not in self._closed]

    def _node_for(self, model: Model, spot: bool, now: float) -> Node:
        """One with room, the fullest first; else a new one, in the next zone."""
        hardware = model.setup.hardware
        nodes = self._nodes.setdefault(model.number, [])
        room = [
            node
            for node in nodes
            if node.spot is spot and node.used < hardware.per_node and not node.gone
        ]
        if room:
            return max(room, key=lambda node: node.used)
        zones = self._open_zones(model) if spot else list(hardware.zones)
        self._turn += 1
        node = Node(zones[self._turn % len(zones)], spot=spot)
        nodes.append(node)
        return node

    # Nodes.

    def _made(self, node: Node, model: Model, now: float) -> None:
        if node.made:
            return
        node.made = True
        node.paid = now
        losses = node.zone.losses
        if node.spot and losses > 0.0:

            def taken(at: float) -> None:
                self.notice(model, [node], at)

            self._agenda.at(now + self._chance.expovariate(losses / _HOUR), taken)

    def outages(self, models: list[Model], now: float) -> None:
        """Set the first outage of every zone."""
        zones = {zone.name: zone for model in models for zone in model.setup.hardware.zones}
        for zone in zones.values():
            if zone.outages > 0.0:
                self._next_outage(zone, models, now)

    def _next_outage(self, zone: Zone, models: list[Model], now: float) -> None:
        def opens(_: float) -> None:
            self._closed[zone.name] -= 1
            if not self._closed[zone.name]:
                del self._closed[zone.name]

        def happens(at: float) -> None:
            self._closed[zone.name] = self._closed.get(zone.name, 0) + 1
            self._agenda.at(at + zone.closed, opens)
            for model in models:
                nodes = self._nodes.get(model.number, [])
                hit = [
                    node
                    for node in nodes
                    if node.spot
                    and node.zone.name == zone.name
                    and self._chance.random() < zone.part
                ]
                self.notice(model, hit, at)
            self._next_outage(zone, models, at)

        self._agenda.at(now + self._chance.expovariate(zone.outages / _HOUR), happens)

    def notice(self, model: Model, nodes: list[Node], now: float) -> None:
        """These nodes will be taken: what they serve drains, and no more comes."""
        changed = False
        for node in nodes:
            if node.gone:
                continue
            node.gone = True
            node.until = until = now + node.zone.notice
            for member in [each for each in model.members if each.node is node]:
                if member.state is ReplicaState.READY:
                    changed = True
                    self._drain(member, now)
                elif member.state is ReplicaState.STARTING:
                    model.tally.lost += 1
                    self.end(member, now)

            def taken(at: float, node: Node = node) -> None:
                self._take(model, node, at)

            self._agenda.at(until, taken)
        if changed:
            self._traffic.ready(model, now)

    def _take(self, model: Model, node: Node, now: float) -> None:
        for member in [each for each in model.members if each.node is node]:
            model.tally.lost += 1
            self.end(member, now)
        if node in self._nodes[model.number]:
            self._nodes[model.number].remove(node)

    # Stopping.

    def stop(self, member: Member, now: float) -> None:
        """It gets no new work, finishes what it has, and goes; one that loads goes at once."""
        if member.state is ReplicaState.STARTING:
            self.end(member, now)
        elif member.state is ReplicaState.READY:
            self._drain(member, now)
            self._traffic.ready(member.model, now)

    def _drain(self, member: Member, now: float) -> None:
        member.state = ReplicaState.DRAINING
        member.since = now
        self.pay(member, now)
        last = now + member.model.setup.drain

        def look(at: float) -> None:
            if member.state is not ReplicaState.DRAINING:
                return
            engine = member.engine
            if at >= last or not (engine.running or engine.waiting):
                self.end(member, at)
            else:
                self._agenda.at(min(at + _DRAINED, last), look)

        self._agenda.at(now, look)

    def end(self, member: Member, now: float) -> None:
        """It is no more; requests that it still has try elsewhere."""
        self.pay(member, now, lost=member.state is ReplicaState.STARTING)
        member.state = ReplicaState.FAILED
        model, node = member.model, member.node
        model.members.remove(member)
        self._members[member.slot] = None
        self._free.append(member.slot)
        self._pay_node(model, node, now)
        node.used -= 1
        self._traffic.lose(member, now)
        if not node.used and not node.gone:
            self._empty(model, node, now)

    def _empty(self, model: Model, node: Node, now: float) -> None:
        """A node without replicas stays for a while, and is paid for."""
        linger = model.setup.hardware.linger

        def gone(at: float) -> None:
            if node.used or node.gone:
                return
            self._pay_node(model, node, at)
            node.gone = True
            self._nodes[model.number].remove(node)

        if linger > 0.0 and node.made:
            self._agenda.at(now + linger, gone)
        else:
            gone(now)

    # Paying.

    def pay(self, member: Member, now: float, *, lost: bool = False) -> None:
        """For its time since it was paid for last; lost: it loaded, and to no end."""
        seconds = now - member.paid
        member.paid = now
        hardware = member.model.setup.hardware
        gpu = seconds * hardware.gpus
        spent = Spent(dollars=gpu * self._rate(member.model, member.node))
        if lost:
            spent.lost = gpu
        elif member.state is ReplicaState.STARTING:
            spent.loading = gpu
        else:
            # A step that is under way counts when it is over.
            ran = min(max(member.engine.busy - member.busy, 0.0), seconds)
            member.busy += ran
            spent.busy = ran * hardware.gpus
            spent.idle = gpu - spent.busy
        member.model.tally.paid(spent)

    def _pay_node(self, model: Model, node: Node, now: float) -> None:
        """For room on it that no replica used since it was paid for last."""
        hardware = model.setup.hardware
        if node.made and not node.gone:
            gpu = (now - node.paid) * (hardware.per_node - node.used) * hardware.gpus
            if gpu > 0.0:
                model.tally.paid(Spent(idle=gpu, dollars=gpu * self._rate(model, node)))
        node.paid = now

    @staticmethod
    def _rate(model: Model, node: Node) -> float:
        """US dollars per GPU and second."""
        hardware = model.setup.hardware
        return (hardware.spot if node.spot else hardware.price) / _HOUR

    def pay_all(self, model: Model, now: float, *, last: bool = False) -> None:
        """For everything of a model until now; what loads is paid when it is known for what, or
        when the world ends.
        """
        for member in model.members:
            if last or member.state is not ReplicaState.STARTING:
                self.pay(member, now)
        for node in self._nodes.get(model.number, []):
            self._pay_node(model, node, now)
