"""How long `plimsoll render` takes: from fleet files to a folder that kustomize takes.

    python -m benchmarks.rendering [--models 1000] [--alike 60] [--json]

The fleet has `--models` models of four networks on one pool, in `--alike` different wishes (load
and prompt length), because planning is done once for wishes that are alike. Seconds are of the
processor, which other work on the machine does not change. The limit in the same run is PyYAML
writing the same manifests and nothing else.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from plimsoll.cli.files import read_fleet
from plimsoll.cli.rendering import site_of
from plimsoll.worlds.cluster.info import ASSUMED
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.tree import write_tree

SOURCES = (
    "hf://Qwen/Qwen3-8B",
    "hf://meta-llama/Llama-3.1-8B-Instruct",
    "hf://Qwen/Qwen2.5-14B-Instruct",
    "hf://mistralai/Mistral-7B-Instruct-v0.3",
)
PER_FILE = 250  # a Fleet document holds at most 256 models


def documents(models: int, alike: int) -> Iterator[dict[str, Any]]:
    """Fleet documents that add up to so many models."""
    for first in range(0, models, PER_FILE):
        count = min(PER_FILE, models - first)
        spec: dict[str, Any] = {
            "models": [_model(number, number % alike) for number in range(first, first + count)]
        }
        if first == 0:
            spec["pools"] = [
                {"name": "l40s", "accelerator": "L40S", "perNode": 4,
                 "nodes": {"max": 10_000}, "price": {"onDemand": 7.0}}
            ]  # fmt: skip
        yield {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "Fleet",
            "metadata": {"name": f"part-{first}", "namespace": "inference"},
            "spec": spec,
        }


def _model(number: int, kind: int) -> dict[str, Any]:
    return {
        "name": f"model-{number:04d}",
        "source": SOURCES[kind % len(SOURCES)],
        "context": 8192,
        "traffic": {
            "requestsPerSecond": 1 + kind / 100,
            "promptTokens": 800 + kind,
            "outputTokens": 200,
        },
        "placement": {"pools": ["l40s"]},
        "scaling": {"min": 1, "max": 4},
    }


def measure(models: int, alike: int) -> dict[str, float]:
    """Processor seconds of every step."""
    with tempfile.TemporaryDirectory() as folder:
        fleet, out = Path(folder, "fleet"), Path(folder, "out")
        fleet.mkdir()
        for number, document in enumerate(documents(models, alike)):
            (fleet / f"{number:03d}.json").write_text(json.dumps(document))
        start = time.process_time()
        loaded = read_fleet((str(fleet),))
        read = time.process_time()
        site, _ = site_of(loaded, info=ASSUMED)
        planned = time.process_time()
        rendered = render(site)
        made = time.process_time()
        write_tree(out, rendered.files, rendered.extras)
        written = time.process_time()
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    yaml.dump_all(rendered.manifests, Dumper=dumper, sort_keys=False)
    dumped = time.process_time()
    return {
        "models": models,
        "alike": alike,
        "objects": len(rendered.manifests),
        "read": read - start,
        "plan": planned - read,
        "objects_seconds": made - planned,
        "write": written - made,
        "total": written - start,
        "pyyaml": dumped - written,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--alike", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.models, given.alike)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['models']} models in {given.alike} different wishes, {found['objects']} objects")
    for step in ("read", "plan", "objects_seconds", "write", "total"):
        print(f"  {step.removesuffix('_seconds'):8} {found[step]:7.2f} s")
    ratio = found["total"] / found["pyyaml"]
    print(f"  {ratio:.1f} times what PyYAML takes to write them ({found['pyyaml']:.2f} s)")


if __name__ == "__main__":
    main()
