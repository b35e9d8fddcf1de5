"""How callers outside the cluster reach the gateway, and pools for other people's gateways."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.ingress import annotations_of
from plimsoll.fleet.gateway import Ingress
from plimsoll.worlds.cluster.info import HTTP_ROUTE, INFERENCE_POOL
from plimsoll.worlds.cluster.objects.gateway import (
    PORT_NAME,
    gateway_labels,
    service_port,
    tls_secret,
)
from plimsoll.worlds.cluster.objects.services import LEADER, over_nodes
from plimsoll.worlds.cluster.objects.site import Manifest, Site, metadata
from plimsoll.worlds.cluster.served import drain_seconds

_PATH = "/v1"  # health and metrics are not for the outside


def route_objects(site: Site) -> Iterator[Manifest]:
    """The Ingress or HTTPRoute that the fleet wishes; nothing where it wishes none.

    Raises InputError for a wish that such an object cannot carry out.
    """
    ingress = site.fleet.gateway.ingress
    if ingress is None:
        return
    yield _ingress(site, ingress) if ingress.kind == "Ingress" else _http_route(site, ingress)


def _ingress(site: Site, wish: Ingress) -> Manifest:
    spec: dict[str, Any] = {}
    if wish.class_ is not None:
        spec["ingressClassName"] = wish.class_
    if wish.tls_secret is not None:
        spec["tls"] = [{"hosts": list(wish.hosts), "secretName": wish.tls_secret}]
    backend = {"service": {"name": site.gateway_name, "port": {"name": PORT_NAME}}}
    spec["rules"] = [
        {
            "host": host,
            "http": {"paths": [{"path": _PATH, "pathType": "Prefix", "backend": backend}]},
        }
        for host in wish.hosts
    ]
    annotations = annotations_of(
        wish.class_,
        seconds=math.ceil(drain_seconds(site.fleet)),
        body=site.fleet.gateway.limits.body,
        service=site.gateway_name,
        tls=tls_secret(site) is not None,
    )
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(site.gateway_name, site.namespace, gateway_labels(site), annotations),
        "spec": spec,
    }


def _http_route(site: Site, wish: Ingress) -> Manifest:
    _check_route(site, wish)
    longest = gateway_duration(math.ceil(drain_seconds(site.fleet)))
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(site.gateway_name, site.namespace, gateway_labels(site)),
        "spec": {
            "parentRefs": [{"name": wish.class_}],
            "hostnames": list(wish.hosts),
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": _PATH}}],
                    "backendRefs": [{"name": site.gateway_name, "port": service_port(site)}],
                    "timeouts": {"request": longest, "backendRequest": longest},
                }
            ],
        },
    }


def _check_route(site: Site, wish: Ingress) -> None:
    """Raises InputError where an HTTPRoute would be made that leads nobody anywhere."""
    where = "spec.gateway.ingress"
    if not site.info.has(HTTP_ROUTE):
        raise InputError(
            "the cluster has no Gateway API",
            where=where,
            hint="install it, or write `kind: Ingress`",
            code="cluster.missing-api",
        )
    if wish.class_ is None:
        raise InputError(
            "an HTTPRoute needs a Gateway that it belongs to",
            where=where,
            hint="write the Gateway's name as `class`",
            code="cluster.route",
        )
    if wish.tls_secret is not None:
        raise InputError(
            "an HTTPRoute has no certificate; the listener of its Gateway has",
            where=f"{where}.tlsSecret",
            hint="remove `tlsSecret` and name the Secret in the Gateway",
            code="cluster.route",
        )


def gateway_duration(seconds: int) -> str:
    """Seconds as the Gateway API writes them, with at most five digits a unit: `1h30m5s`.

    Source: GEP-2257.
    """
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def inference_pool_objects(
    site: Site, *, picker: str = "", picker_port: int = 0
) -> Iterator[Manifest]:
    """One InferencePool per model, for a Gateway that does without Plimsoll's own.

    picker       Service of the endpoint picker in each model's namespace; empty: none
    picker_port  port of that Service

    Raises InputError where the cluster has no InferencePool, or the picker no port.
    """
    if not site.info.has(INFERENCE_POOL):
        raise InputError(
            "the cluster has no InferencePool",
            hint="install the Gateway API inference extension",
            code="cluster.missing-api",
        )
    if picker and not 0 < picker_port < 65536:
        raise InputError("the endpoint picker needs a port", code="cluster.route")
    for workload in site.workloads:
        # Only the first node of a replica over several answers.
        answering = {**workload.selector, **(LEADER if over_nodes(workload) else {})}
        spec: dict[str, Any] = {
            "selector": {"matchLabels": dict(sorted(answering.items()))},
            "targetPorts": [{"number": workload.port}],
        }
        if picker:
            spec["endpointPickerRef"] = {"name": picker, "port": {"number": picker_port}}
        yield {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": metadata(workload.name, workload.namespace, workload.labels),
            "spec": spec,
        }
