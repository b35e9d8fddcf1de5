"""Secrets of the gateway, by name only: environment variables and files that Kubernetes fills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plimsoll.errors import InputError
from plimsoll.fleet import Credential
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.site import Site

TLS_FOLDER = "/etc/plimsoll/tls"
KEYS_FOLDER = "/etc/plimsoll/keys"
_STATE = "/tmp/plimsoll"  # noqa: S108 -- in a folder of the pod's own


def environment(site: Site) -> list[dict[str, Any]]:
    """The container's environment, in order of names.

    Raises InputError for a Secret in a namespace other than the gateway's, which no pod can read.
    """
    named = dict(_named(site))
    found = [{"name": "PLIMSOLL_STATE", "value": _STATE}]
    return sorted([*found, *named.values()], key=lambda variable: str(variable["name"]))


def key_volume(site: Site) -> dict[str, Any] | None:
    """Keys of tenants that are in Secrets, as files `TENANT/KEY`; None where there are none.

    As files they can be changed without a restart. One that is not there keeps nobody else out.
    """
    items: dict[str, list[dict[str, str]]] = {}
    for tenant in site.fleet.tenants:
        for key in tenant.keys:
            if key.from_ is not None:
                secret = key.from_.secret or environment_secret(site)
                inside = key.from_.key or key.from_.env
                assert inside is not None  # a rule of the fleet file
                path = f"{tenant.name}/{key.name}"
                items.setdefault(secret, []).append({"key": inside, "path": path})
    if not items:
        return None
    sources = [
        {"secret": {"name": name, "items": entries, "optional": True}}
        for name, entries in items.items()
    ]
    return {"name": "keys", "projected": {"sources": sources, "defaultMode": 0o440}}


def environment_secret(site: Site) -> str:
    """The Secret that holds, under their own names, variables which the fleet names by `env`."""
    return object_name(site.fleet.name, "gateway", "environment")


def variable_of(*purpose: str) -> str:
    """The variable of a credential: `PLIMSOLL_PROVIDER_OPENAI_API_KEY`."""
    return "_".join(("plimsoll", *purpose)).upper().replace("-", "_")


def _named(site: Site) -> Iterator[tuple[str, dict[str, Any]]]:
    wish = site.fleet.gateway
    for purpose, credential in (
        (("store", "password"), wish.store_password),
        (("counters", "password"), wish.counters_password),
        (("cache", "password"), wish.cache.password),
    ):
        if credential is not None:
            yield from _variable(site, variable_of(*purpose), credential)
    for provider in site.fleet.providers:
        if provider.api_key is None:
            continue
        if provider.namespace not in (None, site.namespace) and provider.api_key.secret:
            raise InputError(
                f"its Secret `{provider.api_key.secret}` is in namespace `{provider.namespace}`, "
                f"the gateway in `{site.namespace}`",
                where=f"provider {provider.name}",
                hint="name the provider in the fleet of the gateway's namespace",
                code="cluster.secret-namespace",
            )
        name = variable_of("provider", provider.name, "api", "key")
        yield from _variable(site, name, provider.api_key)


def _variable(
    site: Site, name: str, credential: Credential
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A variable filled from a Secret.

    What a fleet names by `env`, as it does for a run on a machine, comes from one Secret of the
    gateway's, if that is there.
    """
    if credential.env is not None:
        source: dict[str, Any] = {
            "name": environment_secret(site), "key": credential.env, "optional": True,
        }  # fmt: skip
        name = credential.env
    else:
        source = {"name": credential.secret, "key": credential.key}
    yield name, {"name": name, "valueFrom": {"secretKeyRef": source}}
