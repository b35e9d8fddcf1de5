"""A cache, and servers on loopback; nothing here can reach the network."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plimsoll.worlds.local.sources import Artifact, Cache, Patience, fetch
from tests.worlds.sources.servers import Hub, Server, Store, serving

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secretsecretsecret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*PROXIES, *map(str.upper, PROXIES), "HF_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not ipaddress.ip_address(address[0]).is_loopback:
            raise AssertionError(f"a test wants to reach {address}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@dataclass
class Told:
    """Remembers the progress that was told."""

    calls: list[tuple[str, int, int | None]] = field(default_factory=list)

    def __call__(self, *, source: str, done: int, total: int | None) -> None:
        self.calls.append((source, done, total))


Fetch = Callable[..., Artifact]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as cache:
        yield cache


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def get(cache: Cache, told: Told) -> Fetch:
    def run(source: str, **options: Any) -> Artifact:
        options.setdefault("cache", cache)
        options.setdefault("patience", Patience(tries=4, first=0.01, longest=0.05))
        options.setdefault("progress", told)
        options.setdefault("cancelled", lambda: False)
        return fetch(source, **options)

    return run


@pytest.fixture
def web() -> Iterator[Server]:
    with serving(Server()) as server:
        yield server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving(Hub()) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with serving(Store()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
