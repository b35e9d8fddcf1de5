"""`https://host/path`, and `http://` on this machine: one file, resumed while it is unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from plimsoll.errors import InputError, SourceError
from plimsoll.fleet.source import Source
from plimsoll.worlds.local.sources.ranged import Connection, Refused, allowed, connection
from plimsoll.worlds.local.sources.remote import Listing, Origin, RemoteFile, Stream
from plimsoll.worlds.local.sources.selection import is_part, safe_path

_HINTS = {
    401: "the file needs a login; use a signed URL",
    403: "access is denied; a signed URL may have expired",
    404: "check the address",
    410: "the file was withdrawn",
}


@contextmanager
def connect(source: Source, where: str) -> Iterator[Origin]:
    """The file at a URL. Raises InputError, MissingExtra."""
    url, _, _ = source.text.partition("#")
    if not allowed(url):
        raise InputError(
            "plain http is only for this machine itself",
            where=where,
            hint="use https",
            code="source.insecure",
        )
    name = _name(url, where)
    if is_part(name):
        raise InputError(
            f"`{name}` is one part of a model in several files, and a URL names one file",
            where=where,
            hint="use `hf://` or `s3://`, or fetch all parts and use `file:`",
            code="source.incomplete",
        )
    with connection(where) as client:
        yield WebFile(client, url, name=name, where=where)


class WebFile:
    """One file at one URL."""

    def __init__(self, client: Connection, url: str, *, name: str, where: str) -> None:
        self._client = client
        self._url = url
        self._name = name
        self._where = where

    def listing(self) -> Listing:
        """The one file; nothing is asked, its answer will tell the rest."""
        return Listing(files=(RemoteFile(path=self._name, address=self._url),), named=self._name)

    def describe(self, file: RemoteFile) -> RemoteFile:
        """The same: nothing is known before the answer."""
        return file

    @contextmanager
    def open(self, file: RemoteFile, *, offset: int, validator: str | None) -> Iterator[Stream]:
        """The bytes from `offset` on. Raises Transient, SourceError."""
        try:
            with self._client.open(file.address, offset=offset, validator=validator) as stream:
                yield stream
        except Refused as refusal:
            raise SourceError(
                f"the server answered {refusal.status}",
                where=self._where,
                hint=_HINTS.get(refusal.status, "check the address"),
                code="source.not-found" if refusal.status in (404, 410) else "source.refused",
            ) from refusal


def _name(url: str, where: str) -> str:
    last = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    plain = re.sub(r"[^\w.+-]", "_", last).lstrip(".") or "model"
    return safe_path(plain[-200:], where=where)
