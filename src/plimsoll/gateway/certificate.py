"""The gateway's certificate, read again when its files change."""

from __future__ import annotations

import ssl
from pathlib import Path

from plimsoll.errors import InputError


class Certificate:
    """A certificate chain and its key, both PEM files.

    context  for listening; connections that begin after a change get the new certificate
    """

    def __init__(self, chain: Path, key: Path) -> None:
        """Raises InputError when they cannot be read or do not belong together."""
        self._chain = chain
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._seen = self._stamp()
        self._load(self.context)

    def renew(self) -> bool:
        """Read the files again when they have changed; whether they had.

        Raises InputError when the new ones cannot be used; the old ones stay in use.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        # Tried on another context first: a pair that does not match would spoil ours.
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._load(self.context)
        return True

    def _stamp(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in (self._chain, self._key))
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._chain, self._key)
        except (OSError, ssl.SSLError) as error:
            raise self._unusable(error.strerror or str(error)) from error

    def _unusable(self, reason: str) -> InputError:
        return InputError(
            f"the certificate cannot be used: {reason}",
            where=f"{self._chain}, {self._key}",
            hint="give a PEM chain and the private key that belongs to it",
            code="gateway.certificate",
        )
