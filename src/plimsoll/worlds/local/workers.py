"""Several processes of one command, each started again when it dies. See `Workers`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How soon a worker that died is started again; in seconds.

    first    after its first death; each next one doubles it
    longest  at most
    settled  one that lived so long begins with `first` again
    """

    first: float = 0.1
    longest: float = 10.0
    settled: float = 30.0


class Workers:
    """Processes that do the same work; `run` is their life, and is run once.

    The first is started alone: what is wrong with the command is said once. The others follow when
    it is `ready`. They lead sessions of their own, so that only their parent hears a terminal's
    Ctrl-C. On Linux the kernel kills them when the parent dies, however it dies; elsewhere they
    notice the end of their socket.

    command   (number of a worker, descriptor of its socket) -> arguments for our own program
    count     how many
    joined    called with the parent's end of the socket before a worker runs
    left      called when one has ended: its number, whether it was told to
    restarts  see there
    """

    def __init__(
        self,
        *,
        command: Callable[[int, int], Sequence[str]],
        count: int,
        joined: Callable[[int, socket.socket], Awaitable[None]],
        left: Callable[..., None],
        restarts: Restarts | None = None,
    ) -> None:
        self._command = command
        self._count = count
        self._joined = joined
        self._left = left
        self._restarts = restarts or Restarts()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._proven = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stops = 0
        self._code = 0

    async def run(self) -> int:
        """Keep them alive until `stop`, then wait for them. Returns the exit code for all.

        The first one's end before it was ready ends everything, with its code. Cancelled, all are
        killed.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._live(0))
            waits = {asyncio.create_task(each.wait()) for each in (self._proven, self._stopping)}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            for number in range(1, self._count):
                group.create_task(self._live(number))
        return self._code

    def proven(self) -> None:
        """One of them is ready: its command works."""
        self._proven.set()

    def stop(self) -> None:
        """Have them finish and end; asked again, they are asked again."""
        self._stops += 1
        self._stopping.set()
        for process in self._running.values():
            _signal(process, signal.SIGTERM)

    def kill(self, number: int) -> None:
        """End one at once; it is started again."""
        process = self._running.get(number)
        if process is not None:
            _kill(process)

    async def _live(self, number: int) -> None:
        """One worker and its successors."""
        restarts = self._restarts
        pause = restarts.first
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                code = await self._once(number)
            except OSError as error:  # no processes or descriptors are left, for now
                _log.error("worker %d cannot be started: %s", number, error)
                code = 1
            if self._stopping.is_set():
                # One that had not begun to serve has nothing to finish, and dies of the signal.
                unbegun = code == -signal.SIGTERM
                self._code = max(self._code, 0 if unbegun else code if code >= 0 else 1)
                return
            if not self._proven.is_set() and code >= 0:
                self._code = code
                self.stop()
                return
            if time.monotonic() - began > restarts.settled:
                pause = restarts.first
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            _log.error("worker %d ended %s; it is started again in %.1f s", number, how, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, restarts.longest)

    async def _once(self, number: int) -> int:
        """One process from its start to its end; its exit code, negative for a signal."""
        ours, theirs = socket.socketpair()
        with theirs:
            await self._joined(number, ours)
            try:
                process = await _spawned(self._command(number, theirs.fileno()), theirs.fileno())
            except BaseException:
                self._left(number, wanted=False)
                raise
        self._running[number] = process
        try:
            for _ in range(self._stops):  # that came while it was started
                _signal(process, signal.SIGTERM)
            return await process.wait()
        finally:
            del self._running[number]
            _kill(process)
            await process.wait()
            self._left(number, wanted=self._stopping.is_set())


async def _spawned(arguments: Sequence[str], descriptor: int) -> asyncio.subprocess.Process:
    """A process of our own program that dies with this one."""
    # -P: the folder in which somebody stands must not become a place to import from.
    program = (sys.executable, "-P", "-c", "from plimsoll.cli.main import main; main()")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_HERE / "launch.py"), str(os.getpid())),
        *(*program, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(descriptor,),
        start_new_session=True,
    )


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a process and all that it started."""
    # macOS answers EPERM for a group of which only the dead are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
