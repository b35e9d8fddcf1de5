from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import InputError, SourceError
from plimsoll.worlds.local.sources import Cache
from tests.worlds.sources.conftest import Fetch, Told
from tests.worlds.sources.servers import Fault, Server

BODY = b"GGUF" + random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


def test_a_file_is_fetched_whole_and_described(web: Server, get: Fetch, told: Told) -> None:
    found = get(web.put("/m/model.gguf", BODY))
    assert found.path.read_bytes() == BODY
    assert (found.format, found.bytes, found.sha256) == ("gguf", len(BODY), SHA256)
    assert found.path.name == "model.gguf"
    assert told.calls[-1] == (found.source, len(BODY), len(BODY))


def test_a_second_fetch_asks_the_server_nothing(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY)
    first, second = get(url), get(url)
    assert first == second
    assert len(web.log) == 1


def test_a_cut_connection_is_continued_by_range(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY)
    web.faults.extend([Fault(cut=100_000), Fault(cut=50_000)])
    assert get(url).path.read_bytes() == BODY
    assert [request.range for request in web.log] == [None, "bytes=100000-", "bytes=150000-"]
    assert web.log[1].headers["if-range"] == web.contents["/model.gguf"].etag


def test_a_later_run_continues_where_the_first_gave_up(
    web: Server, get: Fetch, cache: Cache
) -> None:
    url = web.put("/model.gguf", BODY)
    web.faults.append(Fault(cut=100_000))
    web.always = Fault(status=503)
    with pytest.raises(SourceError) as caught:
        get(url)
    assert caught.value.code == "source.unreachable"
    (entry,) = cache.entries()
    assert (entry.complete, entry.bytes) == (False, 100_000)
    web.always = None
    assert get(url).path.read_bytes() == BODY
    assert web.log[-1].range == "bytes=100000-"


def test_a_changed_file_is_not_glued_to_its_old_half(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY)
    web.faults.append(Fault(cut=100_000))
    web.always = Fault(status=503)
    with pytest.raises(SourceError):
        get(url)
    other = b"GGUF" + random.Random(2).randbytes(300_000)
    web.put("/model.gguf", other)
    web.always = None
    assert get(url).path.read_bytes() == other


def test_a_server_that_ignores_if_range_is_caught_by_the_tag(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY)
    web.faults.append(Fault(cut=100_000))
    web.always = Fault(status=503)
    with pytest.raises(SourceError):
        get(url)
    other = b"GGUF" + random.Random(2).randbytes(300_000)
    web.put("/model.gguf", other, if_range=False)
    web.always = None
    assert get(url).path.read_bytes() == other
    assert [request.range for request in web.log[-2:]] == ["bytes=100000-", None]


def test_without_tag_or_date_a_cut_file_begins_anew(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY, etag=None)
    web.faults.append(Fault(cut=100_000))
    web.always = Fault(status=503)
    with pytest.raises(SourceError):
        get(url)
    web.always = None
    assert get(url).path.read_bytes() == BODY
    assert web.log[-1].range is None


def test_without_tag_or_date_the_same_run_begins_anew_too(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY, etag=None)
    web.faults.append(Fault(cut=100_000))
    assert get(url).path.read_bytes() == BODY
    assert [request.range for request in web.log] == [None, None]


def test_without_tag_or_date_a_checksum_allows_to_resume(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY, etag=None)
    web.faults.append(Fault(cut=100_000))
    assert get(url, sha256=SHA256).path.read_bytes() == BODY
    assert [request.range for request in web.log] == [None, "bytes=100000-"]


def test_without_ranges_a_cut_file_begins_anew(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY, ranges=False)
    web.faults.append(Fault(cut=100_000))
    assert get(url).path.read_bytes() == BODY


def test_transient_answers_are_tried_again_and_counted(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY)
    web.faults.extend([Fault(status=500), Fault(status=429, headers={"Retry_After": "0"})])
    assert get(url).path.read_bytes() == BODY
    web.put("/other.gguf", BODY)
    web.always = Fault(status=500)
    with pytest.raises(SourceError, match="answered 500; tried 4 times"):
        get(web.url + "/other.gguf")
    assert len(web.gets("/other")) == 4


def test_a_server_that_drips_a_little_each_time_is_given_up(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY)
    web.always = Fault(cut=10)
    with pytest.raises(SourceError) as caught:
        get(url)
    assert caught.value.code == "source.unreachable"
    assert len(web.log) == 4


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not-found"), (403, "refused"), (410, "not-found")]
)
def test_a_refusal_is_final(web: Server, get: Fetch, status: int, code: str) -> None:
    url = web.put("/model.gguf", BODY)
    web.always = Fault(status=status)
    with pytest.raises(SourceError, match=f"answered {status}") as caught:
        get(url)
    assert caught.value.code == f"source.{code}"
    assert caught.value.hint
    assert len(web.log) == 1


def test_a_server_that_is_not_there_is_said(get: Fetch) -> None:
    with pytest.raises(SourceError, match="refused") as caught:
        get("http://127.0.0.1:9/model.gguf")
    assert caught.value.code == "source.unreachable"


def test_a_truncated_answer_is_not_used(web: Server, get: Fetch, cache: Cache) -> None:
    url = web.put("/model.gguf", BODY)
    web.always = Fault(announce=len(BODY) + 1000)
    with pytest.raises(SourceError) as caught:
        get(url)
    assert caught.value.code == "source.unreachable"
    assert not any(entry.complete for entry in cache.entries())


@pytest.mark.parametrize("inline", [True, False])
def test_the_right_checksum_passes(web: Server, get: Fetch, inline: bool) -> None:
    url = web.put("/model.gguf", BODY)
    found = get(f"{url}#sha256={SHA256.upper()}") if inline else get(url, sha256=SHA256)
    assert found.sha256 == SHA256


def test_a_wrong_checksum_says_both_sums_and_deletes_the_file(
    web: Server, get: Fetch, cache: Cache
) -> None:
    url = web.put("/model.gguf", BODY)
    wrong = "0" * 64
    with pytest.raises(SourceError) as caught:
        get(url, sha256=wrong)
    assert caught.value.code == "source.checksum"
    assert wrong in caught.value.message
    assert SHA256 in caught.value.message
    (entry,) = cache.entries()
    assert (entry.complete, entry.bytes, entry.files) == (False, 0, 0)


def test_a_bad_beginning_is_replaced_before_the_sum_is_judged(
    web: Server, get: Fetch, cache: Cache
) -> None:
    url = web.put("/model.gguf", BODY)
    web.faults.append(Fault(cut=100_000))
    web.always = Fault(status=503)
    with pytest.raises(SourceError):
        get(url, sha256=SHA256)
    (entry,) = cache.entries()
    half = entry.path / "files" / "model.gguf"
    half.write_bytes(b"\0" * 100_000)
    web.always = None
    assert get(url, sha256=SHA256).path.read_bytes() == BODY
    assert [request.range for request in web.log[-2:]] == ["bytes=100000-", None]


@pytest.mark.parametrize("given", ["123", "g" * 64, ""])
def test_what_is_no_checksum_is_refused(web: Server, get: Fetch, given: str) -> None:
    with pytest.raises(InputError, match="not a SHA-256"):
        get(web.put("/model.gguf", BODY), sha256=given)


def test_two_different_checksums_are_refused(web: Server, get: Fetch) -> None:
    with pytest.raises(InputError, match="two checksums"):
        get(web.put("/model.gguf", BODY) + "#sha256=" + "1" * 64, sha256=SHA256)


def test_redirects_are_followed(web: Server, get: Fetch) -> None:
    target = web.put("/real.gguf", BODY)
    assert get(web.put("/model.gguf", b"", redirect=target)).path.read_bytes() == BODY


def test_a_redirect_to_plain_http_elsewhere_is_refused(web: Server, get: Fetch) -> None:
    with pytest.raises(SourceError) as caught:
        get(web.put("/model.gguf", b"", redirect="http://192.0.2.1/model.gguf"))
    assert caught.value.code == "source.insecure"


def test_a_web_page_is_not_taken_for_a_model(web: Server, get: Fetch) -> None:
    url = web.put("/m.gguf", b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(SourceError, match="web page") as caught:
        get(url)
    assert caught.value.code == "source.format"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody trusts yet, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path / "server.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {path} -out {path}.crt -days 1"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command.split(), *name], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_https_is_fetched_when_the_certificate_is_trusted(
    web: Server, get: Fetch, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.encrypt(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    assert get(web.put("/m.gguf", BODY)).path.read_bytes() == BODY


def test_an_untrusted_certificate_is_final(web: Server, get: Fetch, certificate: Path) -> None:
    web.encrypt(certificate)
    with pytest.raises(SourceError, match="not trusted") as caught:
        get(web.put("/m.gguf", BODY))
    assert caught.value.code == "source.untrusted"


def test_a_circle_of_redirects_ends(web: Server, get: Fetch) -> None:
    with pytest.raises(SourceError, match="circle"):
        get(web.put("/model.gguf", b"", redirect="/model.gguf"))


def test_plain_http_is_only_for_loopback(get: Fetch) -> None:
    with pytest.raises(InputError) as caught:
        get("http://example.com/model.gguf")
    assert caught.value.code == "source.insecure"


def test_compressed_content_is_refused(web: Server, get: Fetch) -> None:
    with pytest.raises(SourceError, match="compresses"):
        get(web.put("/model.gguf", BODY, headers={"Content-Encoding": "gzip"}))


def test_a_chunked_answer_needs_no_length(web: Server, get: Fetch, told: Told) -> None:
    assert get(web.put("/model.gguf", BODY, framing="chunked")).path.read_bytes() == BODY
    assert told.calls[0][2] is None


def test_an_answer_whose_end_cannot_be_told_needs_a_checksum(web: Server, get: Fetch) -> None:
    url = web.put("/model.gguf", BODY, framing="close")
    with pytest.raises(SourceError, match="how long"):
        get(url)
    assert get(url, sha256=SHA256).path.read_bytes() == BODY


def test_a_part_of_a_split_model_is_refused(get: Fetch) -> None:
    with pytest.raises(InputError, match="one part"):
        get("https://example.com/model-00001-of-00003.gguf")


def test_the_query_of_a_url_is_never_printed_or_stored(
    web: Server, get: Fetch, cache: Cache, caplog: Any
) -> None:
    caplog.set_level("INFO")
    url = web.put("/model.gguf", BODY) + "?signature=verysecret"
    found = get(url)
    web.always = Fault(status=404)
    with pytest.raises(SourceError) as caught:
        get(url.replace("model", "other"))
    written = [path.read_text() for path in cache.root.rglob("*.json")]
    assert written
    for text in (found.source, str(found.path), str(caught.value), caplog.text, *written):
        assert "verysecret" not in text


@pytest.mark.parametrize("path", ["/..%2f..%2fevil", "/%00", "/a/", "/.hidden", "/%2e%2e"])
def test_the_name_in_a_url_stays_inside_the_cache(
    web: Server, get: Fetch, cache: Cache, path: str
) -> None:
    web.put(path, BODY)
    found = get(web.url + path)
    assert found.path.parent.name == "files"
    assert found.path.resolve().is_relative_to(cache.root)


def test_cancelling_a_silent_server_takes_less_than_a_second(web: Server, get: Fetch) -> None:
    import threading
    import time

    url = web.put("/model.gguf", BODY)
    gate = threading.Event()
    web.faults.append(Fault(gate=gate, before_gate=100_000))
    begin = 0.0

    def cancelled() -> bool:
        nonlocal begin
        if web.at_gate.is_set() and not begin:
            begin = time.monotonic()
        return bool(begin)

    try:
        with pytest.raises(SourceError) as caught:
            get(url, cancelled=cancelled)
        assert time.monotonic() - begin < 1.0
    finally:
        gate.set()
    assert caught.value.code == "source.cancelled"
