"""Where replicas may run: the fleet's pools, or what clouds rent, each with its price."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerator, device
from plimsoll.facts.instances import Instance, instance, instances
from plimsoll.facts.mig import mig_profiles
from plimsoll.fleet import Fleet, Model, Pool
from plimsoll.plan.cost import NodePrice, Rates, node_price
from plimsoll.plan.search.types import Ground

Fact = TypeVar("Fact")
MOST_RENTED = 64  # nodes of one instance type that a plan without pools may take
PER_NODE = 1  # accelerators of a node where neither the pool nor an instance type says
TURNS = ("timeSlicing", "mps", "dra")
SHARES = (2, 3, 4, 6, 8)  # replicas per accelerator that are tried where the pool leaves it open
SPOT_PERCENT = 70  # of `mixed` capacity where the pool does not say


def grounds_of(fleet: Fleet) -> tuple[Ground, ...]:
    """One ground for each pool with accelerators.

    Raises InputError for an accelerator or instance type that is not in the catalogue.
    """
    return tuple(
        _pool_ground(pool, f"spec.pools[{index}]")
        for index, pool in enumerate(fleet.pools)
        if pool.accelerator != "none"
    )


def _pool_ground(pool: Pool, where: str) -> Ground:
    whole = _located(lambda: device(pool.accelerator), f"{where}.accelerator")
    rented = None
    if pool.cloud is not None and pool.cloud.instance_type is not None:
        kind, provider = pool.cloud.instance_type, pool.cloud.provider
        rented = _located(lambda: instance(provider, kind), f"{where}.cloud.instanceType")
        if rented.accelerator != whole.accelerator:
            raise InputError(
                f"{kind} has {rented.accelerator}, not {pool.accelerator}",
                where=f"{where}.accelerator",
                hint=f"write `accelerator: {rented.accelerator}`",
                code="plan.accelerator",
            )
    per_node = pool.per_node or (round(rented.count) if rented else 0) or PER_NODE
    return Ground(
        name=pool.name,
        device=replace(
            whole,
            per_node=per_node,
            link=_link(pool, whole.accelerator, whole.link),
            nvlink=whole.nvlink and pool.interconnect != "pcie",
        ),
        per_node=per_node,
        most_nodes=pool.nodes.max,
        price=_price(pool, rented),
        spot=_first(pool.price.spot, rented.spot if rented else None),
        interruption=rented.interruption if rented else "",
        instance=rented.type if rented else "",
        provider=pool.cloud.provider if pool.cloud else "",
        sharing=_modes(pool),
        profiles=_profiles(pool, whole.accelerator, where),
        single=pool.sharing.mig is not None and pool.sharing.mig.strategy == "single",
        shares=_shares(pool),
    )


def _located(read: Callable[[], Fact], where: str) -> Fact:
    """What `read` finds; an error says where the name stands."""
    try:
        return read()
    except InputError as error:
        raise InputError(error.message, where=where, hint=error.hint, code=error.code) from error


def _link(pool: Pool, name: str, usual: float) -> float:
    return accelerator(name).pcie if pool.interconnect == "pcie" else usual


def _shares(pool: Pool) -> int:
    turns = pool.sharing.time_slicing or pool.sharing.mps
    return turns.replicas if turns else 0


def _modes(pool: Pool) -> frozenset[str]:
    """Ways of sharing that the pool offers beside whole accelerators."""
    offered = {
        "mig": pool.sharing.mig,
        "timeSlicing": pool.sharing.time_slicing,
        "mps": pool.sharing.mps,
        "dra": pool.sharing.dra,
    }
    return frozenset(mode for mode, setting in offered.items() if setting is not None)


def _profiles(pool: Pool, name: str, where: str) -> tuple[str, ...]:
    """The layout of every accelerator where the pool fixes one; else nothing."""
    if pool.sharing.mig is None:
        return ()
    known = {profile.name for profile in mig_profiles(name)}
    if not known:
        raise InputError(
            f"no MIG profiles of {name} are known",
            where=f"{where}.sharing.mig",
            hint="take an accelerator with MIG, or another way of sharing",
            code="plan.mig",
        )
    layout = [(piece.profile, piece.count) for piece in pool.sharing.mig.layout]
    for profile, _ in layout:
        if profile not in known:
            raise InputError(
                f"{name} has no MIG profile `{profile}`",
                where=f"{where}.sharing.mig.layout",
                hint=f"it has {', '.join(f'`{one}`' for one in sorted(known))}",
                code="facts.unknown-mig-profile",
            )
    return tuple(profile for profile, count in layout for _ in range(count))


def _price(pool: Pool, rented: Instance | None) -> NodePrice:
    """The fleet file's prices, then the catalogue's; what neither says stays unknown."""
    said = pool.price
    rates = Rates(
        on_demand=_first(said.on_demand, rented.on_demand if rented else None),
        spot=_first(said.spot, rented.spot if rented else None),
        reserved=said.reserved,
        source=_price_source(pool, rented),
    )
    percent = SPOT_PERCENT if pool.spot_percent is None else pool.spot_percent
    return node_price(rates, pool.capacity, percent / 100)


def _price_source(pool: Pool, rented: Instance | None) -> str:
    said = pool.price
    if any(price is not None for price in (said.on_demand, said.spot, said.reserved)):
        return "the fleet file"
    if rented is None:
        return ""
    return f"{rented.source} ({rented.date})"


def _first(*prices: float | None) -> float | None:
    return next((price for price in prices if price is not None), None)


def rented_grounds(
    *, providers: Collection[str] = (), accelerators: Sequence[str] = (), capacity: str = "onDemand"
) -> tuple[Ground, ...]:
    """What clouds rent: of each accelerator and number of them in a node, the cheapest.

    providers     clouds to look at; empty: all
    accelerators  names to look at; empty: all. Raises InputError for one that is not known
    capacity      `onDemand` or `spot`
    """
    names = {accelerator(name).name for name in accelerators}
    best: dict[tuple[str, int], Ground] = {}
    for row in instances():
        if (providers and row.provider not in providers) or row.count < 1:
            continue
        if names and row.accelerator not in names:
            continue
        ground = _rented(row, capacity)
        if ground.price.dollars is None:
            continue
        key = (row.accelerator, ground.per_node)
        held = best.get(key)
        if held is None or ground.price.dollars < (held.price.dollars or 0.0):
            best[key] = ground
    return tuple(best.values())


def _rented(row: Instance, capacity: str) -> Ground:
    rates = Rates(on_demand=row.on_demand, spot=row.spot, source=f"{row.source} ({row.date})")
    per_node = max(1, round(row.count))
    return Ground(
        name=f"{row.provider} {row.type}",
        device=replace(device(row.accelerator), per_node=per_node),
        per_node=per_node,
        most_nodes=MOST_RENTED,
        price=node_price(rates, capacity, 0.0),
        spot=row.spot,
        interruption=row.interruption,
        instance=row.type,
        provider=row.provider,
        sharing=frozenset({"mig"} if mig_profiles(row.accelerator) else ()),
    )


def allowed(model: Model, grounds: Iterable[Ground]) -> tuple[Ground, ...]:
    """What a model may use, the preferred pools first: whole accelerators, or parts of them."""
    every = tuple(grounds)
    wanted = model.placement.pools
    if wanted:
        every = tuple(ground for name in wanted for ground in every if ground.name == name)
    return tuple(part for ground in every for part in _parts(model, ground))


def _parts(model: Model, ground: Ground) -> list[Ground]:
    """What a model may take of a ground: whole accelerators, or MIG instances of them."""
    sharing = model.placement.sharing
    if sharing == "none":
        return [ground]
    if sharing not in ground.sharing:
        return []
    if sharing in TURNS:
        return [_turn(ground, count) for count in ([ground.shares] if ground.shares else SHARES)]
    wanted = model.placement.mig_profile
    profiles = [
        profile
        for profile in mig_profiles(ground.device.accelerator)
        if wanted in (None, profile.name)
        and (not ground.profiles or profile.name in ground.profiles)
    ]
    return [
        msgspec.structs.replace(
            ground,
            device=device(ground.device.accelerator, profile.name),
            portion=profile.memory_slices / profile.slots,
        )
        for profile in profiles
    ]


def _turn(ground: Ground, count: int) -> Ground:
    """One of `count` equal shares of an accelerator whose users take turns.

    It is reckoned at the speed that is left when all of them are busy.
    """
    whole = ground.device
    device_ = replace(
        whole,
        name=f"{whole.name}, 1 of {count}",
        nominal=whole.nominal // count,
        memory=whole.memory // count,
        bandwidth=whole.bandwidth / count,
        flops={kind: value / count for kind, value in whole.flops.items()},
        link=0.0,
        nvlink=False,
    )
    return msgspec.structs.replace(ground, device=device_, portion=1 / count)
