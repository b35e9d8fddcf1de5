"""Runs one replica as the local world does, works it, and reads its resident memory."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.memory.cases import Case
from plimsoll.engines import ENGINES
from plimsoll.engines.protocol import Setting
from plimsoll.plan.memory import Settings, ledger
from plimsoll.plan.types import Ledger, Placement
from plimsoll.worlds.local import llama_server
from plimsoll.worlds.local.weights import read_shape

READY = 120.0  # seconds for a model of some hundred MB to load
ANSWER = 600.0  # seconds for one request, on a machine that others use too
FIRST_TOKEN = 400  # of the vocabulary; those before it are bytes and control tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One case, predicted and measured.

    predicted  the plan's ledger
    peak       highest resident memory, bytes
    """

    case: Case
    predicted: Ledger
    peak: int

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted.total / self.peak


def measure(case: Case, folder: Path) -> Measured:
    """Write the model, run it, fill its slots, and compare. The model is removed again."""
    path = case.write(folder)
    try:
        shape = read_shape(path)
        predicted = ledger(shape, case.settings)
        with _replica(path, case.settings, predicted) as (url, process):
            _work(url, case, shape.vocab)
            return Measured(case=case, predicted=predicted, peak=peak_of(process.pid))
    finally:
        path.unlink()


def peak_of(pid: int) -> int:
    """The highest resident memory of a process so far, bytes; where unknown, that of now."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process(pid).memory_info().rss)


def placement(settings: Settings, predicted: Ledger) -> Placement:
    """The placement that asks for these settings."""
    return Placement(
        model="measured",
        engine="llamacpp",
        source="file:measured.gguf",
        task=settings.task,
        context=settings.context,
        parallel=settings.parallel,
        threads=settings.threads,
        batch=settings.batch,
        kv_type=settings.kv_type,
        ledger=predicted,
        prompt_cache=settings.prompt_cache,
        checkpoints=settings.checkpoints,
    )


@contextlib.contextmanager
def _replica(
    path: Path, settings: Settings, predicted: Ledger
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = _free_port()
    command = ENGINES["llamacpp"].command(
        placement(settings, predicted), Setting(weights=str(path), host="127.0.0.1", port=port)
    )
    ours, theirs = socket.socketpair()  # the child ends when our end does, however that happens
    with tempfile.TemporaryFile() as log, ours, theirs:
        process = subprocess.Popen(
            [sys.executable, llama_server.__file__, *command.argv[1:]],
            stdout=log,
            stderr=log,
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PLIMSOLL_LIFELINE": str(theirs.fileno())},
        )
        theirs.close()
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_ready(process, url + command.ready.path)
            yield url, process
        except Exception:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-4000:])
            raise
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_ready(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + READY
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the engine ended with {process.returncode}")
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"not ready after {READY} s")


def _work(url: str, case: Case, vocab: int) -> None:
    """Give every slot a prompt of its own at once, `rounds` times."""
    slots = case.settings.parallel
    with ThreadPoolExecutor(slots) as pool:
        for number in range(case.rounds):
            prompts = [_tokens(number * slots + slot, case.fill, vocab) for slot in range(slots)]
            list(pool.map(lambda prompt: _ask(url, case, prompt), prompts))


def _tokens(seed: int, count: int, vocab: int) -> list[int]:
    """Token numbers that begin differently for every seed, so that no prefix is shared."""
    span = vocab - FIRST_TOKEN
    return [FIRST_TOKEN + (seed * 7919 + place * 31) % span for place in range(count)]


def _ask(url: str, case: Case, prompt: list[int]) -> None:
    if case.settings.task == "embedding":
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": prompt}, timeout=ANSWER)
    else:
        asked = {"prompt": prompt, "n_predict": 8, "ignore_eos": True}
        answer = httpx.post(f"{url}/completion", json=asked, timeout=ANSWER)
    answer.raise_for_status()
