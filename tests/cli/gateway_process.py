"""`plimsoll gateway` as a child process, and what a cluster would tell it of its replicas."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

PATIENCE = 60.0  # seconds; a loaded machine is slow, a broken one never gets there


def wait_for(condition: Callable[[], Any], *, what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer of `condition()`, or an AssertionError naming `what`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class GatewayProcess:
    """A running `plimsoll gateway`.

    events    what it said of itself, one JSON object a line of stderr
    accesses  one per request, from stdout
    """

    process: subprocess.Popen[str]
    url: str
    events: list[dict[str, Any]] = field(default_factory=list)
    accesses: list[dict[str, Any]] = field(default_factory=list)

    def said(self, text: str) -> bool:
        return any(text in event.get("message", "") for event in list(self.events))

    def metrics(self) -> dict[str, float]:
        """Every sample of its metrics, by name and labels."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        rows = (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in rows}

    def ready(self, model: str) -> int:
        """Replicas of a model that get work."""
        return int(self.metrics().get(f'plimsoll_gateway_replicas_ready{{model="{model}"}}', -1))

    def models(self) -> list[str]:
        body = httpx.get(f"{self.url}/v1/models", timeout=30).json()
        return [row["id"] for row in body["data"]]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


# The command as the `plimsoll` program would run it.
_MAIN = "from plimsoll.cli import main as m; m.COMMANDS.setdefault('gateway', ''); m.main()"


@contextmanager
def gateway_process(
    *arguments: str, listens: bool = True, scheme: str = "http", **variables: str
) -> Iterator[GatewayProcess]:
    """The gateway on a free port of loopback; ended on every path.

    listens    wait until it does
    variables  further environment
    """
    port = free_port()
    command = [sys.executable, "-c", _MAIN, "gateway", "--port", str(port), *arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running = GatewayProcess(process=process, url=f"{scheme}://127.0.0.1:{port}")
    readers = [
        threading.Thread(target=_read, args=(process.stdout, running.accesses), daemon=True),
        threading.Thread(target=_read, args=(process.stderr, running.events), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        if listens:
            wait_for(
                lambda: running.said("listening") or process.poll() is not None,
                what="the gateway listens",
            )
            assert process.poll() is None, running.events
        yield running
    finally:
        process.kill()
        process.wait(PATIENCE)
        for reader in readers:
            reader.join(PATIENCE)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def _read(stream: Any, into: list[dict[str, Any]]) -> None:
    for line in stream:
        try:
            into.append(json.loads(line))
        except json.JSONDecodeError:
            into.append({"message": line.rstrip(), "plain": True})


def endpoint_slice(
    service: str,
    pod: str,
    address: str,
    *,
    namespace: str = "default",
    ready: bool = True,
    terminating: bool = False,
) -> dict[str, Any]:
    """A slice with one endpoint, as the endpoint controller writes it. Ready at `host:port`."""
    host, _, port = address.rpartition(":")
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{pod}",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [host],
                "conditions": {"ready": ready, "serving": True, "terminating": terminating},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace},
            }
        ],
        "ports": [{"name": "http", "port": int(port), "protocol": "TCP"}],
    }
