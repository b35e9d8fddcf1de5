from __future__ import annotations

import base64
import hashlib
import random

import pytest

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources import Cache
from tests.worlds.sources.conftest import Fetch
from tests.worlds.sources.servers import Fault, Store
from tests.worlds.sources.test_hub import BESIDE, FOLDER

BODY = b"GGUF" + random.Random(4).randbytes(300_000)


def test_an_object_is_fetched(store: Store, get: Fetch) -> None:
    store.add("models", "llm/m.gguf", BODY)
    found = get("s3://models/llm/m.gguf")
    assert found.path.read_bytes() == BODY
    assert found.sha256 == hashlib.sha256(BODY).hexdigest()


def test_a_prefix_is_a_folder_also_over_several_pages(store: Store, get: Fetch) -> None:
    for name, body in {**FOLDER, **BESIDE}.items():
        store.add("models", f"llm/m/{name}", body)
    store.add("models", "llm/m/", b"")
    store.add("models", "llm/mother/other.gguf", BODY)
    found = get("s3://models/llm/m")
    assert found.format == "safetensors"
    assert {p.name: p.read_bytes() for p in found.path.iterdir()} == FOLDER


def test_every_part_beside_a_named_part_is_fetched(store: Store, get: Fetch) -> None:
    for i in (1, 2, 3):
        store.add("models", f"q/m-{i:05d}-of-00003.gguf", BODY + bytes([i]))
    found = get("s3://models/q/m-00001-of-00003.gguf")
    assert found.bytes == 3 * len(BODY) + 3
    assert len(list(found.path.parent.iterdir())) == 3


def test_a_cut_object_is_continued_by_range_and_tag(store: Store, get: Fetch) -> None:
    store.add("models", "m.gguf", BODY)
    store.faults.append(Fault(cut=200_000))
    assert get("s3://models/m.gguf").path.read_bytes() == BODY
    first, second = store.gets("m.gguf")
    assert first.range is None
    start = int((second.range or "").removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= 200_000
    assert second.headers["if-match"] == store.buckets["models"]["m.gguf"].etag


def test_an_object_that_changes_in_between_is_begun_anew(store: Store, get: Fetch) -> None:
    store.add("models", "m.gguf", BODY)
    store.faults.append(Fault(cut=200_000))
    other = b"GGUF" + random.Random(5).randbytes(250_000)
    store.after_get.append(lambda: store.add("models", "m.gguf", other))
    assert get("s3://models/m.gguf").path.read_bytes() == other


def test_an_object_that_changed_between_two_runs_is_begun_anew(store: Store, get: Fetch) -> None:
    store.add("models", "m.gguf", BODY, etag='"old-2"')
    store.faults.append(Fault(cut=200_000))
    store.always = Fault(status=404)
    with pytest.raises(SourceError):
        get("s3://models/m.gguf")
    store.always = None
    before = len(store.gets("m.gguf"))
    store.add("models", "m.gguf", BODY[::-1], etag='"new-2"')
    assert get("s3://models/m.gguf").path.read_bytes() == BODY[::-1]
    (last,) = store.gets("m.gguf")[before:]
    assert (last.range, last.headers["if-match"]) == (None, '"new-2"')


def test_the_tag_of_a_multipart_object_is_no_checksum(store: Store, get: Fetch) -> None:
    store.add("models", "m.gguf", BODY, etag=f'"{"0" * 32}-7"')
    assert get("s3://models/m.gguf").path.read_bytes() == BODY


def test_the_tag_of_an_object_under_a_key_is_no_checksum(store: Store, get: Fetch) -> None:
    store.add(
        "models", "m.gguf", BODY, etag=f'"{"0" * 32}"', x_amz_server_side_encryption="aws:kms"
    )
    assert get("s3://models/m.gguf").path.read_bytes() == BODY


def test_the_tag_of_a_plain_object_is_its_checksum(store: Store, get: Fetch, cache: Cache) -> None:
    store.add("models", "m.gguf", BODY, etag=f'"{"0" * 32}"')
    with pytest.raises(SourceError, match="md5 0000") as caught:
        get("s3://models/m.gguf")
    assert caught.value.code == "source.checksum"
    assert [entry.bytes for entry in cache.entries()] == [0]


def test_a_stored_sha256_is_checked(store: Store, get: Fetch) -> None:
    right = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    store.add("models", "m.gguf", BODY, x_amz_checksum_sha256=right, etag='"x-2"')
    assert get("s3://models/m.gguf").path.read_bytes() == BODY
    store.add("models", "n.gguf", BODY + b"!", x_amz_checksum_sha256=right, etag='"x-2"')
    with pytest.raises(SourceError):
        get("s3://models/n.gguf")


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("s3://models/none.gguf", "source.not-found", "neither an object"),
        ("s3://nowhere/m.gguf", "source.not-found", "no bucket|no object|neither"),
        ("s3://locked/m.gguf", "source.forbidden", "denied"),
    ],
)
def test_what_cannot_be_had_is_said(
    store: Store, get: Fetch, source: str, code: str, said: str
) -> None:
    store.add("models", "m.gguf", BODY)
    with pytest.raises(SourceError, match=said) as caught:
        get(source)
    assert caught.value.code == code


def test_without_credentials_requests_are_unsigned_and_a_refusal_says_so(
    store: Store, get: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store.add("models", "m.gguf", BODY)
    assert get("s3://models/m.gguf").path.read_bytes() == BODY
    assert all("authorization" not in request.headers for request in store.log)
    with pytest.raises(SourceError, match="no credentials were found"):
        get("s3://locked/m.gguf")


def test_transient_answers_are_tried_again(store: Store, get: Fetch) -> None:
    store.add("models", "m.gguf", BODY)
    store.faults.extend([Fault(status=503), Fault(status=500)])
    assert get("s3://models/m.gguf").path.read_bytes() == BODY
    assert len(store.gets("m.gguf")) == 3


def test_a_store_that_is_not_there_is_said(get: Fetch) -> None:
    with pytest.raises(SourceError, match="tried 4 times") as caught:
        get("s3://models/m.gguf")
    assert caught.value.code == "source.unreachable"


@pytest.mark.parametrize(
    "key", ["p/../../evil.gguf", "p//evil.gguf", "p/./evil.gguf", "p/a\\b.gguf"]
)
def test_no_key_leaves_the_cache(store: Store, get: Fetch, cache: Cache, key: str) -> None:
    store.add("models", key, BODY)
    store.add("models", "p/good.gguf", BODY)
    with pytest.raises(SourceError) as caught:
        get("s3://models/p")
    assert caught.value.code == "source.unsafe-name"


def test_a_key_that_is_both_file_and_folder_is_said(store: Store, get: Fetch) -> None:
    store.add("models", "p/a.gguf", BODY)
    store.add("models", "p/a.gguf/b.gguf", BODY)
    with pytest.raises(SourceError) as caught:
        get("s3://models/p")
    assert caught.value.code == "source.ambiguous"


def test_secrets_are_not_written(
    store: Store, get: Fetch, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="botocore")
    caplog.set_level("DEBUG")
    store.add("models", "m.gguf", BODY)
    get("s3://models/m.gguf")
    with pytest.raises(SourceError) as caught:
        get("s3://locked/m.gguf")
    written = [path.read_text() for path in cache.root.rglob("*.json")]
    assert written
    for text in (*written, caplog.text, str(caught.value)):
        assert "secretsecretsecret" not in text
        assert "Signature" not in text
