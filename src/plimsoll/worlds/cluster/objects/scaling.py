"""Who follows a model's signals: KEDA's ScaledObject or a HorizontalPodAutoscaler; VPA's advice.

The number that is asked for is absolute (demand over what one replica carries), so it counts the
replicas that are still loading: looking twice while one loads never asks for two.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.brokers import brokers
from plimsoll.facts.kubernetes import figure, kubernetes_features
from plimsoll.fleet.models import Schedule
from plimsoll.telemetry.promql import number
from plimsoll.worlds.cluster.info import KEDA, VERTICAL_POD_AUTOSCALER
from plimsoll.worlds.cluster.objects.brokers import backlog_objects, backlog_trigger
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.promql import Trigger, together, triggers
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata


def scaling_objects(site: Site, workload: Workload) -> Iterator[Manifest]:
    """What sets the model's replicas, and what advises on its processor and memory.

    The replicas of a server of several models follow the signals of them all, within the bounds
    of the one that it is named after.
    Raises InputError for what the chosen scaler cannot do at all; `notes` tells the rest.
    """
    members = together(site, workload)
    if workload is not members[0]:
        return
    if workload.driver == "keda" and _can(site, workload):
        for member in members:
            yield from backlog_objects(member)
        if _external(site, workload) and site.scaler_secret:
            yield _scaler_authentication(site, workload)
        yield _scaled_object(site, workload)
    elif workload.driver == "hpa" and _can(site, workload):
        yield _horizontal(site, workload)
    if workload.model.resources.recommend and site.info.has(VERTICAL_POD_AUTOSCALER):
        yield _vertical(workload)


def scale_target(workload: Workload) -> tuple[str, str, str]:
    """apiVersion, kind and name of what has the model's `replicas`."""
    place, storage = workload.place, workload.model.storage
    if place.engine == "rayserve":
        return "ray.io/v1", "RayService", workload.name
    if place.engine == "triton":
        return "apps/v1", "Deployment", workload.name
    if place.devices is not None and place.devices.nodes > 1:
        return "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", workload.name
    single = storage.access_mode in (None, "ReadWriteOnce") and storage.claim is None
    if storage.strategy == "volume" and single:
        return "apps/v1", "StatefulSet", workload.name
    return "apps/v1", "Deployment", workload.name


def notes(site: Site) -> tuple[str, ...]:
    """What the cluster, or the chosen scaler, cannot do of what is wished, and what that costs."""
    own = [workload for workload in site.workloads if workload.model.name not in site.owners]
    return tuple(note for workload in own for note in _notes(site, workload))


def _notes(site: Site, workload: Workload) -> Iterator[str]:
    name, scaling = workload.model.name, workload.model.scaling
    first = together(site, workload)[0]
    if workload is not first:
        yield f"{name}: shares its server, whose replicas keep to `scaling` of {first.model.name}"
        return
    if workload.model.resources.recommend and not site.info.has(VERTICAL_POD_AUTOSCALER):
        yield (
            f"{name}: the Vertical Pod Autoscaler is not installed, so nothing advises on its "
            "processor and memory"
        )
    if workload.driver == "keda" and not site.info.has(KEDA):
        yield f"{name}: KEDA is not installed, so nothing changes its number of replicas"
    elif workload.driver in ("keda", "hpa") and not scalable(workload):
        yield f"{name}: Ray Serve scales itself between {scaling.min} and {scaling.max} replicas"
    elif workload.driver == "none" and scaling.min != scaling.max:
        yield (
            f"{name}: stays at a fixed number of replicas: no operator, no KEDA with "
            "`gateway.monitoring.prometheus`, no external metrics"
        )
    elif workload.driver == "hpa":
        yield from _hpa_notes(workload)
    elif workload.driver == "keda":
        yield from _keda_notes(workload)


def _hpa_notes(workload: Workload) -> Iterator[str]:
    name, scaling = workload.model.name, workload.model.scaling
    if scaling.schedules:
        yield f"{name}: a plain HPA has no schedules; `driver: keda` or `operator` has"
    if scaling.when_blind is not None:
        yield f"{name}: a plain HPA without its signal keeps the replicas that there are"
    if workload.model.batch and workload.model.batch.queue:
        yield f"{name}: a plain HPA does not see the backlog of its work queue; KEDA does"


def _keda_notes(workload: Workload) -> Iterator[str]:
    name, scaling, batch = workload.model.name, workload.model.scaling, workload.model.batch
    if batch and batch.queue and brokers()[batch.queue.type].deprecated:
        yield f"{name}: {brokers()[batch.queue.type].deprecated}"
    for schedule in scaling.schedules:
        if schedule.min < scaling.min:
            yield (
                f"{name}: schedule {schedule.name} cannot go below `min: {scaling.min}` with "
                "KEDA; set `min` to the lowest and raise it by schedules"
            )
        if schedule.max not in (None, scaling.max):
            yield (
                f"{name}: KEDA has one maximum for the whole week, so schedule {schedule.name} "
                f"cannot set {schedule.max}; Plimsoll's operator can"
            )


def scalable(workload: Workload) -> bool:
    """Whether its kind has the scale subresource that KEDA and the HPA act on."""
    return scale_target(workload)[1] != "RayService"


def _can(site: Site, workload: Workload) -> bool:
    """Whether there is something to make. Raises InputError where the wish cannot be met."""
    where = f"model {workload.model.name}: scaling.driver"
    wished = workload.model.scaling.driver == workload.driver
    if not scalable(workload):
        if wished:
            raise InputError(
                f"{workload.driver} cannot scale a RayService",
                where=where,
                hint="leave `driver` out: Ray Serve scales its replicas itself",
                code="cluster.driver",
            )
        return False
    if workload.driver == "hpa":
        return True
    if not _external(site, workload) and site.fleet.gateway.monitoring.prometheus is None:
        raise InputError(
            "KEDA needs the address of Prometheus",
            where=where,
            hint="set `gateway.monitoring.prometheus`",
            code="cluster.prometheus",
        )
    return site.info.has(KEDA)


def _external(site: Site, workload: Workload) -> bool:
    """Whether Plimsoll's own scaler answers KEDA for the model."""
    return bool(site.scaler) and workload.model.scaling.policy == "plimsoll"


def _scaled_object(site: Site, workload: Workload) -> Manifest:
    scaling = workload.model.scaling
    api, kind, name = scale_target(workload)
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": api, "kind": kind, "name": name},
        "pollingInterval": int(figure("keda_poll" if scaling.min else "keda_poll_from_zero")),
        "minReplicaCount": scaling.min,
        "maxReplicaCount": max([scaling.max, *(schedule.min for schedule in scaling.schedules)]),
        "fallback": _fallback(workload),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(site, workload)}},
        "triggers": list(_keda_triggers(site, workload)),
    }
    if scaling.min == 0:
        cooldown = math.ceil(scaling.cooldown)
        # Both are about the last replica only; the HPA decides about all others.
        spec["cooldownPeriod"] = cooldown
        # Until a first request came, KEDA knows no cooldown: a new model gets its start and one.
        spec["initialCooldownPeriod"] = cooldown + math.ceil(workload.place.cold_start.total)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(workload.name, workload.namespace, workload.labels),
        "spec": spec,
    }


def _fallback(workload: Workload) -> dict[str, Any]:
    """Replicas while the signal cannot be read.

    With `replicas: 0` KEDA would stop a model with `min: 0` as soon as it is blind, whatever the
    behavior says. Source: kedacore/keda v2.20.0 pkg/scaling/executor/scale_scaledobjects.go.
    """
    scaling = workload.model.scaling
    looks = {"failureThreshold": int(figure("keda_failures"))}
    if scaling.when_blind is not None:
        return {**looks, "replicas": scaling.when_blind, "behavior": "static"}
    return {**looks, "replicas": max(1, scaling.min), "behavior": "currentReplicas"}


def _behavior(site: Site, workload: Workload) -> dict[str, Any]:
    """How fast the number may change.

    Up: the number is absolute, so that replicas that load are not asked for twice; but while they
    load a backlog grows, which they will clear. So in the time of one cold start the number may
    reach what the plan expects of the busiest minute, and beyond it no more than double. Without
    known traffic `max` is all that is known of the peak.
    Down: what has been enough for the whole stabilization window.
    """
    scaling, place = workload.model.scaling, workload.place
    peak = scaling.max if workload.model.traffic is None else min(place.most, scaling.max)
    period = min(max(place.cold_start.total, figure("hpa_look")), figure("hpa_period"))
    up: dict[str, Any] = {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {
                "type": "Pods",
                "value": max(1, peak - scaling.min),
                "periodSeconds": math.ceil(period),
            },
            {"type": "Percent", "value": 100, "periodSeconds": math.ceil(period)},
        ],
    }
    down: dict[str, Any] = {"stabilizationWindowSeconds": math.ceil(scaling.stabilization)}
    if (
        site.info.minor >= kubernetes_features()["hpaTolerance"].minor
        and scaling.policy != "kvCache"
    ):
        # Requests are counted, not measured: by default 11 at 10 per replica would stay at one.
        up["tolerance"] = down["tolerance"] = "0"
    return {"scaleDown": down, "scaleUp": up}


def _keda_triggers(site: Site, workload: Workload) -> Iterator[dict[str, Any]]:
    """Of all models of the server; those of a further model carry its name."""
    for member in together(site, workload):
        for trigger in _triggers_of(site, member):
            name = trigger["name"]
            shared = name if member is workload else object_name(name, member.model.name)
            yield {**trigger, "name": shared}


def _triggers_of(site: Site, workload: Workload) -> Iterator[dict[str, Any]]:
    if _external(site, workload):
        yield _external_trigger(site, workload)
    else:
        address = site.fleet.gateway.monitoring.prometheus or ""
        yield from (_prometheus(trigger, address) for trigger in triggers(site, workload))
    backlog = backlog_trigger(workload)
    if backlog is not None:
        yield backlog
    for schedule in workload.model.scaling.schedules:
        if schedule.min > 0:
            yield _cron(workload, schedule)


def _prometheus(trigger: Trigger, address: str) -> dict[str, Any]:
    return {
        "type": "prometheus",
        "name": trigger.name,
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": address,
            "query": trigger.query,
            "threshold": number(trigger.threshold),
            "activationThreshold": number(trigger.activation),
            # By default KEDA reads "no element" as 0 and stops the model: keda#3065.
            "ignoreNullValues": "false",
        },
    }


def _external_trigger(site: Site, workload: Workload) -> dict[str, Any]:
    """The trigger of our own scaler; KEDA hands all of its metadata on to it."""
    trigger: dict[str, Any] = {
        "type": "external-push",
        "name": "plimsoll",
        "metricType": "AverageValue",
        "metadata": {
            "scalerAddress": site.scaler,
            "fleet": site.fleet.name,
            "fleetNamespace": site.namespace,
            "model": workload.model.name,
        },
    }
    if site.scaler_secret:
        trigger["authenticationRef"] = {"name": object_name(workload.name, "scaler")}
    return trigger


def _scaler_authentication(site: Site, workload: Workload) -> Manifest:
    keys = {"caCert": "ca.crt", "tlsClientCert": "tls.crt", "tlsClientKey": "tls.key"}
    name = object_name(workload.name, "scaler")
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": metadata(name, workload.namespace, workload.labels),
        "spec": {
            "secretTargetRef": [
                {"parameter": parameter, "name": site.scaler_secret, "key": key}
                for parameter, key in keys.items()
            ]
        },
    }


def _cron(workload: Workload, schedule: Schedule) -> dict[str, Any]:
    """At least `min` replicas between two times.

    Raises InputError for what KEDA's scaler refuses (robfig/cron: weekdays are 0 to 6).
    """
    where = f"model {workload.model.name}: schedule {schedule.name}"
    if schedule.start == schedule.end:
        raise InputError("it ends when it starts", where=where, code="cluster.schedule")
    for cron in (schedule.start, schedule.end):
        if re.search(r"(^|[,-])7", cron.rsplit(" ", 1)[1]):
            raise InputError(
                f"KEDA knows no weekday 7 in `{cron}`",
                where=where,
                hint="write Sunday as 0 or SUN",
                code="cluster.schedule",
            )
    return {
        "type": "cron",
        "name": f"schedule-{schedule.name}",
        "metadata": {
            "timezone": schedule.timezone,
            "start": schedule.start,
            "end": schedule.end,
            "desiredReplicas": str(schedule.min),
        },
    }


def external_metric(workload: Workload, trigger: Trigger) -> str:
    """Name of a trigger in `external.metrics.k8s.io`; no other model's trigger has it."""
    return f"plimsoll.{workload.namespace}.{workload.name}.{trigger.name}"


def _horizontal(site: Site, workload: Workload) -> Manifest:
    scaling = workload.model.scaling
    since = kubernetes_features()["hpaScaleToZero"].minor
    if scaling.min == 0 and site.info.minor < since:
        raise InputError(
            f"the HPA of Kubernetes {site.info.kubernetes} cannot stop the last replica",
            where=f"model {workload.model.name}: scaling.min",
            hint=f"set `min: 1`, install KEDA, or run Kubernetes 1.{since}",
            code="cluster.scale-to-zero",
        )
    api, kind, name = scale_target(workload)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(workload.name, workload.namespace, workload.labels),
        "spec": {
            "scaleTargetRef": {"apiVersion": api, "kind": kind, "name": name},
            "minReplicas": scaling.min,
            "maxReplicas": scaling.max,
            "metrics": [
                _metric(member, trigger)
                for member in together(site, workload)
                for trigger in triggers(site, member)
            ],
            "behavior": _behavior(site, workload),
        },
    }


def _metric(workload: Workload, trigger: Trigger) -> dict[str, Any]:
    return {
        "type": "External",
        "external": {
            "metric": {"name": external_metric(workload, trigger)},
            "target": {"type": "AverageValue", "averageValue": number(trigger.threshold)},
        },
    }


def _vertical(workload: Workload) -> Manifest:
    api, kind, name = scale_target(workload)
    return {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": metadata(workload.name, workload.namespace, workload.labels),
        "spec": {
            "targetRef": {"apiVersion": api, "kind": kind, "name": name},
            # Advice only: an engine that is restarted for a little memory loads for minutes.
            "updatePolicy": {"updateMode": "Off"},
        },
    }
