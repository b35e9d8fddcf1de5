"""How many replicas a demand takes, and how long a new one takes to help."""

from __future__ import annotations

from math import ceil

import msgspec

from plimsoll.facts.cold_start import cold_start_facts
from plimsoll.facts.parameters import layer_weights, parameters
from plimsoll.facts.weight_formats import weight_format
from plimsoll.plan.deployment import Deployment
from plimsoll.plan.search.types import Demand
from plimsoll.plan.types import ColdStart

RISE = 900.0  # seconds in which traffic is taken to climb from its average to its peak
FULLEST = 0.9  # share of a replica's capacity that is planned for: rates are estimates


def published_bytes(deployment: Deployment) -> float:
    """Bytes of the weights that one replica reads, its number formats reckoned."""
    network, formats = deployment.network, deployment.formats
    experts = sum(layer.count * layer_weights(network, layer).experts for layer in network.layers)
    dense = parameters(network) - experts
    return (
        dense * weight_format(formats.weights).bytes
        + experts * weight_format(formats.experts).bytes
    )


def cold_start(weight_bytes: float, *, download: float = 0.0) -> ColdStart:
    """Seconds until a new replica on a new node answers, before any was measured.

    weight_bytes  of one replica, over all its devices
    download      bytes per second from the source; 0 where the weights lie on the node already

    The image is not reckoned: its size and the registry are not known here.
    """
    facts = cold_start_facts()
    fetched = weight_bytes / download if download else 0.0
    return ColdStart(
        node=facts["node"].typical,
        image=0.0,
        weights=fetched + weight_bytes / facts["weights"].typical,
        engine=facts["engine"].typical,
        source="; ".join(facts[name].source for name in ("node", "weights", "engine")),
    )


class Replicas(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas a demand takes.

    steady    for the average rate, with headroom
    most      for the busiest minute
    headroom  share of added rate that is kept free while a new replica starts
    busy      share of the capacity of `steady` replicas that the average rate takes
    """

    steady: int
    most: int
    headroom: float
    busy: float


def replicas(demand: Demand, capacity: float, start: ColdStart) -> Replicas:
    """The replicas for a demand.

    capacity  requests per second of one replica within its objectives, above 0

    The traffic may rise while a replica starts; the replicas that run must carry that much more.
    It is taken to climb from average to peak in RISE seconds.
    """
    if demand.rate <= 0:
        return Replicas(steady=1, most=1, headroom=0.0, busy=0.0)
    climb = max(0.0, demand.peak / demand.rate - 1.0) * min(1.0, start.total / RISE)
    usable = capacity * FULLEST
    steady = max(1, ceil(demand.rate * (1 + climb) / usable - 1e-9))
    return Replicas(
        steady=steady,
        most=max(steady, ceil(demand.peak / usable - 1e-9)),
        headroom=climb,
        busy=demand.rate / (steady * capacity),
    )
