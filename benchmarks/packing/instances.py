"""Random instances: wanted MIG instances, services with their ways, arrivals and departures.

Speeds, sizes and prices are drawn at random. They are there to be hard, not to describe hardware;
only the MIG geometry is that of the catalogue.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import ceil

from plimsoll.plan.share.geometry import Geometry, mig_geometry
from plimsoll.plan.share.types import Alternative, Offer, Service

ACCELERATORS = (  # name, gigabytes, dollars per hour, speed, accelerators of a node
    ("A30", 24, 0.9, 0.5, 4),
    ("A100-40GB-SXM", 40, 2.0, 1.0, 8),
    ("A100-80GB-SXM", 80, 3.0, 1.15, 8),
    ("H100-80GB-SXM", 80, 6.0, 2.2, 8),
    ("H200-SXM", 141, 7.5, 2.8, 8),
    ("B200", 180, 11.0, 5.0, 8),
    ("L4", 24, 0.7, 0.25, 1),
    ("L40S", 48, 1.6, 0.7, 4),
)
GIGABYTE = 10**9


def known(name: str) -> Geometry:
    """The geometry of an accelerator that has MIG."""
    geometry = mig_geometry(name)
    assert geometry is not None, f"{name} has no MIG in the catalogue"
    return geometry


def wanted(numbers: random.Random, geometry: Geometry, most: int) -> dict[str, int]:
    """Instances per profile, each left out with a chance of one fifth."""
    return {
        profile.name: numbers.randint(0, most)
        for profile in geometry.profiles
        if numbers.random() < 0.8
    }


def market(seed: int, services: int, gpus: int) -> tuple[list[Service], list[Offer]]:
    """Services with 20 to 40 ways each over eight accelerators, `gpus` of each for rent."""
    numbers = random.Random(seed)
    offers = []
    for name, memory, price, _, per_node in ACCELERATORS:
        geometry = mig_geometry(name)
        offers.append(
            Offer(
                name=name,
                accelerator=name,
                price=round(price * per_node * numbers.uniform(0.8, 1.2), 2),
                per_node=per_node,
                limit=gpus // per_node,
                sharing=frozenset({"none", "mig"} if geometry else {"none", "timeSlicing"}),
                memory=memory * GIGABYTE,
                geometry=geometry,
            )
        )
    return [_service(numbers, index) for index in range(services)], offers


def _service(numbers: random.Random, index: int) -> Service:
    size = numbers.choice([3, 8, 14, 20, 40, 70, 150]) * 1.2
    load = numbers.lognormvariate(1, 1.2) * 5
    ways: list[Alternative] = []
    for name, memory, _, speed, per_node in ACCELERATORS:
        for devices in (1, 2, 4, 8):
            if devices <= per_node and size <= memory * devices:
                rate = speed * devices**0.9
                ways.append(
                    Alternative(
                        id=f"{name}/x{devices}",
                        accelerator=name,
                        devices=devices,
                        replicas=max(1, ceil(load / rate)),
                    )
                )
        ways.extend(_parts(name, memory, speed, size=size, load=load))
    return Service(
        name=f"service-{index}",
        alternatives=tuple(ways),
        tenant=f"tenant-{numbers.randint(0, 4)}",
        strict=numbers.random() < 0.15,
    )


def _parts(name: str, memory: int, speed: float, *, size: float, load: float) -> list[Alternative]:
    """Ways on less than an accelerator: MIG where there is, turns elsewhere."""
    geometry = mig_geometry(name)
    if geometry is not None:
        return [
            Alternative(
                id=f"{name}/{profile.name}",
                accelerator=name,
                sharing="mig",
                profile=profile.name,
                replicas=max(1, ceil(load / (speed * profile.compute / geometry.compute))),
            )
            for profile in geometry.profiles
            if size <= memory * profile.memory / geometry.memory
        ]
    share = max(0.1, size / memory)
    if share > 1:
        return []
    return [
        Alternative(
            id=f"{name}/turns",
            accelerator=name,
            sharing="timeSlicing",
            share=share,
            memory=int(size * GIGABYTE),
            replicas=max(1, ceil(load / (speed * share))),
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A replica comes or goes.

    time     hours
    arrives  whether it comes
    replica  its name
    profile  the instance that it needs
    """

    time: float
    arrives: bool
    replica: str
    profile: str


def stream(seed: int, geometry: Geometry, *, arrivals: int, load: float) -> list[Event]:
    """Poisson arrivals, `load` an hour, staying a log-normal time of 1.6 hours on average.

    Small instances are wanted more often than large ones.
    """
    numbers = random.Random(seed)
    names = [profile.name for profile in geometry.profiles]
    weights = [1 / profile.memory for profile in geometry.profiles]
    now, events = 0.0, []
    for index in range(arrivals):
        now += numbers.expovariate(load)
        name, profile = f"r{index}", numbers.choices(names, weights)[0]
        leaves = now + numbers.lognormvariate(0, 1)
        events.append(Event(time=now, arrives=True, replica=name, profile=profile))
        events.append(Event(time=leaves, arrives=False, replica=name, profile=profile))
    return sorted(events, key=lambda event: (event.time, event.replica))
