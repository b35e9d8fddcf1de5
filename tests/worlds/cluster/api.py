"""A Kubernetes API server for tests: HTTP by kmock, objects and their rules by our own store.

It does what Plimsoll's code relies on: discovery, reads with selectors and pages, server-side
apply with owners of fields, subresources, watches with bookmarks and 410, finalizers, garbage
collection, dry runs; and it fails on demand. It runs no controllers and checks no schemas.

    def test_something(api: Api) -> None:
        api.create({...})                     # seed; `api.objects("v1", "Pod")` reads back
        asyncio.run(scene(api.url))           # `Kube.connect(url=api.url)`
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import kmock
import msgspec
import pytest

from tests.worlds.cluster.apiserver.server import ApiServer, Fault
from tests.worlds.cluster.apiserver.store import Object, Store

__all__ = ["Api", "Fault", "Object", "api", "served", "serving"]


class Api:
    """What a test holds: the server's address, its objects, its faults. Callable from any thread.

    url  `http://127.0.0.1:port`
    """

    def __init__(self, server: ApiServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop
        self.url = ""
        self._http: kmock.Server | None = None
        self._port: int | None = None

    @property
    def store(self) -> Store:
        return self.server.store

    @property
    def faults(self) -> list[Fault]:
        return self.server.faults

    @property
    def requests(self) -> list[str]:
        """`METHOD /path?query` of every request so far."""
        return self.server.log

    @property
    def writes(self) -> int:
        """Writes that were carried out; dry runs do not count."""
        return self.server.writes

    def create(self, manifest: Object, *, manager: str = "kubectl") -> Object:
        """Put an object there as somebody else, its `status` included."""

        def put() -> Object:
            kind = self.store.kind_of(manifest)
            namespace = manifest["metadata"].get("namespace", "default") if kind.namespaced else ""
            made = self.store.create(kind, namespace, manifest, manager)
            if "status" in manifest and "status" in kind.subresources:
                address = (kind.slot, namespace, made["metadata"]["name"])
                new = {**made, "status": manifest["status"]}
                made = self.store.update(kind, address, new, manager, subresource="status")
            return made

        return self._call(put)

    def change(
        self, manifest: Object, change: Callable[[Object], None], *, manager: str = "kubectl",
        subresource: str = "",
    ) -> Object:  # fmt: skip
        """Change an object in place as somebody else; `manifest` names it."""

        def put() -> Object:
            kind = self.store.kind_of(manifest)
            namespace = manifest["metadata"].get("namespace", "default") if kind.namespaced else ""
            address = (kind.slot, namespace, manifest["metadata"]["name"])
            new = msgspec.json.decode(msgspec.json.encode(self.store.get(kind, *address[1:])))
            change(new)
            return self.store.update(kind, address, new, manager, subresource=subresource)

        return self._call(put)

    def delete(self, manifest: Object) -> None:
        """Delete an object as somebody else."""

        def drop() -> None:
            kind = self.store.kind_of(manifest)
            namespace = manifest["metadata"].get("namespace", "default") if kind.namespaced else ""
            self.store.delete(kind, (kind.slot, namespace, manifest["metadata"]["name"]))

        self._call(drop)

    def namespace(self, *names: str) -> None:
        """Make namespaces."""
        for name in names:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def objects(self, api_version: str, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind, in order of namespace and name."""
        found = self.store.kind_of({"apiVersion": api_version, "kind": kind})
        return self._call(lambda: self.store.all(found, namespace))

    def everything(self) -> dict[str, Object]:
        """Every object by `Kind/namespace/name`, without what changes from run to run."""

        def look() -> dict[str, Object]:
            return {
                f"{one['kind']}/{namespace}/{name}": _lasting(one)
                for (_, namespace, name), one in self.store.objects.items()
            }

        return self._call(look)

    def uninstall(self, api_version: str, kind: str = "") -> None:
        """Take kinds away, as if nobody had installed their definitions."""

        def drop() -> None:
            for key, one in list(self.store.kinds.items()):
                if one.api_version == api_version and kind in ("", one.kind):
                    del self.store.kinds[key]

        self._call(drop)

    def deny(self, verb: str, plural: str) -> None:
        """Refuse a verb on a resource (`*` for any) to everybody."""
        self.server.denied.add((verb, plural))

    def expire(self) -> None:
        """Forget every change so far: older watches and pages get 410."""
        self._call(self.store.compact)

    def drop_watches(self) -> None:
        """Break every open watch."""
        self._call(self.server.drop_watches)

    async def watched(self, plural: str, count: int = 1) -> None:
        """Until so many watches of a resource are open."""
        async with asyncio.timeout(30):
            while self._call(lambda: self.store.watchers(plural)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def lose_after(self, writes: int, *, answer: bool = False) -> None:
        """Break every connection after so many more writes; `answer`: the last one's answer too."""
        self.server.lose_answer = answer
        self.server.lost_after = self.server.writes + writes

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.server.lost_after = None
        self.server.faults.clear()

    def down(self) -> None:
        """Refuse connections until `up`."""
        self._wait(self.stop())

    def up(self) -> None:
        """Listen again, on the same port."""
        self._wait(self.start())

    async def start(self) -> None:
        self._http = kmock.Server(self.server, port=self._port)
        await self._http.__aenter__()
        self._port = self._http.port
        self.url = str(self._http.url).rstrip("/")

    async def stop(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            # A client that is quick watches again before the socket is closed, and the server
            # would wait for that watch to end.
            closing = asyncio.ensure_future(http.__aexit__(None, None, None))
            while not closing.done():
                self.server.drop_watches()
                await asyncio.wait({closing}, timeout=0.05)
            await closing

    def _call(self, function: Callable[[], Any]) -> Any:
        """Run in the server's loop; objects are only touched there."""
        try:
            inside = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            inside = False
        if inside:
            return function()

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


_FLEETING = {"resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"}


def _lasting(one: Object) -> Object:
    meta = {key: value for key, value in one["metadata"].items() if key not in _FLEETING}
    return {**one, "metadata": meta}


@asynccontextmanager
async def serving() -> AsyncIterator[Api]:
    """A server in the running loop."""
    async with ApiServer() as server:
        api = Api(server, asyncio.get_running_loop())
        api.namespace("default", "kube-system")
        await api.start()
        try:
            yield api
        finally:
            await api.stop()
        assert not server.errors, server.errors


@contextmanager
def served() -> Iterator[Api]:
    """A server in a thread and a loop of its own."""
    ready: list[Api] = []
    started, stopping = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    async def serve() -> None:
        async with serving() as api:
            ready.append(api)
            started.set()
            while not stopping.is_set():  # noqa: ASYNC110  # set by another thread
                await asyncio.sleep(0.02)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  # shown to the test
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="api-server", daemon=True)
    thread.start()
    started.wait(30)
    try:
        if ready:
            yield ready[0]
    finally:
        stopping.set()
        thread.join(30)
    if failures:
        raise failures[0]


@pytest.fixture
def api() -> Iterator[Api]:
    """A Kubernetes API server on loopback, with two namespaces and every kind that we use."""
    with served() as running:
        yield running
