"""What a gateway offers of a fleet, on a machine and in a cluster alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plimsoll.engines.protocol import Engine
from plimsoll.fleet import Fleet, Model
from plimsoll.gateway import Served


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What the plan says of a model.

    task          chat | completion | embedding
    context       tokens that one request may hold
    adapters      names of adapters that its replicas serve
    engine        that runs it; None: one that is not known here
    kv_tokens     tokens that the KV cache of a replica holds; 0: not known
    prefill_rate  tokens of a prompt that an idle replica reads per second; 0: not known
    """

    task: str
    context: int
    adapters: tuple[str, ...]
    engine: Engine | None
    kv_tokens: int
    prefill_rate: int


def offered(fleet: Fleet, planned: Mapping[str, Planned]) -> tuple[Served, ...]:
    """The planned models of a fleet as its gateway offers them, by name and in that order.

    Raises KeyError for a model that the fleet does not have.
    """
    models = {model.name: model for model in fleet.models}
    called = fleet.called()
    continues = fleet.gateway.retries.continuation
    return tuple(
        _offered(models[name], each, called, continues=continues) for name, each in planned.items()
    )


def _offered(
    model: Model, planned: Planned, called: Mapping[str, tuple[str, ...]], *, continues: bool
) -> Served:
    able = planned.engine.capabilities if planned.engine is not None else None
    return Served(
        name=model.name,
        aliases=model.aliases,
        tier=model.tier or "",
        weight=model.weight,
        adapters=planned.adapters,
        task=planned.task,
        context=planned.context,
        fallbacks=_fallbacks(model, called),
        hold=model.startup.hold,
        affinity=model.affinity.by,
        affinity_header=model.affinity.header.lower(),
        affinity_ttl=model.affinity.ttl,
        prefill_rate=planned.prefill_rate or None,
        kv_tokens=planned.kv_tokens or None,
        assemble=able is not None and not able.cancels_whole,
        stream_fields=able.stream_fields if able is not None else {},
        continues=able is not None and able.continues and continues,
        continue_fields=able.continue_fields if able is not None else {},
        completion_tokens=able.completion_tokens if able is not None else 0,
        renamed_fields=able.renamed_fields if able is not None else {},
        cuts_answers=able is not None and able.cuts_answers,
        chat_counter=able.chat_counter if able is not None else None,
        text_counter=able.text_counter if able is not None else None,
    )


def _fallbacks(model: Model, called: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The models of the fleet among a model's fallbacks, in their order; a word that several
    answer to stands for all of them.
    """
    wished = (each for word in model.fallbacks for each in called.get(word, ()))
    return tuple(each for each in dict.fromkeys(wished) if each != model.name)
