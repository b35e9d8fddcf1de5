"""llama.cpp's own HTTP server: placement -> `llama-server` command, its metrics -> counts."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from plimsoll.engines.metrics_text import count, totals
from plimsoll.engines.protocol import (
    Capabilities,
    Command,
    Container,
    Counts,
    Drain,
    Probe,
    Setting,
)
from plimsoll.facts.engines import EngineFacts
from plimsoll.plan.types import Placement
from plimsoll.units import MIB

# Its HTTP server holds one thread per open connection, idle ones included. The share beyond the
# callers' own connections keeps health and metrics answered while clients connect directly.
_SPARE_HTTP_THREADS = 128


class LlamaCpp:
    """The adapter of `llama-server`.

    facts  the engine's row in the catalogue: program, paths, metric names
    """

    def __init__(self, facts: EngineFacts) -> None:
        self._facts = facts

    @property
    def name(self) -> str:
        """The word used in the fleet file."""
        return self._facts.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. A closed connection frees its slot when the answer is streamed."""
        return Capabilities(
            formats=frozenset({"gguf"}),
            tasks=frozenset({"chat", "completion", "embedding"}),
            accelerators=frozenset({"cpu"}),
            cancels=True,
            cancels_whole=False,
            continues=True,
            drains_itself=False,
            counts_tokens=True,
            stream_fields=MappingProxyType({"return_progress": True}),
        )

    def command(self, place: Placement, setting: Setting) -> Command:
        """How to run one replica; port 0 lets the system choose.

        The memory ledger of plan/ is computed for exactly these flags.
        Source: ggml-org/llama.cpp tools/server/README.md @00dc8057.
        """
        return Command(
            argv=(
                self._facts.program,
                *_flags(_serving(place, setting)),
                *_flags(_memory(place)),
                *_flags(_task(place)),
            ),
            ready=Probe(path=self._facts.health),
            drain=Drain(),
            metrics=self._facts.metrics_path,
        )

    def container(self, place: Placement) -> Container:
        """Plimsoll's own image carries it."""
        return Container(image="", user=65532, writable=("/tmp",), shared_memory=False)  # noqa: S108 -- of the container

    def counts(self, metrics: str) -> Counts:
        """Read its Prometheus text. Raises FormatError when a metric is missing."""
        sums = totals(metrics)
        names = self._facts.metrics
        return Counts(
            running=count(sums, names["running"]),
            waiting=count(sums, names["waiting"]),
            prompt_tokens=count(sums, names["prompt_tokens"]),
            generated_tokens=count(sums, names["generated_tokens"]),
        )


_Flag = tuple[str, str | int | None]


def _flags(pairs: Iterator[_Flag]) -> Iterator[str]:
    for flag, value in pairs:
        yield flag
        if value is not None:
            yield str(value)


def _serving(place: Placement, setting: Setting) -> Iterator[_Flag]:
    yield "--model", setting.weights
    yield "--alias", place.model
    yield "--host", setting.host
    yield "--port", setting.port
    yield "--threads-http", 2 * place.parallel + _SPARE_HTTP_THREADS
    yield "--metrics", None
    yield "--no-slots", None
    yield "--no-ui", None
    yield "--verbosity", 2


def _memory(place: Placement) -> Iterator[_Flag]:
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


def _task(place: Placement) -> Iterator[_Flag]:
    if place.task == "embedding":
        yield "--embeddings", None
        yield "--pooling", place.pooling
