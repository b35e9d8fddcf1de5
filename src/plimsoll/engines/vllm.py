"""vLLM's own server: placement -> `vllm serve`, its metrics -> counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import ceil

from plimsoll.engines.catalogue import (
    CPU,
    Catalogued,
    capable,
    container,
    counts,
    platform,
    variables,
)
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
from plimsoll.engines.vllm_arguments import Value, engine_arguments
from plimsoll.plan.types import Placement


class Vllm(Catalogued):
    """The adapter of `vllm serve`.

    facts  the engine's row in the catalogue
    """

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. A closed connection ends the request, streamed or not."""
        return capable(self._facts, cancels_whole=True)

    def command(self, place: Placement, setting: Setting) -> Command:
        """How to run one node of a replica; on others than the first, nothing listens.

        SIGTERM lets answers end within `max_stream`; whoever sends it must first have made sure
        that no new request arrives, for those are aborted. Raises InputError for what vLLM cannot
        do. Source: vllm 0.33.0, entrypoints/launchers and engine/arg_utils.py.
        """
        first = setting.rank == "0"
        flags: list[Flag] = [*_names(place, setting)] if first else []
        flags += spelled(engine_arguments(self._facts, place, setting))
        flags += _nodes(place, setting)
        flags.append(("--shutdown-timeout", ceil(setting.max_stream)))
        health = Probe(path=self._facts.health, loading=frozenset(self._facts.loading))
        return Command(
            argv=(
                self._facts.program,
                *self._facts.start,
                setting.weights,
                *words(flags, place.options.args),
            ),
            env=variables(place, {**self._facts.env, **_processors(place)}),
            ready=health,
            # 503 says that the engine is dead and stays so: it is the time to start it again.
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
        """Sums over the ranks of data parallelism. Raises FormatError without a metric."""
        return counts(self._facts, metrics)


def spelled(arguments: Mapping[str, Value]) -> Iterator[Flag]:
    """Engine arguments as flags: `max_model_len` is `--max-model-len`, a record is JSON."""
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, Mapping):
            yield flag, json.dumps(value, separators=(",", ":"))
        else:
            yield flag, None if value is True else value


def _names(place: Placement, setting: Setting) -> Iterator[Flag]:
    yield "--served-model-name", place.model
    yield "--host", setting.host
    yield "--port", setting.port
    yield "--disable-access-log-for-endpoints", "/health,/metrics"
    if setting.adapters:
        yield "--lora-modules", tuple(_module(*pair) for pair in setting.adapters.items())


def _module(name: str, path: str) -> str:
    """`name=path`; as JSON where a comma would make vLLM read it so."""
    if "," in path:
        return json.dumps({"name": name, "path": path}, separators=(",", ":"))
    return f"{name}={path}"


def _nodes(place: Placement, setting: Setting) -> Iterator[Flag]:
    if place.devices is None or place.devices.nodes == 1:
        return
    yield "--nnodes", place.devices.nodes
    yield "--node-rank", setting.rank
    yield "--master-addr", setting.leader
    if setting.rank != "0":
        yield "--headless", None


def _processors(place: Placement) -> Mapping[str, str]:
    """A container's share of a machine is a quota, not a set of cores that threads could keep."""
    if platform(place) != CPU:
        return {}
    return {"OMP_NUM_THREADS": str(place.threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
