"""Starts the installed `plimsoll up` for a test and ends it on every path."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

PLIMSOLL = str(Path(sys.executable).with_name("plimsoll"))
PATIENCE = 60.0  # seconds; a loaded machine is slow, a broken one never gets there


def wait_for(condition: Any, *, what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer of `condition()`, or an AssertionError naming `what`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass
class Up:
    """A running `plimsoll up --json`: its process, events and address."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    events: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def event(self, kind: str, **match: Any) -> dict[str, Any]:
        """Wait for an event."""

        def find() -> dict[str, Any] | None:
            for event in list(self.events):
                if event["event"] == kind and all(event.get(k) == v for k, v in match.items()):
                    return event
            if self.process.poll() is not None:
                raise AssertionError(f"`up` ended with {self.process.returncode}: {self.errors}")
            return None

        found: dict[str, Any] = wait_for(
            find, what=f"{kind} {match}, saw {self.events} {self.errors}"
        )
        return found

    @property
    def url(self) -> str:
        """The gateway's address."""
        return str(self.event("listening")["url"])

    def status(self) -> dict[str, Any]:
        """What `plimsoll status --json` says of this run."""
        done = run("status", "--json", environment=self.environment)
        fleets = [f for f in json.loads(done.stdout)["fleets"] if f["pid"] == self.process.pid]
        return fleets[0] if fleets else {}

    def replicas(self, model: str) -> list[dict[str, Any]]:
        """The replicas of a model, from status."""
        return [r for m in self.status()["models"] if m["name"] == model for r in m["replicas"]]

    def engines(self) -> list[psutil.Process]:
        """Every process below `up`."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def engine_of(self, replica: str) -> psutil.Process:
        """The process that listens at a replica's address."""
        port = next(
            int(r["address"].rpartition(":")[2])
            for m in self.status()["models"]
            for r in m["replicas"]
            if r["name"] == replica
        )
        for process in self.engines():
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return process
        raise AssertionError(f"nobody listens on {port}")

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def environment_in(folder: Path) -> dict[str, str]:
    """The environment of a run that keeps everything in one folder."""
    return {
        **os.environ,
        "PLIMSOLL_STATE": str(folder / "state"),
        "PLIMSOLL_CACHE": str(folder / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_COLOR": "1",
    }


def run(
    *arguments: str, environment: dict[str, str], text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command of ours to its end."""
    return subprocess.run(
        [PLIMSOLL, *arguments],
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@contextmanager
def up(folder: Path, *, fleet: str | None = None, arguments: tuple[str, ...] = ()) -> Iterator[Up]:
    """A running fleet; when the block ends nothing of it is left, whatever happened."""
    environment = environment_in(folder)
    files: tuple[str, ...] = ()
    if fleet is not None:
        (folder / "fleet.yaml").write_text(fleet)
        files = (str(folder / "fleet.yaml"),)
    process = subprocess.Popen(
        [PLIMSOLL, "up", "--json", "--port", "0", *arguments, *files],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = Up(process=process, environment=environment)
    readers = [
        threading.Thread(target=_read_events, args=(process.stdout, started.events), daemon=True),
        threading.Thread(target=_read_lines, args=(process.stderr, started.errors), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        yield started
    finally:
        family = [psutil.Process(process.pid)] if process.poll() is None else []
        family += family[0].children(recursive=True) if family else []
        for member in family:
            member.kill()
        process.wait(PATIENCE)
        for reader in readers:
            reader.join(PATIENCE)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _read_events(pipe: Any, events: list[dict[str, Any]]) -> None:
    events.extend(json.loads(line) for line in pipe)


def _read_lines(pipe: Any, lines: list[str]) -> None:
    lines.extend(line.rstrip("\n") for line in pipe)
