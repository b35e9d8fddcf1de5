"""What the gateway in a cluster must know: the fleet as callers see it, and where replicas are.

No secret is in it: the SHA-256 sum of a random key opens nothing, and the Fleet object shows it,
too. The renderer writes it into a ConfigMap, the gateway's process reads it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.errors import Diagnostic, FleetError, InputError
from plimsoll.fleet import Document, Fleet, Model, load_fleet, to_document
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.site import Site, Workload

KEY = "fleet.json"  # in the ConfigMap
FORMAT = 1
LARGEST = 1024 * 1024  # bytes that a ConfigMap may hold
_PER_DOCUMENT = 32  # entries of a section: what every section of a Fleet document may hold


class ServedModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One model behind the gateway.

    model      as callers name it
    aliases    other names for it
    adapters   names of its LoRA adapters
    task       chat | completion | embedding
    engine     a name in the table of engines/
    context    tokens that one request may hold
    parallel   requests that one replica works on at once
    namespace  in which its replicas run
    service    Service whose endpoints are its replicas
    port       TCP port on which a replica listens
    hold       seconds that a request waits while no replica is ready; None: as for any other wait
    metrics    path of a replica's metrics, where the engine alone does not say it
    kvTokens   tokens that the KV cache of a replica holds; 0: not known
    prefillRate  tokens of a prompt that an idle replica reads per second; 0: not known
    """

    model: str
    aliases: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    task: str
    engine: str
    context: int
    parallel: int
    namespace: str
    service: str
    port: int
    hold: float | None = None
    metrics: str = ""
    kv_tokens: int = 0
    prefill_rate: int = 0


class GatewayConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a gateway follows.

    fleet   as callers see it: models without what only engines need, keys of tenants as their
            SHA-256 sums or as names of Secrets
    models  where each of its models is
    """

    fleet: Fleet
    models: tuple[ServedModel, ...]


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a configuration.

    format  that it is written in
    fleet   Fleet documents that add up to the fleet
    """

    format: int
    fleet: tuple[dict[str, Any], ...]
    models: tuple[ServedModel, ...]


def gateway_configuration(site: Site) -> GatewayConfiguration:
    """What the gateway of a fleet is told."""
    return GatewayConfiguration(fleet=_as_callers_see(site.fleet), models=served_models(site))


def drain_seconds(fleet: Fleet) -> float:
    """Seconds that a gateway may need to finish what it has: the longest wait and answer."""
    holds = (model.startup.hold for model in fleet.models if model.startup.hold is not None)
    return fleet.gateway.max_stream + max((fleet.gateway.queue.wait, *holds))


def served_models(site: Site) -> tuple[ServedModel, ...]:
    """Every model of a fleet with its place, in the fleet's order."""
    return tuple(_served(workload) for workload in site.workloads)


def _served(workload: Workload) -> ServedModel:
    model, place = workload.model, workload.place
    return ServedModel(
        model=model.name,
        aliases=model.aliases,
        adapters=place.adapters or tuple(adapter.name for adapter in model.adapters),
        task=place.task,
        engine=place.engine,
        context=place.context,
        parallel=place.parallel,
        namespace=workload.namespace,
        service=workload.name,
        port=workload.port,
        hold=model.startup.hold,
        metrics=place.options.metrics if place.engine == "custom" else "",
        kv_tokens=place.kv_tokens,
        prefill_rate=place.prefill_rate,
    )


def encode(configuration: GatewayConfiguration) -> str:
    """The configuration as JSON, the same for the same configuration.

    Raises InputError when it is larger than a ConfigMap may be.
    """
    written = _Written(
        format=FORMAT,
        fleet=tuple(to_document(part) for part in _parts(configuration.fleet)),
        models=configuration.models,
    )
    text = msgspec.json.format(msgspec.json.encode(written), indent=1)
    if len(text) > LARGEST:
        text = msgspec.json.encode(written)
    if len(text) > LARGEST:
        raise InputError(
            f"the configuration takes {len(text):,} bytes, more than a ConfigMap may hold",
            where=f"fleet {configuration.fleet.name}",
            hint="divide the fleet into several, each with its own gateway",
            code="cluster.too-many-models",
        )
    return text.decode()


def decode(text: str | bytes, *, where: str) -> GatewayConfiguration:
    """The configuration that JSON says; `where` names its origin in errors.

    Raises InputError, which may be a FleetError.
    """
    try:
        written = msgspec.json.decode(text, type=_Written)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"is not a gateway's configuration: {error}",
            where=where,
            hint="`plimsoll render` writes it, under `kind: ConfigMap`",
            code="gateway.configuration",
        ) from error
    if written.format != FORMAT:
        raise InputError(
            f"is written in format {written.format}; this gateway reads format {FORMAT}",
            where=where,
            hint="render with the same version of Plimsoll that the gateway's image has",
            code="gateway.configuration",
        )
    documents = [
        Document(file=f"{where}#fleet[{number}]", text=msgspec.json.encode(part))
        for number, part in enumerate(written.fleet)
    ]
    fleet = load_fleet(documents)
    _check_models(fleet, written.models, where)
    return GatewayConfiguration(fleet=fleet, models=written.models)


def _check_models(fleet: Fleet, models: tuple[ServedModel, ...], where: str) -> None:
    """What types do not say. Raises FleetError with every problem."""
    known = {model.name for model in fleet.models}
    seen: set[str] = set()
    problems = []
    for number, served in enumerate(models):
        path = f"models[{number}]"
        if served.model in seen:
            problems.append((path, f"`{served.model}` is there twice"))
        if served.model not in known:
            problems.append((path, f"the fleet has no model `{served.model}`"))
        if served.parallel < 1:
            problems.append((f"{path}.parallel", "must be 1 or more"))
        if not 0 < served.port < 65536:
            problems.append((f"{path}.port", "must be a TCP port"))
        seen.add(served.model)
    if problems:
        raise FleetError(
            tuple(
                Diagnostic(
                    file=where, line=1, column=1, path=path, message=message,
                    code="gateway.configuration",
                )
                for path, message in problems
            )
        )  # fmt: skip


def _as_callers_see(fleet: Fleet) -> Fleet:
    return msgspec.structs.replace(
        fleet, models=tuple(_to_callers(model) for model in fleet.models)
    )


def _to_callers(model: Model) -> Model:
    """The model with what its callers notice; how it is run does not concern them."""
    return Model(
        name=model.name,
        aliases=model.aliases,
        weight=model.weight,
        tier=model.tier,
        namespace=model.namespace,
        source=model.source,
        task=model.task,
        context=model.context,
        adapters=model.adapters,
        affinity=model.affinity,
        cache=model.cache,
        startup=model.startup,
        fallbacks=model.fallbacks,
    )


def _parts(fleet: Fleet) -> tuple[Fleet, ...]:
    """Fleets that add up to this one, each small enough for one document."""
    sections = {name: getattr(fleet, name) for name in ("models", "pools", "providers", "tenants")}
    longest = max(len(entries) for entries in sections.values())
    first = Fleet(name=fleet.name, namespace=fleet.namespace, gateway=fleet.gateway)
    return tuple(
        msgspec.structs.replace(
            first if not start else Fleet(name=object_name(fleet.name, str(start))),
            namespace=fleet.namespace,
            **{name: entries[start : start + _PER_DOCUMENT] for name, entries in sections.items()},
        )
        for start in range(0, max(longest, 1), _PER_DOCUMENT)
    )
