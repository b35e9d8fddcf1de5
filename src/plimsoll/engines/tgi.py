"""Text Generation Inference: placement -> its launcher's command, its metrics -> counts."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from plimsoll.engines.catalogue import Catalogued, capable, container, counts, variables, word
from plimsoll.engines.flags import Flag, words
from plimsoll.engines.protocol import (
    Capabilities,
    Command,
    Container,
    Counts,
    Drain,
    Probe,
    Setting,
)
from plimsoll.engines.vllm_arguments import activations
from plimsoll.errors import InputError
from plimsoll.facts.engines import EngineFacts
from plimsoll.plan.types import Placement


class Tgi(Catalogued):
    """The adapter of `text-generation-launcher`; the project is in maintenance mode.

    facts  the engine's row in the catalogue
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. A closed connection ends a streamed answer."""
        return capable(self._facts, cancels_whole=False)

    def command(self, place: Placement, setting: Setting) -> Command:
        """How to run one replica; after SIGTERM its answers may end within `max_stream`.

        Raises InputError for what TGI cannot do: several nodes, stages, experts apart.
        Source: huggingface/text-generation-inference docs/source/reference/launcher.md @db931fcf.
        """
        _refuse(self._facts, place)
        return Command(
            argv=(
                self._facts.program,
                *words(self._flags(place, setting), place.options.args),
            ),
            env=variables(place, self._facts.env),
            ready=Probe(path=self._facts.health, loading=frozenset(self._facts.loading)),
            drain=Drain(
                wait_idle=False, grace_seconds=setting.max_stream + self._facts.drain_margin
            ),
            metrics=self._facts.metrics_path,
        )

    def container(self, place: Placement) -> Container:
        """What the catalogue says of its image. Raises InputError where there is none."""
        return container(self._facts, place)

    def counts(self, metrics: str) -> Counts:
        """Requests of the batch and of the queue. Raises FormatError for no Prometheus text."""
        return counts(self._facts, metrics)

    def _flags(self, place: Placement, setting: Setting) -> Iterator[Flag]:
        yield "--model-id", setting.weights
        yield "--hostname", setting.host
        yield "--port", setting.port
        yield "--max-total-tokens", place.context
        yield "--max-input-tokens", max(1, place.context - 1)
        # It refuses requests beyond this number: those that wait in it count too.
        yield "--max-concurrent-requests", 2 * place.parallel
        yield "--max-batch-size", place.parallel
        if place.batch:
            yield "--max-batch-prefill-tokens", place.batch
        yield from _formats(self._facts, place)
        if place.utilization:
            yield "--cuda-memory-fraction", place.utilization
        yield "--num-shard", place.split.tensor
        if place.speculation is not None:
            word(self._facts, "speculation", place.speculation.method, place)
            yield "--speculate", place.speculation.tokens
        if setting.adapters:
            named = (f"{name}={path}" for name, path in setting.adapters.items())
            yield "--lora-adapters", ",".join(named)
        yield "--usage-stats", "off"
        yield "--graceful-termination-timeout", ceil(setting.max_stream)


def _formats(facts: EngineFacts, place: Placement) -> Iterator[Flag]:
    made = word(facts, "weights", place.formats.weights, place) if place.converted else ""
    dtype = activations(facts, place)
    if made:
        yield "--quantize", made  # it refuses a dtype beside it
    elif dtype:
        yield "--dtype", dtype
    kind = word(facts, "cache", place.kv_type, place)
    if kind:
        yield "--kv-cache-dtype", kind


def _refuse(facts: EngineFacts, place: Placement) -> None:
    nodes = place.devices.nodes if place.devices else 1
    split = place.split
    if nodes > 1 or split.pipeline > 1 or split.data > 1 or split.expert > 1:
        raise InputError(
            f"{facts.name} splits a model by tensor parallelism inside one node only",
            where=f"model {place.model}",
            hint="take `engine: vllm` or `engine: sglang`, or a smaller format",
            code="engine.split",
        )
    if place.task not in facts.tasks:
        raise InputError(
            f"{facts.name} has no task `{place.task}`",
            where=f"model {place.model}",
            hint="take `engine: vllm`",
            code="engine.task",
        )
