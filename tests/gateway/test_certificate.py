"""The gateway over TLS, and on every address of a machine."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plimsoll.errors import InputError
from plimsoll.gateway import Board, Gateway, GatewaySettings
from plimsoll.gateway.certificate import Certificate
from plimsoll.telemetry.metrics import GatewayMetrics
from tests.gateway.stub import CHAT, DONE, StubEngine, event, run


def write_pair(folder: Path, *, days: int = 1) -> tuple[Path, Path]:
    """A self-signed certificate for loopback and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "tls.crt", folder / "tls.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, private


@asynccontextmanager
async def listening(
    host: str, *engines: StubEngine, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    board = Board([CHAT])
    gateway = Gateway(board=board, settings=GatewaySettings(), metrics=GatewayMetrics())
    _, port = await gateway.start(host, 0, tls=tls)
    for engine in engines:
        await engine.start()
    board.update("chat", tuple(engine.upstream() for engine in engines))
    try:
        yield port
    finally:
        for engine in engines:
            await engine.kill()
        await gateway.close()


def caller(chain: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(chain)))


def test_a_stream_comes_whole_over_tls(tmp_path: Path) -> None:
    async def main() -> None:
        chain, key = write_pair(tmp_path)
        certificate = Certificate(chain, key)
        async with (
            listening("127.0.0.1", StubEngine(), tls=certificate.context) as port,
            caller(chain) as client,
        ):
            for _ in range(3):
                answer = await client.post(
                    f"https://127.0.0.1:{port}/v1/chat/completions",
                    json={"model": "chat", "messages": [{"role": "user"}], "stream": True},
                )
                assert answer.content == event("A") + event(" slice") + event(".") + DONE

    run(main)


def test_a_renewed_certificate_is_used_by_new_connections(tmp_path: Path) -> None:
    async def main() -> None:
        chain, key = write_pair(tmp_path)
        certificate = Certificate(chain, key)
        assert not certificate.renew()
        old = tmp_path / "old.crt"
        old.write_bytes(chain.read_bytes())
        async with listening("127.0.0.1", tls=certificate.context) as port:
            url = f"https://127.0.0.1:{port}/health"
            async with caller(old) as client:
                assert (await client.get(url)).status_code == 200
                _newer(write_pair(tmp_path, days=2))
                assert certificate.renew()
                assert (await client.get(url)).status_code == 200  # the open connection
            async with caller(chain) as client:
                assert (await client.get(url)).status_code == 200
            async with caller(old) as client:
                with pytest.raises(httpx.ConnectError):
                    await client.get(url)

    run(main)


def test_a_pair_that_does_not_belong_together_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        chain, key = write_pair(tmp_path)
        good = chain.read_bytes()
        certificate = Certificate(chain, key)
        (tmp_path / "other").mkdir()
        other, _ = write_pair(tmp_path / "other")
        chain.write_bytes(other.read_bytes())
        _newer((chain, key))
        with pytest.raises(InputError, match="cannot be used"):
            certificate.renew()
        chain.write_bytes(good)
        async with (
            listening("127.0.0.1", tls=certificate.context) as port,
            caller(chain) as client,
        ):
            assert (await client.get(f"https://127.0.0.1:{port}/health")).status_code == 200

    run(main)


@pytest.mark.parametrize("damage", ["missing", "no PEM"])
def test_files_that_are_no_certificate_are_refused(tmp_path: Path, damage: str) -> None:
    chain, key = write_pair(tmp_path)
    if damage == "missing":
        key.unlink()
    else:
        chain.write_text("nothing")
    with pytest.raises(InputError, match="cannot be used") as refused:
        Certificate(chain, key)
    assert "tls.crt" in str(refused.value)


def test_no_host_is_every_address_of_both_families() -> None:
    async def main() -> None:
        async with listening("") as port, httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
            if _has_ipv6():
                assert (await client.get(f"http://[::1]:{port}/health")).status_code == 200

    run(main)


def test_a_machine_without_ipv6_is_served_over_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.create_server

    def create(address: tuple[str, int], *, family: int = socket.AF_INET, **more: object) -> object:
        if family == socket.AF_INET6:
            raise OSError(99, os.strerror(99))
        return real(address, family=family, **more)  # type: ignore[arg-type]

    async def main() -> None:
        monkeypatch.setattr(socket, "create_server", create)
        async with listening("") as port, httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200

    run(main)


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def _newer(files: tuple[Path, Path]) -> None:
    """Their time changes, however coarse the file system's clock is."""
    for file in files:
        later = file.stat().st_mtime_ns + 2_000_000_000
        os.utime(file, ns=(later, later))
