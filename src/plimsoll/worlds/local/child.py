"""One engine process: started tied to us, its output logged, and gone when its context ends."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from plimsoll.errors import EngineError, MissingExtra
from plimsoll.worlds.local.logs import RunLog, telling

_HERE = Path(__file__).parent
# -P: the folder of the script must not become a place to import from.
_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "llama-server": (sys.executable, "-P", str(_HERE / "llama_server.py")),
}
# Engines read untrusted prompts and weights: they get what a program needs, and no credentials.
_INHERITED = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
_LAST_OUTPUT_SECONDS = 0.2  # what a dead process wrote is here by then


def need_program(name: str) -> None:
    """Raises MissingExtra when a program that comes with an extra of ours is not installed."""
    if name in _PROGRAMS and importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtra(
            f"running `{name}` here needs the package xllamacpp",
            hint="pip install 'plimsoll[local]'",
        )


class Child:
    """A running engine process, the leader of its own process group.

    pid  its process id, and the id of its group
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        *,
        words: asyncio.StreamReader,
        copying: asyncio.Task[None],
        log: RunLog,
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._words = words
        self._copying = copying
        self._log = log

    async def word(self) -> str:
        """What the process says next of its start; empty once it says no more."""
        return (await self._words.readline()).decode().strip()

    async def exited(self) -> None:
        """Wait until the process has ended and its last output is in the log."""
        await self._process.wait()
        self.kill()  # what it started holds the output open, and has nobody to work for
        await asyncio.wait({self._copying}, timeout=_LAST_OUTPUT_SECONDS)

    def signal(self, name: str) -> None:
        """Send a signal such as `SIGTERM` to the process; nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.Signals[name])

    def kill(self) -> None:
        """End the process and all that it started, now."""
        # macOS answers EPERM for a group of which only the dead are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def ending(self, *, started: bool) -> str:
        """Why the process ended, in words.

        started  whether it had become ready
        """
        code = self._process.returncode
        if code is None:
            return "the process is still running"
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code == -signal.SIGKILL:
            return f"{how}, by hand or for want of memory"
        said = telling(self._log.lines(), first=not started)
        return ": ".join(filter(None, (how, said, self._log.problem)))


@contextlib.asynccontextmanager
async def running(
    argv: Sequence[str], *, env: Mapping[str, str], log: RunLog
) -> AsyncIterator[Child]:
    """Run an engine's command for the length of the context.

    However the context ends, the whole process group is killed and reaped, and every descriptor
    and task of it is gone. Raises EngineError when the program is not known here, OSError when
    the machine cannot start it.
    """
    async with _channel() as (words, lifeline), _channel() as (output, sink):
        process = await _spawned(argv, env=env, lifeline=lifeline.fileno(), output=sink.fileno())
        lifeline.close()
        sink.close()
        copying = asyncio.create_task(_copied(output, log))
        child = Child(process, words=words, copying=copying, log=log)
        try:
            yield child
        finally:
            child.kill()
            try:
                await child.exited()
            finally:
                copying.cancel()


@contextlib.asynccontextmanager
async def _channel() -> AsyncIterator[tuple[asyncio.StreamReader, socket.socket]]:
    """Our end of a pair of sockets as a stream, and the end to hand to a process."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        try:
            yield reader, theirs
        finally:
            writer.transport.abort()


async def _spawned(
    argv: Sequence[str], *, env: Mapping[str, str], lifeline: int, output: int
) -> asyncio.subprocess.Process:
    program, *arguments = argv
    if program not in _PROGRAMS:
        raise EngineError(
            f"no program `{program}` is known on this machine", code="engine.no-program"
        )
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    launch = (sys.executable, "-I", "-S", str(_HERE / "launch.py"), str(os.getpid()))
    return await asyncio.create_subprocess_exec(
        *launch,
        *_PROGRAMS[program],
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**inherited, **env, "PLIMSOLL_LIFELINE": str(lifeline)},
        pass_fds=(lifeline,),
        start_new_session=True,
    )


async def _copied(output: asyncio.StreamReader, log: RunLog) -> None:
    with contextlib.suppress(ConnectionResetError):  # how a killed process closes its end
        while data := await output.read(65536):
            log.write(data)
