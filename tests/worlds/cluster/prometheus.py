"""A real Prometheus on loopback, for the length of a block, that scrapes as our monitors say."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from plimsoll.worlds.cluster.objects.monitors import Scrape, scrape_jobs, scrapes
from plimsoll.worlds.cluster.objects.names import COMPONENT
from plimsoll.worlds.cluster.objects.site import Site

PROGRAM = shutil.which("prometheus")
PATIENCE = 30.0  # seconds
needs_prometheus = pytest.mark.skipif(PROGRAM is None, reason="prometheus is not installed")


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod as discovery would show it.

    address  `host:port` of its metrics
    labels   that the pod has
    """

    name: str
    namespace: str
    address: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """One that runs. url  of its API"""

    url: str

    async def query(self, promql: str) -> dict[str, Any]:
        """The whole answer to an instant query."""
        async with httpx.AsyncClient() as client:
            reply = await client.post(f"{self.url}/api/v1/query", data={"query": promql})
        found: dict[str, Any] = reply.json()
        return found


@contextmanager
def prometheus(folder: Path, site: Site, pods: Sequence[Pod]) -> Iterator[Prometheus]:
    """Scrapes those pods once a second, by the jobs that stand for the site's monitors."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        _job(scrape, job, pods)
        for scrape, job in zip(scrapes(site), scrape_jobs(site), strict=True)
    ]
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"scrape_configs": jobs}))
    port = _free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(PROGRAM), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )  # fmt: skip
        try:
            _wait(process, f"http://127.0.0.1:{port}/-/ready", folder / "log")
            yield Prometheus(url=f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _job(scrape: Scrape, job: dict[str, Any], pods: Sequence[Pod]) -> dict[str, Any]:
    """The job with the pods of its component instead of Kubernetes' discovery."""
    del job["kubernetes_sd_configs"]
    targets = [
        {"targets": [pod.address], "labels": _discovered(pod, scrape)}
        for pod in pods
        if pod.labels[COMPONENT] == scrape.labels[COMPONENT]
    ]
    fast = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    return {**job, **fast, "static_configs": targets}


def _discovered(pod: Pod, scrape: Scrape) -> dict[str, str]:
    """What discovery of role `pod` says of a pod; the port is the one that it declares."""
    prefix = "__meta_kubernetes_pod"
    named = str.maketrans("./-", "___")
    return {
        "__meta_kubernetes_namespace": pod.namespace,
        f"{prefix}_name": pod.name,
        f"{prefix}_phase": "Running",
        f"{prefix}_container_port_number": str(scrape.port),
        **{f"{prefix}_label_{label.translate(named)}": text for label, text in pod.labels.items()},
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"Prometheus is not ready: {log.read_text()}")
