"""A web server, a model hub and an object store on loopback, with faults on demand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

S = TypeVar("S", bound="Server")


@dataclass
class Fault:
    """What goes wrong with one answer to a GET of a file.

    status   answered instead of the file
    cut      bytes of the body after which the connection is reset
    announce a Content-Length that is not true
    gate     waited for after `before_gate` bytes of the body
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    announce: int | None = None
    gate: threading.Event | None = None
    before_gate: int = 0


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Content:
    body: bytes
    etag: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    if_range: bool = True
    framing: str = "length"  # or `chunked`, or `close`
    redirect: str | None = None


def etag_of(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        with self.server.guard:
            self.server.log.append(request)
        with contextlib.suppress(ConnectionError):
            if not self.server.instead(self, request):
                self.server.answer(self, request)

    def plain(self, status: int, body: bytes = b"", **headers: str) -> bool:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def content(self, request: Request, content: Content) -> None:
        if content.redirect:
            self.plain(302, b"", Location=content.redirect, **content.headers)
            return
        fault = self.server.next_fault() if request.method == "GET" else Fault()
        if fault.status is not None:
            self.plain(fault.status, b"no", **fault.headers)
            return
        start, status = self._start(request, content)
        body = content.body[start:]
        self.send_response(status)
        if status == 206:
            end = len(content.body) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content.body)}")
        if content.etag:
            self.send_header("ETag", content.etag)
        for name, value in content.headers.items():
            self.send_header(name, value)
        self._frame(content, len(body) if fault.announce is None else fault.announce)
        self.end_headers()
        if request.method == "GET":
            self._body(body, content, fault)

    def _start(self, request: Request, content: Content) -> tuple[int, int]:
        match = re.fullmatch(r"bytes=(\d+)-", request.range or "")
        condition = request.headers.get("if-range")
        same = not content.if_range or condition in (None, content.etag)
        if match and content.ranges and same and int(match[1]) < len(content.body):
            return int(match[1]), 206
        return 0, 200

    def _frame(self, content: Content, length: int) -> None:
        if content.framing == "length":
            self.send_header("Content-Length", str(length))
        elif content.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
            self.close_connection = True

    def _body(self, body: bytes, content: Content, fault: Fault) -> None:
        if fault.gate is not None:
            self.wfile.write(body[: fault.before_gate])
            self.wfile.flush()
            self.server.at_gate.set()
            fault.gate.wait(60)
            body = body[fault.before_gate :]
        if fault.cut is not None:
            self.wfile.write(body[: fault.cut])
            self.wfile.flush()
            self._reset(hard=fault.cut == 0)
            return
        if content.framing == "chunked":
            self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        else:
            self.wfile.write(body)
        if fault.announce is not None:
            self._reset(hard=False)

    def _reset(self, *, hard: bool) -> None:
        if hard:  # RST instead of FIN
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_WR)


class Server(ThreadingHTTPServer):
    """Serves `contents` by path; every request is in `log`, faults are used up in order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, Content] = {}
        self.log: list[Request] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.guard = threading.Lock()
        self.at_gate = threading.Event()
        self.instead: Callable[[Handler, Request], bool] = lambda *_: False
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def encrypt(self, certificate: Path) -> None:
        """Speak TLS with the certificate and key of a PEM file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "https"

    def next_fault(self) -> Fault:
        with self.guard:
            return self.faults.popleft() if self.faults else self.always or Fault()

    def gets(self, containing: str = "") -> list[Request]:
        with self.guard:
            return [r for r in self.log if r.method == "GET" and containing in r.path]

    def put(self, path: str, body: bytes, **options: Any) -> str:
        self.contents[path] = Content(body=body, etag=options.pop("etag", etag_of(body)), **options)
        return self.url + path

    def answer(self, handler: Handler, request: Request) -> None:
        content = self.contents.get(urlsplit(request.path).path)
        if content is None:
            handler.plain(404, b"no such file")
        else:
            handler.content(request, content)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that leaves in the middle is what these tests are about


@dataclass
class Repository:
    """A repository of the hub.

    access    public, gated, private or forbidden
    metadata  whether the listing carries sizes and hashes, as a plain mirror's does not
    """

    files: dict[str, bytes]
    commit: str = "a" * 40
    access: str = "public"
    large: tuple[str, ...] = (".gguf", ".safetensors")
    metadata: bool = True
    revisions: tuple[str, ...] = ("main",)


class Hub(Server):
    """The endpoints of a Hugging Face hub that listing and fetching use."""

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.token = "hf_secretsecretsecret"
        self.listing_faults: deque[int] = deque()
        self.storage: Server | None = None  # where large files are redirected to

    def answer(self, handler: Handler, request: Request) -> None:
        path = unquote(urlsplit(request.path).path)
        listing = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        match = listing or resolve
        if match is None:
            handler.plain(404)
            return None
        repository = self.repositories.get(match[1])
        revision = match[2] or "main"
        if refusal := self._refusal(repository, revision, request):
            status, code = refusal
            handler.plain(status, b"{}", X_Error_Code=code, X_Error_Message=code)
            return None
        assert repository is not None
        if listing:
            return self._list(handler, match[1], repository)
        return self._file(handler, request, repository, match[3])

    def _refusal(
        self, repository: Repository | None, revision: str, request: Request
    ) -> tuple[int, str] | None:
        authorized = request.headers.get("authorization") == f"Bearer {self.token}"
        if repository is None or (repository.access == "private" and not authorized):
            return 401, "RepoNotFound"
        if repository.access == "gated" and not authorized:
            return 401, "GatedRepo"
        if repository.access == "forbidden":
            return 403, "GatedRepo"
        if revision not in (*repository.revisions, repository.commit):
            return 404, "RevisionNotFound"
        return None

    def _list(self, handler: Handler, name: str, repository: Repository) -> None:
        if self.listing_faults:
            handler.plain(self.listing_faults.popleft(), b"sorry")
            return
        siblings = [self._sibling(repository, file) for file in repository.files]
        found = {"id": name, "sha": repository.commit, "siblings": siblings}
        body = json.dumps(found).encode()
        handler.plain(200, body, Content_Type="application/json")

    def _sibling(self, repository: Repository, name: str) -> dict[str, Any]:
        body = repository.files[name]
        if not repository.metadata:
            return {"rfilename": name}
        found: dict[str, Any] = {"rfilename": name, "size": len(body), "blobId": git_sha1(body)}
        if name.endswith(repository.large):
            sha256 = hashlib.sha256(body).hexdigest()
            found["lfs"] = {"sha256": sha256, "size": len(body), "pointerSize": 134}
        return found

    def _file(self, handler: Handler, request: Request, repository: Repository, name: str) -> None:
        if name not in repository.files:
            handler.plain(404, b"", X_Error_Code="EntryNotFound")
            return None
        body = repository.files[name]
        headers = {"X-Repo-Commit": repository.commit}
        if not name.endswith(repository.large):
            content = Content(body=body, etag=f'"{git_sha1(body)}"', headers=headers)
            return handler.content(request, content)
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        headers |= {"X-Linked-Size": str(len(body)), "X-Linked-Etag": tag}
        content = Content(body=body, etag=tag, headers=headers)
        if self.storage is not None:
            signed = self.storage.put(f"/{name}", body) + "?signature=verysecret"
            content.redirect = signed
        return handler.content(request, content)


def git_sha1(body: bytes) -> str:
    return hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()


@dataclass
class Object:
    body: bytes
    etag: str
    headers: dict[str, str] = field(default_factory=dict)


class Store(Server):
    """HeadObject, GetObject and ListObjectsV2 of S3, path style."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets: dict[str, dict[str, Object]] = {}
        self.page = 2  # keys in one answer of a listing
        self.after_get: list[Any] = []  # called once each, after the next GET of an object

    def add(self, bucket: str, key: str, body: bytes, **headers: str) -> None:
        etag = headers.pop("etag", etag_of(body))
        self.buckets.setdefault(bucket, {})[key] = Object(body, etag, headers)

    def answer(self, handler: Handler, request: Request) -> None:
        parts = urlsplit(request.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        if bucket == "locked":
            return self._error(handler, 403, "AccessDenied")
        if bucket not in self.buckets:
            return self._error(handler, 404, "NoSuchBucket")
        if not key:
            return self._list(handler, bucket, parse_qs(parts.query, keep_blank_values=True))
        found = self.buckets[bucket].get(key)
        if found is None:
            return self._error(handler, 404, "NoSuchKey")
        if request.headers.get("if-match", found.etag) != found.etag:
            return self._error(handler, 412, "PreconditionFailed")
        headers = {name.replace("_", "-"): value for name, value in found.headers.items()}
        handler.content(request, Content(body=found.body, etag=found.etag, headers=headers))
        if request.method == "GET" and self.after_get:
            self.after_get.pop(0)()
        return None

    def _error(self, handler: Handler, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        handler.plain(status, body, Content_Type="application/xml")

    def _list(self, handler: Handler, bucket: str, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(k for k in self.buckets[bucket] if k.startswith(prefix) and k > after)
        shown, more = keys[: self.page], len(keys) > self.page
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.buckets[bucket][key].body)}</Size>"
            f"<ETag>{escape(self.buckets[bucket][key].etag)}</ETag></Contents>"
            for key in shown
        )
        token = (
            f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        )
        body = (
            '<?xml version="1.0"?><ListBucketResult '
            'xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
        )
        handler.plain(200, body.encode(), Content_Type="application/xml")


@contextlib.contextmanager
def serving(server: S) -> Iterator[S]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
