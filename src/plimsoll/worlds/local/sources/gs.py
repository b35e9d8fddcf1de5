"""`gs://bucket/object-or-prefix` by Google's JSON API, with a token or the machine's identity."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote, urlencode

import msgspec

from plimsoll.errors import SourceError
from plimsoll.fleet.source import Source
from plimsoll.worlds.local.sources.ranged import Connection, Refused, connection
from plimsoll.worlds.local.sources.remote import (
    Digest,
    Listing,
    Origin,
    RemoteFile,
    Stream,
    Transient,
)
from plimsoll.worlds.local.sources.selection import is_part

TOKEN = "GOOGLE_OAUTH_ACCESS_TOKEN"  # noqa: S105 -- the variable's name
_HOST = "https://storage.googleapis.com"
_METADATA = "metadata.google.internal"
_PATIENCE = 2.0  # seconds for the metadata server, which is near or not there
_LARGEST = 64 * 1024 * 1024  # bytes of one page of a listing
_FIELDS = "items(name,size,md5Hash,generation),nextPageToken"


class _Object(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One object as the API lists it; sizes are decimal text."""

    name: str
    size: str
    generation: str
    md5_hash: str = ""


class _Page(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of a listing."""

    items: tuple[_Object, ...] = ()
    next_page_token: str = ""


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    """What the metadata server answers."""

    access_token: str


@contextmanager
def connect(source: Source, where: str) -> Iterator[Origin]:
    """An object or prefix of a bucket. Raises MissingExtra."""
    with connection(where) as client:
        yield GoogleBucket(client, source, token=_token(), where=where)


class GoogleBucket:
    """One object, or all objects under a prefix.

    token  bearer token; None: asked as anyone
    """

    def __init__(
        self, client: Connection, source: Source, *, token: str | None, where: str
    ) -> None:
        self._client = client
        self._key = source.path
        self._where = where
        self._signed = token is not None
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        base = (os.environ.get("STORAGE_EMULATOR_HOST") or _HOST).rstrip("/")
        self._base = f"{base}/storage/v1/b/{quote(source.bucket, safe='')}/o"

    def listing(self) -> Listing:
        """The object of that name, else those below it. Raises Transient, SourceError."""
        found = self._list(self._key.rstrip("/"))
        exact = next((one for one in found if one.name == self._key), None)
        if exact is not None and not self._key.endswith("/"):
            return self._one(exact, found)
        prefix = f"{self._key.rstrip('/')}/"
        below = [one for one in found if one.name.startswith(prefix) and one.name[-1] != "/"]
        if not below:
            raise self._error(
                "not-found",
                f"there is neither an object `{self._key}` nor one below it",
                "check bucket and name",
            )
        return Listing(files=tuple(self._file(one, len(prefix)) for one in below), named="")

    def describe(self, file: RemoteFile) -> RemoteFile:
        """The same: the listing has said everything."""
        return file

    @contextmanager
    def open(self, file: RemoteFile, *, offset: int, validator: str | None) -> Iterator[Stream]:
        """The bytes from `offset` on. Raises Transient, SourceError."""
        try:
            # The address names a generation, whose content never changes.
            with self._client.open(file.address, offset=offset, headers=self._headers) as stream:
                yield replace(stream, validator=file.validator)
        except Refused as refusal:
            raise self._refused(refusal.status) from refusal

    def _one(self, exact: _Object, found: list[_Object]) -> Listing:
        cut = len(exact.name) - len(exact.name.rpartition("/")[2])
        folder = exact.name[:cut]
        beside = found if not is_part(exact.name[cut:]) else self._list(folder)
        files = [
            self._file(one, cut)
            for one in beside
            if one.name.startswith(folder) and "/" not in one.name[cut:]
        ]
        return Listing(files=tuple(files), named=exact.name[cut:])

    def _file(self, one: _Object, cut: int) -> RemoteFile:
        query = urlencode({"alt": "media", "generation": one.generation})
        return RemoteFile(
            path=one.name[cut:],
            address=f"{self._base}/{quote(one.name, safe='')}?{query}",
            bytes=int(one.size),
            digest=_digest(one.md5_hash),
            validator=f"generation {one.generation}",
        )

    def _list(self, prefix: str) -> list[_Object]:
        found: list[_Object] = []
        page = ""
        while True:
            query = {"prefix": prefix, "fields": _FIELDS, **({"pageToken": page} if page else {})}
            read = self._page(f"{self._base}?{urlencode(query)}")
            found.extend(read.items)
            page = read.next_page_token
            if not page:
                return found

    def _page(self, url: str) -> _Page:
        try:
            with self._client.open(url, offset=0, headers=self._headers) as stream:
                text = b""
                for chunk in stream.chunks:
                    text += chunk
                    if len(text) > _LARGEST:
                        raise self._unreadable()
        except Refused as refusal:
            raise self._refused(refusal.status) from refusal
        try:
            return msgspec.json.decode(text, type=_Page)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._unreadable() from error

    def _unreadable(self) -> SourceError:
        return self._error(
            "unreachable", "this does not answer like Cloud Storage", "check STORAGE_EMULATOR_HOST"
        )

    def _refused(self, status: int) -> SourceError | Transient:
        if status in (401, 403):
            hint = (
                "give its account the right to read objects"
                if self._signed
                else f"set {TOKEN}, or use Workload Identity"
            )
            return self._error("forbidden", "the bucket is not open to you", hint)
        if status == 404:
            return self._error("not-found", "there is no such bucket or object", "check the name")
        return self._error("refused", f"Cloud Storage answered {status}", "check the name")

    def _error(self, code: str, message: str, hint: str) -> SourceError:
        return SourceError(message, where=self._where, hint=hint, code=f"source.{code}")


def _digest(md5: str) -> Digest | None:
    """The MD5 sum that the API gives in base64; objects composed of others have none."""
    try:
        raw = base64.b64decode(md5, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Digest(algorithm="md5", hex=raw.hex()) if len(raw) == 16 else None


def _token() -> str | None:
    """The token that was given, else that of the machine's or pod's identity."""
    given = os.environ.get(TOKEN)
    if given or os.environ.get("STORAGE_EMULATOR_HOST") or os.environ.get("NO_GCE_CHECK"):
        return given or None
    import httpx  # noqa: PLC0415 - optional, and slow to import

    host = os.environ.get("GCE_METADATA_HOST") or _METADATA
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    try:
        # Never through a proxy: what answers must be this machine's own.
        answer = httpx.get(
            url, headers={"Metadata-Flavor": "Google"}, timeout=_PATIENCE, trust_env=False
        )
        if answer.headers.get("Metadata-Flavor") != "Google" or answer.status_code != 200:
            return None
        return msgspec.json.decode(answer.content, type=_Token).access_token
    except (httpx.HTTPError, msgspec.DecodeError):
        return None  # not on Google's machines, or without an account: as anyone
