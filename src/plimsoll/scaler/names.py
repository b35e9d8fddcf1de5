"""Gateways by name: every address that a headless Service, or a host, has now."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from plimsoll.errors import Failed
from plimsoll.scaler.gateways import FleetName


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Where a fleet's gateways are.

    host    a name with one address for each gateway, or an address
    port    at which they show their metrics
    scheme  `http` or `https`
    """

    host: str
    port: int
    scheme: str = "http"


async def addresses_of(named: Named) -> Sequence[str]:
    """Each gateway as `scheme://address:port`, in order. Raises Failed where the name has none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(named.host, named.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failed(
            f"no address is known: {error.strerror or error}",
            where=f"{named.host}:{named.port}",
            hint="see the name of the gateways' headless Service, and whether any gateway is ready",
            code="scaler.gateway-name",
        ) from error
    hosts = sorted({str(address[0]) for *_, address in found})
    return [
        f"{named.scheme}://{f'[{host}]' if ':' in host else host}:{named.port}" for host in hosts
    ]


def by_fleet(fleets: Mapping[FleetName, Named]) -> Callable[[FleetName], Awaitable[Sequence[str]]]:
    """Addresses by fleet, for Gateways. A fleet that is not among these raises Failed."""

    async def addresses(name: FleetName) -> Sequence[str]:
        named = fleets.get(name)
        if named is None:
            raise Failed(
                "it has no gateway of its own here",
                where=f"fleet {name[0]}/{name[1]}",
                hint="name the Service of its gateway",
                code="scaler.gateway-name",
            )
        return await addresses_of(named)

    return addresses
