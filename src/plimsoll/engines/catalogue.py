"""What the engine catalogue says of a placement: image, container, words, metrics. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from plimsoll.engines.metrics_text import count, totals, values
from plimsoll.engines.protocol import Capabilities, Container, Counts
from plimsoll.errors import FormatError, InputError
from plimsoll.facts.accelerators import accelerator
from plimsoll.facts.engines import Continuation, EngineFacts
from plimsoll.plan.types import Placement

CPU = "cpu"
_PLATFORMS = {"nvidia": "cuda", "amd": "rocm", "intel": "xpu"}  # by maker of the accelerator


class Catalogued:
    """An adapter of an engine that has a row in the catalogue.

    facts  that row
    """

    def __init__(self, facts: EngineFacts) -> None:
        self._facts = facts

    @property
    def name(self) -> str:
        """The word used in the fleet file."""
        return self._facts.name


def capable(facts: EngineFacts, *, cancels_whole: bool, counts_tokens: bool = True) -> Capabilities:
    """What an engine can do whose streams end when their reader leaves.

    cancels_whole  whether answers that are not streamed end then, too
    counts_tokens  whether its metrics count tokens
    """
    continuation = facts.continuation or Continuation()
    return Capabilities(
        formats=frozenset(facts.formats),
        tasks=frozenset(facts.tasks),
        accelerators=frozenset(facts.images),
        cancels=True,
        cancels_whole=cancels_whole,
        continues=facts.continuation is not None,
        drains_itself=facts.drains,
        counts_tokens=counts_tokens,
        model_label=facts.model_label,
        continue_fields=continuation.fields,
        completion_tokens=continuation.completion_tokens,
        renamed_fields=facts.renamed_fields,
        cuts_answers=facts.cuts_answers,
        chat_counter=facts.chat_counter,
        text_counter=facts.text_counter,
    )


def platform(place: Placement) -> str:
    """What a replica runs on: `cpu`, `cuda`, `rocm` or `xpu`. Raises InputError."""
    return _PLATFORMS[accelerator(place.devices.name).vendor] if place.devices else CPU


def image(facts: EngineFacts, place: Placement, *, variant: str = "") -> str:
    """The container image: the fleet file's own, else the catalogue's with its version.

    variant  key of `facts.images` instead of the platform's name
    Raises InputError where the catalogue has none for what the replica runs on.
    """
    if place.options.image:
        return place.options.image
    kind = variant or platform(place)
    if kind not in facts.images:
        raise InputError(
            f"no image of {facts.name} for {kind} is known",
            where=f"model {place.model}",
            hint="name one in `engineOptions.image`, or choose another engine or pool",
            code="engine.image",
        )
    return facts.images[kind].format(version=place.options.version or facts.version)


def container(facts: EngineFacts, place: Placement, *, variant: str = "") -> Container:
    """What the catalogue says of an engine's container. Raises InputError without an image."""
    return Container(
        image=image(facts, place, variant=variant),
        user=facts.user,
        writable=facts.writable,
        shared_memory=facts.shared_memory,
        root_reason=facts.root_reason,
        env=facts.container_env,
    )


def variables(place: Placement, ours: Mapping[str, str]) -> Mapping[str, str]:
    """Our variables and those that the fleet file writes out, whose word is the last.

    Variables with `valueFrom` are left out: only a world can read them.
    """
    further = {each.name: each.value for each in place.options.env if each.value is not None}
    return {**ours, **further}


def word(facts: EngineFacts, table: str, ours: str, place: Placement) -> str:
    """The engine's own word for one of ours; empty where nothing needs to be said.

    table  key of `facts.words`, such as `cache`
    Raises InputError where the engine has no such thing.
    """
    known = facts.words.get(table, {})
    if ours not in known:
        raise InputError(
            f"{facts.name} {facts.version} has no {table} `{ours}`",
            where=f"model {place.model}",
            hint=f"take one of {', '.join(sorted(known))}" if known else "take another engine",
            code=f"engine.{table}",
        )
    return known[ours]


def counts(facts: EngineFacts, metrics: str) -> Counts:
    """What the metrics that the catalogue names say; sums over labels, such as ranks.

    A share of the KV cache is the mean over its ranks, whose caches are alike. Raises FormatError
    when a metric is missing, unless the engine shows it only from its first request on.
    """
    read = {name: values(metrics, name) for name in facts.metrics.values()}
    sums = {name: sum(each) for name, each in read.items() if each}
    if facts.metrics_late:
        _refuse_other_text(facts, metrics)
        sums = {**dict.fromkeys(read, 0.0), **sums}
    names = facts.metrics
    return Counts(
        running=count(sums, names["running"]),
        waiting=count(sums, names["waiting"]),
        kv_usage=_mean(sums, read, names["kv_usage"]) if "kv_usage" in names else None,
        prompt_tokens=_optional(sums, names, "prompt_tokens"),
        generated_tokens=_optional(sums, names, "generated_tokens"),
    )


def _mean(sums: Mapping[str, float], read: Mapping[str, tuple[float, ...]], metric: str) -> float:
    count(sums, metric)
    return sums[metric] / max(1, len(read[metric]))


def _optional(sums: Mapping[str, float], names: Mapping[str, str], key: str) -> int | None:
    return count(sums, names[key]) if key in names else None


def _refuse_other_text(facts: EngineFacts, metrics: str) -> None:
    if metrics.strip() and not totals(metrics):
        raise FormatError(
            f"what {facts.name} answered is no Prometheus text",
            hint="is this the engine that the fleet file names?",
            code="engine.metric-missing",
        )
