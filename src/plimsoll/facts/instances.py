"""Cloud machines with accelerators: what is in one, and what an hour of it costs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerator as by_name
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.table import sparse_csv_rows


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One machine type of one cloud.

    provider      `aws`, `gcp` or `azure`
    type          the cloud's name of it: `g6e.xlarge`, `Standard_NC40ads_H100_v5`; on GCP's
                  `n1` machines `count` accelerators are attached
    accelerator   name in the catalogue
    count         accelerators; a fraction where one is split
    vcpus         virtual processors
    memory        bytes of main memory
    local_disk    bytes of disk inside the machine
    network       Gbit/s of all network cards together, those for accelerators included
    region        where the prices hold; empty where there is none
    on_demand     US dollars per hour; None where no price is at hand
    spot          US dollars per hour, an indication of the day that `spot_source` names; None
                  where no price is at hand
    interruption  how often spot machines were taken back in a month: `<5%` to `>20%`; empty where
                  the cloud does not publish it
    source        where shape and price are written
    date          of the on-demand price, or of the shape where there is none
    spot_source   where spot price and interruption are written, and their day
    """

    provider: str
    type: str
    accelerator: str
    count: float
    vcpus: int
    memory: int
    local_disk: int
    network: float
    region: str = ""
    on_demand: float | None = None
    spot: float | None = None
    interruption: str = ""
    source: str
    date: dt.date
    spot_source: str = ""

    def per_accelerator(self, *, spot: bool = False) -> float | None:
        """US dollars per accelerator and hour; None where no price is at hand."""
        price = self.spot if spot else self.on_demand
        return None if price is None else price / self.count


@cache
def instances() -> tuple[Instance, ...]:
    """Every machine type of the catalogue, by provider."""
    return sparse_csv_rows("instances.csv", Instance)


def instance(provider: str, type: str) -> Instance:  # noqa: A002  # the clouds' own word
    """One machine type; case does not matter. Raises InputError for one that is not known."""
    known = _by_provider()
    if provider.lower() not in known:
        raise InputError(
            f"no facts about machines of `{provider}`",
            hint=nearest_hint(provider, known),
            code="facts.unknown-provider",
        )
    types = known[provider.lower()]
    try:
        return types[type.lower()]
    except KeyError:
        raise InputError(
            f"no facts about a machine `{type}` of {provider.lower()}",
            hint=nearest_hint(type, [row.type for row in types.values()]),
            code="facts.unknown-instance",
        ) from None


def offers(accelerator: str, provider: str | None = None) -> tuple[Instance, ...]:
    """Machines with an accelerator, cheapest per accelerator first, those without a price last.

    Raises InputError for an accelerator that is not in the catalogue.
    """
    name = by_name(accelerator).name
    found = [
        row for row in instances() if row.accelerator == name and provider in (None, row.provider)
    ]
    return tuple(sorted(found, key=_cheapest_first))


def _cheapest_first(row: Instance) -> tuple[bool, float, str, str]:
    price = row.per_accelerator()
    return price is None, price or 0.0, row.provider, row.type


@cache
def _by_provider() -> Mapping[str, Mapping[str, Instance]]:
    found: dict[str, dict[str, Instance]] = {}
    for row in instances():
        found.setdefault(row.provider, {})[row.type.lower()] = row
    return found
