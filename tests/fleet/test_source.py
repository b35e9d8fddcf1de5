from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.fleet import Source, parse_source

PARTS: dict[str, dict[str, Any]] = {
    "builtin:demo": {"scheme": "builtin", "path": "demo"},
    "file:models/a b.gguf": {"scheme": "file", "path": "models/a b.gguf"},
    "file:/models/a.gguf": {"scheme": "file", "path": "/models/a.gguf"},
    "file:///models/a.gguf": {"scheme": "file", "path": "/models/a.gguf"},
    "hf://owner/name": {"scheme": "hf", "repository": "owner/name"},
    "hf://owner/name@v1.0": {"scheme": "hf", "repository": "owner/name", "revision": "v1.0"},
    "hf://owner/name@refs%2Fpr%2F1/sub/a.gguf": {
        "scheme": "hf",
        "repository": "owner/name",
        "revision": "refs/pr/1",
        "path": "sub/a.gguf",
    },
    "hf://owner/name/a.gguf": {"scheme": "hf", "repository": "owner/name", "path": "a.gguf"},
    "https://host:8443/d/a.gguf?x=1": {
        "scheme": "https",
        "host": "host:8443",
        "path": "/d/a.gguf?x=1",
    },
    "http://[::1]:80/a": {"scheme": "http", "host": "[::1]:80", "path": "/a"},
    "s3://bucket/dir/": {"scheme": "s3", "bucket": "bucket", "path": "dir/"},
    "gs://bucket/key": {"scheme": "gs", "bucket": "bucket", "path": "key"},
    "pvc://claim": {"scheme": "pvc", "claim": "claim"},
    "pvc://claim/sub/dir": {"scheme": "pvc", "claim": "claim", "path": "sub/dir"},
    "oci://reg.io:5000/a/b:tag": {
        "scheme": "oci",
        "repository": "reg.io:5000/a/b",
        "revision": "tag",
    },
    f"oci://reg.io/a@sha256:{'0' * 64}": {
        "scheme": "oci",
        "repository": "reg.io/a",
        "revision": f"sha256:{'0' * 64}",
    },
}


@pytest.mark.parametrize("text", PARTS)
def test_a_source_is_read_into_its_parts(text: str) -> None:
    assert parse_source(text) == Source(text=text, **PARTS[text])
    assert str(parse_source(text)) == text


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1", "[::1]", "[::1]:9000"])
def test_this_machine_is_loopback(host: str) -> None:
    assert parse_source(f"http://{host}/x").loopback


@pytest.mark.parametrize("host", ["localhost.example.com", "127.0.0.11", "10.0.0.1:80"])
def test_another_machine_is_not_loopback(host: str) -> None:
    assert not parse_source(f"http://{host}/x").loopback


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        parse_source("https://user:hunter2@host/x")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60) | st.from_regex(r"(hf|s3|oci|pvc|https|file):.*", fullmatch=True))
def test_any_text_is_a_source_or_an_input_error(text: str) -> None:
    try:
        source = parse_source(text)
    except InputError as error:
        said = (error.message, error.hint)
    else:
        said = (source.text, source.scheme)
        assert source.text == text
    assert all(said)
