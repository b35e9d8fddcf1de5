"""Keys of tenants where a gateway finds them: in variables on a machine, in files in a pod."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from plimsoll.fleet import Fleet, Tenant
from plimsoll.fleet.tenants import Key, Limits
from plimsoll.gateway.access import Access, static_access


def access_of(
    fleet: Fleet, *, environment: Mapping[str, str], folder: Path | None = None
) -> tuple[Access, tuple[str, ...]]:
    """The guard that a fleet wishes, and what is wrong with keys that it does not accept.

    folder  with a file `TENANT/KEY` for each key that is in a Secret; a variable counts where
            there is no such file
    """

    def secret(tenant: Tenant, key: Key) -> str | None:
        file = _read(folder / tenant.name / key.name) if folder is not None else None
        if file is not None or key.from_ is None or key.from_.env is None:
            return file
        return environment.get(key.from_.env)

    return static_access(fleet, secret, clock=time.time)


def not_kept(fleet: Fleet) -> str:
    """What a fleet says of its tenants and no gateway keeps yet, in words; empty: nothing."""
    limits = {tenant.limits for tenant in fleet.tenants}
    limits |= {key.limits for tenant in fleet.tenants for key in tenant.keys}
    words = {
        "limits": bool(limits - {Limits()}),
        "pools": any(tenant.pools for tenant in fleet.tenants),
        "residency": any(
            tenant.residency is not None and "cluster" not in tenant.residency.allow
            for tenant in fleet.tenants
        ),
    }
    names = [f"`{word}`" for word, said in words.items() if said]
    return f"{', '.join(names)} of tenants are not kept yet" if names else ""


def _read(file: Path) -> str | None:
    """What stands in a file; None where it is not there, or cannot be read."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
