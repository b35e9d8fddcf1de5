"""Fleets that together use every way of running and storing a model, beside the examples."""

from __future__ import annotations

from tests.worlds.cluster.sites import EXAMPLES, fleet_text

GGUF = "hf://Qwen/Qwen2.5-3B-Instruct-GGUF/qwen2.5-3b-instruct-q4_k_m.gguf"
_L40S = "pools: [{name: l40s, accelerator: L40S, perNode: 4, nodes: {min: 1, max: 4}}]"
_PLAIN = (
    "pools: [{name: plain, accelerator: none, nodes: {min: 1, max: 3}, "
    "node: {cpu: 16, memory: 64Gi}}]"
)
_MONITORED = "gateway: {monitoring: {prometheus: 'http://prometheus-operated.monitoring:9090'}}"


def _fleet(model: str, *sections: str) -> str:
    """One model named `m`, its fields a line each, and further sections."""
    lines = ["models:", "  - name: m", *(f"    {line}" for line in model.strip().splitlines())]
    return fleet_text("\n".join([*lines, *sections]))


_SMALL = f"source: {GGUF}\ncontext: 2048\n"
_GPU = "source: hf://Qwen/Qwen2.5-7B-Instruct\ncontext: 4096\nplacement: {pools: [l40s]}\n"

FLEETS = {
    "small-fixed": _fleet(_SMALL + "scaling: {min: 2, max: 2}"),
    "small-to-zero": _fleet(_SMALL + "scaling: {min: 0, max: 3}", _MONITORED),
    "volume-of-one": _fleet(_SMALL + "storage: {strategy: volume, size: 10Gi}"),
    "volume-each": _fleet(
        _SMALL + "storage: {strategy: volume, size: 10Gi}\nscaling: {min: 1, max: 3}", _MONITORED
    ),
    "volume-shared": _fleet(
        _SMALL
        + "storage: {strategy: volume, size: 10Gi, class: nfs, accessMode: ReadWriteMany}\n"
        + "scaling: {min: 1, max: 3}",
        _MONITORED,
    ),
    "volume-there": _fleet(_SMALL + "storage: {strategy: volume, claim: models}"),
    "on-nodes": _fleet(
        _SMALL + "storage: {strategy: nodeLocal}\nplacement: {pools: [plain]}", _PLAIN
    ),
    "pre-pulled": _fleet(_GPU + "storage: {prePull: true}", _L40S),
    "sglang": _fleet(_GPU + "engine: sglang", _L40S),
    "tgi": _fleet(_GPU + "engine: tgi", _L40S),
    "triton": _fleet(_GPU + "engine: triton\nengineOptions: {backend: vllm}", _L40S, _MONITORED),
    "rayserve": _fleet(_GPU + "engine: rayserve\nscaling: {min: 1, max: 3}", _L40S, _MONITORED),
    "custom": _fleet(
        _GPU + "engine: custom\nengineOptions: {image: 'registry.example.com/own:1.2', port: 9000}",
        _L40S,
    ),
    "time-slicing": _fleet(
        "source: hf://Qwen/Qwen2.5-1.5B-Instruct\ncontext: 2048\n"
        "placement: {pools: [l40s], sharing: timeSlicing}",
        "pools: [{name: l40s, accelerator: L40S, perNode: 1, nodes: {min: 1, max: 2}, "
        "sharing: {timeSlicing: {replicas: 4}}}]",
    ),
    "mps": _fleet(
        "source: hf://Qwen/Qwen2.5-1.5B-Instruct\ncontext: 2048\n"
        "placement: {pools: [l40s], sharing: mps}",
        "pools: [{name: l40s, accelerator: L40S, perNode: 1, nodes: {min: 1, max: 2}, "
        "sharing: {mps: {replicas: 4}}}]",
    ),
    "adapters": _fleet(
        _GPU + "adapters:\n"
        "  - {name: legal, source: 's3://acme-models/legal/', rank: 16}\n"
        "  - {name: medical, source: 'hf://acme/medical', rank: 8}\n"
        "credentials: {secret: hugging-face, key: token}",
        _L40S,
    ),
    "keda-by-schedule": _fleet(
        _GPU + "scaling:\n  min: 1\n  max: 6\n  driver: keda\n  whenBlind: 2\n  schedules:\n"
        "    - {name: office, start: '0 8 * * 1-5', end: '0 18 * * 1-5', "
        "timezone: Europe/Dublin, min: 3}",
        _L40S,
        _MONITORED,
    ),
    "hpa": _fleet(_GPU + "scaling: {min: 1, max: 4, driver: hpa}", _L40S, _MONITORED),
    "tenant-with-quota": _fleet(
        "namespace: clinic\n" + _GPU + "scaling: {min: 1, max: 2}",
        _L40S,
        "tenants: [{name: clinic, namespace: clinic, limits: {gpus: 2}}]",
    ),
    "three-gateways": _fleet(
        _SMALL,
        "gateway:",
        "  replicas: 3",
        "  store: postgresql://plimsoll@db/plimsoll",
        "  storePassword: {secret: db, key: password}",
        "  counters: redis://valkey:6379",
        "  listen: {tls: {secret: gateway-tls}}",
        "  ingress: {kind: HTTPRoute, class: web, hosts: [llm.example.com]}",
    ),
    "long-names": fleet_text(
        "models:\n"
        f"  - {{name: '{'Very.Long_Model:Name-' * 5}x', source: {GGUF}, context: 2048}}\n"
        f"  - {{name: '{'Very.Long_Model:Name-' * 5}y', source: {GGUF}, context: 2048}}",
        name="a-fleet-whose-name-is-as-long-as-any-name-may-be-1",
    ),
}
EVERY = {**{example.removeprefix("examples/"): example for example in EXAMPLES}, **FLEETS}
MONITORED = (
    "production.yaml",
    *(name for name, text in FLEETS.items() if "prometheus-operated.monitoring" in text),
)
