"""Whether what is wished fits into the ResourceQuotas of its namespaces, before it is applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from plimsoll.worlds.cluster.errors import QuotaExceeded
from plimsoll.worlds.cluster.loads import quantity, replicas, requests
from plimsoll.worlds.cluster.reference import Key, group_of

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_Load = dict[str, Decimal]


def exceeded(
    quotas: Iterable[Mapping[str, Any]],
    before: Iterable[Mapping[str, Any]],
    after: Iterable[Mapping[str, Any]],
    counts: Mapping[Key, int],
) -> tuple[QuotaExceeded, ...]:
    """One error for every quota that the step from `before` to `after` would exceed.

    counts  replicas of workloads whose scaler owns them

    What runs already is in a quota's `used`, so that only the difference has to fit. Quotas with
    scopes are left to the API server: which pods they count depends on more than requests.
    """
    olds, news = _by_namespace(before, counts), _by_namespace(after, counts)
    found = []
    for quota in quotas:
        if (quota.get("spec") or {}).get("scopes") or (quota["spec"].get("scopeSelector")):
            continue
        namespace = quota["metadata"]["namespace"]
        more = _difference(olds.get(namespace, {}), news.get(namespace, {}))
        found += _over(quota, namespace, more)
    return tuple(found)


def _over(quota: Mapping[str, Any], namespace: str, more: _Load) -> list[QuotaExceeded]:
    status = quota.get("status") or {}
    hard = status.get("hard") or quota["spec"].get("hard") or {}
    used = status.get("used") or {}
    found = []
    for name, limit in sorted(hard.items()):
        wanted = more.get(name, Decimal(0))
        taken = quantity(used.get(name, "0"))
        if wanted > 0 and taken + wanted > quantity(limit):
            found.append(
                QuotaExceeded(
                    f"`{name}` would exceed the quota: {used.get(name, '0')} used, {wanted} more "
                    f"wished, {limit} allowed",
                    where=f"ResourceQuota {quota['metadata']['name']} in namespace {namespace}",
                    hint="raise the quota, or ask for less: fewer replicas, smaller models",
                )
            )
    return found


def _by_namespace(
    manifests: Iterable[Mapping[str, Any]], counts: Mapping[Key, int]
) -> dict[str, _Load]:
    loads: dict[str, _Load] = {}
    for manifest in manifests:
        load = loads.setdefault(manifest["metadata"].get("namespace") or "", {})
        for name, amount in _counted(manifest, counts):
            load[name] = load.get(name, Decimal(0)) + amount
    return loads


def _counted(
    manifest: Mapping[str, Any], counts: Mapping[Key, int]
) -> Iterable[tuple[str, Decimal]]:
    """What an object counts for under the names that quotas use."""
    number = replicas(manifest, counts)
    for name, amount in requests(manifest).items():
        total = amount * number
        yield (name if name == "pods" else f"requests.{name}"), total
        if name in _COMPUTE:
            yield name, total
    group = group_of(manifest["apiVersion"])
    plural = f"{manifest['kind'].lower()}s"
    yield (f"count/{plural}.{group}" if group else f"count/{plural}"), Decimal(1)
    if not group:
        yield plural, Decimal(1)
    if manifest["kind"] == "PersistentVolumeClaim":
        asked = (manifest["spec"].get("resources") or {}).get("requests") or {}
        yield "requests.storage", quantity(asked.get("storage", "0"))


def _difference(before: _Load, after: _Load) -> _Load:
    return {name: amount - before.get(name, Decimal(0)) for name, amount in after.items()}
