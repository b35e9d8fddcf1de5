"""However Plimsoll ends, no engine outlives it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from plimsoll.worlds.local import child as child_module
from plimsoll.worlds.local.child import running
from plimsoll.worlds.local.logs import RunLog
from tests.worlds.local.harness import alive, engines_of, until, write_model

ROOT = Path(__file__).parents[3]
# Says "up" once the replicas are in the wished state, then stays until it is killed.
PARENT = """
import asyncio, sys
from pathlib import Path
from plimsoll.worlds.local import LocalModel
from tests.worlds.local.harness import placement, staged, until

async def main(weights, state, wished):
    async with staged(Path(state), [LocalModel(placement=placement(), weights=Path(weights))]) as s:
        await s.start(replicas=2)
        await until(lambda: all(r.state == wished or r.reason == wished for r in s.replicas()))
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def parent(weights: Path, state: Path, wished: str) -> Iterator[psutil.Process]:
    arguments = [sys.executable, "-c", PARENT, str(weights), str(state), wished]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def all_gone(processes: list[psutil.Process], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    left = processes
    while left and time.monotonic() < deadline:
        left = [process for process in left if alive(process)]
        time.sleep(0.01)
    return not left


def test_sigkill_of_the_parent_leaves_no_engine(weights: Path, tmp_path: Path) -> None:
    with parent(weights, tmp_path, "ready") as process:
        engines = engines_of(process)
        assert len(engines) == 2
        process.kill()
        assert all_gone(engines, seconds=1.0)


def test_sigkill_of_the_parent_leaves_no_engine_that_is_loading(tmp_path: Path) -> None:
    large = write_model(tmp_path / "large.gguf", hidden=2048)
    with parent(large, tmp_path, "loading the weights") as process:
        engines = engines_of(process)
        assert len(engines) == 2
        process.kill()
        assert all_gone(engines, seconds=1.0)


def test_sigkill_of_the_parent_while_processes_are_being_made_leaves_none(
    weights: Path, tmp_path: Path
) -> None:
    with parent(weights, tmp_path, "starting") as process:
        engines = engines_of(process)
        process.kill()
        assert all_gone(engines, seconds=1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie to the parent is Linux's")
def test_a_program_that_ignores_the_lifeline_dies_with_the_parent() -> None:
    script = (
        "import os, subprocess, sys\n"
        "from plimsoll.worlds.local import launch\n"
        "subprocess.Popen([sys.executable, '-I', '-S', launch.__file__, str(os.getpid()),"
        " '/bin/sleep', '600'])\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        below = psutil.Process(process.pid).children()
        deadline = time.monotonic() + 10
        while below[0].name() != "sleep":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        assert all_gone(below, seconds=1.0)


def test_the_launcher_runs_nothing_for_a_parent_that_is_gone() -> None:
    launch = ROOT / "src/plimsoll/worlds/local/launch.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(launch), "1", "/bin/echo", "ran"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")


def test_what_an_engine_started_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = ("/bin/sh", "-c", "sleep 600 & sleep 600 & wait")
    monkeypatch.setattr(child_module, "_PROGRAMS", {"engine": shell})

    async def scene() -> list[psutil.Process]:
        with RunLog(tmp_path / "log") as log:
            async with running(["engine"], env={}, log=log):
                await until(lambda: len(engines_of()) == 3)
                below = engines_of()
        return below

    assert all_gone(asyncio.run(scene()), seconds=1.0)


def test_what_an_engine_started_ends_when_the_engine_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = ("/bin/sh", "-c", "sleep 600 & sleep 600 & wait")
    monkeypatch.setattr(child_module, "_PROGRAMS", {"engine": shell})

    async def scene() -> None:
        with RunLog(tmp_path / "log") as log:
            async with running(["engine"], env={}, log=log) as child:
                await until(lambda: len(engines_of()) == 3)
                below = engines_of()
                child.signal("SIGKILL")
                await child.exited()
                assert child.ending(started=True).startswith("killed by SIGKILL")
                await until(lambda: all_gone(below, seconds=0.1), seconds=1.0)

    asyncio.run(scene())
