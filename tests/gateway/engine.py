"""A real llama.cpp with the demo model, in its own process, for the tests and benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from importlib.resources import files
from types import TracebackType
from typing import Self

import httpx

from plimsoll.facts.engines import engine as engine_facts
from plimsoll.gateway import Served, Upstream

DEMO = str(files("plimsoll.worlds.local").joinpath("builtin/demo.gguf"))


def demo(name: str = "demo") -> Served:
    """The demo model as the gateway offers it: llama.cpp needs both helps to see a caller go."""
    facts = engine_facts("llamacpp")
    return Served(
        name=name, task="chat", context=1024, assemble=True,
        stream_fields={"return_progress": True}, continues=True,
        renamed_fields=facts.renamed_fields, chat_counter=facts.chat_counter,
        text_counter=facts.text_counter, cuts_answers=facts.cuts_answers,
    )  # fmt: skip


class RealEngine:
    """One replica; dies with this process, because it holds the other end of a socket.

    address  `host:port` once it listens
    """

    def __init__(
        self,
        name: str = "demo-0",
        *,
        parallel: int = 4,
        model: str = DEMO,
        embedding: bool = False,
        batch: int = 128,
    ) -> None:
        self.name = name
        self.parallel = parallel
        flags = (
            f"--model {model} --alias demo --host 127.0.0.1 --port 0 --threads-http 128 --metrics "
            f"--no-slots --no-ui --ctx-size {1024 * parallel} --parallel {parallel} "
            "--cont-batching --no-kv-unified "
            f"--batch-size {batch} --ubatch-size {batch} --threads 1 "
            "--threads-batch 1 --fit off --n-gpu-layers 0 --no-mmproj --verbosity 2"
        ).split()
        if embedding:
            flags += ["--embeddings", "--pooling", "mean"]
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "plimsoll.worlds.local.llama_server", *flags],
            env={**os.environ, "PLIMSOLL_LIFELINE": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self._lifeline = ours
        self.address = self._listening()

    def _listening(self) -> str:
        self._lifeline.settimeout(60)
        said = b""
        while b"listening" not in said or not said.endswith(b"\n"):
            more = self._lifeline.recv(256)
            if not more:
                raise RuntimeError(f"the engine did not start: {said!r}")
            said += more
        return said.split(b"listening ")[1].split()[0].decode()

    def upstream(self) -> Upstream:
        host, port = self.address.rsplit(":", 1)
        return Upstream(replica=self.name, host=host, port=int(port), capacity=self.parallel)

    def busy(self) -> int:
        """Slots at work, as its own metrics say."""
        text = httpx.get(f"http://{self.address}/metrics").text
        row = next(line for line in text.splitlines() if line.startswith("llamacpp:requests_proc"))
        return int(float(row.split()[-1]))

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._lifeline.close()
        self._process.kill()
        self._process.wait(10)
