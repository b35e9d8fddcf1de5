"""`plimsoll operate` as a process: it plans for real, tells how it is, and ends when it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest

from tests.worlds.cluster.api import Api
from tests.worlds.cluster.operator.stage import fleet, model

MAIN = "from plimsoll.cli.operate import operate_command as c; c(auto_envvar_prefix='PLIMSOLL')"
DEADLINE = 60.0  # seconds
Running = tuple[subprocess.Popen[str], Queue[str]]


@contextmanager
def operate(
    api: Api, home: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[str], Queue[str]]]:
    """The command, and its lines of stderr as they come."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "--api-server", api.url, "--metrics-port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )
    lines: Queue[str] = Queue()
    assert process.stderr is not None
    reader = Thread(target=lambda: [lines.put(line) for line in process.stderr or ()], daemon=True)
    reader.start()
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait(10)
        reader.join(10)
        process.stderr.close()


def port_of(lines: Queue[str]) -> int:
    ends = time.monotonic() + DEADLINE
    while time.monotonic() < ends:
        try:
            line = lines.get(timeout=1)
        except Empty:
            continue
        if "metrics on port" in line:
            return int(line.rpartition("port ")[2].split('"')[0])
    raise AssertionError("it never told its port")


def page(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def names(api: Api) -> set[str]:
    return {one["metadata"]["name"] for one in api.objects("apps/v1", "Deployment")}


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.slow
def test_it_keeps_fleets_tells_how_it_is_and_gives_the_lease_back(api: Api, tmp_path: Path) -> None:
    api.namespace("team-a")
    api.create(fleet("shop", model("chat")))
    with operate(api, tmp_path) as (process, lines):
        port = port_of(lines)
        until(lambda: page(port, "/readyz")[0] == 200)
        assert page(port, "/healthz")[0] == 200
        assert page(port, "/secrets")[0] == 404
        until(
            lambda: any(
                "chat" in d["metadata"]["name"] for d in api.objects("apps/v1", "Deployment")
            )
        )
        until(lambda: "plimsoll_operator_leader 1.0" in page(port, "/metrics")[1])
        until(lambda: 'plans_total{result="made"} 1.0' in page(port, "/metrics")[1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    lease = api.objects("coordination.k8s.io/v1", "Lease")[0]
    assert lease["spec"]["holderIdentity"] == ""


@pytest.mark.slow
def test_once_ends_with_what_could_not_be_done(api: Api, tmp_path: Path) -> None:
    api.namespace("team-a")
    api.create(fleet("shop", model("chat")))
    api.deny("patch", "services")
    with operate(api, tmp_path, "--once", "--no-leader-elect") as (process, lines):
        assert process.wait(DEADLINE) == 1
        until(lambda: "not allowed to patch" in lines.get(timeout=DEADLINE))
    api.server.denied.clear()
    api.create(fleet("broken", model("chat", source="nowhere")))
    with operate(api, tmp_path, "--once", "--no-leader-elect") as (process, lines):
        assert process.wait(DEADLINE) == 1
        until(lambda: "1 Fleet is not as it should be" in lines.get(timeout=DEADLINE))
    api.delete(fleet("broken"))
    with operate(api, tmp_path, "--once", "--no-leader-elect") as (process, _):
        assert process.wait(DEADLINE) == 0
    assert api.objects("apps/v1", "Deployment", "team-a")
