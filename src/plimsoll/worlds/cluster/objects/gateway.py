"""The gateway's own objects: its configuration, pods, Service, rights, and how many there are.

The gateway is scaled by its processor, which is what it runs out of. The rule that nothing here
scales by processor load is about engines: theirs says nothing about their queue.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from plimsoll.facts.kubernetes import figure
from plimsoll.fleet import Gateway as GatewayWish
from plimsoll.worlds.cluster.objects.drain import Ending, explained, lifecycle
from plimsoll.worlds.cluster.objects.gateway_secrets import (
    KEYS_FOLDER,
    TLS_FOLDER,
    environment,
    key_volume,
)
from plimsoll.worlds.cluster.objects.names import (
    COMPONENT,
    FLEET,
    GATEWAY_COMPONENT,
    label_value,
    object_name,
)
from plimsoll.worlds.cluster.objects.roles import account_subject, granted, service_account
from plimsoll.worlds.cluster.objects.site import Manifest, Site, metadata
from plimsoll.worlds.cluster.served import KEY, drain_seconds, encode, gateway_configuration

PORT_NAME = "http"  # of the gateway's port, with TLS too
USER = 65532  # as in Plimsoll's image
BODIES = 512 * 2**20  # bytes of request bodies that one gateway holds at most (GatewaySettings)
_CONNECTION = 64 * 2**10  # bytes that wait for one slow caller at most
_WEB = {False: 80, True: 443}
_DEFAULT_PORT = 8080


def gateway_objects(site: Site) -> Iterator[Manifest]:
    """Everything of the gateway; its routes are in routes.py.

    Raises InputError for a fleet whose configuration no ConfigMap can hold.
    """
    yield service_account(_meta(site, site.gateway_name))  # its pods ask for the token
    yield from _rights(site)
    yield _config_map(site)
    yield _service(site)
    yield _deployment(site)
    yield _disruption_budget(site)
    if scales(site.fleet.gateway):
        yield _autoscaler(site)


def scales(wish: GatewayWish) -> bool:
    """Whether more gateways are added under load.

    A fleet that wants one gateway gets one: its queue and its limits are then whole. Rules of the
    fleet file see to it that several share their store and counters.
    """
    return wish.replicas > 1


def gateway_port(site: Site) -> int:
    """TCP port on which the gateway's container listens."""
    return site.fleet.gateway.listen.port or _DEFAULT_PORT


def service_port(site: Site) -> int:
    """TCP port of the gateway's Service."""
    return _WEB[tls_secret(site) is not None]


def tls_secret(site: Site) -> str | None:
    """The Secret with the gateway's own certificate; None: it speaks plain HTTP."""
    tls = site.fleet.gateway.listen.tls
    return tls.secret if tls is not None else None


def gateway_selector(site: Site) -> dict[str, str]:
    """Labels that only the gateway's pods have."""
    return {COMPONENT: GATEWAY_COMPONENT, FLEET: label_value(site.fleet.name)}


def gateway_labels(site: Site) -> dict[str, str]:
    """Labels of everything that is made for the gateway."""
    return {
        **site.labels,
        "app.kubernetes.io/name": "plimsoll-gateway",
        "app.kubernetes.io/instance": site.gateway_name,
        **gateway_selector(site),
    }


def config_map_name(site: Site) -> str:
    """Of the ConfigMap that the gateway follows."""
    return object_name(site.fleet.name, "gateway", "fleet")


def _meta(
    site: Site,
    name: str,
    *,
    namespace: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return metadata(name, namespace or site.namespace, gateway_labels(site), annotations)


def _rights(site: Site) -> Iterator[Manifest]:
    """To see where replicas and other gateways are, and its configuration; nothing else."""
    elsewhere = {workload.namespace for workload in site.workloads} - {site.namespace}
    for namespace in (site.namespace, *sorted(elsewhere)):
        own = namespace == site.namespace
        # Fleets of one name in two namespaces may have models in the same third one.
        name = site.gateway_name if own else object_name(site.gateway_name, site.namespace)
        yield from granted(
            "Role",
            _meta(site, name, namespace=namespace),
            _rules(config_map_name(site) if own else None),
            account_subject(site.gateway_name, site.namespace),
        )


def _rules(config_map: str | None) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        }
    ]
    if config_map is not None:
        rules.append(
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "resourceNames": [config_map],
                "verbs": ["get", "watch"],
            }
        )
    return rules


def _config_map(site: Site) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(site, config_map_name(site)),
        "data": {KEY: encode(gateway_configuration(site))},
    }


def _service(site: Site) -> Manifest:
    protocol = "https" if tls_secret(site) else "http"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(site, site.gateway_name),
        "spec": {
            "selector": gateway_selector(site),
            "ports": [
                {
                    "name": PORT_NAME,
                    "port": service_port(site),
                    "targetPort": PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": protocol,
                }
            ],
        },
    }


def _deployment(site: Site) -> Manifest:
    wish = site.fleet.gateway
    spec: dict[str, Any] = {} if scales(wish) else {"replicas": wish.replicas}
    spec |= {
        "selector": {"matchLabels": gateway_selector(site)},
        "revisionHistoryLimit": 3,
        # A new one is ready before an old one ends.
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "template": {
            "metadata": {
                "labels": dict(sorted(gateway_labels(site).items())),
                "annotations": dict(sorted(explained(gateway_ending(site)).items())),
            },
            "spec": _pod(site),
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(site, site.gateway_name),
        "spec": spec,
    }


def gateway_ending(site: Site) -> Ending:
    """The times of a gateway's shutdown: removal from the proxies, longest wait and answer."""
    removal = math.ceil(figure("endpoint_removal"))
    longest = math.ceil(drain_seconds(site.fleet))
    margin = math.ceil(figure("shutdown_margin"))
    return Ending(
        pre_stop=removal,
        max_stream=longest,
        grace=removal + longest + margin,
        notice=None,
        why=f"{removal} s until no proxy sends more, {longest} s for the longest wait and answer "
        f"(gateway.queue.wait, startup.hold, gateway.maxStream), {margin} s to end",
    )


def _pod(site: Site) -> dict[str, Any]:
    secret = tls_secret(site)
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}]
    if secret is not None:
        volumes.append({"name": "tls", "secret": {"secretName": secret}})
    if (keys := key_volume(site)) is not None:
        volumes.append(keys)
    return {
        "serviceAccountName": site.gateway_name,
        "automountServiceAccountToken": True,
        # Otherwise a Service in the namespace could set our command's options by its name.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": gateway_ending(site).grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": gateway_selector(site)},
            }
            for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
        "containers": [_container(site)],
        "volumes": volumes,
    }


def _container(site: Site) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 -- its own
    if tls_secret(site) is not None:
        mounts.append({"name": "tls", "mountPath": TLS_FOLDER, "readOnly": True})
    if key_volume(site) is not None:
        mounts.append({"name": "keys", "mountPath": KEYS_FOLDER, "readOnly": True})
    return {
        "name": "gateway",
        "image": site.image,
        "command": ["plimsoll"],
        "args": list(_arguments(site)),
        "env": environment(site),
        "ports": [{"name": PORT_NAME, "containerPort": gateway_port(site), "protocol": "TCP"}],
        # Alive while it starts and while it serves; nobody asks it any more once it is to end.
        "startupProbe": {"httpGet": _health(site), "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {
            "httpGet": _health(site), "periodSeconds": 5, "timeoutSeconds": 3,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": _health(site), "periodSeconds": 10, "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "lifecycle": lifecycle(gateway_ending(site), site.info),
        "resources": _resources(site.fleet.gateway),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }  # fmt: skip


def _arguments(site: Site) -> Iterator[str]:
    yield from ("gateway", "--config-map", config_map_name(site), "--namespace", site.namespace)
    yield from ("--service", site.gateway_name, "--port", str(gateway_port(site)))
    if site.fleet.gateway.workers > 1:
        yield from ("--workers", str(site.fleet.gateway.workers))
    if site.fleet.gateway.listen.host is not None:
        yield from ("--host", site.fleet.gateway.listen.host)
    if tls_secret(site) is not None:
        yield from ("--tls-certificate", f"{TLS_FOLDER}/tls.crt")
        yield from ("--tls-key", f"{TLS_FOLDER}/tls.key")
    if key_volume(site) is not None:
        yield from ("--keys", KEYS_FOLDER)


def _health(site: Site) -> dict[str, Any]:
    scheme = "HTTPS" if tls_secret(site) else "HTTP"
    return {"path": "/health", "port": PORT_NAME, "scheme": scheme}


def _resources(wish: GatewayWish) -> dict[str, Any]:
    """One core for each event loop; memory for as many bodies and slow callers as it allows.

    No processor limit: it would stop every stream for the rest of a period after a burst. Several
    workers have a parent that waits, and divide what the limits allow.
    """
    workers = wish.workers
    idle = int(figure("gateway_idle_memory")) * (workers + 1 if workers > 1 else 1)
    most = idle + BODIES + wish.limits.connections * _CONNECTION
    return {
        "requests": {
            "cpu": f"{workers * figure('gateway_cores'):g}",
            "memory": _mebibytes(2 * idle),
        },
        "limits": {"memory": _mebibytes(max(most, 2 * idle))},
    }


def _mebibytes(amount: int) -> str:
    return f"{math.ceil(amount / 2**20)}Mi"


def _disruption_budget(site: Site) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(site, site.gateway_name),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": gateway_selector(site)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _autoscaler(site: Site) -> Manifest:
    least = site.fleet.gateway.replicas
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _meta(site, site.gateway_name),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1", "kind": "Deployment", "name": site.gateway_name,
            },
            "minReplicas": least,
            "maxReplicas": least * int(figure("gateway_most")),
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {
                            "type": "Utilization",
                            "averageUtilization": round(100 * figure("gateway_busy")),
                        },
                    },
                }
            ],
        },
    }  # fmt: skip
