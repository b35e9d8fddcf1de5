"""Real replicas that die by SIGKILL and come back: llama.cpp, or vLLM on processors."""

from __future__ import annotations

from contextlib import ExitStack
from types import MappingProxyType
from typing import Any, Protocol

from benchmarks.failover.vllm_servers import Reserve
from plimsoll.engines import ENGINES
from plimsoll.gateway import Served, Upstream
from tests.gateway.engine import RealEngine

PARALLEL = 16
_LETTERS = [*range(64, 90), 220]  # a to z and the space, in the vocabulary of the tiny model


class Replica(Protocol):
    """One replica; `start` and `kill` block."""

    def start(self) -> Upstream:
        """A new process, ready for requests."""
        ...

    def kill(self) -> None:
        """SIGKILL for every process of it."""
        ...


class LlamaCppReplica:
    """llama.cpp with the demo model."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack = ExitStack()

    def start(self) -> Upstream:
        """See the protocol."""
        self._engine = self._stack.enter_context(RealEngine(self._name, parallel=PARALLEL))
        return self._engine.upstream()

    def kill(self) -> None:
        """See the protocol."""
        self._engine.kill()
        self._stack.close()


class VllmReplica:
    """vLLM on processors; each start takes a server out of a reserve."""

    def __init__(self, name: str, reserve: Reserve) -> None:
        self._name = name
        self._reserve = reserve

    def start(self) -> Upstream:
        """See the protocol."""
        self._server = self._reserve.take()
        return Upstream(
            replica=self._name, host="127.0.0.1", port=self._server.port, capacity=PARALLEL
        )

    def kill(self) -> None:
        """See the protocol."""
        self._server.kill()


def served(engine: str) -> Served:
    """The model as the gateway offers it, by what the engine can do."""
    can = ENGINES[engine].capabilities
    return Served(
        name="demo",
        task="chat",
        context=1024,
        assemble=not can.cancels_whole,
        stream_fields=can.stream_fields,
        continues=can.continues,
        continue_fields=can.continue_fields,
        text_counter=can.text_counter,
        completion_tokens=can.completion_tokens,
    )


FIELDS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "llamacpp": {"ignore_eos": True},
        # Words of letters: a text of any bytes would not be text.
        "vllm": {"ignore_eos": True, "allowed_token_ids": _LETTERS},
    }
)
"""Fields of every request, with which answers are long."""
