"""Services, the ways each may run, what is offered for rent, and who sits where. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plimsoll.plan.share.geometry import Geometry, Layout

Sharing = Literal["none", "mig", "timeSlicing", "mps", "dra"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One way to run a service, which its caller has found to be fast and large enough.

    id           unique among the service's alternatives
    accelerator  name in the catalogue
    offers       names of the offers that may be used; empty: all of that accelerator
    sharing      how replicas get at the accelerator, as `placement.sharing` says it
    profile      MIG profile of a replica, with `mig` or `dra`; empty otherwise
    devices      whole accelerators of one replica, over all its nodes
    nodes        nodes over which one replica's pipeline is spread; its tensor-parallel groups of
                 devices / nodes lie inside one node each
    replicas     how many the service needs when it runs this way
    share        part of an accelerator's compute that a replica needs, above 0, at most 1; below
                 1 only with `timeSlicing`, `mps` or `dra`
    memory       bytes that a replica takes of an accelerator that it shares; 0 where it does not
    """

    id: str
    accelerator: str
    offers: tuple[str, ...] = ()
    sharing: Sharing = "none"
    profile: str = ""
    devices: int = 1
    nodes: int = 1
    replicas: int = 1
    share: float = 1.0
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A model that must run, with the ways it may.

    name          unique
    alternatives  one of them is chosen for all its replicas
    tenant        whose it is; services without a tenant belong to one and the same
    strict        `isolation: strict`: never on an accelerator that another tenant uses
    sharing       what `placement.sharing` says; with `mig` a strict service accepts the walls
                  between MIG instances as isolation
    """

    name: str
    alternatives: tuple[Alternative, ...]
    tenant: str = ""
    strict: bool = False
    sharing: Sharing = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Nodes that may be rented, all alike: a pool, or a kind of instance.

    name         unique
    accelerator  name in the catalogue
    price        US dollars per node and hour
    per_node     accelerators of a node
    limit        most nodes
    sharing      ways in which accelerators may be given out here
    memory       bytes that programs can use of one accelerator; needed where replicas take turns
    geometry     how the accelerator can be cut; None without MIG
    layout       MIG profiles of every accelerator, where the pool fixes them; empty: any
    single       MIG strategy `single`: all instances of a node are of one profile
    slots        pods per accelerator with time-slicing or MPS, where the pool fixes it; 0: any
    """

    name: str
    accelerator: str
    price: float
    per_node: int
    limit: int
    sharing: frozenset[Sharing] = frozenset({"none"})
    memory: int = 0
    geometry: Geometry | None = None
    layout: tuple[str, ...] = ()
    single: bool = False
    slots: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One replica's place on one accelerator.

    service  whose replica
    replica  its number, from 0
    start    memory slice at which its MIG instance begins; None without MIG
    profile  MIG profile; empty without
    share    part of the accelerator's compute that is set aside for it; 1 without turns
    """

    service: str
    replica: int
    start: int | None = None
    profile: str = ""
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One accelerator of a rented node, and who is on it.

    offer    name of the offer
    node     number of the node within the offer, from 0
    index    number of the accelerator within the node, from 0
    sharing  how it is given out; `none` also where it is idle
    slots    pods that the device plugin lets on it; 0 where it does not count
    layout   MIG instances to make
    seats    replicas on it
    """

    offer: str
    node: int
    index: int
    sharing: Sharing = "none"
    slots: int = 0
    layout: Layout = ()
    seats: tuple[Seat, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What runs where, and what it costs.

    choice   id of the chosen alternative by service, in the order of the services
    nodes    rented nodes by offer; offers without any are left out
    gpus     every accelerator of the rented nodes, idle ones too, by offer and node
    dollars  US dollars per hour
    bound    US dollars per hour; no assignment costs less
    """

    choice: dict[str, str]
    nodes: dict[str, int]
    gpus: tuple[Gpu, ...]
    dollars: float
    bound: float

    @property
    def gap(self) -> float:
        """Dollars over the bound, as a part of the dollars; 0 where nothing is paid."""
        return max(0.0, self.dollars - self.bound) / self.dollars if self.dollars else 0.0

    @property
    def proven(self) -> bool:
        """Whether it is proven that nothing is cheaper, up to the solver's tolerance of 1e-6."""
        return self.gap <= 1e-6

    @property
    def used(self) -> int:
        """Accelerators with somebody on them."""
        return sum(bool(gpu.seats) for gpu in self.gpus)
