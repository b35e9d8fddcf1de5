"""The joint choice as a mixed-integer program: ways, replicas by bucket, layouts, whole nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from plimsoll.plan.share.buckets import Bucket, Way
from plimsoll.plan.share.geometry import Counts, counts, patterns, undominated
from plimsoll.plan.share.nodes import chained, node_patterns
from plimsoll.plan.share.solver import Program
from plimsoll.plan.share.types import Offer

Terms = tuple[tuple[int, float], ...]  # column, coefficient


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Replicas of one way in one bucket, as a sum over columns."""

    way: Way
    terms: Terms

    def replicas(self, values: Sequence[float]) -> int:
        """How many, in a solution."""
        return round(sum(values[column] * factor for column, factor in self.terms))

    def times(self, factor: float) -> Terms:
        """The sum, multiplied."""
        return tuple((column, coefficient * factor) for column, coefficient in self.terms)


@dataclass(slots=True, kw_only=True)
class Joint:
    """The program, and what its columns stand for.

    program  to be solved
    chosen   column by way: whether it is taken
    loads    replicas by bucket
    turns    column by bucket of the kind `turns`: its accelerators
    nodes    columns by offer: nodes
    limits   number of each offer's row that keeps its nodes within the limit
    """

    program: Program = field(default_factory=Program)
    chosen: list[int] = field(default_factory=list)
    loads: dict[Bucket, list[Load]] = field(default_factory=dict)
    turns: dict[Bucket, int] = field(default_factory=dict)
    nodes: dict[str, list[int]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)


def joint_program(ways: Sequence[Way], offers: Sequence[Offer]) -> Joint:
    """Minimise dollars per hour over ways, layouts and nodes."""
    joint = Joint()
    _choices(joint, ways)
    for offer in offers:
        _offer(joint, offer)
    return joint


def add_turns_cut(
    joint: Joint, bucket: Bucket, held: Sequence[tuple[Way, int]], needed: int
) -> None:
    """These replicas together need so many accelerators; each that goes saves at most one."""
    replicas = {way.key: count for way, count in held}
    terms = [(joint.turns[bucket], 1.0)]
    present = 0
    for load in joint.loads[bucket]:
        if load.way.key in replicas:
            terms.extend(load.times(-1.0))
            present += replicas[load.way.key]
    joint.program.row(terms, least=needed - present)


def _choices(joint: Joint, ways: Sequence[Way]) -> None:
    program = joint.program
    by_service: dict[str, list[int]] = {}
    for way in ways:
        column = program.column(upper=1)
        joint.chosen.append(column)
        by_service.setdefault(way.service.name, []).append(column)
        replicas = float(way.alternative.replicas)
        if len(way.buckets) == 1:
            load = Load(way=way, terms=((column, replicas),))
            joint.loads.setdefault(way.buckets[0], []).append(load)
            continue
        spread = []
        for bucket in way.buckets:
            part = program.column(upper=replicas)
            spread.append((part, 1.0))
            joint.loads.setdefault(bucket, []).append(Load(way=way, terms=((part, 1.0),)))
        program.row([*spread, (column, -replicas)], least=0, most=0)
    for columns in by_service.values():
        program.row(dict.fromkeys(columns, 1.0), least=1, most=1)


def _offer(joint: Joint, offer: Offer) -> None:
    here = [bucket for bucket in joint.loads if bucket.offer == offer.name]
    if not here:
        return
    columns = [
        *_alike_nodes(joint, offer, [bucket for bucket in here if bucket.kind == "alike"]),
        *_plain_nodes(joint, offer, [bucket for bucket in here if bucket.kind != "alike"]),
    ]
    joint.nodes[offer.name] = columns
    joint.limits[offer.name] = len(joint.program.rows)
    joint.program.row(dict.fromkeys(columns, 1.0), most=offer.limit)


def _alike_nodes(joint: Joint, offer: Offer, buckets: Sequence[Bucket]) -> list[int]:
    """Nodes by slots and profile; buckets that differ only in owner share nodes."""
    groups: dict[tuple[str, int, str], list[Bucket]] = {}
    for bucket in buckets:
        groups.setdefault((bucket.sharing, bucket.slots, bucket.profile), []).append(bucket)
    found = []
    for group in groups.values():
        nodes = joint.program.column(cost=offer.price)
        found.append(nodes)
        if len(group) == 1:
            capacity = ((nodes, float(offer.per_node * group[0].slots)),)
            _within(joint, _replicas(joint, group[0]), capacity)
            continue
        devices: list[tuple[int, float]] = []
        for bucket in group:
            own = joint.program.column()
            devices.append((own, 1.0))
            _within(joint, _replicas(joint, bucket), ((own, float(bucket.slots)),))
        _within(joint, devices, ((nodes, float(offer.per_node)),))
    return found


def _plain_nodes(joint: Joint, offer: Offer, buckets: Sequence[Bucket]) -> list[int]:
    """Nodes on which every accelerator is whole, cut or shared in turns, each as it likes."""
    sizes: dict[int, list[tuple[int, float]]] = {}
    for bucket in buckets:
        if bucket.kind == "whole":
            parts = sizes.setdefault(bucket.size, [])
            for load in joint.loads[bucket]:
                parts.extend(load.times(load.way.alternative.nodes))
        elif bucket.kind == "cut":
            sizes.setdefault(1, []).extend(_cut_devices(joint, offer, bucket))
        else:
            sizes.setdefault(1, []).append((_turn_devices(joint, offer, bucket), 1.0))
    if not sizes:
        return []
    if chained(sizes):
        return [_chained_nodes(joint, offer, sizes)]
    return _patterned_nodes(joint, offer, sizes)


def _chained_nodes(joint: Joint, offer: Offer, sizes: Mapping[int, list[tuple[int, float]]]) -> int:
    """Exact where sizes divide each other: what is at least as large as a size fits if a node has
    that size so often.
    """
    nodes = joint.program.column(cost=offer.price)
    terms: list[tuple[int, float]] = []
    for size in sorted(sizes, reverse=True):
        terms.extend((column, factor * size) for column, factor in sizes[size])
        _within(joint, terms, ((nodes, float(offer.per_node // size * size)),))
    return nodes


def _patterned_nodes(
    joint: Joint, offer: Offer, sizes: Mapping[int, list[tuple[int, float]]]
) -> list[int]:
    """A column for each way to fill a node, where sizes do not divide each other."""
    ordered = tuple(sorted(sizes, reverse=True))
    ways = node_patterns(ordered, offer.per_node)
    columns = [joint.program.column(cost=offer.price) for _ in ways]
    for index, size in enumerate(ordered):
        held = [(c, float(w[index])) for c, w in zip(columns, ways, strict=True) if w[index]]
        _within(joint, sizes[size], held)
    return columns


def _cut_devices(joint: Joint, offer: Offer, bucket: Bucket) -> Terms:
    """A column for each layout of the profiles that may be wanted here."""
    geometry = offer.geometry
    assert geometry is not None
    loads = joint.loads[bucket]
    wanted = sorted({geometry.position(load.way.alternative.profile) for load in loads})
    ways: Iterable[Counts] = patterns(geometry)
    if offer.layout:
        ways = (counts(geometry, offer.layout),)
    kept = undominated(tuple(way[index] for index in wanted) for way in ways)
    columns = [joint.program.column() for _ in kept]
    for place, index in enumerate(wanted):
        name = geometry.profiles[index].name
        held = [(c, float(w[place])) for c, w in zip(columns, kept, strict=True) if w[place]]
        asked = [
            term for load in loads if load.way.alternative.profile == name for term in load.terms
        ]
        _within(joint, asked, held)
    return tuple((column, 1.0) for column in columns)


def _turn_devices(joint: Joint, offer: Offer, bucket: Bucket) -> int:
    """A column for accelerators that hold the shares and the bytes in sum.

    That sum is not enough for replicas to fit one by one; cuts say so where it matters.
    """
    devices = joint.program.column()
    joint.turns[bucket] = devices
    loads = joint.loads[bucket]
    capacity = ((devices, 1.0),)
    share: list[tuple[int, float]] = []
    memory: list[tuple[int, float]] = []
    half_share: list[tuple[int, float]] = []
    half_memory: list[tuple[int, float]] = []
    for load in loads:
        option = load.way.alternative
        part = option.memory / offer.memory
        share.extend(load.times(max(0.0, option.share - 1e-6)))  # shares are read to a millionth
        memory.extend(load.times(part))
        half_share.extend(load.times(float(option.share > 0.5 + 1e-6)))
        half_memory.extend(load.times(float(2 * option.memory > offer.memory)))
    for terms in (share, memory, half_share, half_memory):
        _within(joint, terms, capacity)
    if offer.slots:
        _within(joint, _replicas(joint, bucket), ((devices, float(offer.slots)),))
    return devices


def _replicas(joint: Joint, bucket: Bucket) -> list[tuple[int, float]]:
    return [term for load in joint.loads[bucket] for term in load.terms]


def _within(
    joint: Joint, load: Iterable[tuple[int, float]], capacity: Iterable[tuple[int, float]]
) -> None:
    """Load at most capacity."""
    terms = [(column, factor) for column, factor in load if factor]
    if terms:
        joint.program.row([*terms, *((c, -factor) for c, factor in capacity)], most=0.0)


def loosened(joint: Joint) -> tuple[Program, dict[str, int]]:
    """The same program without prices, where nodes beyond a limit cost one each.

    Its solution says how many nodes are missing; columns by offer.
    """
    source = joint.program
    program = Program(
        costs=[0.0] * len(source.costs),
        uppers=list(source.uppers),
        whole=list(source.whole),
        rows=[dict(row) for row in source.rows],
        ranges=list(source.ranges),
    )
    more = {}
    for name, row in joint.limits.items():
        more[name] = program.column(cost=1.0, upper=inf)
        program.rows[row][more[name]] = -1.0
    return program, more
