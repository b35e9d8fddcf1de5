"""A local world on a small random model, and a small HTTP client to talk to its replicas."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from plimsoll.engines import ENGINES
from plimsoll.plan.types import Ledger, Placement
from plimsoll.policy.snapshot import ReplicaSeen, ReplicaState, StartReplica, StopReplica
from plimsoll.worlds.local import LocalModel, LocalWorld, Patience
from tests.models import write_tiny_gguf

CONTEXT = 2048


def write_model(path: Path, *, hidden: int = 128) -> Path:
    """A model that answers noise, fast, within a context of 2,048 tokens."""
    return write_tiny_gguf(
        path, arch="llama", layers=2, hidden=hidden, ffn=2 * hidden, context=CONTEXT
    )


def placement(model: str = "tiny", *, task: str = "chat", parallel: int = 2) -> Placement:
    """How the tests run a model: one thread, small steps."""
    return Placement(
        model=model,
        engine="llamacpp",
        source=f"file:{model}.gguf",
        task=task,
        context=CONTEXT,
        parallel=parallel,
        threads=1,
        batch=128,
        kv_type="f16",
        ledger=Ledger(terms=()),
    )


async def until(condition: Callable[[], object], *, seconds: float = 20.0) -> float:
    """Wait for a condition; the seconds that it took. Fails when it does not come true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.002)
    return time.monotonic() - began


@dataclass
class Stage:
    """A world with the gateway's part played by the test.

    in_flight  what the gateway would count, by replica
    changes    how often the world said that something changed
    """

    world: LocalWorld
    in_flight: dict[str, int] = field(default_factory=dict)
    changes: int = 0

    def replicas(self, model: str = "tiny") -> tuple[ReplicaSeen, ...]:
        return self.world.observe()[model]

    def replica(self, name: str) -> ReplicaSeen | None:
        every = (seen for replicas in self.world.observe().values() for seen in replicas)
        return next((seen for seen in every if seen.name == name), None)

    def is_in(self, name: str, state: ReplicaState) -> bool:
        seen = self.replica(name)
        return seen is not None and seen.state is state

    async def start(self, model: str = "tiny", *, replicas: int = 1) -> None:
        await self.world.apply([StartReplica(model=model, reason="the test wants it")] * replicas)

    async def stop(self, name: str) -> None:
        model = name.rpartition("-")[0]
        await self.world.apply([StopReplica(model=model, replica=name, reason="the test says so")])

    async def started(self, model: str = "tiny", *, replicas: int = 1) -> tuple[ReplicaSeen, ...]:
        """Start replicas and wait until all of the model's are ready."""
        await self.start(model, replicas=replicas)
        await until(lambda: all(r.state is ReplicaState.READY for r in self.replicas(model)))
        return self.replicas(model)


@asynccontextmanager
async def staged(
    state: Path,
    models: Iterable[LocalModel],
    *,
    drain_seconds: float = 5.0,
    patience: Patience | None = None,
) -> AsyncIterator[Stage]:
    """A local world that is open."""
    in_flight: dict[str, int] = {}

    def changed() -> None:
        stage.changes += 1

    world = LocalWorld(
        models={model.placement.model: model for model in models},
        engines=ENGINES,
        state=state,
        in_flight=lambda name: in_flight.get(name, 0),
        changed=changed,
        drain_seconds=drain_seconds,
        patience=patience,
    )
    stage = Stage(world=world, in_flight=in_flight)
    async with world:
        yield stage


@dataclass
class Stream:
    """A streamed completion that is being read.

    events  what came so far
    ended   the engine said [DONE]
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    events: int = 0
    ended: bool = False

    async def event(self) -> bool:
        """Read up to the next event; False at the end, however it ends."""
        while not self.ended:
            try:
                line = await self.reader.readline()
            except ConnectionResetError:
                return False
            if not line:
                return False
            if line.startswith(b"data:"):
                self.ended = line.strip() == b"data: [DONE]"
                self.events += 1
                return True
        return False

    async def rest(self) -> None:
        while await self.event():
            pass

    def close(self) -> None:
        self.writer.transport.abort()


async def stream(address: str, *, tokens: int, prompt: str = "a", progress: bool = False) -> Stream:
    """Ask for a completion of exactly `tokens` tokens, streamed."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(
        {
            "prompt": prompt,
            "max_tokens": tokens,
            "stream": True,
            "ignore_eos": True,
            "cache_prompt": False,
            "return_progress": progress,
        }
    ).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {address}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    return Stream(reader=reader, writer=writer)


def engines_of(process: psutil.Process | None = None) -> list[psutil.Process]:
    """Processes below a process, this one if none is given, that have not ended."""
    below = (process or psutil.Process()).children(recursive=True)
    return [child for child in below if alive(child)]


def alive(process: psutil.Process) -> bool:
    """Whether a process has not ended; it may do so while it is asked."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
