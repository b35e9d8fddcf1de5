"""llama.cpp's own HTTP server: placement -> `llama-server` command, its metrics -> counts."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from plimsoll.engines.catalogue import Catalogued, counts, variables
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
from plimsoll.errors import InputError
from plimsoll.facts.engines import Continuation, EngineFacts
from plimsoll.plan.types import Placement
from plimsoll.units import MIB

# Its HTTP server holds one thread per open connection, idle ones included. The share beyond the
# callers' own connections keeps health and metrics answered while clients connect directly.
_SPARE_HTTP_THREADS = 128


class LlamaCpp(Catalogued):
    """The adapter of `llama-server`.

    facts  the engine's row in the catalogue: program, paths, metric names
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. A closed connection frees its slot when the answer is streamed."""
        continuation = self._facts.continuation or Continuation()
        return Capabilities(
            formats=frozenset({"gguf"}),
            tasks=frozenset({"chat", "completion", "embedding"}),
            accelerators=frozenset({"cpu"}),
            cancels=True,
            cancels_whole=False,
            continues=self._facts.continuation is not None,
            drains_itself=False,
            counts_tokens=True,
            stream_fields=MappingProxyType({"return_progress": True}),
            continue_fields=continuation.fields,
            completion_tokens=continuation.completion_tokens,
            renamed_fields=self._facts.renamed_fields,
            cuts_answers=self._facts.cuts_answers,
            chat_counter=self._facts.chat_counter,
            text_counter=self._facts.text_counter,
        )

    def command(self, place: Placement, setting: Setting) -> Command:
        """How to run one replica; port 0 lets the system choose.

        The memory ledger of plan/ is computed for exactly these flags. Raises InputError for
        what the embedded build cannot do, and for further arguments that it does not know or
        that are ours.
        Source: ggml-org/llama.cpp tools/server/README.md @00dc8057.
        """
        _refuse(self._facts, place)
        _check(self._facts, place)
        return Command(
            argv=(
                self._facts.program,
                *words(_flags(place, setting), place.options.args),
            ),
            env=variables(place, self._facts.env),
            ready=Probe(path=self._facts.health),
            drain=Drain(),
            metrics=self._facts.metrics_path,
        )

    def container(self, place: Placement) -> Container:
        """Plimsoll's own image carries it, unless the fleet file names another."""
        return Container(
            image=place.options.image or "",
            user=self._facts.user,
            writable=self._facts.writable,
            shared_memory=self._facts.shared_memory,
        )

    def counts(self, metrics: str) -> Counts:
        """Read its Prometheus text. Raises FormatError when a metric is missing."""
        return counts(self._facts, metrics)


def _refuse(facts: EngineFacts, place: Placement) -> None:
    """Refuse what the embedded build cannot do, rather than leave it out. Raises InputError."""
    wished = {
        "accelerators": place.devices is not None,
        "adapters": bool(place.adapters),
        "speculation": place.speculation is not None,
    }
    for what, asked in wished.items():
        if asked:
            raise InputError(
                f"{facts.name} runs on processors here, one model at a time, without {what}",
                where=f"model {place.model}",
                hint="take `engine: vllm`",
                code=f"engine.{what}",
            )


def _check(facts: EngineFacts, place: Placement) -> None:
    """Refuse arguments with which the replica would not start. Raises InputError."""
    rest = iter(place.options.args)
    for argument in rest:
        flag, equals, _ = argument.partition("=")
        values = facts.further_flags.get(flag)
        if values is None or equals:
            raise InputError(
                f"{facts.name} does not take `{argument}` from the fleet file",
                where=f"model {place.model}",
                hint=f"`--flag value`, one of {', '.join(sorted(facts.further_flags))}",
                code="engine.args",
            )
        if any(next(rest, None) is None for _ in range(values)):
            raise InputError(
                f"`{flag}` needs a value", where=f"model {place.model}", code="engine.args"
            )


def _flags(place: Placement, setting: Setting) -> Iterator[Flag]:
    yield from _serving(place, setting)
    yield from _memory(place)
    yield from _task(place)


def _serving(place: Placement, setting: Setting) -> Iterator[Flag]:
    yield "--model", setting.weights
    yield "--alias", place.model
    yield "--host", setting.host
    yield "--port", setting.port
    yield "--threads-http", 2 * place.parallel + _SPARE_HTTP_THREADS
    yield "--metrics", None
    yield "--no-slots", None
    yield "--no-ui", None
    yield "--verbosity", 2


def _memory(place: Placement) -> Iterator[Flag]:
    yield "--ctx-size", place.context * place.parallel
    yield "--parallel", place.parallel
    yield "--cont-batching", None
    yield "--no-kv-unified", None
    yield "--cache-type-k", place.kv_type
    yield "--cache-type-v", place.kv_type
    yield "--flash-attn", "on"
    yield "--batch-size", place.batch
    yield "--ubatch-size", place.batch
    yield "--threads", place.threads
    yield "--threads-batch", place.threads
    yield "--load-mode", "none"
    yield "--lazy-mode", "off"
    yield "--cache-ram", place.prompt_cache // MIB
    yield "--ctx-checkpoints", place.checkpoints
    yield "--fit", "off"
    yield "--n-gpu-layers", 0
    yield "--no-mmproj", None


def _task(place: Placement) -> Iterator[Flag]:
    if place.task == "embedding":
        yield "--embeddings", None
        yield "--pooling", place.pooling
