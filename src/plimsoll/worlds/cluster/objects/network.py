"""Who may speak to whom: NetworkPolicies that leave the gateway as the only door to the engines.

What they cannot do: they know pods, namespaces, addresses and ports, not host names, so `HTTPS to
the hub` is port 443 to anywhere, and not paths, so whoever may read an engine's metrics reaches the
whole port. They hold only where the cluster's network plugin enforces them (Calico, Cilium, and the
clouds' own where turned on); elsewhere they are accepted and do nothing. Traffic from the node
itself, such as the kubelet's probes, is never subject to them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from plimsoll.errors import InputError
from plimsoll.facts.engines import engine
from plimsoll.facts.peers import peers
from plimsoll.fleet import Source
from plimsoll.worlds.cluster.info import POD_MONITOR
from plimsoll.worlds.cluster.objects.artifacts import Artifact, artifacts
from plimsoll.worlds.cluster.objects.gateway import gateway_port, gateway_selector
from plimsoll.worlds.cluster.objects.names import (
    COMPONENT,
    ENGINE_COMPONENT,
    FLEET,
    label_value,
    object_name,
)
from plimsoll.worlds.cluster.objects.node_models import MODELS_COMPONENT
from plimsoll.worlds.cluster.objects.promql import together
from plimsoll.worlds.cluster.objects.security import node_local
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata

NAMESPACE_LABEL = "kubernetes.io/metadata.name"  # set by the API server on every namespace
ANYWHERE = ("0.0.0.0/0", "::/0")
_WITH_THE_IMAGE = frozenset({"builtin"})  # schemes that need no network
_BUCKETS = frozenset({"s3", "gs"})  # read with the pod's own cloud identity where it has one
_NAMES = ("dns", "openshift-dns")

Rule = dict[str, Any]


def network_objects(site: Site) -> Iterator[Manifest]:
    """Nothing is open, then what is needed: for every engine, and for the gateway.

    Policies add up, so the order does not matter, and a pod of the fleet that no policy names is
    shut. Nothing at all where the fleet says `networkPolicies: false`.
    """
    if not site.fleet.gateway.network_policies:
        return
    own = _servers(site)
    everything = {FLEET: label_value(site.fleet.name)}
    for namespace in sorted({site.namespace, *(workload.namespace for workload in own)}):
        name = object_name(site.fleet.name, "shut")
        yield _policy(metadata(name, namespace, site.labels), everything)
    for workload in own:
        yield _policy(
            metadata(workload.name, workload.namespace, workload.labels),
            _pods_of(workload),
            into=_into_engine(site, workload),
            out=_out_of_engine(site, workload),
        )
    local = [workload for workload in own if node_local(workload)]
    if local:
        yield _policy(
            metadata(object_name(site.fleet.name, "models"), site.namespace, site.labels),
            {COMPONENT: MODELS_COMPONENT, **everything},
            out=_out_of_node_models(local),
        )
    if site.served_by is None:
        yield _policy(
            metadata(site.gateway_name, site.namespace, site.labels),
            gateway_selector(site),
            # Whoever may call is the gateway's own question: keys, limits, tenants.
            into=({"ports": _ports([gateway_port(site)])},),
            out=_out_of_gateway(site),
        )


def network_notes(site: Site) -> tuple[str, ...]:
    """Where the policies shut Prometheus out, because its pods cannot be told from its address."""
    address = site.fleet.gateway.monitoring.prometheus
    if not site.fleet.gateway.network_policies or prometheus_namespace(site) is not None:
        return ()
    if address is None and (site.info.assumed or not site.info.has(POD_MONITOR)):
        return ()
    where = f"`{address}` is no Service of the cluster" if address else "it is not named"
    note = (
        f"NetworkPolicies let nobody scrape the engines: `gateway.monitoring.prometheus`: {where}, "
        "so its pods are not known; name its Service, or add a policy that lets its scrapers in"
    )
    return (note,)


def _servers(site: Site) -> list[Workload]:
    """The fleet's own models that have pods; of several in one server, the one it is named after.

    A gateway may also serve models of other Fleets, which make their own policies.
    """
    return [
        workload
        for workload in site.workloads
        if workload.model.name not in site.owners and together(site, workload)[0] is workload
    ]


def _pods_of(workload: Workload) -> dict[str, str]:
    """Labels of a model's pods, those of Ray that serve nothing included."""
    found = dict(workload.selector)
    if workload.place.engine == "rayserve":
        del found[COMPONENT]
    return found


def prometheus_namespace(site: Site) -> str | None:
    """The namespace of Prometheus, from `gateway.monitoring.prometheus`; None where it says none.

    `prometheus-operated.monitoring` and `prometheus.monitoring.svc.cluster.local` name it, a bare
    name is in the fleet's own; an address or a name of the wider world says none.
    """
    return _service_namespace(site, site.fleet.gateway.monitoring.prometheus)


def fetches(site: Site, workload: Workload) -> tuple[Artifact, ...]:
    """What a replica's own pods download before the engine starts; nothing where weights are
    mounted, come in an image, or are brought to the node by others.
    """
    members = together(site, workload)
    return tuple(_downloads(member for member in members if not node_local(member)))


def _downloads(workloads: Iterable[Workload]) -> Iterator[Artifact]:
    for workload in workloads:
        for artifact in artifacts(workload.model):
            if artifact.fetched and artifact.source.scheme not in _WITH_THE_IMAGE:
                yield artifact


def _policy(
    meta: dict[str, Any],
    pods: Mapping[str, str],
    *,
    into: Iterable[Rule] = (),
    out: Iterable[Rule] = (),
) -> Manifest:
    """A policy over some pods; without rules they are shut."""
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": dict(sorted(pods.items()))},
        "policyTypes": ["Ingress", "Egress"],
    }
    rules = {"ingress": list(into), "egress": list(out)}
    spec |= {direction: found for direction, found in rules.items() if found}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta,
        "spec": spec,
    }


def _into_engine(site: Site, workload: Workload) -> Iterator[Rule]:
    """The gateway, Prometheus, the other nodes of the same replica, and what looks after them."""
    namespace, fleet = site.gateway_fleet
    gateway = {"podSelector": {"matchLabels": gateway_selector(site) | {FLEET: label_value(fleet)}}}
    yield {"from": [{**_namespace(namespace), **gateway}], "ports": _ports([workload.port])}
    monitoring = prometheus_namespace(site)
    if monitoring is not None:
        scraped = engine(workload.place.engine).metrics_port or workload.port
        yield {"from": [_namespace(monitoring)], "ports": _ports([scraped])}
    if _grouped(workload):
        # Collectives listen on ports of their own choice.
        yield {"from": [{"podSelector": {"matchLabels": _pods_of(workload)}}]}
    if workload.place.engine == "rayserve":
        operator = peers()["kuberay-operator"]
        labels = {operator.label: operator.label_value}
        # It is installed in a namespace of anybody's choice.
        yield {"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": labels}}]}


def _out_of_engine(site: Site, workload: Workload) -> Iterator[Rule]:
    """Names, the other nodes of the same replica, the sources of what it downloads itself."""
    yield _name_service()
    if _grouped(workload):
        yield {"to": [{"podSelector": {"matchLabels": _pods_of(workload)}}]}
    if workload.place.engine == "rayserve":
        # Ray's own autoscaler, in the first pod, changes the number of workers.
        yield {"ports": _ports(peers()["api-server"].ports)}
    yield from _to_sources(fetches(site, workload))


def _out_of_node_models(workloads: Sequence[Workload]) -> Iterator[Rule]:
    """Names, sources, and the API server, where these pods label themselves."""
    yield _name_service()
    yield {"ports": _ports(peers()["api-server"].ports)}
    yield from _to_sources(tuple(_downloads(workloads)))


def _to_sources(wanted: Sequence[Artifact]) -> Iterator[Rule]:
    """Every port on which a source is, and the cloud's identity where a bucket needs it."""
    ports = {port for artifact in wanted for port in _source_ports(artifact.source)}
    if ports:
        yield {"to": [_addresses(cidr) for cidr in ANYWHERE], "ports": _ports(ports)}
    if any(found.source.scheme in _BUCKETS and found.credential is None for found in wanted):
        identity = peers()["cloud-identity"]
        yield {"to": [*map(_addresses, identity.networks)], "ports": _ports(identity.ports)}


def _out_of_gateway(site: Site) -> Iterator[Rule]:
    """Names, the engines, the API server, and every address that the fleet file names."""
    yield _name_service()
    places: dict[int, set[tuple[str, str]]] = {}
    for workload in site.workloads:
        place = (workload.namespace, label_value(workload.fleet))
        places.setdefault(workload.port, set()).add(place)
    for port, found in sorted(places.items()):
        reached = [
            {
                **_namespace(namespace),
                "podSelector": {"matchLabels": {COMPONENT: ENGINE_COMPONENT, FLEET: fleet}},
            }
            for namespace, fleet in sorted(found)
        ]
        yield {"to": reached, "ports": _ports([port])}
    # Wherever it is: neither its address nor the port behind its Service is the same everywhere.
    yield {"ports": _ports(peers()["api-server"].ports)}
    by_place: dict[str, set[int]] = {}
    for url in _addresses_of(site):
        host, ports = _host_and_ports(url)
        by_place.setdefault(_network_of(host), set()).update(ports)
    for network, open_ports in sorted(by_place.items()):
        where = {"to": [_addresses(network)]} if network else {}
        yield {**where, "ports": _ports(open_ports)}


def _addresses_of(site: Site) -> Iterator[str]:
    """What the gateway itself speaks to, as the fleet file writes it."""
    gateway = site.fleet.gateway
    for provider in site.fleet.providers:
        yield provider.base_url
    for address in (gateway.store, gateway.counters, gateway.cache.address):
        if address is not None and not address.startswith("sqlite:"):
            yield address
    if gateway.tracing is not None:
        yield gateway.tracing.endpoint
    for model in site.fleet.models:
        if model.batch is not None and model.batch.queue is not None:
            yield model.batch.queue.address


def _host_and_ports(url: str) -> tuple[str, tuple[int, ...]]:
    """Host and ports of a URL or `host:port`; several hosts, as PostgreSQL has, share one rule.

    A host without a port has that of its scheme, and HTTPS without a scheme, as clouds' queues do.
    Raises InputError for what is no address.
    """
    text = url if "://" in url else f"https://{url}"
    scheme, _, rest = text.partition("://")
    known = peers().get(scheme)
    usual = known.ports if known is not None else peers()["https"].ports
    hosts = rest.partition("/")[0].rpartition("@")[2].split(",")
    found: list[int] = []
    try:
        for host in hosts:
            port = urlsplit(f"//{host}").port
            found += [port] if port else list(usual)
        name = urlsplit(f"//{hosts[0]}").hostname or ""
    except ValueError as error:
        raise InputError(
            f"is no address: {error}",
            where=url,
            hint="write `host:port` with a port up to 65535",
            code="cluster.address",
        ) from error
    return name if len(hosts) == 1 else "", tuple(found)


def _network_of(host: str) -> str:
    """The one address that a host is; empty for a name, which no policy can say."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return f"{address}/{address.max_prefixlen}"


def _source_ports(source: Source) -> tuple[int, ...]:
    if source.scheme in ("http", "https"):
        return _host_and_ports(f"{source.scheme}://{source.host}")[1]
    return peers()["https"].ports


def _service_namespace(site: Site, url: str | None) -> str | None:
    host = _host_and_ports(url)[0] if url is not None else ""
    labels = host.split(".")
    if not host or _network_of(host):
        return None
    if len(labels) == 1:
        return site.namespace
    return labels[1] if len(labels) == 2 or labels[2] == "svc" else None


def _grouped(workload: Workload) -> bool:
    """Whether a replica is several pods that speak to each other."""
    devices = workload.place.devices
    return workload.place.engine == "rayserve" or (devices is not None and devices.nodes > 1)


def _name_service() -> Rule:
    """Names are asked of pods of the cluster, or of a cache on the node.

    Such a cache is in the node's own network, where it may have the address of the cluster's DNS
    Service; no selector matches it, so private networks are open on these ports.
    """
    ports = [port for name in _NAMES for port in peers()[name].ports]
    return {
        "to": [{"namespaceSelector": {}}, *map(_addresses, peers()["node-local-dns"].networks)],
        "ports": [
            {"protocol": protocol, "port": port} for protocol in ("UDP", "TCP") for port in ports
        ],
    }


def _namespace(name: str) -> Rule:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: name}}}


def _addresses(cidr: str) -> Rule:
    return {"ipBlock": {"cidr": cidr}}


def _ports(ports: Iterable[int]) -> list[Rule]:
    return [{"protocol": "TCP", "port": port} for port in sorted(set(ports))]
