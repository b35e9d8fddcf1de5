"""The measurements, one function per claim."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass

from benchmarks.packing.instances import known, market, stream, wanted
from plimsoll.errors import DoesNotFit
from plimsoll.plan.share import geometry as geometries
from plimsoll.plan.share.choose import choose
from plimsoll.plan.share.geometry import Geometry, patterns
from plimsoll.plan.share.online import Put, Rule, arrive, depart, empty, repartitions
from plimsoll.plan.share.packing import pack, weight_bound
from plimsoll.plan.share.solver import Program, solve
from plimsoll.plan.share.types import Alternative, Offer, Service
from plimsoll.plan.share.waste import Waste, waste
from tests.plan.share.brute import fewest

SHAPES = ("H100-80GB-SXM", "A100-40GB-SXM", "H200-SXM", "B200", "A30")
SMALL = 14  # instances up to which an answer is compared with brute force


@dataclass(slots=True, kw_only=True)
class Optimality:
    """Over random instances of one accelerator type.

    instances   how many
    proven      answers equal to their bound
    certified   of these, bounds that the weights alone give, checked anew against every pattern
    brute       small ones compared with brute force
    agreed      of these, equal
    solver      compared with HiGHS
    same        of these, equal
    """

    instances: int = 0
    proven: int = 0
    certified: int = 0
    brute: int = 0
    agreed: int = 0
    solver: int = 0
    same: int = 0


def optimality(instances: int, every: int) -> Optimality:
    """Pack random instances; every so-many-th is also given to HiGHS."""
    numbers = random.Random(7)
    found = Optimality(instances=instances)
    for index in range(instances):
        geometry = known(SHAPES[index % len(SHAPES)])
        demand = wanted(numbers, geometry, numbers.choice([2, 3, 10, 100, 2000]))
        packing = pack(demand, geometry)
        found.proven += packing.proven
        if not packing.searched:
            found.certified += weight_bound(demand, geometry, packing.weights) == packing.gpus
        if sum(demand.values()) <= SMALL:
            found.brute += 1
            exact = fewest(geometry, tuple(demand.get(p.name, 0) for p in geometry.profiles))
            found.agreed += exact == packing.gpus
        if index % every == 0:
            found.solver += 1
            found.same += round(solve(covering(geometry, demand)).cost) == packing.gpus
    return found


def covering(geometry: Geometry, demand: dict[str, int]) -> Program:
    """The same question for HiGHS: how many accelerators of each full layout."""
    program = Program()
    ways = patterns(geometry)
    columns = [program.column(cost=1.0) for _ in ways]
    for index, profile in enumerate(geometry.profiles):
        row = {c: float(w[index]) for c, w in zip(columns, ways, strict=True)}
        program.row(row, least=demand.get(profile.name, 0))
    return program


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds to pack many instances.

    instances  MIG instances
    gpus       accelerators that they take
    first      with the geometry enumerated anew, as in a new process
    again      afterwards, best of five
    solver     HiGHS alone, best of five, without placing anything
    """

    instances: int
    gpus: int
    first: float
    again: float
    solver: float


def speed(instances: int) -> Speed:
    """Pack this many instances and place each."""
    geometry = known("H100-80GB-SXM")
    shares = (0.03, 0.07, 0.18, 0.30, 0.02, 0.40)  # largest profile first
    demand = {
        profile.name: int(instances * share)
        for profile, share in zip(geometry.profiles, shares, strict=True)
    }
    for cached in (
        geometries.layouts, geometries.full, geometries.placements, geometries.patterns,
    ):  # fmt: skip
        cached.cache_clear()

    def packed() -> float:
        began = time.perf_counter()
        layouts = pack(demand, geometry).layouts
        took = time.perf_counter() - began
        assert sum(len(layout) for layout in layouts) == sum(demand.values())
        return took

    def solved() -> float:
        program = covering(geometry, demand)
        began = time.perf_counter()
        solve(program)
        return time.perf_counter() - began

    first = packed()
    solved()
    return Speed(
        instances=sum(demand.values()),
        gpus=pack(demand, geometry).gpus,
        first=first,
        again=min(packed() for _ in range(5)),
        solver=min(solved() for _ in range(5)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """Joint choices over several seeds.

    ways     alternatives in all, of each
    seconds  of each
    gaps     of each
    gpus     accelerators in use, of each
    """

    ways: tuple[int, ...]
    seconds: tuple[float, ...]
    gaps: tuple[float, ...]
    gpus: tuple[int, ...]


def joint(seeds: int, services: int, gpus: int) -> Joint:
    """Choose for all services of each market."""
    rows = []
    for seed in range(seeds):
        wishes, offers = market(seed, services, gpus)
        began = time.perf_counter()
        found = choose(wishes, offers)
        took = time.perf_counter() - began
        ways = sum(len(service.alternatives) for service in wishes)
        rows.append((ways, took, found.gap, found.used))
    ways_of, seconds, gaps, used = zip(*rows, strict=True)
    return Joint(ways=ways_of, seconds=seconds, gaps=gaps, gpus=used)


@dataclass(slots=True, kw_only=True)
class Online:
    """One rule over one stream of arrivals and departures.

    live          whether single instances may be made beside others that run
    rule          which rule
    cards         accelerators that there are
    hours         accelerator-hours with somebody on them
    optimum       accelerator-hours of the fewest accelerators at each moment, everything moved
                  anew each time, which nobody can do
    repartitions  drains and resets
    moved         replicas that were restarted elsewhere
    refused       arrivals without room
    arrivals      of the stream
    """

    live: bool
    rule: Rule
    cards: int
    hours: float = 0.0
    optimum: float = 0.0
    repartitions: int = 0
    moved: int = 0
    refused: int = 0
    arrivals: int = 0


def online(
    rule: Rule, *, live: bool, cards: int, arrivals: int, load: float, seed: int = 1
) -> Online:
    """Follow a stream on so many H100."""
    geometry = known("H100-80GB-SXM")
    found = Online(live=live, rule=rule, cards=cards, arrivals=arrivals)
    state = empty(geometry, cards, live=live)
    present: Counter[str] = Counter()
    here: set[str] = set()
    last, least = 0.0, 0
    for event in stream(seed, geometry, arrivals=arrivals, load=load):
        found.hours += state.busy * (event.time - last)
        found.optimum += least * (event.time - last)
        last = event.time
        if event.arrives:
            try:
                state, actions = arrive(state, event.replica, event.profile, rule=rule)
            except DoesNotFit:
                found.refused += 1
                continue
            here.add(event.replica)
            present[event.profile] += 1
            found.repartitions += len(list(repartitions(actions)))
            found.moved += sum(isinstance(act, Put) and act.moved for act in actions)
        elif event.replica in here:
            state, _ = depart(state, event.replica)
            present[event.profile] -= 1
        least = pack(present, geometry).gpus
    return found


def ten_at_15_percent() -> Waste:
    """Ten services, each with 15 % of an accelerator to do, on nodes of one at a dollar an hour."""
    offer = Offer(
        name="node", accelerator="L4", price=1.0, per_node=1, limit=20,
        sharing=frozenset({"none", "timeSlicing"}), memory=22 * 10**9,
    )  # fmt: skip
    whole = Alternative(id="whole", accelerator="L4")
    part = Alternative(
        id="part", accelerator="L4", sharing="timeSlicing", share=0.15, memory=3 * 10**9
    )
    services = [Service(name=f"s{i}", alternatives=(part, whole)) for i in range(10)]
    return waste(services, [offer], choose(services, [offer]))


def quantile(values: tuple[float, ...], part: float) -> float:
    """The value below which about this part of the values lies."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]
