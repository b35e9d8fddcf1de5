"""As much of an API server as `kubectl apply --dry-run=client` asks for: what kinds there are.

Every object is missing, so that kubectl says what it would create. It tells kubectl that it checks
fields itself, as real servers do; test_rendered.py is who checks them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.worlds.cluster.apiserver.kinds import BUILT_IN, INSTALLED, Kind

KINDS = (*BUILT_IN, *INSTALLED)
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def _versions() -> dict[str, list[Kind]]:
    found: dict[str, list[Kind]] = {}
    for kind in KINDS:
        found.setdefault(kind.api_version, []).append(kind)
    return found


def _groups() -> dict[str, Any]:
    groups: dict[str, list[dict[str, str]]] = {}
    for api in _versions():
        group, slash, version = api.partition("/")
        if slash:
            groups.setdefault(group, []).append({"groupVersion": api, "version": version})
    found = [
        {"name": name, "versions": versions, "preferredVersion": versions[0]}
        for name, versions in groups.items()
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def _resources(api: str, kinds: list[Kind]) -> dict[str, Any]:
    found = [
        {
            "name": kind.plural, "singularName": kind.kind.lower(), "kind": kind.kind,
            "namespaced": kind.namespaced, "verbs": VERBS,
        }
        for kind in kinds
    ]  # fmt: skip
    return {
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": found,
    }  # fmt: skip


def _path(api: str) -> str:
    return f"apis/{api}" if "/" in api else f"api/{api}"


def _openapi(api: str, kinds: list[Kind]) -> dict[str, Any]:
    group, slash, version = api.partition("/")
    if not slash:
        group, version = "", api
    paths = {}
    for kind in kinds:
        place = "/namespaces/{namespace}" if kind.namespaced else ""
        paths[f"/{_path(api)}{place}/{kind.plural}/{{name}}"] = {
            "patch": {
                "parameters": [
                    {"name": name, "in": "query", "schema": {"type": "string"}}
                    for name in ("fieldValidation", "dryRun")
                ],
                "x-kubernetes-group-version-kind": {
                    "group": group, "version": version, "kind": kind.kind,
                },
                "responses": {"200": {"description": "OK"}},
            }
        }  # fmt: skip
    return {"openapi": "3.0.0", "info": {"title": api, "version": "0"}, "paths": paths}


def answers() -> dict[str, dict[str, Any]]:
    """What is served, by path."""
    versions = _versions()
    found: dict[str, dict[str, Any]] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": _groups(),
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
        "/openapi/v3": {
            "paths": {
                _path(api): {"serverRelativeURL": f"/openapi/v3/{_path(api)}"} for api in versions
            }
        },
    }
    for api, kinds in versions.items():
        found[f"/{_path(api)}"] = _resources(api, kinds)
        found[f"/openapi/v3/{_path(api)}"] = _openapi(api, kinds)
    return found


class _Handler(BaseHTTPRequestHandler):
    served = answers()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        missing = {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
            "code": 404, "message": f"{path} not found",
        }  # fmt: skip
        body = self.served.get(path)
        text = json.dumps(body or missing).encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@contextmanager
def serving() -> Iterator[str]:
    """The server's address, while it serves."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
