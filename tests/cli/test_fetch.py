"""`plimsoll fetch`, run as the containers of a cluster run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.sources.servers import Fault, Server, serving

BODY = b"GGUF" + b"x" * 50_000
PROGRAM = "from plimsoll.cli import main; main.COMMANDS.setdefault('fetch', 'Fetch'); main.main()"


@pytest.fixture
def web() -> Iterator[Server]:
    with serving(Server()) as server:
        yield server


class Runs:
    def __init__(self, volume: Path) -> None:
        self.environment = {
            **os.environ, "PLIMSOLL_CACHE": str(volume / ".plimsoll"), "NO_COLOR": "1",
        }  # fmt: skip
        self.environment.pop("POD_NAME", None)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "fetch", *arguments],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_a_model_is_fetched_to_its_path_and_told_as_json(
    web: Server, runs: Runs, tmp_path: Path
) -> None:
    to = tmp_path / "key" / "m.gguf"
    code, out, _ = runs.run(web.put("/m.gguf", BODY), "--to", str(to), "--json")
    assert code == 0
    assert to.read_bytes() == BODY
    told = json.loads(out)
    assert (told["path"], told["bytes"]) == (str(to), len(BODY))


def test_a_second_run_asks_nobody(web: Server, runs: Runs, tmp_path: Path) -> None:
    url, to = web.put("/m.gguf", BODY), str(tmp_path / "key" / "m.gguf")
    assert runs.run(url, "--to", to)[0] == 0
    asked = len(web.log)
    assert runs.run(url, "--to", to)[0] == 0
    assert len(web.log) == asked


def test_pods_that_share_a_volume_download_once(web: Server, runs: Runs, tmp_path: Path) -> None:
    url, to = web.put("/m.gguf", BODY), tmp_path / "key" / "m.gguf"
    processes = [runs.start(url, "--to", str(to)) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert to.read_bytes() == BODY
    assert len(web.gets("m.gguf")) == 1


def test_a_wrong_checksum_leaves_nothing(web: Server, runs: Runs, tmp_path: Path) -> None:
    to = tmp_path / "key" / "m.gguf"
    code, _, err = runs.run(web.put("/m.gguf", BODY), "--to", str(to), "--sha256", "0" * 64)
    assert code == 1
    assert "checksum" in err
    assert not to.exists()


def test_a_killed_download_goes_on_where_it_was(web: Server, runs: Runs, tmp_path: Path) -> None:
    gate = threading.Event()
    url, to = web.put("/m.gguf", BODY), tmp_path / "key" / "m.gguf"
    web.faults.append(Fault(gate=gate, before_gate=30_000))
    process = runs.start(url, "--to", str(to))
    assert web.at_gate.wait(30)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    gate.set()
    assert not to.exists()
    assert runs.run(url, "--to", str(to))[0] == 0
    assert to.read_bytes() == BODY


def test_waiting_ends_when_somebody_else_has_fetched(
    web: Server, runs: Runs, tmp_path: Path
) -> None:
    url, to = web.put("/m.gguf", BODY), str(tmp_path / "key" / "m.gguf")
    waiting = runs.start(url, "--to", to, "--wait")
    assert waiting.stderr is not None
    assert "waiting" in waiting.stderr.readline()
    assert waiting.poll() is None
    assert runs.run(url, "--to", to)[0] == 0
    waiting.communicate(timeout=30)
    assert waiting.returncode == 0


@pytest.mark.parametrize("option", ["--wait", "--stay"])
def test_a_signal_ends_a_process_that_waits(
    web: Server, runs: Runs, tmp_path: Path, option: str
) -> None:
    process = runs.start(web.put("/m.gguf", BODY), "--to", str(tmp_path / "k" / "m.gguf"), option)
    stream = process.stderr if option == "--wait" else process.stdout
    assert stream is not None
    assert stream.readline()
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert process.returncode == (130 if option == "--wait" else 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pvc://claim/m",), "cluster"),
        (("nonsense",), "kind"),
        (("builtin:demo", "--whole"), "--whole"),
        (("hf://a/b", "--label", "plimsoll.dev/x"), "POD_NAMESPACE"),
        (("hf://a/b", "--sha256", "12"), "SHA-256"),
    ],
)
def test_bad_input_is_said(
    runs: Runs, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, _, err = runs.run(*arguments, "--to", str(tmp_path / "k"))
    assert code == 2
    assert words in err
    assert "Traceback" not in err


def test_a_path_that_is_taken_is_left_alone(web: Server, runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    code, _, err = runs.run(web.put("/m.gguf", BODY), "--to", str(tmp_path / "k"))
    assert code == 2
    assert "something else" in err
