"""Imports vLLM once and forks servers from it: a start takes four seconds instead of forty.

Run by vLLM's interpreter; imports nothing of ours. Says `ready`, then for each line of standard
input, a JSON object with `argv` and `log`, forks a server that runs `vllm` with those words in a
session of its own, and says its process id. Ends all of them when its input ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

_IMPORTED = (  # what a server imports before it serves
    "vllm.entrypoints.cli.serve",
    "vllm.entrypoints.launchers.api_server.entry",
    "vllm.v1.engine.core",
    "vllm.v1.worker.cpu_worker",
    "vllm.model_executor.models.llama",
)


def imported() -> Any:
    """The module of vLLM's command, with all that a server needs in memory.

    vLLM for processors starts its engine and worker as new interpreters, whatever
    VLLM_WORKER_MULTIPROC_METHOD says (0.32.0, platforms/cpu.py). Here they are forks too, which
    is sound while no process has begun a second thread: the modules above begin none.
    """
    system = importlib.import_module("vllm.utils.system_utils")
    forking = multiprocessing.get_context("fork")
    system.get_mp_context = lambda: forking  # type: ignore[attr-defined]  # before it is imported
    command = importlib.import_module("vllm.entrypoints.cli.main")
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # so that the collector does not write to pages that the servers share
    return command


def fork_servers() -> list[str]:
    """Fork a server for each line. Returns in the servers only, with their words."""
    living: set[int] = set()

    def reap(_number: int, _frame: FrameType | None) -> None:
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                living.discard(pid)

    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _leave(asked["log"])
            return list(asked["argv"])
        living.add(pid)
        print(pid, flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pid in living:
        os.killpg(pid, signal.SIGKILL)
    for pid in living:
        os.waitpid(pid, 0)
    sys.exit()


def _leave(log: str) -> None:
    """Become the first process of a session, whose words go to a log."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    sink = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.dup2(nothing, 0)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


if __name__ == "__main__":
    vllm = imported()
    print("ready", flush=True)
    sys.argv = fork_servers()
    vllm.main()
