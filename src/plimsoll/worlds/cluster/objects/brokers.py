"""Batch work that waits in a message broker, as a trigger of KEDA. Secrets by reference only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.brokers import BrokerFacts, brokers
from plimsoll.fleet.models import WorkQueue
from plimsoll.telemetry.promql import number
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.site import Manifest, Workload, metadata

_TRIGGER_AUTHENTICATION = {"apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication"}


def backlog_trigger(workload: Workload) -> dict[str, Any] | None:
    """KEDA's trigger on the model's work queue; None where it has none.

    Kafka's consumer group and NATS' durable consumer carry the name of the model's workload: who
    takes the work off the queue must use it. Redis queues are lists.
    Raises InputError for an address that does not say what KEDA needs.
    """
    batch = workload.model.batch
    if batch is None or batch.queue is None:
        return None
    facts = brokers()[batch.queue.type]
    trigger: dict[str, Any] = {
        "type": facts.trigger,
        "name": "backlog",
        "metadata": dict(sorted(_metadata(facts, batch.queue, workload, batch.backlog).items())),
    }
    if _authentication(facts, workload):
        trigger["authenticationRef"] = {"name": _name(workload)}
    return trigger


def backlog_objects(workload: Workload) -> Iterator[Manifest]:
    """The TriggerAuthentication of the model's work queue, where it needs one.

    Raises InputError for a credential that only a machine can read.
    """
    batch = workload.model.batch
    spec = _authentication(brokers()[batch.queue.type], workload) if batch and batch.queue else {}
    if spec:
        yield {
            **_TRIGGER_AUTHENTICATION,
            "metadata": metadata(_name(workload), workload.namespace, workload.labels),
            "spec": spec,
        }


def _name(workload: Workload) -> str:
    return object_name(workload.name, "backlog")


def _authentication(facts: BrokerFacts, workload: Workload) -> dict[str, Any]:
    """What proves who KEDA is: keys of the fleet's Secret, else the identity of KEDA's pods."""
    batch = workload.model.batch
    credential = batch.queue.credentials if batch and batch.queue else None
    if not facts.secret and not facts.identity:
        return {}
    if credential is None:
        return {"podIdentity": {"provider": facts.identity}} if facts.identity else {}
    if credential.secret is None or credential.key is None:
        raise InputError(
            f"a variable of a machine (`{credential.env}`) says nothing to KEDA",
            where=f"model {workload.model.name}: batch.queue.credentials",
            hint="name a Secret: {secret: name, key: key}",
            code="cluster.credentials",
        )
    keys = {facts.secret: credential.key, **{name: name for name in facts.companions}}
    return {
        "secretTargetRef": [
            {"parameter": parameter, "name": credential.secret, "key": key}
            for parameter, key in keys.items()
        ]
    }


def _metadata(
    facts: BrokerFacts, queue: WorkQueue, workload: Workload, backlog: int
) -> dict[str, str]:
    shape, hint = _SHAPES.get(queue.type, (r".+", ""))
    if not re.fullmatch(shape, queue.address):
        raise InputError(
            f"`{queue.address}` does not say where the queue is",
            where=f"model {workload.model.name}: batch.queue.address",
            hint=hint,
            code="cluster.broker",
        )
    found = {**facts.fixed, facts.threshold: number(backlog)}
    if facts.consumer:
        found[facts.consumer] = workload.name
    return found | _PLACES.get(queue.type, _host_and_port)(facts, queue)


def _host_and_port(facts: BrokerFacts, queue: WorkQueue) -> dict[str, str]:
    address = _without_scheme(queue.address)
    if facts.port:
        address = f"{_host(address)}:{facts.port}"
    return {facts.address: address, facts.queue: queue.queue}


def _rabbitmq(facts: BrokerFacts, queue: WorkQueue) -> dict[str, str]:
    address = queue.address if "://" in queue.address else facts.scheme + queue.address
    # KEDA wants a slash after the host also where no virtual host follows.
    whole = address if "/" in _without_scheme(address, path=True) else f"{address}/"
    return {facts.address: whole, facts.queue: queue.queue}


def _redis(facts: BrokerFacts, queue: WorkQueue) -> dict[str, str]:
    found = {facts.address: _without_scheme(queue.address), facts.queue: queue.queue}
    _, _, database = _without_scheme(queue.address, path=True).partition("/")
    if database:
        found["databaseIndex"] = database
    if queue.address.startswith(("rediss://", "valkeys://")):
        found["enableTLS"] = "true"
    return found


def _sqs(facts: BrokerFacts, queue: WorkQueue) -> dict[str, str]:
    _, _, region = queue.address.partition("sqs.")
    address = f"{queue.address.rstrip('/')}/{queue.queue}"
    return {facts.address: address, facts.region: region.partition(".")[0]}


def _pubsub(facts: BrokerFacts, queue: WorkQueue) -> dict[str, str]:
    project = queue.address.removeprefix("projects/")
    return {facts.queue: f"projects/{project}/subscriptions/{queue.queue}"}


def _servicebus(facts: BrokerFacts, queue: WorkQueue) -> dict[str, str]:
    name = _host(_without_scheme(queue.address)).partition(".")[0]
    return {facts.address: name, facts.queue: queue.queue}


_SHAPES = {
    "sqs": (
        r"https://sqs\.[a-z0-9-]+\.[a-z0-9.-]+/[0-9]+/?",
        "write it like `https://sqs.eu-west-1.amazonaws.com/123456789012`",
    ),
    "pubsub": (
        r"(projects/)?[a-z][a-z0-9-]*[a-z0-9]",
        "write the id of the Google Cloud project; `queue` is the subscription",
    ),
}
_PLACES: Mapping[str, Callable[[BrokerFacts, WorkQueue], dict[str, str]]] = {
    "rabbitmq": _rabbitmq,
    "redis": _redis,
    "sqs": _sqs,
    "pubsub": _pubsub,
    "servicebus": _servicebus,
}


def _without_scheme(address: str, *, path: bool = False) -> str:
    rest = address.partition("://")[2] if "://" in address else address
    return rest if path else rest.partition("/")[0]


def _host(address: str) -> str:
    return address.rpartition(":")[0] or address
