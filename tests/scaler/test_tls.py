"""TLS: the server's certificate, clients that must have one, and certificates that change."""

import asyncio
import datetime as dt
import ipaddress
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plimsoll.errors import InputError
from plimsoll.scaler.tls import Tls
from tests.scaler.conftest import CHAT, keda, load, offered, ref


class Authority:
    """Signs certificates for loopback."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self.name, self.key, authority=True)
        self.pem = folder / f"{name}.crt"
        self.pem.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(self, subject, key, *, authority=False):
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )

    def sign(self, name: str) -> tuple[Path, Path]:
        """Chain and key of a new certificate, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        chain, private = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        signed = self._signed(subject, key)
        chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return chain, private


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")


def asked(tls: Tls, credentials) -> bool:
    async def ask() -> bool:
        decisions = offered()
        decisions.look(CHAT, load(5))
        async with keda(decisions, tls=tls, credentials=credentials) as client:
            return (await client.IsActive(ref(), timeout=5)).result

    return asyncio.run(ask())


def test_a_client_that_knows_the_authority_is_answered(authority):
    chain, key = authority.sign("scaler")
    credentials = grpc.ssl_channel_credentials(authority.pem.read_bytes())
    assert asked(Tls(chain=chain, key=key), credentials)


def test_a_client_that_does_not_know_it_refuses_the_server(authority, tmp_path):
    chain, key = authority.sign("scaler")
    other = Authority(tmp_path, "other")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asked(Tls(chain=chain, key=key), grpc.ssl_channel_credentials(other.pem.read_bytes()))
    assert caught.value.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )


def test_with_an_authority_for_clients_only_those_that_it_signed_are_let_in(authority, tmp_path):
    chain, key = authority.sign("scaler")
    tls = Tls(chain=chain, key=key, client_ca=authority.pem)
    root = authority.pem.read_bytes()
    mine_chain, mine_key = authority.sign("keda")
    assert asked(
        tls, grpc.ssl_channel_credentials(root, mine_key.read_bytes(), mine_chain.read_bytes())
    )
    their_chain, their_key = Authority(tmp_path, "other").sign("stranger")
    for credentials in (
        grpc.ssl_channel_credentials(root),
        grpc.ssl_channel_credentials(root, their_key.read_bytes(), their_chain.read_bytes()),
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            asked(tls, credentials)


def test_a_certificate_that_changed_is_used_from_the_next_connection_on(authority, tmp_path):
    chain, key = authority.sign("scaler")
    other = Authority(tmp_path, "other")

    async def check():
        decisions = offered()
        decisions.look(CHAT, load(5))
        first = grpc.ssl_channel_credentials(authority.pem.read_bytes())
        async with keda(decisions, tls=Tls(chain=chain, key=key), credentials=first) as client:
            assert (await client.IsActive(ref(), timeout=5)).result
            port = client.port
            new_chain, new_key = other.sign("renewed")
            new_chain.replace(chain)
            new_key.replace(key)
            second = grpc.ssl_channel_credentials(other.pem.read_bytes())
            async with grpc.aio.secure_channel(f"127.0.0.1:{port}", second) as channel:
                again = client.over(channel)
                assert (await again.IsActive(ref(), timeout=5)).result

    asyncio.run(check())


@pytest.mark.parametrize("what", ["missing", "no PEM", "another key"])
def test_a_certificate_that_cannot_be_used_is_refused_with_its_path(authority, tmp_path, what):
    chain, key = authority.sign("scaler")
    if what == "missing":
        key = tmp_path / "none.key"
    elif what == "no PEM":
        chain.write_text("x")
    else:
        _, key = authority.sign("other")
    with pytest.raises(InputError) as caught:
        Tls(chain=chain, key=key).credentials()
    assert str(tmp_path) in caught.value.where
    assert caught.value.hint
