"""One download for all, in threads and in processes, and after a process was killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources import Artifact, Cache, fetch
from tests.worlds.sources.conftest import Fetch, Told
from tests.worlds.sources.servers import Fault, Server

BODY = b"GGUF" + random.Random(6).randbytes(400_000)
PROGRAM = """
import sys
from pathlib import Path
from plimsoll.worlds.local.sources import Cache, fetch
with Cache(Path(sys.argv[2])) as cache:
    found = fetch(sys.argv[1], cache=cache, cancelled=lambda: False,
                  progress=lambda *, source, done, total: print(done, total, flush=True))
    print("path", found.path, flush=True)
    sys.stdin.readline()
"""


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.01)


@contextmanager
def process(url: str, cache: Cache, first: str = "") -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", first + PROGRAM, url, str(cache.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def last_line(child: subprocess.Popen[str]) -> str:
    output, errors = child.communicate("\n", timeout=30)
    assert child.returncode == 0, errors
    return output.splitlines()[-1]


def test_two_processes_make_one_download(web: Server, cache: Cache) -> None:
    url = web.put("/m.gguf", BODY)
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))
    with process(url, cache) as first:
        until(web.at_gate.is_set, "the first process to be in the middle")
        with process(url, cache) as second:
            assert second.stdout is not None
            shown = second.stdout.readline().split()
            assert 0 < int(shown[0]) <= 200_000
            assert shown[1] == str(len(BODY))
            gate.set()
            one, two = last_line(first), last_line(second)
    assert one == two
    assert Path(one.removeprefix("path ")).read_bytes() == BODY
    assert len(web.log) == 1


def test_a_waiter_continues_when_the_holder_is_killed(web: Server, cache: Cache) -> None:
    url = web.put("/m.gguf", BODY)
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))
    with process(url, cache) as first:
        until(lambda: any(e.bytes == 200_000 for e in cache.entries()), "half of the file")
        with process(url, cache) as second:
            assert second.stdout is not None
            second.stdout.readline()
            first.send_signal(signal.SIGKILL)
            first.wait()
            path = last_line(second).removeprefix("path ")
    gate.set()
    assert Path(path).read_bytes() == BODY


def test_after_sigkill_the_next_run_resumes_what_a_hash_can_prove(
    web: Server, cache: Cache, get: Fetch
) -> None:
    import hashlib

    url = f"{web.put('/m.gguf', BODY)}#sha256={hashlib.sha256(BODY).hexdigest()}"
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))
    with process(url, cache) as child:
        until(lambda: any(e.bytes == 200_000 for e in cache.entries()), "half of the file")
        child.send_signal(signal.SIGKILL)
        child.wait()
    gate.set()
    (entry,) = cache.entries()
    assert not entry.complete
    assert not entry.in_use
    assert get(url).path.read_bytes() == BODY
    assert web.log[-1].range == "bytes=200000-"


def test_after_sigkill_without_a_hash_only_synced_bytes_are_trusted(
    web: Server, cache: Cache, get: Fetch
) -> None:
    url = web.put("/m.gguf", BODY)
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))
    with process(url, cache) as child:
        until(lambda: any(e.bytes == 200_000 for e in cache.entries()), "half of the file")
        child.send_signal(signal.SIGKILL)
        child.wait()
    gate.set()
    assert get(url).path.read_bytes() == BODY
    assert web.log[-1].range is None


def test_what_was_synced_before_sigkill_is_continued_without_a_hash(
    web: Server, cache: Cache, get: Fetch
) -> None:
    url = web.put("/m.gguf", BODY)
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))
    syncing_often = (
        "import plimsoll.worlds.local.sources.partial as partial; partial._SYNC_EVERY = 50_000\n"
    )
    with process(url, cache, syncing_often) as child:
        until(lambda: any(e.bytes == 200_000 for e in cache.entries()), "half of the file")
        child.send_signal(signal.SIGKILL)
        child.wait()
    gate.set()
    assert get(url).path.read_bytes() == BODY
    start = int((web.log[-1].range or "").removeprefix("bytes=").removesuffix("-"))
    assert 100_000 <= start <= 200_000


def test_eight_threads_make_one_download(web: Server, cache: Cache, get: Fetch) -> None:
    url = web.put("/m.gguf", BODY)
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))
    tellers = [Told() for _ in range(8)]

    def run(told: Told) -> Artifact:
        return fetch(url, cache=cache, progress=told, cancelled=lambda: False)

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(run, told) for told in tellers]
        until(lambda: all(told.calls for told in tellers), "all threads to know of the download")
        gate.set()
        found = {future.result() for future in running}
    assert len(found) == 1
    assert len(web.log) == 1


def test_a_waiter_can_be_cancelled_alone(web: Server, cache: Cache, get: Fetch) -> None:
    url = web.put("/m.gguf", BODY)
    gate, leave = threading.Event(), threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))
    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(get, url)
        until(web.at_gate.is_set, "the holder to be in the middle")
        waiter = pool.submit(get, url, cancelled=leave.is_set)
        leave.set()
        with pytest.raises(SourceError, match="cancelled"):
            waiter.result(timeout=1)
        gate.set()
        assert holder.result().path.read_bytes() == BODY


def test_a_cancelled_download_is_kept_and_continued(web: Server, cache: Cache, get: Fetch) -> None:
    url = web.put("/m.gguf", BODY)
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))

    def half() -> bool:
        return any(entry.bytes == 200_000 for entry in cache.entries())

    with pytest.raises(SourceError, match="cancelled"):
        get(url, cancelled=half)
    gate.set()
    assert get(url).path.read_bytes() == BODY
    assert web.log[-1].range == "bytes=200000-"


def test_what_a_live_process_uses_is_not_pruned(web: Server, cache: Cache) -> None:
    url = web.put("/m.gguf", BODY)
    with process(url, cache) as child:
        assert child.stdout is not None
        until(lambda: any(entry.complete for entry in cache.entries()), "the model")
        assert [entry.in_use for entry in cache.entries()] == [True]
        assert cache.prune(max_bytes=0) == ()
        last_line(child)
    (gone,) = cache.prune(max_bytes=0)
    assert gone.source == url
    assert cache.entries() == ()


def test_what_is_being_fetched_is_not_pruned(web: Server, cache: Cache, get: Fetch) -> None:
    url = web.put("/m.gguf", BODY)
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=200_000))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(get, url)
        until(web.at_gate.is_set, "the download to be in the middle")
        assert cache.prune() == ()
        assert cache.prune(older_than=0) == ()
        # Also when it came into use after prune had looked.
        assert not cache._remove(cache.entries()[0].key)
        gate.set()
        assert running.result().path.read_bytes() == BODY
