"""SGLang's own server: placement -> `sglang serve`, its metrics -> counts."""

from __future__ import annotations

from collections.abc import Iterator

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
from plimsoll.engines.vllm_arguments import activations, adapter_rank
from plimsoll.facts.engines import EngineFacts
from plimsoll.plan.types import Placement


class SGLang(Catalogued):
    """The adapter of `sglang serve`.

    facts  the engine's row in the catalogue
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. A closed connection ends the request, streamed or not."""
        return capable(self._facts, cancels_whole=True)

    def command(self, place: Placement, setting: Setting) -> Command:
        """How to run one node of a replica; on others than the first, nothing listens.

        After SIGTERM it ends its answers however long they take: whoever sends it kills it after
        `max_stream`. Raises InputError for what SGLang cannot do.
        Source: sglang 0.5.23, sglang/srt/arg_groups.
        """
        first = setting.rank == "0"
        return Command(
            argv=(
                self._facts.program,
                *self._facts.start,
                *words(self._flags(place, setting), place.options.args),
            ),
            env=variables(place, self._facts.env),
            ready=Probe(path=self._facts.health, loading=frozenset(self._facts.loading)),
            alive=Probe(path=self._facts.alive, loading=frozenset()) if first else None,
            drain=Drain(
                wait_idle=False, grace_seconds=setting.max_stream + self._facts.drain_margin
            ),
            metrics=self._facts.metrics_path if first else None,
        )

    def container(self, place: Placement) -> Container:
        """What the catalogue says of its image. Raises InputError where there is none."""
        return container(self._facts, place)

    def counts(self, metrics: str) -> Counts:
        """Sums over its schedulers. Raises FormatError for what is no Prometheus text."""
        return counts(self._facts, metrics)

    def _flags(self, place: Placement, setting: Setting) -> Iterator[Flag]:
        yield from _names(self._facts, place, setting)
        yield from _memory(self._facts, place)
        yield from _split(place)
        yield from _nodes(self._facts, place, setting)
        if place.task == "embedding":
            yield "--is-embedding", None
        yield from _adapters(self._facts, place, setting)
        yield from _speculation(self._facts, place, setting)


def _names(facts: EngineFacts, place: Placement, setting: Setting) -> Iterator[Flag]:
    yield "--model-path", setting.weights
    yield "--served-model-name", place.model
    yield "--host", setting.host
    yield "--port", setting.port
    for flag in facts.metrics_flags:
        yield flag, None
    quiet = (facts.health, facts.alive, facts.metrics_path)
    yield "--uvicorn-access-log-exclude-prefixes", quiet


def _memory(facts: EngineFacts, place: Placement) -> Iterator[Flag]:
    yield "--context-length", place.context
    yield "--max-running-requests", place.parallel
    if place.batch:
        yield "--chunked-prefill-size", place.batch
    if place.utilization:
        yield "--mem-fraction-static", place.utilization
    kind = word(facts, "cache", place.kv_type, place)
    if kind:
        yield "--kv-cache-dtype", kind
    made = word(facts, "weights", place.formats.weights, place) if place.converted else ""
    if made:
        yield "--quantization", made
    dtype = activations(facts, place)
    if dtype:
        yield "--dtype", dtype


def _split(place: Placement) -> Iterator[Flag]:
    split = place.split
    # Its groups of attention lie inside the group of tensor parallelism.
    if split.tensor * split.data > 1:
        yield "--tensor-parallel-size", split.tensor * split.data
    if split.data > 1:
        yield "--attn-dp-size", split.data
    if split.pipeline > 1:
        yield "--pipeline-parallel-size", split.pipeline
    if split.expert > 1:
        yield "--expert-parallel-size", split.expert


def _nodes(facts: EngineFacts, place: Placement, setting: Setting) -> Iterator[Flag]:
    if place.devices is not None and place.devices.nodes > 1:
        yield "--nnodes", place.devices.nodes
        yield "--node-rank", setting.rank
        yield "--dist-init-addr", f"{setting.leader}:{facts.nodes_port}"


def _adapters(facts: EngineFacts, place: Placement, setting: Setting) -> Iterator[Flag]:
    if not place.adapters:
        return
    yield "--enable-lora", None
    if setting.adapters:
        yield "--lora-paths", tuple(f"{name}={path}" for name, path in setting.adapters.items())
    # The base model without an adapter takes a place of a batch too.
    yield "--max-loras-per-batch", len(place.adapters) + 1
    yield "--max-lora-rank", adapter_rank(facts, place)


def _speculation(facts: EngineFacts, place: Placement, setting: Setting) -> Iterator[Flag]:
    guess = place.speculation
    if guess is None:
        return
    yield "--speculative-algorithm", word(facts, "speculation", guess.method, place)
    if guess.method == "ngram":
        yield "--speculative-num-draft-tokens", guess.tokens
        return
    if setting.draft:
        yield "--speculative-draft-model-path", setting.draft
    # A chain of guesses, one a step; what is checked is the chain and the token before it.
    yield "--speculative-num-steps", guess.tokens
    yield "--speculative-eagle-topk", 1
    yield "--speculative-num-draft-tokens", guess.tokens + 1
