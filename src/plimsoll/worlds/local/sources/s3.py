"""`s3://bucket/key-or-prefix` with boto3: its credentials, profiles and AWS_ENDPOINT_URL."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

from plimsoll.errors import MissingExtra, SourceError
from plimsoll.fleet.source import Source
from plimsoll.worlds.local.sources.remote import (
    Changed,
    Digest,
    Listing,
    Origin,
    RemoteFile,
    Stream,
    Transient,
)

_CHUNK = 64 * 1024  # bytes; what is asked for at once is lost when the line breaks
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHANGED = frozenset({412, 416})


@contextmanager
def connect(source: Source, where: str) -> Iterator[Origin]:
    """A key or prefix of a bucket. Raises MissingExtra, SourceError."""
    boto3, botocore = _libraries()
    logging.getLogger("botocore").setLevel(logging.WARNING)  # below, it prints signatures
    session = boto3.Session()
    try:
        known = session.get_credentials() is not None
        # Without credentials the request goes out unsigned, as public buckets allow.
        signing = {} if known else {"signature_version": botocore.UNSIGNED}
        config = botocore.config.Config(
            connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 1}, **signing
        )
        client = session.client("s3", config=config)
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise SourceError(
            f"the settings for S3 are wrong ({type(error).__name__})",
            where=where,
            hint="check the AWS_ variables and the profile",
            code="source.credentials",
        ) from error
    try:
        yield BucketFolder(botocore, client, source, signed=known, where=where)
    finally:
        client.close()


class BucketFolder:
    """One object, or all objects under a prefix.

    signed  whether credentials were found
    """

    def __init__(
        self, botocore: ModuleType, client: Any, source: Source, *, signed: bool, where: str
    ) -> None:
        self._botocore = botocore
        self._client = client
        self._bucket = source.bucket
        self._key = source.path
        self._signed = signed
        self._where = where

    def listing(self) -> Listing:
        """The object of that key, else those below it. Raises Transient, SourceError."""
        if not self._key.endswith("/"):
            found = self._object()
            if found is not None:
                return Listing(files=self._with_other_parts(found), named=found.path)
        prefix = f"{self._key.rstrip('/')}/"
        listed = self._list(prefix)
        if not listed:
            raise self._error(
                "not-found",
                f"there is neither an object `{self._key}` nor one below it in `{self._bucket}`",
                "check bucket and key",
            )
        return Listing(files=listed, named="")

    def describe(self, file: RemoteFile) -> RemoteFile:
        """With size, ETag as validator, and a checksum where the store has one."""
        with self._explained(file.address):
            head = self._client.head_object(
                Bucket=self._bucket, Key=file.address, ChecksumMode="ENABLED"
            )
        digest = file.digest if file.pinned else _digest(head)
        return replace(file, bytes=head["ContentLength"], validator=head["ETag"], digest=digest)

    @contextmanager
    def open(self, file: RemoteFile, *, offset: int, validator: str | None) -> Iterator[Stream]:
        """The bytes from `offset` on. Raises Transient, SourceError."""
        wanted = {"Range": f"bytes={offset}-"} if offset else {}
        tag = validator or file.validator
        with self._explained(file.address):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=file.address, IfMatch=tag, **wanted
            )
            body = answer["Body"]
            try:
                length = answer["ContentLength"]
                if answer.get("ETag") != tag:
                    raise Changed("the object changed")
                ranged = offset > 0 and "ContentRange" in answer
                yield Stream(
                    offset=offset if ranged else 0,
                    total=length + offset if ranged else length,
                    validator=tag,
                    delimited=True,
                    chunks=body.iter_chunks(_CHUNK),
                )
            finally:
                body.close()

    def _object(self) -> RemoteFile | None:
        try:
            with self._explained(self._key):
                self._client.head_object(Bucket=self._bucket, Key=self._key)
        except SourceError as error:
            if error.code == "source.not-found":
                return None
            raise
        return RemoteFile(path=self._key.rpartition("/")[2], address=self._key)

    def _with_other_parts(self, found: RemoteFile) -> tuple[RemoteFile, ...]:
        stem = re.sub(r"-[0-9]{5}-of-[0-9]{5}\.gguf$", "", self._key)
        return (found,) if stem == self._key else self._list(f"{stem}-", found)

    def _list(self, prefix: str, named: RemoteFile | None = None) -> tuple[RemoteFile, ...]:
        cut = len(self._key) - len(named.path) if named else len(prefix)
        found = []
        with self._explained(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    key = item["Key"]
                    if not key.endswith("/"):
                        found.append(RemoteFile(path=key[cut:], address=key, bytes=item["Size"]))
        return tuple(found)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        failures = self._botocore.exceptions
        try:
            yield
        except failures.ClientError as error:
            raise self._answered(error, key) from error
        except (failures.NoCredentialsError, failures.PartialCredentialsError) as error:
            raise self._error(
                "credentials", "the credentials for S3 are not complete", "check the AWS_ variables"
            ) from error
        except failures.SSLError as error:
            raise self._error(
                "untrusted",
                "the certificate of the object store is not trusted",
                "set AWS_CA_BUNDLE",
            ) from error
        except failures.BotoCoreError as error:
            # Time-outs, refused and cut connections, a body that ends early.
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
            raise Transient(f"the object store does not answer properly ({words})") from error
        except OSError as error:
            raise Transient("the connection to the object store broke") from error

    def _answered(self, error: Any, key: str) -> SourceError | Transient:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if status in _TRANSIENT or code in ("SlowDown", "InternalError", "RequestTimeout"):
            return Transient(f"the object store answered {status}")
        if status in _CHANGED:
            return Changed("the object changed")
        if code == "NoSuchBucket":
            return self._error(
                "not-found", f"there is no bucket `{self._bucket}`", "check its name"
            )
        if status == 404:
            return self._error("not-found", f"there is no object `{key}` in `{self._bucket}`")
        if status in (401, 403):
            why = (
                "the credentials found do not allow it"
                if self._signed
                else "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or AWS_PROFILE"
            )
            return self._error("forbidden", f"access to `{key}` in `{self._bucket}` is denied", why)
        return self._error("refused", f"the object store answered {status} {code}".rstrip())

    def _error(self, code: str, message: str, hint: str | None = None) -> SourceError:
        return SourceError(message, where=self._where, hint=hint, code=f"source.{code}")


def _digest(head: dict[str, Any]) -> Digest | None:
    sha256 = head.get("ChecksumSHA256", "")
    if sha256 and "-" not in sha256:
        return Digest(algorithm="sha256", hex=base64.b64decode(sha256).hex())
    # The tag of an object in one part is its MD5, unless a key encrypts it.
    own_key = (
        head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head
    )
    match = _MD5.fullmatch(head["ETag"])
    return None if own_key or match is None else Digest(algorithm="md5", hex=match[1])


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import boto3  # noqa: PLC0415 - optional, and slow to import
        import botocore  # noqa: PLC0415 - as above
        import botocore.config  # noqa: PLC0415 - as above
        import botocore.exceptions  # noqa: PLC0415 - as above
    except ImportError as error:
        raise MissingExtra(
            "fetching from S3 needs the package boto3", hint="pip install 'plimsoll[s3]'"
        ) from error
    return boto3, botocore
