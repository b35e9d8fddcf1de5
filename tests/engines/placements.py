"""Placements that every adapter meets: tasks on this machine, and wishes on accelerators."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from plimsoll.engines.protocol import Command, Engine, Setting
from plimsoll.fleet.credentials import Credential, Variable
from plimsoll.fleet.engines import EngineOptions
from plimsoll.plan.split import Formats, Split
from plimsoll.plan.types import Accelerators, Ledger, Placement, Speculation, Term
from plimsoll.units import GIB, MIB

TASKS = ("chat", "completion", "embedding")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A placement and where it runs, as changes to the usual ones."""

    place: Mapping[str, object] = field(default_factory=dict)
    setting: Mapping[str, object] = field(default_factory=dict)


def gpus(name: str = "H100-80GB-SXM", per_node: int = 1, nodes: int = 1) -> dict[str, object]:
    """What a placement on accelerators has of them."""
    devices = Accelerators(name=name, per_node=per_node, nodes=nodes, memory=80 * GIB)
    return {
        "devices": devices,
        "threads": 0,
        "batch": 8192,
        "parallel": 128,
        "kv_type": "bf16",
        "utilization": 0.92,
        "prompt_cache": 0,
        "checkpoints": 0,
    }


FP8 = Formats(weights="fp8", experts="fp8", compute="fp8")
TWO_NODES = {**gpus(per_node=8, nodes=2), "split": Split(tensor=8, pipeline=2)}
DRAFT = "/models/draft"

# By name of the golden file. Every one is rendered by every engine, or refused in words.
CASES: Mapping[str, Case] = {
    "one-h100": Case(place=gpus()),
    "fp8-while-loading": Case(
        place={**gpus(), "quantization": "fp8", "converted": True, "formats": FP8}
    ),
    "fp8-checkpoint": Case(place={**gpus(), "quantization": "fp8", "formats": FP8}),
    "awq-on-t4": Case(
        place={
            **gpus("T4"),
            "quantization": "awq",
            "formats": Formats(weights="awq", experts="awq", compute="fp16", cache="fp16"),
            "kv_type": "fp16",
        }
    ),
    "bitsandbytes-while-loading": Case(
        place={
            **gpus(),
            "quantization": "bnb_nf4",
            "converted": True,
            "formats": Formats(weights="bnb_nf4", experts="bnb_nf4"),
        }
    ),
    "fp8-cache": Case(place={**gpus(), "kv_type": "fp8"}),
    "tensor-8": Case(place={**gpus(per_node=8), "split": Split(tensor=8)}),
    "data-8-experts-8": Case(place={**gpus(per_node=8), "split": Split(data=8, expert=8)}),
    "two-nodes-first": Case(place=TWO_NODES, setting={"leader": "$(LWS_LEADER_ADDRESS)"}),
    "two-nodes-other": Case(
        place=TWO_NODES,
        setting={"leader": "$(LWS_LEADER_ADDRESS)", "rank": "$(LWS_WORKER_INDEX)"},
    ),
    "adapters": Case(
        place={**gpus(), "adapters": ("legal", "medical"), "adapter_rank": 20},
        setting={"adapters": {"legal": "/models/legal", "medical": "/models/medical"}},
    ),
    "adapter-rank-1024": Case(
        place={**gpus(), "adapters": ("legal",), "adapter_rank": 1024},
        setting={"adapters": {"legal": "/models/legal"}},
    ),
    "draft-model": Case(
        place={**gpus(), "speculation": Speculation(method="draftModel", tokens=4)},
        setting={"draft": DRAFT},
    ),
    "ngram": Case(place={**gpus(), "speculation": Speculation(method="ngram", tokens=3)}),
    "eagle3": Case(
        place={**gpus(), "speculation": Speculation(method="eagle3", tokens=5)},
        setting={"draft": DRAFT},
    ),
    "medusa": Case(
        place={**gpus(), "speculation": Speculation(method="medusa", tokens=5)},
        setting={"draft": DRAFT},
    ),
    "mtp": Case(place={**gpus(), "speculation": Speculation(method="mtp", tokens=1)}),
    "embedding-on-l4": Case(place={**gpus("L4"), "task": "embedding"}),
    "turns": Case(place={**gpus(), "utilization": 0.45, "cache_bytes": 12 * GIB}),
    "mi300x": Case(place=gpus("MI300X")),
    "own-words": Case(
        place={
            **gpus(),
            "options": EngineOptions(
                version="9.8.7",
                args=("--max-model-len=1024", "--seed", "7"),
                env=(
                    Variable(name="NCCL_DEBUG", value="WARN"),
                    Variable(name="SECRET", value_from=Credential(secret="s", key="k")),
                ),
            ),
        }
    ),
}


def usual(engine: Engine, task: str = "chat", **changes: object) -> Placement:
    """A placement on this machine's processors, or on an H100 where the engine needs one."""
    here: dict[str, object] = {
        "task": task,
        "context": 4096,
        "parallel": 4,
        "threads": 2,
        "batch": 512,
        "kv_type": "f16",
        "prompt_cache": 64 * MIB,
        "checkpoints": 3,
    }
    if "cpu" not in engine.capabilities.accelerators:
        here |= gpus()
    if engine.name == "custom":
        here["options"] = EngineOptions(
            image="registry.example/own:1", command=("serve-it",), args=("--quick",)
        )
    return dataclasses.replace(
        Placement(
            model="assistant",
            engine=engine.name,
            source="hf://owner/repo",
            task="chat",
            context=4096,
            parallel=4,
            threads=2,
            batch=512,
            kv_type="f16",
            ledger=Ledger(terms=(Term(name="kv cache", bytes=GIB),)),
        ),
        **{**here, **changes},  # type: ignore[arg-type]  # by field name
    )


def somewhere(**changes: object) -> Setting:
    """A container's side of a command."""
    there = Setting(weights="/models/weights", host="10.1.2.3", port=18123)
    return dataclasses.replace(there, **changes)  # type: ignore[arg-type]  # by field name


def rendered(engine: Engine, case: Case) -> Command:
    """The command of a case. Raises InputError where the engine refuses it."""
    return engine.command(usual(engine, **case.place), somewhere(**case.setting))
