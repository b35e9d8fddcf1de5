"""How long planning takes: one model from the command line, and a fleet of 20 on 2,000 GPUs.

`python -m benchmarks.planner.fleet [--rounds N] [--json]`
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from plimsoll.facts.catalogue import network
from plimsoll.fleet import Document, Fleet, load_fleet
from plimsoll.plan.search import FleetPlan, grounds_of, plan_fleet

SINGLE = Path(__file__).parents[2] / "examples" / "plans" / "7b-on-one-t4.yaml"
# Eight kinds of accelerators, 2,000 in all: name, per node, nodes, US dollars per node and hour.
POOLS = (
    ("L4", 4, 76, 3.2), ("A10G", 4, 75, 5.7), ("L40S", 4, 75, 10.5), ("A100-40GB-SXM", 8, 30, 21.9),
    ("A100-80GB-SXM", 8, 32, 27.4), ("H100-80GB-SXM", 8, 32, 55.0), ("H200", 8, 25, 63.3),
    ("B200", 8, 18, 113.9),
)  # fmt: skip
# Twenty models from 0.5 to 671 billion parameters: name, requests/s, prompt, output.
MODELS = (
    ("Qwen/Qwen2.5-0.5B-Instruct", 20, 300, 60), ("meta-llama/Llama-3.2-1B-Instruct", 30, 400, 80),
    ("Qwen/Qwen2.5-1.5B-Instruct", 15, 600, 100),
    ("meta-llama/Llama-3.2-3B-Instruct", 20, 500, 150),
    ("microsoft/Phi-3-mini-4k-instruct", 10, 800, 200), ("Qwen/Qwen2.5-7B-Instruct", 20, 900, 200),
    ("mistralai/Mistral-7B-Instruct-v0.3", 12, 700, 150), ("Qwen/Qwen3-8B", 25, 1200, 300),
    ("meta-llama/Llama-3.1-8B-Instruct", 40, 1000, 250), ("google/gemma-2-9b-it", 8, 700, 200),
    ("mistralai/Mistral-Nemo-Instruct-2407", 10, 900, 200), ("Qwen/Qwen3-14B", 12, 1100, 250),
    ("openai/gpt-oss-20b", 15, 1000, 400), ("google/gemma-2-27b-it", 5, 800, 200),
    ("Qwen/Qwen3-30B-A3B", 12, 1500, 400), ("Qwen/Qwen3-32B", 10, 1500, 400),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", 8, 900, 200),
    ("meta-llama/Llama-3.1-70B-Instruct", 8, 1500, 250), ("openai/gpt-oss-120b", 10, 1500, 500),
    ("deepseek-ai/DeepSeek-R1", 3, 2000, 800),
)  # fmt: skip


def large_fleet() -> Fleet:
    """The fleet of the claim."""
    models = [
        {
            "name": name.rpartition("/")[2].lower().replace(".", "-"),
            "source": f"hf://{name}",
            "context": 4096,
            "traffic": {
                "requestsPerSecond": rate, "promptTokens": prompt, "outputTokens": output,
                "peakFactor": 2,
            },
            "objectives": {"ttft": "3s", "tpot": "80ms"},
            "scaling": {"min": 1, "max": 200},
        }
        for name, rate, prompt, output in MODELS
    ]  # fmt: skip
    pools = [
        {
            "name": accelerator.lower(),
            "accelerator": accelerator,
            "perNode": per_node,
            "nodes": {"max": nodes},
            "price": {"onDemand": dollars},
        }
        for accelerator, per_node, nodes, dollars in POOLS
    ]
    document = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "large"},
        "spec": {"models": models, "pools": pools},
    }
    return load_fleet([Document(file="large.json", text=json.dumps(document))])


def planned(fleet: Fleet) -> tuple[float, FleetPlan]:
    """Seconds that planning a fleet takes, and its plan."""
    networks = {model.name: network(model.source.repository) for model in fleet.models}
    started = time.perf_counter()
    plan = plan_fleet(fleet, networks, grounds_of(fleet))
    return time.perf_counter() - started, plan


def command(arguments: list[str], rounds: int) -> list[float]:
    """Seconds of a whole process, `rounds` times."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bare = command([sys.executable, "-c", "pass"], given.rounds)
    plimsoll = str(Path(sys.executable).with_name("plimsoll"))
    single = command([plimsoll, "plan", str(SINGLE)], given.rounds)
    fleet = large_fleet()
    seconds, plan = planned(fleet)
    result: dict[str, dict[str, Any]] = {
        "single": {
            "median": statistics.median(single),
            "min": min(single),
            "python": statistics.median(bare),
            "ratio": statistics.median(single) / statistics.median(bare),
        },
        "fleet": {
            "seconds": seconds,
            "models": len(plan.choices),
            "accelerators": sum(per * nodes for _, per, nodes, _ in POOLS),
            "configurations": sum(
                len(c.found.candidates) + len(c.found.rejected) for c in plan.choices
            ),
            "dollars": plan.dollars,
            "bound": plan.bound,
            "proven": plan.proven,
        },
    }
    if given.json:
        print(json.dumps(result, indent=2))
        return
    one, all_ = result["single"], result["fleet"]
    print(
        f"plimsoll plan, one model: median {one['median'] * 1000:.0f} ms, "
        f"{one['ratio']:.1f}x of python -c pass"
    )
    print(
        f"{all_['models']} models on {all_['accelerators']} accelerators of {len(POOLS)} kinds: "
        f"{all_['seconds']:.2f} s, {all_['configurations']} configurations, "
        f"${all_['dollars']:.2f}/h, bound ${all_['bound']:.2f}/h, proven: {all_['proven']}"
    )


if __name__ == "__main__":
    main()
