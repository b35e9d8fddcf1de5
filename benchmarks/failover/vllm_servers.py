"""Real vLLM servers in a few seconds each, and a reserve of them that is ready at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from plimsoll.engines import ENGINES
from plimsoll.engines.protocol import Command, Setting
from plimsoll.plan.types import Placement
from tests.vllm_server import free_port, need_vllm, vllm_environment

_START_SECONDS = 120.0  # until a server is ready, on two busy cores
_END_SECONDS = 20.0  # until every process of a killed server is gone
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One server that was ready.

    group  its process group: the API server, the engine, the worker and their tracker
    port   on loopback
    """

    group: int
    port: int

    def kill(self) -> None:
        """SIGKILL for the whole group, and what it cannot remove itself any more."""
        left = _shared_memory(self.group)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        for file in left:
            file.unlink(missing_ok=True)


class Forked:
    """A process that has imported vLLM, and the servers that it forked.

    weights  folder of the model
    scratch  folder for logs, sockets and caches, which the servers share
    place    how every server runs
    """

    def __init__(self, weights: Path, scratch: Path, place: Placement) -> None:
        self._weights = weights
        self._scratch = scratch
        self._place = place
        self._log = scratch / "fork.log"
        self._started: list[Running] = []

    def __enter__(self) -> Self:
        """Import vLLM. Raises RuntimeError with the end of its log."""
        script = Path(__file__).with_name("fork_vllm.py")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(need_vllm()), "-P", str(script)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env={
                    **vllm_environment(self._scratch), **self._command(0).env,
                    "TMPDIR": str(self._scratch),
                },
                cwd=self._scratch, start_new_session=True, text=True,
            )  # fmt: skip
        self._said("ready")
        return self

    def __exit__(self, *_: object) -> None:
        """End every server. Raises RuntimeError when one is left."""
        for server in self._started:
            server.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        deadline = time.monotonic() + _END_SECONDS
        groups = {server.group for server in self._started}
        while left := [pid for group, pid in _processes() if group in groups]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes of vLLM are left: {left}")
            time.sleep(0.1)

    @property
    def started(self) -> int:
        """Servers so far."""
        return len(self._started)

    def start(self) -> Running:
        """One more server, when it is ready; one at a time. Raises RuntimeError."""
        port = free_port()
        command = self._command(port)
        log = self._scratch / f"server-{len(self._started)}.log"
        assert self._process.stdin is not None
        print(
            json.dumps({"argv": command.argv, "log": str(log)}),
            file=self._process.stdin, flush=True,
        )  # fmt: skip
        server = Running(group=int(self._said()), port=port)
        self._started.append(server)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                ready = f"http://127.0.0.1:{port}{command.ready.path}"
                with urllib.request.urlopen(ready, timeout=5):
                    return server
            time.sleep(0.1)
        raise RuntimeError(f"vLLM did not become ready: {log.read_text()[-2000:]}")

    def _command(self, port: int) -> Command:
        setting = Setting(weights=str(self._weights), host="127.0.0.1", port=port, max_stream=60.0)
        return ENGINES["vllm"].command(self._place, setting)

    def _said(self, wanted: str | None = None) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line or (wanted is not None and line != wanted):
            raise RuntimeError(f"vLLM cannot be imported: {self._log.read_text()[-2000:]}")
        return line


class Reserve:
    """Servers that are ready before they are needed; each that is taken is made up for.

    forked  where they come from
    first   how many will serve from the beginning
    spares  how many are ready besides; with none, a server is started when it is needed
    """

    def __init__(self, forked: Forked, *, first: int, spares: int) -> None:
        self._forked = forked
        self._first = first
        self._spares = spares
        self._coming: deque[Future[Running]] = deque()
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Self:
        """Wait until all are ready."""
        for _ in range(self._first + self._spares):
            self._order()
        wait(self._coming)
        return self

    def __exit__(self, *_: object) -> None:
        """Start no more."""
        self._pool.shutdown(cancel_futures=True)

    def take(self) -> Running:
        """The one that was ordered first, when it is ready."""
        if len(self._coming) <= self._spares:
            self._order()
        return self._coming.popleft().result()

    def _order(self) -> None:
        self._coming.append(self._pool.submit(self._forked.start))


def _processes() -> Iterator[tuple[int, int]]:
    """Process group and id of all that live; those that have ended and wait to be seen do not."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                state, _, group, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
                if state not in "ZX":
                    yield int(group), int(folder.name)


def _shared_memory(group: int) -> set[Path]:
    """Files of memory that a group's processes share, which outlive a SIGKILL."""
    found = set()
    for of, pid in _processes():
        if of == group:
            with contextlib.suppress(OSError):  # it ended meanwhile
                for row in Path(f"/proc/{pid}/maps").read_text().splitlines():
                    file = Path(row.split(maxsplit=5)[-1])
                    if file.parent == _MEMORY:
                        found.add(file)
    return found
