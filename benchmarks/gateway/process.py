"""Processes on one core: started, waited for, weighed and ended with all their children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

GATEWAY_CORE = 0
LOAD_CORE = 1
_PATIENCE = 60.0  # seconds until a server must listen
_SCHEDULED = 2  # the kernel's number for the clock of a process's time on a core


class Tree:
    """A process and all its descendants.

    pid  of the first one
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._ended = process.poll

    @property
    def alive(self) -> bool:
        """Whether the first one runs."""
        return self._ended() is None

    def pids(self) -> list[int]:
        """All that live now."""
        found = [self.pid]
        for pid in found:
            with contextlib.suppress(OSError):  # it ended meanwhile
                for task in list(Path(f"/proc/{pid}/task").iterdir()):
                    found += map(int, (task / "children").read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """CPU that the living ones have used, user and system, in steps of nanoseconds."""
        spent = 0.0
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it ended meanwhile
                spent += time.clock_gettime(~pid << 3 | _SCHEDULED)
        return spent

    def pss_mib(self) -> float:
        """Memory, what is shared with others counted in parts."""
        kib = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it ended meanwhile
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kib += int(next(row for row in rows if row.startswith("Pss:")).split()[1])
        return kib / 1024


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.contextmanager
def running(
    core: int | None, command: list[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Tree]:
    """A command pinned to a core, or on any for None, in a session of its own; ended with its
    children.
    """
    cores = os.sched_getaffinity(0) if core is None else {core % (os.cpu_count() or 1)}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509 -- no threads here
        ) as process,
    ):
        try:
            yield Tree(process)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, signal.SIGKILL)


def listening(port: int, tree: Tree, log: Path) -> None:
    """Wait until somebody listens there. Raises RuntimeError with the end of the log."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and tree.alive:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens: {log.read_text('utf-8', 'replace')[-2000:]}")
