"""The signals that replicas follow, as PromQL: exactly one element, and nothing when blind.

The gateway's own series are the mandatory part of every query: it exports each of its models from
its start on, at 0, so that no element means that the gateway is not scraped, never that there is
no work. What an engine says of itself counts as 0 only while the gateway knows no ready replica.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts import engines
from plimsoll.facts.kubernetes import figure
from plimsoll.policy.decide import bounds_of
from plimsoll.telemetry.exposition import Described
from plimsoll.telemetry.metrics import IN_FLIGHT, QUEUED, REPLICAS
from plimsoll.telemetry.promql import number, selector
from plimsoll.worlds.cluster.objects.names import FLEET, MODEL, label_value
from plimsoll.worlds.cluster.objects.site import Site, Workload
from plimsoll.worlds.cluster.objects.triton import members_of

# Labels that our monitors put on every series, of whatever engine: see monitors.py.
FLEET_LABEL, MODEL_LABEL, TENANT_LABEL = "plimsoll_fleet", "plimsoll_model", "plimsoll_tenant"

SMALLEST_TARGET = 0.001  # quantities of metrics are counted in thousandths


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One signal; as many replicas are wanted as `threshold` goes into it, rounded up.

    name        unique among the model's triggers
    query       PromQL; exactly one element, none when it cannot be known
    threshold   what one replica carries, in the signal's unit
    activation  the model is in use while the signal is above this
    meaning     what is measured, in words
    unit        of the signal
    """

    name: str
    query: str
    threshold: float
    activation: float = 0.0
    meaning: str
    unit: str


def triggers(site: Site, workload: Workload) -> tuple[Trigger, ...]:
    """The signals of a model's scaling policy; the largest number of replicas holds.

    `plimsoll` and `concurrency` read what `policy.decide` reads. A queue alone says nothing of
    requests that are being answered, and a cache nothing while there is no replica; so
    `queueDepth` and `kvCache` have a second signal that keeps what is in use.
    Raises InputError where the engine does not tell what the policy reads, and for a target that
    is too small to be said.
    """
    scaling = workload.model.scaling
    if scaling.target is not None and scaling.target < SMALLEST_TARGET:
        raise InputError(
            f"a target of {scaling.target:g} per replica cannot be told to Kubernetes",
            where=f"model {workload.model.name}: scaling.target",
            hint=f"write {SMALLEST_TARGET} or more",
            code="cluster.target",
        )
    if scaling.policy == "queueDepth":
        found = [_waiting(site, workload), _carried(site, workload)]
    elif scaling.policy == "kvCache":
        found = [_cache(site, workload), _asked(site, workload)]
    else:
        found = [_demand(site, workload)]
    return tuple(_with_warm(site, workload, trigger) for trigger in found)


def alive(trigger: Trigger, answer: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a trigger's query yields what a scaler can act on, and why or why not.

    answer  decoded JSON of Prometheus' `/api/v1/query` for the trigger's query
    """
    if answer.get("status") != "success":
        return False, f"Prometheus refuses the query: {answer.get('error', 'without a reason')}"
    data = answer.get("data")
    data = data if isinstance(data, Mapping) else {}
    result = data.get("result")
    elements = [{"value": result}] if data.get("resultType") == "scalar" else result
    if not isinstance(elements, Sequence) or isinstance(elements, str):
        return False, f"Prometheus answers with a {data.get('resultType', 'text')}, not a vector"
    if not elements:
        return False, "no element: the gateway, or an engine that is ready, is not scraped"
    if len(elements) > 1:
        return False, f"{len(elements)} elements where a scaler takes one"
    value = _value(elements[0])
    if not math.isfinite(value / trigger.threshold):
        return False, "the element is not a number"
    replicas = math.ceil(round(value / trigger.threshold, 6))
    return True, (
        f"{number(value)} {trigger.unit} at {number(trigger.threshold)} per replica: {replicas}"
    )


def gateway_series(site: Site) -> dict[str, str]:
    """Labels that all series of the fleet's gateway have, and no other gateway's."""
    namespace, fleet = site.gateway_fleet
    return {"namespace": namespace, FLEET_LABEL: label_value(fleet)}


def engine_series(site: Site, workload: Workload) -> dict[str, str]:
    """Labels that all series of a model's replicas have, and no other model's.

    Pods of a server of several models are named after the first of them; there the engine's own
    label tells the models apart.
    """
    members = together(site, workload)
    found = {
        "namespace": workload.namespace,
        FLEET_LABEL: workload.selector[FLEET],
        MODEL_LABEL: members[0].selector[MODEL],
    }
    facts = engines().get(workload.place.engine)
    if len(members) > 1 and facts and facts.model_label:
        found[facts.model_label] = workload.place.model
    return found


def together(site: Site, workload: Workload) -> tuple[Workload, ...]:
    """The models that one server runs, the one that it is named after first."""
    return members_of(site, workload) if workload.place.engine == "triton" else (workload,)


def of_gateway(site: Site, workload: Workload, metric: Described) -> str:
    """A gauge of the gateway for one model, one series per gateway replica."""
    return selector(metric.name, {**gateway_series(site), "model": workload.model.name})


def _demand(site: Site, workload: Workload) -> Trigger:
    return Trigger(
        name="demand",
        query=_sum_of_demand(site, workload),
        threshold=_target(site, workload),
        meaning="requests that wait at the gateway or are at a replica",
        unit="requests",
    )


def _waiting(site: Site, workload: Workload) -> Trigger:
    query = f"sum({of_gateway(site, workload, QUEUED)})"
    own = _metric(site, workload, "waiting")
    if own is not None:
        query = f"{query} + (sum({own}) or {_zero(site, workload)})"
    return Trigger(
        name="waiting",
        query=query,
        threshold=_target(site, workload),
        meaning="requests that wait, at the gateway and inside the engines",
        unit="requests",
    )


def _carried(site: Site, workload: Workload) -> Trigger:
    return Trigger(
        name="carried",
        query=f"sum({of_gateway(site, workload, IN_FLIGHT)})",
        threshold=float(workload.place.parallel),
        meaning="requests at replicas: an empty queue takes no busy replica away",
        unit="requests",
    )


def _cache(site: Site, workload: Workload) -> Trigger:
    usage = _metric(site, workload, "kv_usage")
    if usage is None:
        raise InputError(
            f"engine `{workload.place.engine}` does not tell how full its KV cache is",
            where=f"model {workload.model.name}: scaling.policy",
            hint="take `policy: concurrency`, or an engine that does, such as vllm",
            code="cluster.signal",
        )
    ready = f"max({of_gateway(site, workload, REPLICAS)})"
    return Trigger(
        name="cache",
        # The fullest replica stands for all, so that one hot replica is enough to ask for more.
        query=f"max({usage}) * {ready} or {_zero(site, workload)}",
        threshold=workload.model.scaling.target or figure("kv_target"),
        meaning="KV cache in use: share of the fullest replica, times ready replicas",
        unit="full caches",
    )


def _asked(site: Site, workload: Workload) -> Trigger:
    return Trigger(
        name="asked",
        query=f"clamp_max({_sum_of_demand(site, workload)}, 1)",
        threshold=1.0,
        meaning="whether there is any request: one replica as long as there is",
        unit="requests",
    )


def _with_warm(site: Site, workload: Workload, trigger: Trigger) -> Trigger:
    """The trigger, with the share of `warm` further replicas added while there is any demand."""
    warm = workload.model.scaling.warm
    if not warm:
        return trigger
    added = f"{number(warm * trigger.threshold)} * ({_sum_of_demand(site, workload)} > bool 0)"
    return replace(
        trigger,
        query=f"({trigger.query}) + {added}",
        meaning=f"{trigger.meaning}; {warm} more kept warm while there is work",
    )


def _sum_of_demand(site: Site, workload: Workload) -> str:
    queued, busy = (of_gateway(site, workload, metric) for metric in (QUEUED, IN_FLIGHT))
    return f"(sum({queued}) + sum({busy}))"


def _metric(site: Site, workload: Workload, what: str) -> str | None:
    """An engine's gauge for one model, one series per replica (vLLM: per data-parallel rank).

    what  a key of `EngineFacts.metrics`; None where the engine has no such metric
    """
    facts = engines().get(workload.place.engine)
    name = facts.metrics.get(what) if facts else None
    return selector(name, engine_series(site, workload)) if name else None


def _zero(site: Site, workload: Workload) -> str:
    """0 while an engine's silence is no blindness, else no element.

    That is while the gateway knows no ready replica; and, for engines that show a metric only
    from their first request on, while one is scraped.
    """
    idle = f"max({of_gateway(site, workload, REPLICAS)}) == 0"
    facts = engines().get(workload.place.engine)
    if facts is None or not facts.metrics_late:
        return idle
    pods = {**engine_series(site, workload)}
    pods.pop(facts.model_label, None)
    return f"0 * max({selector('up', pods)} == 1) or {idle}"


def _target(site: Site, workload: Workload) -> float:
    return float(bounds_of(site.fleet, workload.place).target)


def _value(element: Mapping[str, Any]) -> float:
    try:
        return float(element["value"][1])
    except (LookupError, TypeError, ValueError, OverflowError):
        return math.nan
