"""The scaler's certificate, read again when its files change."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from plimsoll.errors import InputError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The server's certificate; PEM files, read again when they change.

    chain      certificate and those that signed it
    key        private key
    client_ca  certificates of who signs KEDA's; None lets every client in
    """

    chain: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> Any:
        """For the server. Raises InputError where a file cannot be read."""
        first = self._read()
        stamp = [self._stamp()]

        def renewed() -> Any:
            now = self._stamp()
            if now == stamp[0]:
                return None
            try:
                configuration = self._read()
            except InputError as error:
                _log.warning("the old certificate stays in use: %s", error)
                return None
            stamp[0] = now
            return configuration

        return grpc.dynamic_ssl_server_credentials(
            first, renewed, require_client_authentication=self.client_ca is not None
        )

    def _read(self) -> Any:
        key, chain = _pem(self.key), _pem(self.chain)
        self._check()
        client_ca = None if self.client_ca is None else _pem(self.client_ca)
        return grpc.ssl_server_certificate_configuration([(key, chain)], client_ca)

    def _check(self) -> None:
        """With a key that does not belong to its chain gRPC lets nobody in, and says nothing."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.chain, self.key)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(self.chain, error.strerror or str(error)) from error

    def _stamp(self) -> tuple[int, ...]:
        try:
            return tuple(
                path.stat().st_mtime_ns
                for path in (self.chain, self.key, self.client_ca)
                if path is not None
            )
        except OSError:
            return ()


def _pem(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    if b"-----BEGIN " not in data:
        raise _unusable(path, "it is no PEM file")
    return data


def _unusable(path: Path, why: str) -> InputError:
    return InputError(
        f"the certificate cannot be used: {why}",
        where=str(path),
        hint="give a PEM chain and the private key that belongs to it",
        code="scaler.certificate",
    )
