"""What an operator is told and given: how it runs, and what it does not do itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from plimsoll.worlds.cluster.operator.demand import Fetch
from plimsoll.worlds.cluster.operator.election import Terms
from plimsoll.worlds.cluster.operator.planning import Plan
from plimsoll.worlds.cluster.operator.queue import Pace
from plimsoll.worlds.cluster.operator.scene import Observe
from plimsoll.worlds.cluster.operator.sites import Render, Surroundings

LEASE = "plimsoll-operator"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an operator runs.

    identity    no two operators alike; the pod's name
    lease       name of the Lease; operators of other namespaces need another
    namespace   in which the Lease lies
    namespaces  whose Fleets it keeps; empty: all
    elect       whether to act only while holding the Lease
    workers     Fleets that are looked at at the same time
    poll        seconds between two questions to the gateways
    resync      seconds after which everything is applied again, changed or not
    settle      seconds for which a burst of changes is waited for
    """

    identity: str
    lease: str = LEASE
    namespace: str = "default"
    namespaces: tuple[str, ...] = ()
    elect: bool = True
    workers: int = 4
    poll: float = 5.0
    resync: float = 1800.0
    settle: float = 0.05
    terms: Terms = field(default_factory=Terms)
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an operator is given.

    plan     plans a Fleet
    render   a site's objects
    observe  a workload's replicas from its pods
    fetch    a gateway pod's metrics
    around   what sites have in common, as it is now
    clock    seconds, never set back
    now      seconds since 1970
    random   a number from 0 to 1
    """

    plan: Plan
    render: Render
    observe: Observe
    fetch: Fetch
    around: Callable[[], Surroundings]
    clock: Callable[[], float]
    now: Callable[[], float]
    random: Callable[[], float]
