"""`hf://owner/repo[@revision][/file]` from a Hugging Face hub, by commit, every file verified.

huggingface_hub lists the repository, finds the token and knows the endpoint (HF_ENDPOINT,
HF_TOKEN, HF_HUB_OFFLINE). The bytes are read by `ranged`: the library's own download begins
anew after a crash, and cannot be left in the middle.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from plimsoll.errors import MissingExtra, SourceError
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

_TIMEOUT = 20.0  # seconds
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@contextmanager
def connect(source: Source, where: str) -> Iterator[Origin]:
    """A repository of a hub. Raises MissingExtra."""
    library = _library()
    with connection(where) as client:
        yield HubRepository(library, client, source, where)


class HubRepository:
    """One repository, from its listing on at one commit."""

    def __init__(self, library: ModuleType, client: Connection, source: Source, where: str) -> None:
        self._library = library
        self._client = client
        self._source = source
        self._where = where
        self._endpoint = (os.environ.get("HF_ENDPOINT") or library.constants.ENDPOINT).rstrip("/")
        parts = urlsplit(self._endpoint)
        self._site = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # without a password
        self._token: str | None = library.get_token()

    def listing(self) -> Listing:
        """The repository's files at the revision's commit. Raises Transient, SourceError."""
        api = self._library.HfApi(endpoint=self._endpoint, token=self._token or False)
        with self._explained():
            found = api.model_info(
                self._source.repository,
                revision=self._source.revision or None,
                files_metadata=True,
                timeout=_TIMEOUT,
            )
        commit = found.sha or self._source.revision or "main"
        files = tuple(self._listed(file, commit) for file in found.siblings or ())
        return Listing(files=files, named=self._source.path)

    def describe(self, file: RemoteFile) -> RemoteFile:
        """With size and digest, asked by HEAD where the listing of a mirror had none."""
        if file.digest is not None and file.bytes is not None:
            return file
        with self._explained():
            found = self._library.get_hf_file_metadata(
                file.address, token=self._token or False, timeout=_TIMEOUT, endpoint=self._endpoint
            )
        # Mirrors invent tags of 40 digits; one of 64 is the SHA-256 that large files are named by.
        told = _digest(found.etag or "")
        sha256 = told if told is not None and told.algorithm == "sha256" else None
        return replace(file, bytes=found.size, digest=file.digest or sha256)

    @contextmanager
    def open(self, file: RemoteFile, *, offset: int, validator: str | None) -> Iterator[Stream]:
        """The bytes from `offset` on. Raises Transient, SourceError."""
        # Where a hash will prove the content, tags are not compared: those of a hub and of its
        # content network differ, and a moved file would begin anew for nothing.
        tag = validator if file.digest is None else None
        bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            with self._client.open(
                file.address, offset=offset, validator=tag, headers=bearer
            ) as stream:
                yield stream
        except Refused as refusal:
            raise self._refused(refusal.status, refusal.code) from refusal

    def _listed(self, file: Any, commit: str) -> RemoteFile:
        size: int | None = file.lfs.size if file.lfs else file.size
        hashed: str | None = file.lfs.sha256 if file.lfs else file.blob_id
        return RemoteFile(
            path=file.rfilename,
            address=self._library.hf_hub_url(
                self._source.repository, file.rfilename, revision=commit, endpoint=self._endpoint
            ),
            bytes=size,
            # The hash of git covers the size, so it is of no use without.
            digest=None if size is None else _digest(hashed or ""),
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        errors = self._library.errors
        # The library's HTTP package differs by its version; its base error is always this.
        network: type[Exception] = errors.HfHubHTTPError.__mro__[1]
        try:
            yield
        except errors.OfflineModeIsEnabled as error:
            raise self._error(
                "offline", "HF_HUB_OFFLINE is set, and it is not in the cache"
            ) from error
        except errors.HfHubHTTPError as error:
            response = error.response
            code = response.headers.get("X-Error-Code", "")
            if response.status_code in _TRANSIENT:
                raise Transient(f"the hub answered {response.status_code}") from error
            raise self._refused(response.status_code, code) from error
        except errors.HFValidationError as error:
            raise self._error("not-found", "this is no name of a repository") from error
        except network as error:
            raise Transient(f"the hub {self._site} cannot be reached") from error
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise self._error(
                "unreachable",
                f"{self._site} does not answer like a hub",
                "check HF_ENDPOINT and proxies",
            ) from error

    def _refused(self, status: int, code: str) -> SourceError:
        repository, revision = self._source.repository, self._source.revision or "main"
        token = "a token with access" if self._token else "HF_TOKEN to a token with access"
        if code == "GatedRepo":
            hint = f"accept its terms at {self._site}/{repository} and set {token}"
            return self._error("gated", f"`{repository}` is gated", hint)
        if code == "RevisionNotFound":
            hint = "name a branch, a tag or a commit"
            return self._error("not-found", f"`{repository}` has no revision `{revision}`", hint)
        if code == "EntryNotFound":
            return self._error("not-found", f"`{repository}` lacks a file that it lists")
        if status == 401 and self._token and not code:
            return self._error(
                "forbidden",
                "the hub does not accept the token",
                "check HF_TOKEN; it may be expired",
            )
        if code == "RepoNotFound" or status in (401, 404):
            hint = f"check the spelling; if it is private, set {token}"
            return self._error("not-found", f"there is no repository `{repository}`", hint)
        if status == 403:
            return self._error("forbidden", f"`{repository}` is not open to you", f"set {token}")
        return self._error("refused", f"the hub answered {status}")

    def _error(self, code: str, message: str, hint: str | None = None) -> SourceError:
        return SourceError(message, where=self._where, hint=hint, code=f"source.{code}")


def _digest(text: str) -> Digest | None:
    if not _HEX.fullmatch(text):
        return None
    return Digest(algorithm="sha256" if len(text) == 64 else "git-sha1", hex=text)


def _library() -> ModuleType:
    try:
        import huggingface_hub  # noqa: PLC0415 - optional, and slow to import
        import huggingface_hub.constants  # noqa: PLC0415 - as above; no attribute until imported
        import huggingface_hub.errors  # noqa: PLC0415 - as above
    except ImportError as error:
        raise MissingExtra(
            "fetching from a model hub needs the package huggingface_hub",
            hint="pip install 'plimsoll[local]'",
        ) from error
    return huggingface_hub
