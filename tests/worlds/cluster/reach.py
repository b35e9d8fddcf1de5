"""Who reaches whom under NetworkPolicies: their meaning, evaluated over pods by labels.

Source: kubernetes.io, Network Policies. Policies of one pod and direction add up; a pod that no
policy selects for a direction is open in it; a connection needs both ends to allow it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NAMESPACE = "kubernetes.io/metadata.name"


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One end of a connection inside the cluster, by the labels that policies see."""

    namespace: str
    labels: Mapping[str, str]


End = Pod | str  # a string is an address outside the cluster


def reaches(
    policies: Iterable[Mapping[str, Any]],
    source: End,
    target: End,
    port: int,
    protocol: str = "TCP",
) -> bool:
    """Whether a connection from one end to a port of the other is let through."""
    found = [policy for policy in policies if policy["kind"] == "NetworkPolicy"]
    asked = (port, protocol)
    return _lets(found, "Egress", source, target, asked) and _lets(
        found, "Ingress", target, source, asked
    )


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects; an empty one selects all."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for rule in selector.get("matchExpressions", ()):
        value, values = labels.get(rule["key"]), rule.get("values", ())
        held = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[rule["operator"]]
        if not held:
            return False
    return True


def _lets(
    policies: list[Mapping[str, Any]], kind: str, here: End, there: End, asked: tuple[int, str]
) -> bool:
    if isinstance(here, str):
        return True
    ours = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == here.namespace
        and kind in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], here.labels)
    ]
    if not ours:
        return True
    word, peer = ("egress", "to") if kind == "Egress" else ("ingress", "from")
    return any(
        _port(rule, *asked) and _peer(rule.get(peer), there, here.namespace)
        for spec in ours
        for rule in spec.get(word, ())
    )


def _port(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    if "ports" not in rule:
        return True
    return any(
        one.get("protocol", "TCP") == protocol
        and ("port" not in one or one["port"] <= port <= one.get("endPort", one["port"]))
        for one in rule["ports"]
    )


def _peer(peers: list[Mapping[str, Any]] | None, there: End, namespace: str) -> bool:
    return not peers or any(_is(peer, there, namespace) for peer in peers)


def _is(peer: Mapping[str, Any], there: End, namespace: str) -> bool:
    block = peer.get("ipBlock")
    if isinstance(there, str):
        address = ipaddress.ip_address(there)
        return (
            block is not None
            and address in ipaddress.ip_network(block["cidr"])
            and not any(address in ipaddress.ip_network(cidr) for cidr in block.get("except", ()))
        )
    if block is not None:
        return False  # whether pods have addresses in a block is the network plugin's affair
    if "namespaceSelector" not in peer and there.namespace != namespace:
        return False
    if not selects(peer.get("namespaceSelector", {}), {NAMESPACE: there.namespace}):
        return False
    return selects(peer.get("podSelector", {}), there.labels)
